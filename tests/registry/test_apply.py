"""Three-way apply: created, configured, unchanged; all or nothing."""

from __future__ import annotations

import copy
import json
import time

import pytest

from ktool.api.errors import ApiError
from ktool.api.obj import put
from ktool.api.ref import NAMESPACE, Ref
from ktool.registry.apply import LAST_APPLIED, apply
from tests.registry.builders import a, config, space, thing


def told(outcomes):
    return [(str(ref), outcome) for ref, outcome, _, _ in outcomes]


def one(registry, obj, **options):
    ((_, outcome, result, _),) = apply(registry, [obj], **options)
    return outcome, result


def test_created_unchanged_configured(registry, store):
    manifest = thing(size=2, memory="1024Mi", ports=[{"port": 80}])
    outcome, made = one(registry, manifest)
    assert outcome == "created" and made["spec"]["memory"] == "1Gi"
    head = store.head()
    assert one(registry, copy.deepcopy(manifest)) == ("unchanged", made)
    assert store.head() == head
    outcome, new = one(registry, put(manifest, "spec", "size", 3))
    assert outcome == "configured"
    assert (new["spec"]["size"], new["metadata"]["generation"]) == (3, 2)


def test_the_last_applied_manifest_is_kept_as_kubectl_keeps_it(registry):
    _, made = one(registry, thing(meta={"annotations": {"note": "x"}}, size=2))
    text = made["metadata"]["annotations"][LAST_APPLIED]
    assert text == (
        '{"apiVersion":"test.dev/v1","kind":"Thing","metadata":{"annotations":{"note":"x"},"name":"a",'
        '"namespace":"default"},"spec":{"size":2}}\n'
    )
    # A manifest that came out of `get -o yaml` carries the annotation itself: it is not nested.
    _, again = one(registry, thing(meta={"annotations": {"note": "x", LAST_APPLIED: text}}, size=2))
    assert again == made
    assert json.loads(text)["metadata"]["annotations"] == {"note": "x"}


def test_a_field_taken_out_of_the_manifest_is_taken_out_of_the_object(registry):
    one(registry, thing(note="x", size=4, tags={"a": "1", "b": "2"}))
    _, new = one(registry, thing(tags={"a": "1"}))
    assert new["spec"] == {"size": 1, "replicas": 1, "tags": {"a": "1"}}


def test_what_others_set_stays(registry):
    one(registry, thing(tags={"a": "1"}))
    registry.patch(a(), {"spec": {"replicas": 5, "tags": {"theirs": "x"}}, "metadata": {"labels": {"theirs": "y"}}})
    registry.patch(a(), {"status": {"replicas": 5}}, subresource="status")
    _, new = one(registry, thing(tags={"a": "2"}))
    assert new["spec"] == {"size": 1, "replicas": 5, "tags": {"a": "2", "theirs": "x"}}
    assert new["metadata"]["labels"] == {"theirs": "y"}
    assert new["status"] == {"replicas": 5}


def test_drift_in_a_field_of_the_manifest_is_repaired(registry):
    one(registry, thing(size=2))
    registry.patch(a(), {"spec": {"size": 9}})
    outcome, new = one(registry, thing(size=2))
    assert (outcome, new["spec"]["size"]) == ("configured", 2)


def test_lists_are_merged_by_their_key(registry):
    one(registry, thing(ports=[{"port": 80, "name": "web"}, {"port": 81}]))
    registry.patch(a(), {"spec": {"ports": [{"port": 90, "name": "theirs"}]}}, type="strategic")
    _, new = one(registry, thing(ports=[{"port": 80, "name": "www"}]))
    assert sorted((port["port"], port.get("name")) for port in new["spec"]["ports"]) == [(80, "www"), (90, "theirs")]


def test_an_object_made_in_another_way_is_adopted(registry):
    registry.create(thing(note="x", size=2))
    outcome, new = one(registry, thing(size=2))
    assert outcome == "configured" and new["spec"]["note"] == "x"
    assert one(registry, thing(size=2))[0] == "unchanged"


def test_objects_may_need_each_other_whatever_their_order(registry):
    objects = [thing("t", namespace="new"), {**config(), "metadata": {"name": "c", "namespace": "new"}}, space("new")]
    assert told(apply(registry, objects)) == [
        ("Namespace new", "created"),
        ("Config new/c", "created"),
        ("Thing new/t", "created"),
    ]


