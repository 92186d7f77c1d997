"""Pods on a node: from a Pod to Podman's payloads, to the next actions, and from observed facts to the Pod's status."""
