"""The NodeError for a call that Podman did not answer. podmanapi and podmanclient raise it."""

from __future__ import annotations

from ktool.node.base import NodeError


def unanswered(node: str, path: str, error: BaseException) -> NodeError:
    if isinstance(error, TimeoutError):
        return NodeError(node, path, f"Podman on {node} did not answer in time")
    while inner := next((arg for arg in error.args if isinstance(arg, BaseException)), None):
        error = inner
    return NodeError(node, path, f"Podman on {node} cannot be asked: {str(error) or type(error).__name__}")
