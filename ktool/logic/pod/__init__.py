"""Pods on a node: rendering for Podman, planning of actions, the Pod's status. logic/plan and nodeplane/ call it."""
