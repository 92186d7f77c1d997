"""The state of a node's network, and the condition that tells of it."""

from __future__ import annotations

import pytest

from ktool.logic.netstate import NetState, condition, state
from ktool.logic.nodeaction import Failure, NodeFacts, SetRules, SetZone

SETTINGS = (SetRules("text", "r1"), SetZone("hosts", "config", "z1"))
ROUTES = (("10.244.2.0/24", "192.0.2.2"), ("10.244.3.0/24", "192.0.2.3"))


@pytest.mark.parametrize(
    ("facts", "good", "routes", "settings"),
    [
        pytest.param(
            NodeFacts(network="10.244.1.0/24", routes=ROUTES, rules="r1", zone="z1"), True, 2, ("ok", "ok"), id="good"
        ),
        pytest.param(
            NodeFacts(network="10.244.1.0/24", routes=ROUTES[:1], rules="r1", zone="z1"),
            False,
            1,
            ("ok", "ok"),
            id="route",
        ),
        pytest.param(
            NodeFacts(network="10.244.1.0/24", routes=ROUTES, rules="r0"),
            False,
            2,
            ("outdated", "missing"),
            id="settings",
        ),
        pytest.param(NodeFacts(network_trouble="missing"), False, 0, ("missing", "missing"), id="nothing"),
    ],
)
def test_state(facts: NodeFacts, good: bool, routes: int, settings: tuple[str, str]) -> None:
    found = state(facts, SETTINGS, ROUTES)
    assert (found.good, found.routes, found.wanted) == (good, routes, 2)
    assert (found.settings["SetRules"], found.settings["SetZone"]) == settings
    assert isinstance(found, NetState) and found.hashes["SetRules"] == facts.rules


def test_the_condition_says_what_failed_on_the_node_itself_and_nothing_of_pods() -> None:
    pod = Failure("ErrImagePull", "no such image", "EnsureImage")
    assert condition({("uid-web", "web"): pod})[:2] == ("False", "NetworkReady")
    zone = Failure("NetworkNotReady", "dnsmasq cannot be found", "SetZone")
    assert condition({("uid-web", "web"): pod, ("", "SetZone"): zone}) == (
        "True",
        "NetworkNotReady",
        "SetZone: dnsmasq cannot be found",
    )
    assert len(condition({("", "SetZone"): Failure("NetworkNotReady", "x" * 1000, "SetZone")})[2]) == 300
