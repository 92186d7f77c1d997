"""How objects go: at once, after a grace period, when their finalizers are gone."""

from __future__ import annotations

import pytest

from ktool.api.errors import ApiError
from ktool.api.obj import put
from ktool.api.ref import NAMESPACE, POD, Ref
from tests.registry.builders import THING, a, owned_by, pod, space, thing

P = Ref(POD, "default", "p")


def refused(code, reason, call, *args, **options):
    with pytest.raises(ApiError) as caught:
        call(*args, **options)
    assert (caught.value.code, caught.value.reason) == (code, reason), caught.value.message
    return caught.value.message


def exists(registry, ref) -> bool:
    return registry.store.get(ref.key) is not None


def test_most_objects_go_at_once(registry, store):
    registry.create(thing())
    subscription = store.watch("test.dev/Thing/", store.head())
    assert registry.delete(a())["metadata"]["name"] == "a"
    assert not exists(registry, a())
    assert [change.type for change in subscription.poll()] == ["DELETED"]
    refused(404, "NotFound", registry.delete, a())


def test_only_that_very_object(registry):
    made = registry.create(thing())
    assert "UID in precondition: other" in refused(409, "Conflict", registry.delete, a(), uid="other")
    registry.delete(a(), uid=made["metadata"]["uid"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"grace": -1}, "negative"), ({"propagation": "Sideways"}, "not one of Background, Foreground, Orphan")],
    ids=["grace", "propagation"],
)
def test_options_that_make_no_sense(registry, options, message):
    registry.create(thing())
    assert message in refused(400, "BadRequest", registry.delete, a(), **options)


# --- grace


def test_a_pod_on_a_node_gets_its_grace(registry):
    registry.create(pod(nodeName="n1", terminationGracePeriodSeconds=10))
    marked = registry.delete(P)
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 10
    assert marked["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:30Z"
    assert registry.get(P) == marked
    registry.delete(P, grace=0)
    assert not exists(registry, P)


@pytest.mark.parametrize(
    ("spec", "grace"),
    [({}, None), ({"nodeName": "n1"}, 0), ({"nodeName": "n1", "terminationGracePeriodSeconds": 0}, None), ({}, 60)],
    ids=["on-no-node", "asked-for-none", "its-own-is-none", "on-no-node-whatever-is-asked"],
)
def test_pods_that_go_at_once(registry, spec, grace):
    registry.create(pod(**spec))
    registry.delete(P, grace=grace)
    assert not exists(registry, P)


def test_a_grace_period_can_only_be_shortened(registry, clock):
    registry.create(pod(nodeName="n1"))
    first = registry.delete(P)
    assert first["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:50Z"
    clock.now += 5
    assert registry.delete(P) == first
    assert registry.delete(P, grace=60) == first
    short = registry.delete(P, grace=8)
    assert short["metadata"]["deletionGracePeriodSeconds"] == 8
    assert short["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:28Z"  # counted from the first request


def test_the_grace_asked_for_may_be_longer_than_the_pods_own(registry):
    registry.create(pod(nodeName="n1", terminationGracePeriodSeconds=5))
    assert registry.delete(P, grace=90)["metadata"]["deletionGracePeriodSeconds"] == 90


# --- finalizers


def test_finalizers_hold_an_object_until_they_are_gone(registry):
    registry.create(thing(meta={"finalizers": ["x.dev/one", "x.dev/two"]}))
    marked = registry.delete(a())
    assert marked["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:20Z"
    assert registry.delete(a()) == marked
    registry.patch(a(), {"metadata": {"finalizers": ["x.dev/two"]}})
    assert exists(registry, a())
    registry.patch(a(), {"metadata": {"finalizers": None}})
    assert not exists(registry, a())


def test_no_finalizer_is_added_to_what_is_going(registry):
    registry.create(thing(meta={"finalizers": ["x.dev/one"]}))
    registry.delete(a())
    message = refused(422, "Invalid", registry.patch, a(), {"metadata": {"finalizers": ["x.dev/one", "x.dev/late"]}})
    assert "no new finalizers can be added" in message


def test_deletion_cannot_be_taken_back(registry):
    made = registry.create(thing(meta={"finalizers": ["x.dev/one"]}))
    registry.delete(a())
    new = registry.update(put(put(made, "metadata", "resourceVersion", ""), "spec", "size", 4))
    assert new["metadata"]["deletionTimestamp"] and new["spec"]["size"] == 4


def test_a_pod_with_finalizers_waits_for_both(registry):
    registry.create(pod(nodeName="n1", meta={"finalizers": ["x.dev/one"]}))
    registry.delete(P)
    registry.patch(P, {"metadata": {"finalizers": []}})
    assert exists(registry, P)  # its grace period runs
    registry.delete(P, grace=0)
    assert not exists(registry, P)
    registry.create(pod(nodeName="n1", meta={"finalizers": ["x.dev/one"]}))
    registry.delete(P, grace=0)
    assert registry.get(P)["metadata"]["deletionGracePeriodSeconds"] == 0
    registry.patch(P, {"metadata": {"finalizers": []}})
    assert not exists(registry, P)


# --- propagation


def test_orphans_forget_their_owner(registry):
    owner = registry.create(thing())
    registry.create(thing("b", meta=owned_by(owner)))
    other = owned_by(owner)["ownerReferences"][0] | {"uid": "another", "controller": False}
    both = {"ownerReferences": [*owned_by(owner)["ownerReferences"], other]}
    registry.create(pod("p", meta=both))
    registry.delete(a(), propagation="Orphan")
    assert not exists(registry, a())
    assert "ownerReferences" not in registry.get(a("b"))["metadata"]
    assert registry.get(P)["metadata"]["ownerReferences"] == [other]


def test_foreground_waits_with_a_finalizer(registry):
    registry.create(thing())
    assert registry.delete(a(), propagation="Foreground")["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert exists(registry, a())
    registry.patch(a(), {"metadata": {"finalizers": []}})
    assert not exists(registry, a())


def test_background_after_foreground_waits_no_longer(registry):
    registry.create(thing())
    registry.delete(a(), propagation="Foreground")
    registry.delete(a(), propagation="Background")
    assert not exists(registry, a())


# --- namespaces


def test_a_namespace_takes_nothing_new_while_it_goes(registry):
    registry.create(space("old"))
    gone = registry.delete(Ref(NAMESPACE, "", "old"))
    assert gone["status"]["phase"] == "Terminating"
    assert "because it is being terminated" in refused(403, "Forbidden", registry.create, thing(namespace="old"))


def test_a_namespace_with_something_in_it_stays(registry):
    registry.create(space("old"))
    registry.create(thing(namespace="old"))
    ref = Ref(NAMESPACE, "", "old")
    registry.delete(ref)
    emptied = {"spec": {"finalizers": []}}
    assert "still has a Thing in it" in refused(409, "Conflict", registry.patch, ref, emptied)
    registry.delete(Ref(THING, "old", "a"))
    registry.patch(ref, emptied)
    assert not exists(registry, ref)


def test_the_default_namespace_stays(registry):
    assert "may not be deleted" in refused(403, "Forbidden", registry.delete, Ref(NAMESPACE, "", "default"))
