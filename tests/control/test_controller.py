"""The loop of the controllers: which keys come up, and what happens to those that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ktool.api.action import Create, Plan, Status
from ktool.api.kind import Controller, Watch
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, get, name, uid
from ktool.api.ref import Ref
from ktool.api.world import World
from ktool.control.controller import SHARE, Controllers
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.registry.request import Record
from ktool.registry.workqueue import WorkQueue
from ktool.store.store import Store
from tests.registry import kinds_for_tests
from tests.registry.builders import CONFIG, THING, a, config, thing
from tests.registry.conftest import Clock


class Planner:
    """A planner that notes for whom it was called and does what the test says."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.answer: Callable[[Obj], Plan] = lambda obj: Plan(because="nothing to do")

    def __call__(self, obj: Obj, world: World, now: float) -> Plan:
        self.called.append(name(obj))
        return self.answer(obj)


@pytest.fixture
def planner() -> Planner:
    return Planner()


@pytest.fixture
def kinds(planner: Planner) -> Kinds:
    watch = Watch(CONFIG, lambda obj, world: [Ref(THING, "default", name(obj))])
    kinds = Kinds()
    for kind in (
        kinds_for_tests.NAMESPACE,
        replace(kinds_for_tests.THING, controller=Controller((watch,), planner)),
        kinds_for_tests.CONFIG,
        kinds_for_tests.POD,
        kinds_for_tests.EVENT,
    ):
        kinds.add(kind)
    return kinds


@pytest.fixture
def registry(store: Store, kinds: Kinds, clock: Clock) -> Registry:
    return Registry(store, kinds, clock=clock)


@pytest.fixture
def controllers(registry: Registry, kinds: Kinds, clock: Clock) -> Iterator[Controllers]:
    cache = Cache(registry.store)
    yield Controllers(registry, cache, kinds, clock=clock, queue=WorkQueue(clock))
    cache.close()


def run(controllers: Controllers) -> int:
    """Steps until nothing is dirty; how many there were."""
    controllers._cache.sync()
    steps = 0
    while controllers.step():
        steps += 1
        assert steps < 100
    return steps


def test_an_object_is_planned_when_it_changes(registry: Registry, controllers: Controllers, planner: Planner) -> None:
    registry.create(thing())
    assert run(controllers) == 1
    registry.patch(a(), {"spec": {"size": 2}})
    registry.patch(a(), {"spec": {"size": 3}})
    assert run(controllers) == 1, "two changes are one look"
    assert planner.called == ["a", "a"]
    assert run(controllers) == 0


def test_planning_one_object_again_and_again_takes_a_small_part_of_the_time(
    registry: Registry, kinds: Kinds, clock: Clock, planner: Planner
) -> None:
    effort = iter(index * 0.0005 for index in range(100))  # half a millisecond for every look
    cache = Cache(registry.store)
    controllers = Controllers(
        registry, cache, kinds, clock=clock, queue=WorkQueue(clock), effort=lambda: next(effort)
    )  # fmt: skip
    registry.create(thing())
    assert run(controllers) == 1
    registry.patch(a(), {"spec": {"size": 2}})
    assert run(controllers) == 0
    assert not controllers.queue.idle, "there is something to do yet"
    clock.now += 0.0005 / SHARE
    assert run(controllers) == 1
    cache.close()


def test_another_object_wakes_it(registry: Registry, controllers: Controllers, planner: Planner) -> None:
    registry.create(thing())
    run(controllers)
    registry.create(config("a"))
    registry.delete(Ref(CONFIG, "default", "a"))
    run(controllers)
    assert planner.called == ["a", "a"]


def test_an_object_that_is_gone_is_not_planned(registry: Registry, controllers: Controllers, planner: Planner) -> None:
    registry.create(thing())
    registry.delete(a())
    run(controllers)
    assert planner.called == []


def test_after_some_time_it_is_planned_again(
    registry: Registry, controllers: Controllers, planner: Planner, clock: Clock
) -> None:
    planner.answer = lambda obj: Plan(because="not yet", after=20.0)
    registry.create(thing())
    run(controllers)
    clock.now += 19
    assert run(controllers) == 0
    clock.now += 1
    assert run(controllers) == 1


def test_a_refused_plan_comes_back_each_time_later(
    registry: Registry, controllers: Controllers, planner: Planner, clock: Clock
) -> None:
    planner.answer = lambda obj: Plan((Create(thing("b", size=13)),))
    registry.create(thing())
    assert run(controllers) == 1
    waits = []
    for _ in range(4):
        before = clock.now
        while not run(controllers):
            clock.now += 0.01
        waits.append(clock.now - before)
    assert waits == sorted(waits) and waits[-1] > 4 * waits[0]

    planner.answer = lambda obj: Plan((Create(thing("b", size=14)),))
    clock.now += 60
    run(controllers)
    assert get(registry.get(a("b")), "spec", "size") == 14


def test_a_planner_that_fails_stops_nobody_else_and_is_asked_again(
    registry: Registry, controllers: Controllers, planner: Planner, clock: Clock
) -> None:
    def answer(obj: Obj) -> Plan:
        if name(obj) == "a":
            raise KeyError("spec")
        return Plan(because="fine")

    planner.answer = answer
    registry.create(thing("a"))
    registry.create(thing("b"))
    run(controllers)
    assert sorted(planner.called) == ["a", "b"]
    clock.now += 1
    assert run(controllers) == 1
    assert planner.called[-1] == "a"


def test_each_component_acts_under_its_own_name(
    registry: Registry, controllers: Controllers, planner: Planner, kinds: Kinds, clock: Clock
) -> None:
    """Its user and field manager, for authorization and audit."""
    heard: list[Record] = []
    controllers._registry = Registry(registry.store, kinds, clock=clock, observers=[heard.append])
    planner.answer = lambda obj: Plan((Status(Ref.of(obj), {"replicas": 1}, uid(obj)),))
    gone = {"apiVersion": "v1", "kind": "Config", "name": "gone", "uid": "u"}
    registry.create(thing())
    registry.create(thing("orphan", meta={"ownerReferences": [gone]}))
    run(controllers)
    assert {(name(record.old or {}), record.attributes.verb, record.actor.user) for record in heard} == {
        ("a", "update", "system:thing-controller"),
        ("orphan", "delete", "system:garbage-collector"),
    }
