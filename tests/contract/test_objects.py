"""Objects through both clients: what one answers, the other answers."""

from __future__ import annotations

import pytest

from ktool.api.errors import ApiError
from ktool.api.ref import CONFIG_MAP, NAMESPACE, POD, GroupKind, Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT
from tests.contract.conftest import configmap, deployment, pod

A = Ref(CONFIG_MAP, "default", "a")


def refused(call, *args, **named) -> ApiError:
    with pytest.raises(ApiError) as found:
        call(*args, **named)
    return found.value


# --- create and get


def test_what_is_created_can_be_got(client):
    made = client.create(configmap("a", data={"k": "v", "l": "ü\n\0"}))
    assert made["metadata"]["uid"] and made["metadata"]["resourceVersion"] and made["metadata"]["creationTimestamp"]
    assert client.get(A) == made
    assert made["data"] == {"k": "v", "l": "ü\n\0"}


def test_an_object_without_a_namespace_goes_to_default(client):
    obj = configmap("a")
    del obj["metadata"]["namespace"]
    assert client.create(obj)["metadata"]["namespace"] == "default"


def test_an_object_of_the_cluster_has_no_namespace(client):
    made = client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    assert "namespace" not in made["metadata"]
    assert client.get(Ref(NAMESPACE, "", "team")) == made


def test_a_name_can_be_generated(client):
    obj = configmap("")
    obj["metadata"] = {"generateName": "job-", "namespace": "default"}
    names = {client.create(obj)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("job-") and len(name) == 9 for name in names)


def test_a_dry_run_judges_and_writes_nothing(client):
    client.create(configmap("a"), dry_run=True)
    assert refused(client.get, A).code == 404
    made = client.create(configmap("a"))
    client.update({**made, "data": {"x": "y"}}, dry_run=True)
    client.patch(A, {"data": {"x": "y"}}, dry_run=True)
    client.delete(A, dry_run=True)
    assert client.get(A) == made
    assert refused(client.create, configmap("a"), dry_run=True).reason == "AlreadyExists"


# --- errors


def test_not_found(client):
    error = refused(client.get, Ref(CONFIG_MAP, "default", "none"))
    assert (error.code, error.reason, error.message) == (404, "NotFound", 'configmaps "none" not found')


def test_already_exists(client):
    client.create(configmap("a"))
    error = refused(client.create, configmap("a"))
    assert (error.code, error.reason, error.message) == (409, "AlreadyExists", 'configmaps "a" already exists')


def test_invalid_names_every_cause(client):
    bad = pod("a")
    bad["spec"]["containers"][0] |= {"image": 7, "imagePullPolicy": "Sometimes"}
    error = refused(client.create, bad)
    assert (error.code, error.reason) == (422, "Invalid")
    assert {cause.field for cause in error.causes} == {
        "spec.containers[0].image",
        "spec.containers[0].imagePullPolicy",
    }
    assert all(cause.message and cause.reason for cause in error.causes)


def test_a_namespace_that_does_not_exist(client):
    assert refused(client.create, configmap("a", "nowhere")).message == 'namespaces "nowhere" not found'


def test_a_kind_that_does_not_exist(client):
    assert refused(client.list, GroupKind("", "Gizmo")).code == 404
    assert refused(client.get, Ref(GroupKind("test.ktool.dev", "Gizmo"), "default", "a")).code == 404
    assert refused(client.create, {"apiVersion": "v1", "kind": "Gizmo", "metadata": {"name": "a"}}).code == 404


@pytest.mark.parametrize("name", ["..", "a b", "a/b", "A", "a%2Fb", "ü", "a?b=c", "a#b", "x" * 300])
def test_a_name_that_is_none(client, name):
    assert refused(client.create, configmap(name)).reason in ("Invalid", "BadRequest")
    assert refused(client.get, Ref(CONFIG_MAP, "default", name)).code == 404


# --- list and selectors


def test_list_in_one_namespace_and_in_all(client):
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    for namespace, name in (("default", "b"), ("default", "a"), ("other", "a")):
        client.create(configmap(name, namespace))
    named = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in client.list(CONFIG_MAP).items]
    assert named == [("default", "a"), ("default", "b"), ("other", "a")]
    assert [one["metadata"]["name"] for one in client.list(CONFIG_MAP, "other").items] == ["a"]
    assert client.list(CONFIG_MAP, "nowhere").items == []
    assert all(one["kind"] == "ConfigMap" for one in client.list(CONFIG_MAP).items)


