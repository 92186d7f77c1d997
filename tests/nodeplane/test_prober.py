"""The prober with a clock by hand: what is asked when, and what it makes known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from ktool.api.obj import put
from ktool.logic.node.nodeaction import ContainerFact, NodeFacts, PodFact
from ktool.logic.node.probecalls import Answer, Call
from ktool.logic.pod import probes
from ktool.node.base import NodeError, Runtime
from ktool.nodeplane.prober import PER_NODE, Prober
from ktool.nodeplane.workitems import NodeEvents
from tests.logic.nodemodel import pod

EXEC = {"exec": {"command": ["true"]}}


class Node:
    """Answers what it is told to; `asked` says when which probe was asked. Real nodes take several calls at once."""

    def __init__(self, prober_clock: Clock, concurrency: int = 1) -> None:
        self.clock, self.concurrency = prober_clock, concurrency
        self.ok = dict.fromkeys(probes.KINDS, True)
        self.asked: list[tuple[float, str]] = []
        self.gone = False

    def call(self, call: Call) -> Answer:
        self.asked.append((self.clock(), call.purpose))
        if self.gone:
            raise NodeError("n1", "call", "cannot be reached")
        return Answer(True) if self.ok[call.purpose] else Answer(False, "not well")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def events(hear: Callable[..., object]) -> NodeEvents:
    """The one event that a prober has."""
    return cast(NodeEvents, SimpleNamespace(health_changed=hear))


class Setting:
    def __init__(self, **kinds: Any) -> None:
        self.clock = Clock()
        self.node = Node(self.clock)
        self.heard: list[tuple[str, bool, bool]] = []
        self.prober = Prober(events(lambda *what: self.heard.append(what)), self.clock, spread=False)
        self.pod = put(pod("web"), "spec", "containers", [{"name": "web", "image": "web:1", **kinds}])
        self.fact = ContainerFact("web", "c1", "running", started_at=1000.0)

    def watch(self) -> None:
        facts = NodeFacts(pods=(PodFact("uid-web", "default", "web", "p", "h", "ip", "running", (self.fact,)),))
        found = probes.found([self.pod], facts, "", frozenset())
        self.prober.watch("n1", cast(Runtime, self.node), found, [self.pod], facts, 1000.0 + self.clock.now)

    def pass_time(self, until: float) -> None:
        while self.clock.now < until:
            self.prober.step()
            self.clock.now = round(self.clock.now + 0.25, 2)

    @property
    def health(self) -> probes.Health:
        return self.prober.health("n1")["uid-web", "web"]


def test_a_probe_is_asked_at_once_and_then_every_period() -> None:
    setting = Setting(readinessProbe={**EXEC, "periodSeconds": 3})
    setting.watch()
    assert not setting.health.ready
    setting.pass_time(10)
    assert [at for at, _ in setting.node.asked] == [0, 3, 6, 9]
    assert setting.health.ready
    assert setting.heard == [("n1", True, False)], "only what has changed is told"


def test_looking_at_the_node_again_changes_nothing_and_a_new_run_begins_anew() -> None:
    setting = Setting(readinessProbe={**EXEC, "periodSeconds": 5})
    setting.watch()
    setting.pass_time(2)
    setting.watch()
    setting.pass_time(6)
    assert [at for at, _ in setting.node.asked] == [0, 5]
    setting.fact = replace(setting.fact, started_at=1006.0)
    setting.watch()
    assert not setting.health.ready
    setting.pass_time(7)
    assert [at for at, _ in setting.node.asked] == [0, 5, 6]


def test_the_others_wait_for_the_startup_probe_and_then_begin_at_once() -> None:
    knobs = {**EXEC, "periodSeconds": 2}
    setting = Setting(startupProbe=knobs, readinessProbe=knobs, livenessProbe=knobs)
    setting.node.ok["startup"] = False
    setting.watch()
    setting.pass_time(3)
    assert {kind for _, kind in setting.node.asked} == {"startup"}
    setting.node.ok["startup"] = True
    setting.pass_time(4.5)
    assert {kind for _, kind in setting.node.asked[-2:]} == {"liveness", "readiness"}
    assert setting.node.asked[-3] == (4, "startup") and setting.node.asked[-1][0] <= 4.25
    setting.pass_time(9)
    assert [kind for _, kind in setting.node.asked].count("startup") == 3, "it has succeeded and is not asked again"
    assert setting.health.started and setting.health.ready


def test_a_container_that_fails_its_liveness_probe_is_asked_no_more_and_something_is_to_be_done() -> None:
    setting = Setting(livenessProbe={**EXEC, "periodSeconds": 1, "terminationGracePeriodSeconds": 4})
    setting.node.ok["liveness"] = False
    setting.watch()
    setting.pass_time(10)
    assert [at for at, _ in setting.node.asked] == [0, 1, 2]
    assert (setting.health.failed, setting.health.grace) == ("liveness", 4)
    assert setting.heard == [("n1", False, False), ("n1", False, False), ("n1", True, True)]
    told = setting.prober.events("n1")
    assert {(event.reason, event.message) for event in told} == {("Unhealthy", "Liveness probe failed: not well")}
    assert len(told) == 3 and not setting.prober.events("n1")


def test_a_node_that_cannot_be_asked_says_nothing_about_its_containers() -> None:
    setting = Setting(readinessProbe={**EXEC, "periodSeconds": 1})
    setting.watch()
    setting.pass_time(1)
    setting.node.gone = True
    setting.pass_time(8)
    assert setting.health.ready and len(setting.node.asked) == 8
    setting.prober.forget("n1")
    assert setting.prober.health("n1") == {}
    setting.pass_time(10)
    assert len(setting.node.asked) == 8


def test_what_is_not_there_any_more_is_not_asked() -> None:
    setting = Setting(readinessProbe={**EXEC, "periodSeconds": 1})
    setting.watch()
    setting.pass_time(2)
    setting.fact = replace(setting.fact, state="exited")
    setting.watch()
    setting.pass_time(5)
    assert len(setting.node.asked) == 2


def test_a_node_that_does_not_answer_takes_only_its_share() -> None:
    """Calls that hang on one node leave the others alone, and each is asked when an answer has come."""
    clock, release, lock = Clock(), threading.Event(), threading.Lock()
    asking: dict[str, int] = {"slow": 0, "quick": 0}
    most = {"slow": 0, "quick": 0}

    class Hanging(Node):
        def __init__(self, name: str) -> None:
            super().__init__(clock, concurrency=4)
            self.name = name

        def call(self, call: Call) -> Answer:
            with lock:
                asking[self.name] += 1
                most[self.name] = max(most[self.name], asking[self.name])
            if self.name == "slow":
                release.wait(20)
            with lock:
                asking[self.name] -= 1
            return Answer(True)

    prober = Prober(events(lambda *what: None), clock, spread=False)
    many = [pod(f"web{number}") for number in range(3 * PER_NODE)]
    for name in ("slow", "quick"):
        pods = [put(one, "spec", "containers", [{"name": "web", "image": "w", "readinessProbe": EXEC}]) for one in many]
        facts = NodeFacts(
            pods=tuple(
                PodFact(
                    one["metadata"]["uid"],
                    "default",
                    one["metadata"]["name"],
                    "p",
                    "h",
                    "",
                    "running",
                    (ContainerFact("web", f"c-{one['metadata']['name']}", "running", started_at=1.0),),
                )
                for one in pods
            )
        )
        found = probes.found(pods, facts, "", frozenset())
        prober.watch(name, cast(Runtime, Hanging(name)), found, pods, facts, 1.0)
    try:
        prober.step()
        wait = threading.Event()
        for _ in range(200):
            if all(one.ready for one in prober.health("quick").values()):
                break
            wait.wait(0.02)
        assert all(one.ready for one in prober.health("quick").values())
        assert not any(one.ready for one in prober.health("slow").values())
        release.set()
        for _ in range(200):
            if all(one.ready for one in prober.health("slow").values()):
                break
            wait.wait(0.02)
        assert all(one.ready for one in prober.health("slow").values())
        assert most["slow"] <= PER_NODE
    finally:
        release.set()
        prober.stop()


def test_it_keeps_the_time_by_itself() -> None:
    setting = Setting(readinessProbe={**EXEC, "periodSeconds": 1})
    changed = threading.Event()
    setting.prober = Prober(events(lambda *what: changed.set()), time.monotonic, spread=False)
    setting.prober.start()
    setting.watch()
    assert changed.wait(5)
    assert setting.health.ready
    setting.prober.stop()
