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
    told = settings(net)
    assert told.tell(runtime, NODE) is None and not runtime.told, "nobody has looked yet"
    told.saw(NodeFacts(rules="aa"), time.monotonic())
    told.tell(runtime, NODE)
    assert not runtime.told and told.confirmed == 1
    net.change, net.wanted = 2, "bb"
    told.tell(runtime, NODE)
    assert runtime.told == ["bb"] and told.confirmed == 2 and told.told(NODE)


def test_what_was_seen_before_the_node_was_told_is_not_believed():
    """An observation began, then the node was told of another pod; the observation ends. When that pod is to go the
    node has to be told so, although it should have just what the observation saw."""
    net, runtime = Net(), Runtime()
    told = settings(net)
    began = time.monotonic()
    told.saw(NodeFacts(rules="aa"), began)
    net.change, net.wanted = 2, "bb"
    for late in ("while it is told", "after it was told"):
        if late == "while it is told":
            runtime.meanwhile = lambda: told.saw(NodeFacts(rules="aa"), began)
        told.tell(runtime, NODE)
        runtime.meanwhile = lambda: None
        if late == "after it was told":
            told.saw(NodeFacts(rules="aa"), began)
        net.change, net.wanted = net.change + 1, "aa"
        confirmed: list[int] = []
        runtime.meanwhile = lambda confirmed=confirmed: confirmed.append(told.confirmed)  # type: ignore[misc]
        told.tell(runtime, NODE)
        runtime.meanwhile = lambda: None
        assert runtime.told[-2:] == ["bb", "aa"], late
        assert confirmed == [net.change - 1] and told.confirmed == net.change, late
        net.change, net.wanted = net.change + 1, "bb"