@pytest.mark.parametrize(
    ("labels", "fields", "expected"),
    [
        ("app=x", "", ["a", "b"]),
        ("app=x,tier!=back", "", ["b"]),
        ("app in (x, y)", "", ["a", "b", "c"]),
        ("!app", "", ["d"]),
        ("tier", "", ["a", "c"]),
        ("", "metadata.name=c", ["c"]),
        ("app=x", "metadata.name!=a", ["b"]),
        ("app=none", "", []),
    ],
)
def test_selectors(client, labels, fields, expected):
    client.create(configmap("a", labels={"app": "x", "tier": "back"}))
    client.create(configmap("b", labels={"app": "x"}))
    client.create(configmap("c", labels={"app": "y", "tier": "front"}))
    client.create(configmap("d"))
    found = client.list(CONFIG_MAP, "default", labels=labels, fields=fields)
    assert [one["metadata"]["name"] for one in found.items] == expected


def test_a_selector_that_is_none_is_refused(client):
    assert refused(client.list, CONFIG_MAP, labels="a in (").code == 400


# --- update and patch


def test_update(client):
    made = client.create(configmap("a", data={"k": "1"}))
    changed = client.update({**made, "data": {"k": "2"}})
    assert changed["data"] == {"k": "2"}
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    assert client.get(A) == changed


def test_an_update_of_an_old_version_is_a_conflict(client):
    made = client.create(configmap("a"))
    client.update({**made, "data": {"k": "1"}})
    error = refused(client.update, {**made, "data": {"k": "2"}})
    assert (error.code, error.reason) == (409, "Conflict")
    assert "the object has been modified" in error.message


def test_an_update_of_what_is_gone_is_not_found(client):
    assert refused(client.update, configmap("a")).code == 404


@pytest.mark.parametrize(
    ("kind", "patch", "expected"),
    [
        ("merge", {"data": {"x": None, "z": "3"}}, {"y": "2", "z": "3"}),
        ("strategic", {"data": {"x": None, "z": "3"}}, {"y": "2", "z": "3"}),
        ("json", [{"op": "replace", "path": "/data/x", "value": "9"}], {"x": "9", "y": "2"}),
        ("json", [{"op": "test", "path": "/data/x", "value": "1"}, {"op": "remove", "path": "/data/x"}], {"y": "2"}),
    ],
    ids=["merge", "strategic", "json", "json test"],
)
def test_patch(client, kind, patch, expected):
    client.create(configmap("a", data={"x": "1", "y": "2"}))
    assert client.patch(A, patch, type=kind)["data"] == expected
    assert client.get(A)["data"] == expected


def test_a_strategic_patch_merges_containers_by_name(client):
    client.create(deployment("web"))
    ref = Ref(DEPLOYMENT, "default", "web")
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.test/app:2"}]}}}}
    container = client.patch(ref, patch, type="strategic")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.test/app:2"


@pytest.mark.parametrize(
    ("kind", "patch", "code"),
    [
        ("merge", [], 400),
        ("merge", {"data": {"x": 1}}, 422),
        ("merge", {"metadata": {"name": "b"}}, 400),
        ("json", {}, 400),
    ],
    ids=["a list", "a wrong type", "another name", "an object"],
)
def test_a_patch_that_makes_no_sense_is_refused(client, kind, patch, code):
    made = client.create(configmap("a"))
    assert refused(client.patch, A, patch, type=kind).code == code
    assert client.get(A) == made


def test_a_patch_of_an_old_version_is_a_conflict(client):
    made = client.create(configmap("a"))
    client.patch(A, {"data": {"k": "1"}})
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"k": "2"}}
    assert refused(client.patch, A, stale).reason == "Conflict"


# --- status and scale


