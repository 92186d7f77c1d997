"""Two transactions, one registry: what the rehearsal does in memory is what the store would have."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from ktool.api.action import Action, Bind, Create, Delete, Emit, Patch, Status, Update
from ktool.api.obj import Obj, drop, put
from ktool.api.ref import EVENT, NAMESPACE, POD, Ref
from ktool.api.world import World
from ktool.control.memory import Memory
from ktool.registry import admission
from ktool.registry.execute import Batch
from ktool.registry.registry import Registry
from ktool.registry.request import component
from ktool.registry.verbs import Setup, Verbs
from ktool.store.store import Store
from tests.registry.builders import a, config, owned_by, pod, space, thing
from tests.registry.conftest import START, Clock
from tests.registry.kinds_for_tests import small_kinds

P = Ref(POD, "default", "p")

PLANS: dict[str, Sequence[Action]] = {
    "create": [Create(thing()), Create(thing("b", ports=[{"port": 80}])), Create(config("c", k="v"))],
    "create-twice": [Create(thing()), Create(thing(size=4))],
    "refused": [Create(thing("Bad Name")), Create(thing(size=13)), Create(thing("x", namespace="none"))],
    "change": [
        Create(thing()),
        Patch(a(), {"spec": {"size": 4}}),
        Update(thing(note="new")),
        Status(a(), {"replicas": 2}),
    ],
    "change-what-is-gone": [Patch(a(), {"spec": {"size": 4}}), Status(a(), {}), Delete(a()), Update(thing())],
    "bind": [Create(pod()), Bind(P, "n1"), Bind(P, "n2"), Status(P, {"phase": "Running"})],
    "end-a-pod": [Create(pod()), Bind(P, "n1"), Delete(P), Delete(P, grace=0)],
    "end-a-pod-slowly": [Create(pod()), Bind(P, "n1"), Delete(P), Patch(P, {"metadata": {"finalizers": ["x.dev/y"]}})],
    "finalizers": [
        Create(thing(meta={"finalizers": ["x.dev/y"]})),
        Delete(a()),
        Patch(a(), {"metadata": {"finalizers": []}}),
    ],
    "owned": [Create(thing()), Create(put(pod(), "metadata", "ownerReferences", [])), Delete(a())],
    "namespace": [
        Create(space("old")),
        Create(thing("t", namespace="old")),
        Emit(Ref(a().gk, "old", "t"), "Seen", "x"),
        Delete(Ref(NAMESPACE, "", "old")),
        Patch(Ref(NAMESPACE, "", "old"), {"spec": {"finalizers": []}}),
        Delete(Ref(a().gk, "old", "t")),
        Patch(Ref(NAMESPACE, "", "old"), {"spec": {"finalizers": []}}),
    ],
    "events": [Emit(a(), "Seen", "x"), Emit(a(), "Seen", "x"), Emit(a(), "Seen", "y", "Warning")],
}


def plain(objects: Sequence[Obj]) -> list[Obj]:
    """Without revisions: those in memory are their own."""
    return [drop(obj, "metadata", "resourceVersion") for obj in objects]


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_has_the_same_effect_in_memory(store: Store, clock: Clock, plan: str) -> None:
    uids = itertools.count(1)
    registry = Registry(store, small_kinds(), clock=clock, new_uid=lambda: f"uid-{next(uids)}")
    memory = Memory(World(store.list("")[0]))
    others = itertools.count(2)
    setup = Setup(
        small_kinds(),
        lambda: f"uid-{next(others)}",
        lambda: "",
        chain=admission.FOR_COMPONENTS,
        judge=admission.SpecMemo(),
    )
    verbs = Verbs(memory, setup, component("test"), START)
    wanted = registry.execute(PLANS[plan], component="test")
    given = Batch(verbs).run(PLANS[plan])
    assert [str(error) for error in given] == [str(error) for error in wanted]
    kinds = [kind.gk for kind in registry.kinds]
    for gk in kinds:
        assert plain(memory.list(gk.prefix)) == plain(store.list(gk.prefix)[0])


def test_a_revision_for_each_write() -> None:
    memory = Memory(World([space("default")]))
    key = a().key
    first = memory.put(key, put(thing(), "metadata", "namespace", "default"))
    second = memory.put(key, put(first, "spec", "size", 2))
    assert first["metadata"]["resourceVersion"] != second["metadata"]["resourceVersion"]
    assert memory.get(key) == second and "resourceVersion" not in thing()["metadata"]
    assert memory.list(a().gk.in_namespace("default")) == [second] == memory.list(a().gk.prefix)
    assert memory.list(EVENT.prefix) == []
    assert memory.remove(key) == second and memory.get(key) is None and memory.remove(key) is None


def test_dependents_keep_their_owner_in_mind() -> None:
    """The index by owner follows what verbs write."""
    owner = put(thing(), "metadata", {"name": "a", "namespace": "default", "uid": "u"})
    memory = Memory(World([owner]))
    child = put(config("c"), "metadata", {"name": "c", "namespace": "default", "uid": "v", **owned_by(owner)})
    written = memory.put(Ref.of(child).key, child)
    assert memory.world.owned("u") == [written]
    memory.put(Ref.of(child).key, drop(written, "metadata", "ownerReferences"))
    assert memory.world.owned("u") == []
