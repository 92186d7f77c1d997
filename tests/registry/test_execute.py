"""Carrying out plans: one transaction, refusals as data."""

from __future__ import annotations

import pytest

from ktool.api.action import Bind, Create, Delete, Emit, Patch, Status, Update
from ktool.api.errors import ApiError
from ktool.api.obj import condition, put
from ktool.api.ref import EVENT, NAMESPACE, POD, GroupKind, Ref
from tests.registry.builders import THING, a, pod, space, thing

P = Ref(POD, "default", "p")
ELSE = "another-uid"


def run(registry, *actions):
    return registry.execute(actions, component="test-controller")


def uid_of(registry, ref):
    return registry.get(ref)["metadata"]["uid"]


def test_all_of_a_plan_is_one_commit_in_order(registry, store):
    subscription = store.watch("", store.head())
    outcome = run(
        registry,
        Create(thing("a")),
        Create(pod()),
        Bind(P, "n1"),
        Status(P, {"phase": "Running"}),
        Patch(a(), {"spec": {"size": 7}}),
        Create(thing("b")),
        Delete(a("b")),
    )
    assert outcome == [None] * 7
    seen = subscription.poll()
    assert [(c.type, c.key) for c in seen] == [("ADDED", P.key), ("ADDED", a().key)]
    assert registry.get(P)["spec"]["nodeName"] == "n1"
    assert registry.get(P)["status"] == {"phase": "Running"}
    assert registry.get(a())["spec"]["size"] == 7


def test_a_refusal_is_data_at_its_place_and_stops_nothing(registry):
    made = registry.create(thing("a"))
    registry.patch(a(), {"spec": {"size": 2}})
    outcome = run(
        registry,
        Create(thing("b", size=13)),
        Create(thing("c")),
        Update(put(made, "spec", "size", 9)),
        Create({"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}}),
        Patch(Ref(GroupKind("", "Nothing"), "", "x"), {}),
        Create(thing("d", namespace="none")),
        Update(thing("missing")),
        Create(thing("e")),
        Status(a(), {"replicas": float("nan")}),
        Patch(a(), {"spec": {"size": "x"}}),
        Create(thing("f")),
    )
    assert [error and (error.code, error.reason) for error in outcome] == [
        (422, "Invalid"),
        None,
        (409, "Conflict"),
        (404, "NotFound"),
        None,  # nothing of that name exists, whatever it would be
        (404, "NotFound"),
        (404, "NotFound"),
        None,
        (400, "BadRequest"),
        (422, "Invalid"),
        None,
    ]
    assert all(isinstance(error, ApiError) for error in outcome if error)
    assert [item["metadata"]["name"] for item in registry.list(THING)[0]] == ["a", "c", "e", "f"]
    assert registry.get(a())["spec"]["size"] == 2


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(Create(thing("a", size=99)), id="create-what-exists"),
        pytest.param(Status(a(), {"replicas": 3}), id="status-as-it-is"),
        pytest.param(Status(a(), {"replicas": 1}, ELSE), id="status-of-another"),
        pytest.param(Status(a("gone"), {"replicas": 1}), id="status-of-what-is-gone"),
        pytest.param(Patch(a(), {"spec": {"size": 5}}), id="patch-to-what-is"),
        pytest.param(Patch(a(), {"spec": {"size": 6}}, ELSE), id="patch-another"),
        pytest.param(Patch(a("gone"), {"spec": {"size": 6}}), id="patch-what-is-gone"),
        pytest.param(Delete(a(), ELSE), id="delete-another"),
        pytest.param(Delete(a("gone"), ELSE), id="delete-what-is-gone"),
        pytest.param(Bind(Ref(POD, "default", "gone"), "n1"), id="bind-what-is-gone"),
        pytest.param(Bind(P, "n1"), id="bind-where-it-is"),
        pytest.param(Bind(P, "n2", ELSE), id="bind-another"),
    ],
)
def test_nothing_to_do_is_no_error_and_writes_nothing(registry, store, action):
    registry.create(thing("a", size=5))
    registry.patch(a(), {"status": {"replicas": 3}}, subresource="status")
    registry.create(pod(nodeName="n1"))
    head = store.head()
    assert run(registry, action) == [None]
    assert store.head() == head


def test_bind_sets_node_and_condition_and_no_generation(registry):
    registry.create(pod())
    assert run(registry, Bind(P, "n1", uid_of(registry, P))) == [None]
    bound = registry.get(P)
    assert bound["spec"]["nodeName"] == "n1"
    assert condition(bound, "PodScheduled") == {
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": "2023-11-14T22:13:20Z",
    }
    assert bound["metadata"]["generation"] == 1
    (error,) = run(registry, Bind(P, "n2"))
    assert (error.code, error.reason) == (409, "Conflict") and "already assigned to node n1" in error.message


