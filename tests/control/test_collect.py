"""The garbage collector: plans on a World, and driven end to end with a cache and a real registry."""

from __future__ import annotations

import pytest

from ktool.api.action import Delete, Patch
from ktool.api.obj import meta
from ktool.api.ref import NAMESPACE, POD, Ref
from ktool.api.world import World
from ktool.control import collect
from ktool.registry.cache import Cache
from tests.registry.builders import THING, a, owned_by, pod, space, thing
from tests.registry.kinds_for_tests import small_kinds

KINDS = small_kinds()
NOW = "2023-11-14T22:13:20Z"


def made(obj, uid, deleting=False, finalizers=()):
    extra = {"uid": uid, "namespace": meta(obj).get("namespace", "default")}
    if obj["kind"] == "Namespace":
        del extra["namespace"]
    if deleting:
        extra["deletionTimestamp"] = NOW
    if finalizers:
        extra["finalizers"] = list(finalizers)
    return {**obj, "metadata": {**obj["metadata"], **extra}}


def owner(**options):
    return made(thing("a"), "u-a", **options)


def child(*owners, name="b", uid="u-b", block=True, **options):
    references = [r for o in owners for r in owned_by(o, block)["ownerReferences"]]
    return made(thing(name, meta={"ownerReferences": references}), uid, **options)


def plan(obj, *others):
    return collect.plan(obj, World([obj, *others]), KINDS)


WAITING = {"deleting": True, "finalizers": [collect.FOREGROUND]}


@pytest.mark.parametrize(
    ("obj", "others", "expected"),
    [
        pytest.param(thing("x"), [], (), id="owned-by-nobody"),
        pytest.param(child(owner()), [owner()], (), id="its-owner-lives"),
        pytest.param(child(owner()), [], (Delete(a("b"), "u-b"),), id="its-owner-is-gone"),
        pytest.param(child(owner()), [made(thing("a"), "u-new")], (Delete(a("b"), "u-b"),), id="another-has-its-name"),
        pytest.param(child(owner()), [owner(deleting=True, finalizers=["x"])], (), id="its-owner-is-going"),
        pytest.param(child(owner(), deleting=True, finalizers=["x"]), [], (), id="goes-already"),
        pytest.param(child(owner()), [owner(**WAITING)], (Delete(a("b"), "u-b"),), id="its-owner-waits-for-it"),
        pytest.param(child(owner(), block=False), [owner(**WAITING)], (), id="its-owner-does-not-wait-for-it"),
        pytest.param(
            child(owner(), made(thing("o"), "u-o")),
            [made(thing("o"), "u-o")],
            (Patch(a("b"), {"metadata": owned_by(made(thing("o"), "u-o"))}, "u-b"),),
            id="one-of-two-owners-is-gone",
        ),
        pytest.param(
            made(thing("b", meta=owned_by({**owner(), "kind": "Elsewhere"})), "u-b"), [], (), id="owner-of-unknown-kind"
        ),
        pytest.param(
            child(made(space("s"), "u-s")), [made(space("s"), "u-s")], (), id="owned-by-an-object-of-the-cluster"
        ),
        pytest.param(
            child(owner()),
            [owner(**WAITING), child(child(owner()), name="c", uid="u-c")],
            (Patch(a("b"), {"metadata": {"finalizers": [collect.FOREGROUND]}}, "u-b"), Delete(a("b"), "u-b")),
            id="waited-for-and-waiting-itself",
        ),
        pytest.param(
            owner(**WAITING), [], (Patch(a(), {"metadata": {"finalizers": []}}, "u-a"),), id="nothing-left-to-wait-for"
        ),
        pytest.param(
            owner(**WAITING), [child(owner(), deleting=True, finalizers=["x"])], (), id="still-waiting"
        ),
        pytest.param(owner(**WAITING), [child(owner())], (Delete(a("b"), "u-b"),), id="asks-dependents-to-go"),
        pytest.param(
            owner(**WAITING),
            [child(owner(), block=False)],
            (Patch(a(), {"metadata": {"finalizers": []}}, "u-a"),),
            id="waits-for-blocking-dependents-only",
        ),
    ],
)  # fmt: skip
def test_plan(obj, others, expected):
    assert plan(obj, *others) == expected


def test_whom_to_look_at_when_something_is_gone():
    top, middle = owner(**WAITING), child(owner())
    world = World([top, child(middle, name="c", uid="u-c"), made(space("default"), "u-s", deleting=True)])
    assert collect.orphaned_by(middle, world) == [a("c"), a("a"), Ref(NAMESPACE, "", "default")]
    assert collect.orphaned_by(made(thing("x"), "u-x"), World()) == []


