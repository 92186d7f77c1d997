"""The verbs of the API, on a real store."""

from __future__ import annotations

import copy

import pytest

from ktool.api.errors import ApiError
from ktool.api.obj import put
from ktool.api.ref import NAMESPACE, POD, GroupKind, Ref
from tests.registry.builders import CONFIG, THING, a, config, pod, space, thing


def refused(code: int, reason: str, call, *args, **options) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*args, **options)
    assert (caught.value.code, caught.value.reason) == (code, reason), caught.value.message
    return caught.value


# --- create


def test_create_fills_in_defaults_and_the_systems_metadata(registry, store):
    made = registry.create(thing(ports=[{"port": 80}]))
    assert made == {
        "apiVersion": "test.dev/v1",
        "kind": "Thing",
        "metadata": {
            "name": "a",
            "namespace": "default",
            "uid": "uid-2",
            "creationTimestamp": "2023-11-14T22:13:20Z",
            "generation": 1,
            "resourceVersion": "2",
        },
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}], "size": 1, "replicas": 1},
    }
    assert registry.get(a()) == made == store.get(a().key)


def test_create_ignores_what_only_the_system_writes(registry):
    meta = {"uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z", "managedFields": []}
    made = registry.create(
        {**thing(meta={**meta, "deletionTimestamp": "2001-01-01T00:00:00Z"}), "status": {"replicas": 4}}
    )
    assert made["metadata"]["uid"] == "uid-2"
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert "deletionTimestamp" not in made["metadata"] and "managedFields" not in made["metadata"]
    assert "status" not in made


def test_create_shares_nothing_with_its_caller(registry):
    mine = thing(tags={"k": "v"})
    registry.create(mine)
    mine["spec"]["tags"]["k"] = "changed"
    assert registry.get(a())["spec"]["tags"] == {"k": "v"}


def test_generated_names_are_cut_to_fit(registry):
    made = registry.create(thing(name="", meta={"generateName": "web-"}))
    assert made["metadata"]["name"] == "web-00001"
    long = registry.create(thing(name="", meta={"generateName": "x" * 80}))
    assert long["metadata"]["name"] == "x" * 58 + "00002"


@pytest.mark.parametrize(
    ("obj", "code", "reason", "says"),
    [
        pytest.param({"kind": "Thing", "metadata": {}}, 400, "BadRequest", "names no apiVersion", id="no-version"),
        pytest.param({"apiVersion": "v1"}, 400, "BadRequest", "names no kind", id="no-kind"),
        pytest.param([1], 400, "BadRequest", "names no kind", id="no-object"),
        pytest.param({**thing(), "kind": "Thingy"}, 404, "NotFound", "did you mean Thing?", id="unknown-kind"),
        pytest.param({**thing(), "apiVersion": "v9"}, 404, "NotFound", "it is of test.dev/v1 here", id="other-version"),
        pytest.param({**thing(), "metadata": None}, 422, "Invalid", "metadata: must be an object", id="no-metadata"),
        pytest.param(thing(name=""), 422, "Invalid", "metadata.name: is required", id="no-name"),
        pytest.param(thing("Big"), 422, "Invalid", 'metadata.name: "Big" must be lower case', id="bad-name"),
        pytest.param(thing("a/b"), 422, "Invalid", "metadata.name", id="slash"),
        pytest.param(thing(meta={"labels": {"a b": "x"}}), 422, "Invalid", "metadata.labels", id="bad-label"),
        pytest.param(thing(sise=3), 422, "Invalid", 'spec.sise: unknown field; did you mean "size"', id="unknown"),
        pytest.param(thing(size="3"), 422, "Invalid", "spec.size", id="wrong-type"),
        pytest.param(thing(size=13), 422, "Invalid", "spec.size: must not be 13", id="the-kinds-own-rule"),
        pytest.param(thing(namespace="none"), 404, "NotFound", 'namespaces "none" not found', id="no-namespace"),
        pytest.param(thing(meta={"resourceVersion": "1"}), 400, "BadRequest", "resourceVersion", id="with-a-version"),
        pytest.param(put(space("x"), "metadata", "namespace", "x"), 422, "Invalid", "not allowed", id="cluster-kind"),
        pytest.param(thing(size=float("nan")), 400, "BadRequest", "JSON", id="nan"),
    ],
)  # fmt: skip
def test_create_refuses(registry, store, obj, code, reason, says):
    head = store.head()
    assert says in refused(code, reason, registry.create, obj).message
    assert store.head() == head


def test_create_names_everything_that_is_wrong_at_once(registry):
    error = refused(422, "Invalid", registry.create, thing(meta={"labels": {"a": 1}}, sise=1, size="x"))
    assert {cause.field for cause in error.causes} == {"metadata.labels[a]", "spec.sise", "spec.size"}


def test_create_twice(registry):
    registry.create(thing())
    error = refused(409, "AlreadyExists", registry.create, thing())
    assert error.message == 'things.test.dev "a" already exists'