def test_what_is_being_deleted_is_not_bound(registry):
    registry.create(pod(meta={"finalizers": ["x.dev/hold"]}))
    registry.delete(P)
    (error,) = run(registry, Bind(P, "n1"))
    assert error.reason == "Conflict" and "being deleted" in error.message


def test_delete_keeps_the_grace_and_ends_with_zero(registry):
    registry.create(pod(nodeName="n1"))
    assert run(registry, Delete(P, uid_of(registry, P))) == [None]
    assert registry.get(P)["metadata"]["deletionGracePeriodSeconds"] == 30
    assert run(registry, Delete(P, uid_of(registry, P), grace=0)) == [None]
    assert registry.store.get(P.key) is None


def test_a_shared_spec_is_judged_once_and_every_object_gets_its_defaults(registry):
    spec = {"containers": [{"name": "c"}]}
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{i}"}, "spec": spec} for i in range(5)]
    assert run(registry, *map(Create, pods)) == [None] * 5
    for made in registry.list(POD)[0]:
        assert made["spec"]["restartPolicy"] == "Always"
        assert made["status"] == {"phase": "Pending"}
    assert spec == {"containers": [{"name": "c"}]}
    named = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Wrong Name"}, "spec": spec}
    (error,) = run(registry, Create(named))
    assert error.reason == "Invalid"


# --- events


def events(registry):
    return registry.list(EVENT)[0]


def test_an_event_says_who_saw_what_of_whom(registry):
    registry.create(thing())
    run(registry, Emit(a(), "Started", "It has begun", uid="u1"))
    (event,) = events(registry)
    assert event["metadata"]["name"].startswith("a.")
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"] == {
        "apiVersion": "test.dev/v1",
        "kind": "Thing",
        "namespace": "default",
        "name": "a",
        "uid": "u1",
    }
    assert event["source"] == {"component": "test-controller"}
    assert (event["reason"], event["message"], event["type"], event["count"]) == (
        "Started",
        "It has begun",
        "Normal",
        1,
    )
    assert registry.list(EVENT, fields="involvedObject.name=a,involvedObject.kind=Thing")[0] == [event]


def test_repeats_are_counted(registry, clock):
    for _ in range(3):
        run(registry, Emit(a(), "Failed", "no", "Warning", "u1"))
        clock.now += 60
    run(registry, Emit(a(), "Failed", "no", "Warning", "u1"), Emit(a(), "Failed", "no", "Warning", "u1"))
    run(registry, Emit(a(), "Failed", "no", "Warning", "u2"), Emit(a(), "Failed", "other", "Warning", "u1"))
    registry.execute([Emit(a(), "Failed", "no", "Warning", "u1")], component="someone-else")
    found = sorted(events(registry), key=lambda event: -event["count"])
    assert [event["count"] for event in found] == [5, 1, 1, 1]
    assert found[0]["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert found[0]["lastTimestamp"] == "2023-11-14T22:16:20Z"


def test_events_of_the_cluster_are_in_default_and_none_in_a_namespace_that_goes(registry):
    registry.create(space("old"))
    run(registry, Emit(Ref(NAMESPACE, "", "old"), "Seen", "x"), Emit(Ref(THING, "old", "a"), "Seen", "x"))
    assert [event["metadata"]["namespace"] for event in events(registry)] == ["default", "old"]
    registry.delete(Ref(NAMESPACE, "", "old"))
    assert (
        run(registry, Emit(Ref(THING, "old", "a"), "Late", "x"), Emit(Ref(THING, "no", "a"), "Late", "x")) == [None] * 2
    )
    assert len(events(registry)) == 2
    registry.patch(Ref(NAMESPACE, "", "old"), {"spec": {"finalizers": []}})
    assert [event["metadata"]["namespace"] for event in events(registry)] == ["default"]


def test_long_names_still_make_an_event(registry):
    run(registry, Emit(Ref(NAMESPACE, "", "x" * 253), "Seen", "x"))
    assert len(events(registry)[0]["metadata"]["name"]) <= 253


def test_events_are_kept_for_an_hour_after_they_were_last_seen(registry, clock):
    run(registry, Emit(a("old"), "Seen", "x"), Emit(a("again"), "Seen", "x"))
    clock.now += 1800
    run(registry, Emit(a("again"), "Seen", "x"))
    clock.now += 1801
    run(registry, Emit(a("new"), "Seen", "x"))
    assert sorted(event["involvedObject"]["name"] for event in events(registry)) == ["again", "new"]
