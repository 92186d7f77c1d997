"""What a node is believed to have of the cluster's services, while it is looked at and told side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from ktool.logic.node.nodeaction import NodeAction, NodeFacts, Outcome, SetRules
from ktool.logic.plan.netplan import Setting
from ktool.nodeplane.netsettings import Failures, NetSettings
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.workitems import NodeEvents

NODE = {"kind": "Node", "metadata": {"name": "n1"}}


class Net:
    """What nodes should have: one table of rules."""

    change = 1
    wanted = "aa"

    def settings(self, node: Any) -> tuple[Setting, ...]:
        return (SetRules(f"rules {self.wanted}", self.wanted, {}),)


class Runtime:
    """A node that keeps what it was told; `meanwhile` happens before it says so."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def perform(self, action: NodeAction) -> Outcome:
        assert isinstance(action, SetRules)
        self.told.append(action.hash)
        self.meanwhile()
        return Outcome(action)


class Record:
    """Nothing fails twice: what failed last is not remembered."""

    failures: Failures = {}

    def note(self, pod_uid: str, outcome: Outcome, pod: Any) -> bool:
        return outcome.failure is not None


class Events:
    def rules_confirmed(self) -> None: ...


def settings(net: Net) -> NetSettings:
    return NetSettings(cast(NetView, net), Record(), cast(NodeEvents, Events()), time.time)


def test_a_node_is_told_what_it_has_not_and_confirms_it():
    net, runtime = Net(), Runtime()
    node = settings(net)
    assert node.update(runtime, NODE) is None and not runtime.told, "nobody has looked yet"
    node.observed(NodeFacts(rules="aa"), time.monotonic())
    node.update(runtime, NODE)
    assert not runtime.told and node.confirmed == 1
    net.change, net.wanted = 2, "bb"
    node.update(runtime, NODE)
    assert runtime.told == ["bb"] and node.confirmed == 2 and node.up_to_date(NODE)


def test_what_was_seen_before_the_node_was_told_is_not_believed():
    """An observation began, then the node was told of another pod; the observation ends. When that pod is to go the
    node has to be told so, although it should have just what the observation saw."""
    net, runtime = Net(), Runtime()
    node = settings(net)
    began = time.monotonic()
    node.observed(NodeFacts(rules="aa"), began)
    net.change, net.wanted = 2, "bb"
    for late in ("while it is told", "after it was told"):
        if late == "while it is told":
            runtime.meanwhile = lambda: node.observed(NodeFacts(rules="aa"), began)
        node.update(runtime, NODE)
        runtime.meanwhile = lambda: None
        if late == "after it was told":
            node.observed(NodeFacts(rules="aa"), began)
        net.change, net.wanted = net.change + 1, "aa"
        confirmed: list[int] = []
        runtime.meanwhile = lambda confirmed=confirmed: confirmed.append(node.confirmed)  # type: ignore[misc]
        node.update(runtime, NODE)
        runtime.meanwhile = lambda: None
        assert runtime.told[-2:] == ["bb", "aa"], late
        assert confirmed == [net.change - 1] and node.confirmed == net.change, late
        net.change, net.wanted = net.change + 1, "bb"