def test_status_and_spec_are_written_apart(client, gadget):
    ref = Ref(GroupKind("test.ktool.dev", "Gadget"), "default", "g")
    made = client.create({"apiVersion": "test.ktool.dev/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {}})
    assert made["spec"]["size"] == 1
    changed = client.update({**made, "spec": {"size": 5}, "status": {"phase": "Done"}}, subresource="status")
    assert changed["status"] == {"phase": "Done"} and changed["spec"] == made["spec"]
    assert changed["metadata"]["generation"] == 1
    changed = client.update({**changed, "spec": {"size": 5}, "status": {"phase": "No"}})
    assert changed["spec"]["size"] == 5 and changed["status"] == {"phase": "Done"}
    assert changed["metadata"]["generation"] == 2
    assert client.patch(ref, {"status": {"phase": "Late"}}, subresource="status")["status"] == {"phase": "Late"}
    assert client.get(ref)["spec"]["size"] == 5


def test_scale(client):
    made = client.create(deployment("web", replicas=2))
    ref = Ref(DEPLOYMENT, "default", "web")
    scale = client.patch(ref, {"spec": {"replicas": 5}}, subresource="scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert scale["spec"] == {"replicas": 5} and scale["status"]["selector"] == "app=web"
    assert client.get(ref)["spec"]["replicas"] == 5
    live = client.get(ref)
    live["spec"] = {**live["spec"], "replicas": 0}
    assert client.update(live, subresource="scale")["spec"] == {"replicas": 0}
    assert client.get(ref)["spec"]["template"] == made["spec"]["template"]
    assert refused(client.patch, ref, {"spec": {"replicas": -1}}, subresource="scale").code == 422
    assert refused(client.patch, A, {"spec": {"replicas": 1}}, subresource="scale").code == 404


# --- delete


def test_delete(client):
    made = client.create(configmap("a"))
    gone = client.delete(A)
    assert gone["metadata"]["uid"] == made["metadata"]["uid"]
    assert refused(client.get, A).code == 404
    assert refused(client.delete, A).code == 404


def test_delete_waits_for_finalizers(client):
    client.create(configmap("a", finalizers=["test.ktool.dev/hold"]))
    assert client.delete(A)["metadata"]["deletionTimestamp"]
    assert client.get(A)["metadata"]["deletionTimestamp"]
    client.patch(A, {"metadata": {"finalizers": None}})
    assert refused(client.get, A).code == 404


def test_delete_of_another_uid_is_a_conflict(client):
    made = client.create(configmap("a"))
    assert refused(client.delete, A, uid="0" * 8).reason == "Conflict"
    client.delete(A, uid=made["metadata"]["uid"])
    assert refused(client.get, A).code == 404


def test_a_pod_ends_with_grace(client):
    client.create(pod("p"))
    ref = Ref(POD, "default", "p")
    assert client.delete(ref)["metadata"]["deletionGracePeriodSeconds"] == 30
    assert client.delete(ref, grace=5)["metadata"]["deletionGracePeriodSeconds"] == 5
    client.delete(ref, grace=0)
    assert refused(client.get, ref).code == 404


def test_foreground_deletion_waits_for_dependents(client):
    client.create(configmap("a"))
    client.delete(A, propagation="Foreground")
    assert client.get(A)["metadata"]["finalizers"] == ["foregroundDeletion"]


def test_a_propagation_that_is_none_is_refused(client):
    client.create(configmap("a"))
    assert refused(client.delete, A, propagation="Sideways").code == 400
    assert refused(client.delete, A, grace=-1).code == 400
    client.get(A)


# --- apply


def outcomes(applied) -> list[tuple[str, str]]:
    return [(one.ref.name, one.outcome) for one in applied]


def test_apply_creates_configures_and_leaves_alone(client):
    first = client.apply([configmap("a", data={"k": "1"}), configmap("b")])
    assert outcomes(first) == [("a", "created"), ("b", "created")]
    assert client.get(A) == first[0].obj
    second = client.apply([configmap("a", data={"l": "2"}), configmap("b")])
    assert outcomes(second) == [("a", "configured"), ("b", "unchanged")]
    assert client.get(A)["data"] == {"l": "2"}
    assert second[1].obj == first[1].obj


def test_apply_keeps_what_others_have_set(client):
    client.apply([configmap("a", data={"k": "1"})])
    client.patch(A, {"data": {"theirs": "x"}})
    client.apply([configmap("a", data={"k": "2"})])
    assert client.get(A)["data"] == {"k": "2", "theirs": "x"}


def test_apply_is_all_or_nothing(client):
    bad = configmap("b")
    bad["data"] = {"k": 1}
    error = refused(client.apply, [configmap("a"), bad])
    assert error.code == 422
    assert [cause.field for cause in error.causes] == ["[1].data[k]"]
    assert client.list(CONFIG_MAP).items == []


def test_apply_tells_every_cause_of_every_object(client):
    one, two = configmap("a"), configmap("b")
    one["data"], two["data"] = {"k": 1}, "text"
    error = refused(client.apply, [one, configmap("c"), two])
    assert [cause.field for cause in error.causes] == ["[0].data[k]", "[2].data"]


def test_apply_dry_run(client):
    assert outcomes(client.apply([configmap("a")], dry_run=True)) == [("a", "created")]
    assert client.list(CONFIG_MAP).items == []


def test_apply_warns_of_fields_it_does_not_act_on(client):
    obj = pod("p", node="")
    obj["spec"]["hostIPC"] = True
    warnings = client.apply([obj])[0].warnings
    assert len(warnings) == 1 and "spec.hostIPC" in warnings[0]
    assert "spec.hostIPC" in str(refused(client.apply, [obj], strict=True))


def test_apply_a_hundred_deployments(client):
    objects = [deployment(f"web-{number}") for number in range(100)]
    assert {one.outcome for one in client.apply(objects)} == {"created"}
    assert {one.outcome for one in client.apply(objects)} == {"unchanged"}
    assert len(client.list(DEPLOYMENT, "default").items) == 100


# --- itself


def test_version(client):
    told = client.version()
    assert told["gitVersion"].startswith("v") and told["where"]