@pytest.mark.parametrize(
    ("obj", "concerned"),
    [(thing(), False), (child(owner()), True), (owner(**WAITING), True), (owner(deleting=True), False)],
    ids=["alone", "owned", "waiting", "going"],
)
def test_concerns(obj, concerned):
    assert collect.concerns(obj) is concerned


@pytest.mark.parametrize(
    ("before", "obj", "concerned"),
    [
        (child(owner()), {**child(owner()), "status": {"phase": "Running"}}, False),
        (thing(), child(owner()), True),
        (owner(), owner(**WAITING), True),
    ],
    ids=["status", "owned-now", "waiting-now"],
)
def test_a_change_concerns_only_where_it_touches_owners_or_the_end(before, obj, concerned):
    assert collect.concerns(obj, before) is concerned


# --- end to end


class Loop:
    """What the controllers' loop does, with the garbage collector alone."""

    def __init__(self, registry) -> None:
        self.registry = registry
        self.dirty: list[Ref] = []
        self.order: list[str] = []
        self.cache = Cache(registry.store)
        self.cache.listen(self.changed)

    def changed(self, type_, obj, before) -> None:
        if type_ == "DELETED":
            self.order.append(obj["metadata"]["name"])
            self.dirty += collect.orphaned_by(obj, self.cache.world)
        elif collect.concerns(obj, before):
            self.dirty.append(Ref.of(obj))

    def settle(self) -> None:
        self.order.clear()
        self.cache.sync()
        for _ in range(500):
            if not self.dirty:
                return
            obj = self.cache.world.get(self.dirty.pop(0))
            if obj is not None:
                actions = collect.plan(obj, self.cache.world, self.registry.kinds)
                assert not any(self.registry.execute(actions, component="gc"))
            self.cache.sync()
        raise AssertionError("it does not settle")


@pytest.fixture
def loop(registry):
    loop = Loop(registry)
    yield loop
    loop.cache.close()


@pytest.fixture
def family(registry):
    top = registry.create(thing("top"))
    middle = registry.create(thing("middle", meta=owned_by(top)))
    for name in ("p1", "p2"):
        registry.create(pod(name, meta=owned_by(middle), nodeName="n1"))
    registry.create(thing("stranger"))


def names(registry):
    return sorted(o["metadata"]["name"] for kind in (THING, POD) for o in registry.list(kind)[0])


def end_pods(registry, loop):
    """The node's part: the pods have ended."""
    for item in registry.list(POD)[0]:
        assert item["metadata"]["deletionTimestamp"]
        registry.delete(Ref.of(item), grace=0)
    loop.settle()


def test_background(registry, loop, family):
    registry.delete(a("top"), propagation="Background")
    loop.settle()
    assert names(registry) == ["p1", "p2", "stranger"]
    end_pods(registry, loop)
    assert names(registry) == ["stranger"]


def test_foreground_goes_from_the_leaves_up(registry, loop, family):
    registry.delete(a("top"), propagation="Foreground")
    loop.settle()
    assert names(registry) == ["middle", "p1", "p2", "stranger", "top"]
    end_pods(registry, loop)
    assert names(registry) == ["stranger"]
    assert loop.order[-2:] == ["middle", "top"]


def test_orphan_stops_at_once(registry, loop, family):
    registry.delete(a("top"), propagation="Orphan")
    loop.settle()
    assert names(registry) == ["middle", "p1", "p2", "stranger"]


def test_a_dependent_that_comes_too_late_goes_too(registry, loop):
    top = registry.create(thing("top"))
    registry.delete(a("top"))
    registry.create(thing("late", meta=owned_by(top)))
    loop.settle()
    assert names(registry) == []


def test_a_namespace_goes_when_it_is_empty(registry, loop):
    ref = Ref(NAMESPACE, "", "old")
    registry.create(space("old"))
    top = registry.create(thing("top", namespace="old"))
    registry.create(thing("kept", namespace="old", meta={"finalizers": ["x.dev/hold"]}))
    registry.create(thing("child", namespace="old", meta=owned_by(top)))
    registry.create(thing("elsewhere"))
    registry.delete(ref)
    loop.settle()
    assert names(registry) == ["elsewhere", "kept"]
    assert registry.get(ref)["status"]["phase"] == "Terminating"
    registry.patch(Ref(THING, "old", "kept"), {"metadata": {"finalizers": []}})
    loop.settle()
    assert names(registry) == ["elsewhere"]
    assert registry.store.get(ref.key) is None


def test_an_empty_namespace_goes(registry, loop):
    registry.create(space("old"))
    registry.delete(Ref(NAMESPACE, "", "old"))
    loop.settle()
    assert registry.store.get("core/Namespace//old") is None
