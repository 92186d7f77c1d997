"""Which settings a node is told: those it does not have, and not before a failed one is due again."""

from __future__ import annotations

import pytest

from ktool.logic.node.nodeaction import Failure, NodeFacts, SetRules, SetZone
from ktool.logic.plan.netplan import Refresh, refresh, seen

RULES, ZONE = SetRules("text", "r1"), SetZone("hosts", "config", "z1")
FAILED = Failure("NetworkNotReady", "no", "SetZone", at=100.0, count=1)


@pytest.mark.parametrize(
    ("facts", "failures", "now", "expected"),
    [
        pytest.param(NodeFacts(), {}, 0.0, Refresh((RULES, ZONE)), id="a-new-node"),
        pytest.param(NodeFacts(rules="r1", zone="z1"), {}, 0.0, Refresh(), id="all-there"),
        pytest.param(NodeFacts(rules="r0", zone="z1"), {}, 0.0, Refresh((RULES,)), id="one-is-old"),
        pytest.param(NodeFacts(), {("", "SetZone"): FAILED}, 100.5, Refresh((RULES,), 0.5), id="one-waits"),
        pytest.param(NodeFacts(rules="r1"), {("", "SetZone"): FAILED}, 101.0, Refresh((ZONE,)), id="due-again"),
        pytest.param(NodeFacts(), {("", ""): FAILED}, 100.5, Refresh((RULES, ZONE)), id="another-step-failed"),
    ],
)
def test_refresh(facts: NodeFacts, failures: dict[tuple[str, str], Failure], now: float, expected: Refresh) -> None:
    assert refresh([RULES, ZONE], seen(facts), failures, now) == expected


def test_a_node_that_should_have_nothing_is_told_nothing() -> None:
    assert refresh([], seen(NodeFacts(rules="r1", zone="z1")), {}, 0.0) == Refresh()
