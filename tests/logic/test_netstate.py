"""The condition that tells of a node's network."""

from __future__ import annotations

from ktool.logic.node.nodeaction import Failure
from ktool.logic.node.nodestatus import network_condition as condition


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
