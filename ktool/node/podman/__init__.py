"""The Podman runtime: a node's containers over Podman's REST API, and what Podman cannot do by shell commands."""
