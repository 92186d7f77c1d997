"""The Podman runtime: a node's containers over Podman's REST API, and shell commands for the rest. node/connect makes
it.
"""