def test_all_or_nothing_and_every_error_of_every_object(registry, store):
    registry.create(thing("fixed", fixed="x"))
    head = store.head()
    subscription = store.watch("", head)
    objects = [
        thing("good"),
        thing("bad", sise=1, size="x"),
        space("fine"),
        thing("fixed", fixed="y"),
        {"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}},
        thing("lost", namespace="none"),
        "text",
    ]
    with pytest.raises(ApiError) as caught:
        apply(registry, objects)
    found = {(cause.field, cause.reason) for cause in caught.value.causes}
    assert {field for field, _ in found} == {"[1].spec.sise", "[1].spec.size", "[3].spec.fixed", "[4].", "[5].", "[6]."}
    assert ("[5].", "NotFound") in found
    assert caught.value.code == 422
    assert (store.head(), subscription.poll()) == (head, [])
    assert store.get(Ref(NAMESPACE, "", "fine").key) is None


def test_one_refusal_keeps_its_code(registry):
    with pytest.raises(ApiError) as caught:
        apply(registry, [thing("good"), thing("lost", namespace="none")])
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    assert caught.value.causes[0].field == "[1]."


def test_a_namespace_that_is_refused_does_not_blame_what_is_in_it(registry):
    bad = put(space("new"), "spec", {"finaliser": []})
    with pytest.raises(ApiError) as caught:
        apply(registry, [bad, thing("t", namespace="new")])
    assert {cause.field for cause in caught.value.causes} == {"[0].spec.finaliser"}


def test_dry_run_tells_what_would_be(registry, store):
    one(registry, thing("a"))
    head = store.head()
    objects = [thing("a", size=5), thing("b", namespace="new"), space("new")]
    outcomes = apply(registry, objects, dry_run=True)
    assert told(outcomes) == [
        ("Namespace new", "created"),
        ("Thing default/a", "configured"),
        ("Thing new/b", "created"),
    ]
    assert outcomes[1][2]["spec"]["size"] == 5
    assert store.head() == head
    with pytest.raises(ApiError):
        apply(registry, [thing("b", size=13)], dry_run=True)


def test_fields_nothing_acts_on_are_warnings_and_errors_under_strict(registry, store):
    manifest = thing(ignored="x", note="nothing")
    ((*_, warnings),) = apply(registry, [manifest])
    assert len(warnings) == 2
    assert warnings[0].startswith("spec.ignored: ") and warnings[1] == "spec.note: says nothing"
    ((_, outcome, _, again),) = apply(registry, [manifest])
    assert (outcome, again) == ("unchanged", warnings)
    head = store.head()
    with pytest.raises(ApiError) as caught:
        apply(registry, [thing("b", ignored="x"), thing("c", note="nothing"), thing("d")], strict=True)
    assert [cause.field for cause in caught.value.causes] == ["[0].spec.ignored", "[1]."]
    assert store.head() == head
    assert told(apply(registry, [thing("d")], strict=True)) == [("Thing default/d", "created")]


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        pytest.param(thing(name="", meta={"generateName": "x-"}), "apply needs metadata.name", id="generateName"),
        pytest.param({**thing(), "metadata": None}, "metadata.name: is required", id="no-metadata"),
        pytest.param(thing(meta={"annotations": {"a": 1}}), "metadata.annotations[a]", id="annotation-no-string"),
        pytest.param(thing(meta={"annotations": "x"}), "metadata.annotations", id="annotations-no-map"),
        pytest.param(thing(size=float("inf")), "JSON", id="no-json"),
    ],
)
def test_what_cannot_be_applied(registry, obj, says):
    with pytest.raises(ApiError) as caught:
        apply(registry, [obj])
    assert says in caught.value.message


def test_a_manifest_with_an_old_version_conflicts(registry):
    _, made = one(registry, thing())
    registry.patch(a(), {"spec": {"size": 2}})
    with pytest.raises(ApiError) as caught:
        one(registry, thing(meta={"resourceVersion": made["metadata"]["resourceVersion"]}, size=3))
    assert caught.value.reason == "Conflict"


def test_changing_what_is_being_deleted_is_said(registry):
    one(registry, thing(meta={"finalizers": ["x.dev/hold"]}))
    registry.delete(a())
    ((_, outcome, _, warnings),) = apply(registry, [thing(meta={"finalizers": ["x.dev/hold"]}, size=7)])
    assert outcome == "configured" and any("being deleted" in text for text in warnings)


def test_a_hundred_unchanged_objects_are_quick(registry):
    ports = [{"port": port, "name": f"p{port}"} for port in range(10)]
    objects = [thing(f"t{i}", ports=ports, tags={f"k{n}": "v" for n in range(20)}) for i in range(100)]
    apply(registry, objects)
    started = time.process_time()
    assert {outcome for _, outcome, _, _ in apply(registry, objects)} == {"unchanged"}
    assert time.process_time() - started < 0.2  # about 0.03 where this was written