def test_two_controllers_own_nothing(registry):
    owner = {"apiVersion": "v1", "kind": "Config", "name": "x", "uid": "u", "controller": True}
    error = refused(422, "Invalid", registry.create, thing(meta={"ownerReferences": [owner, {**owner, "uid": "w"}]}))
    assert error.causes[0].field == "metadata.ownerReferences"


# --- update


def test_update_replaces_the_spec_and_moves_the_generation(registry):
    made = registry.create(thing(note="old", size=4))
    new = registry.update(put(made, "spec", {"note": "new"}))
    assert new["spec"] == {"note": "new", "size": 1, "replicas": 1}
    assert new["metadata"]["generation"] == 2
    assert int(new["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert new["metadata"]["uid"] == made["metadata"]["uid"]


def test_labels_do_not_move_the_generation(registry):
    made = registry.create(thing())
    new = registry.update(put(made, "metadata", "labels", {"a": "b"}))
    assert new["metadata"]["labels"] == {"a": "b"}
    assert new["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda o: o, id="the-same"),
        pytest.param(lambda o: put(o, "spec", "size", None), id="a-default-left-out"),
        pytest.param(lambda o: put(o, "spec", "memory", "1024Mi"), id="a-quantity-in-other-words"),
        pytest.param(lambda o: put(o, "status", {"replicas": 9}), id="a-status-that-is-not-its-business"),
        pytest.param(lambda o: put(o, "metadata", "generation", 99), id="generation"),
        pytest.param(lambda o: put(o, "metadata", "creationTimestamp", "2001-01-01T00:00:00Z"), id="created"),
        pytest.param(lambda o: put(o, "metadata", "resourceVersion", None), id="without-a-version"),
    ],
)
def test_an_update_that_changes_nothing_writes_nothing(registry, store, change):
    made = registry.create(thing(memory="1Gi"))
    head = store.head()
    assert registry.update(change(made)) == made
    assert store.head() == head


def test_an_update_from_an_old_state_conflicts(registry):
    made = registry.create(thing())
    registry.update(put(made, "spec", "size", 2))
    error = refused(409, "Conflict", registry.update, put(made, "spec", "size", 3))
    assert "please apply your changes to the latest version" in error.message
    registry.update(put(put(made, "spec", "size", 3), "metadata", "resourceVersion", ""))  # no precondition


def test_update_of_another_object_of_that_name_conflicts(registry):
    made = registry.create(thing())
    error = refused(409, "Conflict", registry.update, put(put(made, "metadata", "uid", "x"), "spec", "size", 2))
    assert "UID in precondition: x" in error.message


def test_update_refuses_what_the_kind_refuses(registry):
    made = registry.create(thing(fixed="x"))
    error = refused(422, "Invalid", registry.update, put(made, "spec", "fixed", "y"))
    assert [str(cause) for cause in error.causes] == ["spec.fixed: field is immutable"]
    refused(404, "NotFound", registry.update, thing("missing"))


def test_nothing_given_out_is_ever_changed(registry):
    made = registry.create(thing(ports=[{"port": 1}], tags={"k": "v"}))
    kept = copy.deepcopy(made)
    registry.update(put(made, "spec", "size", 2))
    registry.patch(a(), {"spec": {"tags": {"k": None}, "ports": []}, "metadata": {"labels": {"x": "y"}}})
    registry.patch(a(), {"status": {"replicas": 2}}, subresource="status")
    registry.delete(a())
    assert made == kept


# --- status and scale


def test_status_changes_alone(registry):
    made = registry.create(thing())
    new = registry.update(put(put(made, "status", {"replicas": 3}), "spec", "size", 9), subresource="status")
    assert (new["status"], new["spec"]) == ({"replicas": 3}, made["spec"])
    assert new["metadata"]["generation"] == 1
    again = registry.update(put(new, "spec", "size", 5))
    assert again["status"] == {"replicas": 3}
    refused(422, "Invalid", registry.update, put(again, "status", {"replicas": "x"}), subresource="status")


def test_scale(registry):
    registry.create(thing(selector={"matchLabels": {"app": "web"}}, replicas=2))
    scale = registry.get(a(), "scale")
    assert scale["apiVersion"] == "autoscaling/v1" and scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    new = registry.update(put(scale, "spec", "replicas", 5), subresource="scale", ref=a())
    assert new["spec"] == {"replicas": 5}
    assert registry.get(a())["spec"]["replicas"] == 5
    assert registry.get(a())["metadata"]["generation"] == 2
    assert registry.patch(a(), {"spec": {"replicas": 0}}, subresource="scale")["spec"] == {"replicas": 0}
    refused(409, "Conflict", registry.update, scale, subresource="scale", ref=a())
    refused(422, "Invalid", registry.patch, a(), {"spec": {"replicas": -1}}, subresource="scale")
    registry.create(config())
    refused(404, "NotFound", registry.get, Ref(CONFIG, "default", "c"), "scale")
    refused(404, "NotFound", registry.patch, Ref(CONFIG, "default", "c"), {}, subresource="status")


# --- patch


def test_patches(registry):
    registry.create(thing(note="x", ports=[{"port": 80, "name": "web"}], tags={"a": "1", "b": "2"}))
    merged = registry.patch(a(), {"spec": {"note": None, "tags": {"a": None, "c": "3"}}})
    assert "note" not in merged["spec"] and merged["spec"]["tags"] == {"b": "2", "c": "3"}
    added = registry.patch(a(), {"spec": {"ports": [{"port": 81}]}}, type="strategic")
    assert [port["port"] for port in added["spec"]["ports"]] == [80, 81] or len(added["spec"]["ports"]) == 2
    replaced = registry.patch(a(), {"spec": {"ports": [{"port": 82}]}}, type="merge")
    assert [port["port"] for port in replaced["spec"]["ports"]] == [82]
    done = registry.patch(a(), [{"op": "replace", "path": "/spec/size", "value": 6}], type="json")
    assert done["spec"]["size"] == 6
    assert done["metadata"]["generation"] == 5


@pytest.mark.parametrize(
    ("patch", "type_", "code", "reason"),
    [
        pytest.param({"metadata": {"name": "b"}}, "merge", 400, "BadRequest", id="rename"),
        pytest.param({"metadata": {"namespace": "b"}}, "merge", 400, "BadRequest", id="move"),
        pytest.param({"metadata": None}, "merge", 400, "BadRequest", id="no-metadata"),
        pytest.param({"kind": "Pod"}, "merge", 400, "BadRequest", id="another-kind"),
        pytest.param({"metadata": {"resourceVersion": "1"}}, "merge", 409, "Conflict", id="old-version"),
        pytest.param({"metadata": {"uid": "other"}}, "merge", 409, "Conflict", id="another-uid"),
        pytest.param({"spec": {"size": "x"}}, "merge", 422, "Invalid", id="wrong-type"),
        pytest.param("x", "merge", 400, "BadRequest", id="no-object"),
        pytest.param({}, "magic", 400, "BadRequest", id="no-such-type"),
        pytest.param([{"op": "remove", "path": ""}], "json", 400, "BadRequest", id="nothing-left"),
    ],
)
def test_patch_refuses(registry, store, patch, type_, code, reason):
    made = registry.create(thing())
    refused(code, reason, registry.patch, a(), patch, type=type_)
    assert registry.get(a()) == made


def test_patch_with_a_uid(registry):
    made = registry.create(thing())
    refused(409, "Conflict", registry.patch, a(), {"spec": {"size": 2}}, uid="other")
    assert registry.patch(a(), {"spec": {"size": 2}}, uid=made["metadata"]["uid"])["spec"]["size"] == 2


# --- dry run


def test_dry_run_judges_and_writes_nothing(registry, store):
    registry.create(thing())
    head, subscription = store.head(), store.watch("", store.head())
    assert registry.create(thing("b"), dry_run=True)["metadata"]["uid"]
    assert registry.patch(a(), {"spec": {"size": 5}}, dry_run=True)["spec"]["size"] == 5
    assert registry.delete(a(), dry_run=True)
    refused(409, "AlreadyExists", registry.create, thing(), dry_run=True)
    assert (store.head(), subscription.poll()) == (head, [])
    assert registry.get(a())["spec"]["size"] == 1


# --- list


def test_list_by_namespace_labels_and_fields(registry):
    registry.create(space("other"))
    registry.create(thing("a", meta={"labels": {"app": "web", "tier": "x"}}, size=1))
    registry.create(thing("b", meta={"labels": {"app": "web"}}, size=2))
    registry.create(thing("c", namespace="other", meta={"labels": {"app": "db"}}, size=2))

    def names(*args: str, **selectors: str) -> list[str]:
        items, rv = registry.list(THING, *args, **selectors)
        assert rv == str(registry.store.head())
        return [item["metadata"]["name"] for item in items]

    assert names() == ["a", "b", "c"]
    assert names("default") == ["a", "b"]
    assert names(labels="app=web,tier") == ["a"]
    assert names(labels="app in (db, x)") == ["c"]
    assert names(fields="metadata.name=b") == ["b"]
    assert names(fields="metadata.namespace!=default,spec.size=2") == ["c"]
    assert names("nowhere") == []
    refused(400, "BadRequest", registry.list, THING, labels="a=b=c")
    refused(404, "NotFound", registry.list, GroupKind("", "Nothing"))
    assert [item["metadata"]["name"] for item in registry.list(NAMESPACE, "ignored")[0]] == ["default", "other"]


def test_field_selectors_of_pods(registry):
    registry.create(pod("p", nodeName="n1"))
    registry.create(pod("q"))
    assert len(registry.list(POD, fields="spec.nodeName=n1")[0]) == 1
    assert len(registry.list(POD, fields="spec.nodeName=")[0]) == 1
    assert len(registry.list(POD, fields="status.phase=Pending")[0]) == 2


def test_the_default_namespace_is_made_once(registry, store, clock):
    head = store.head()
    type(registry)(store, registry.kinds, clock=clock)
    assert store.head() == head
    assert [item["metadata"]["name"] for item in registry.list(NAMESPACE)[0]] == ["default"]
