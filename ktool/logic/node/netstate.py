"""The condition of a Node that tells of its network."""

from __future__ import annotations

from collections.abc import Mapping

from ktool.logic.node.nodeaction import Failure

CONDITION = "NetworkUnavailable"
"""The condition of a Node that says so (core/v1 NodeConditionType): True is bad."""

LONGEST = 300


def condition(failures: Mapping[tuple[str, str], Failure]) -> tuple[str, str, str]:
    """Status, reason and message of CONDITION. `failures` as nodeplan's: those under no pod are the node's own."""
    own = {key: failure for key, failure in failures.items() if not key[0]}
    if not own:
        return "False", "NetworkReady", "pod network, routes, service rules and names were set without an error"
    text = "; ".join(f"{failure.step}: {failure.message}" for _, failure in sorted(own.items()))
    return "True", "NetworkNotReady", text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
