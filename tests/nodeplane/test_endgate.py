"""The gate before the end of a pod: shut until the slices say that it ends and every node has confirmed that."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, cast

import pytest

from ktool.nodeplane.endgate import LONGEST, EndGate
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.workitems import NodeEvents


class Net:
    """The part of NetView that the gate asks."""

    def __init__(self) -> None:
        self.change, self.serving = 1, {"u1": False}

    def terminating(self) -> tuple[int, dict[str, bool]]:
        return self.change, self.serving


@dataclass
class Loop:
    confirmed: float = 1


class Setting:
    def __init__(self, *loops: Loop) -> None:
        self.net, self.loops, self.now = Net(), list(loops), 0.0
        self.summoned, self.opened = 0, []
        self.gate = EndGate(cast(NetView, self.net), cast(NodeEvents, self), lambda: self.now)

    # What the gate tells and asks (NodeEvents).

    def reach_all(self) -> None:
        self.summoned += 1

    def may_end(self, node: str) -> None:
        self.opened.append(node)

    def confirmations(self) -> list[float]:
        return [loop.confirmed for loop in self.loops]

    def held(self, grace: int = 30, node: str = "n1") -> dict[str, float]:
        pods: list[Any] = [
            {"metadata": {"uid": "u1", "deletionTimestamp": "x", "deletionGracePeriodSeconds": grace}},
            {"metadata": {"uid": "u2"}},
        ]
        return self.gate.held(node, pods)


def test_it_opens_when_every_node_has_confirmed_rules_without_the_pod() -> None:
    setting = Setting(Loop(), Loop())
    assert setting.held() == {"u1": LONGEST} and setting.summoned == 1
    setting.loops[0].confirmed = setting.loops[1].confirmed = 5
    assert setting.held() == {"u1": LONGEST}, "the slices still send to it"
    setting.net.serving, setting.net.change = {"u1": True}, 7
    setting.gate.recheck()
    assert setting.held() == {"u1": LONGEST} and not setting.opened
    setting.net.change, setting.loops[0].confirmed = 9, 8
    setting.gate.recheck()
    assert not setting.opened
    setting.loops[1].confirmed = 7
    setting.gate.recheck()
    assert setting.opened == ["n1"], "what came after the change does not matter"
    assert setting.held() == {"u1": 0.0}
    assert setting.summoned == 1


@pytest.mark.parametrize(
    "grace",
    [pytest.param(0, id="at-once")],
)
def test_who_is_killed_at_once_is_not_waited_for(grace: int) -> None:
    assert Setting(Loop()).held(grace) == {}


def test_who_serves_nobody_ends_at_once() -> None:
    setting = Setting(Loop(-1))
    setting.net.serving = {"other": False}
    assert setting.held() == {} and setting.summoned == 0


def test_a_node_that_cannot_be_told_is_not_waited_for() -> None:
    setting = Setting(Loop(inf), Loop(1))
    setting.net.serving = {"u1": True}
    assert setting.held() == {"u1": 0.0}


def test_a_node_that_does_not_answer_holds_nobody_up_for_longer_than_the_deadline() -> None:
    setting = Setting(Loop(-1))
    assert setting.held() == {"u1": LONGEST}
    setting.now = LONGEST - 1
    assert setting.held() == {"u1": 1.0}
    setting.now = LONGEST
    assert setting.held() == {"u1": 0.0}


def test_without_real_nodes_the_slices_alone_decide() -> None:
    setting = Setting()
    assert setting.held() == {"u1": LONGEST}
    setting.net.serving = {"u1": True}
    setting.gate.recheck()
    assert setting.opened == ["n1"] and setting.held() == {"u1": 0.0}


def test_what_is_gone_is_forgotten() -> None:
    setting = Setting(Loop())
    setting.held()
    assert setting.gate.shut
    setting.gate.held("n1", [])
    assert not setting.gate.shut
