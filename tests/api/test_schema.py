"""Field trees: what is refused and how it is said, defaults, support level, look-up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktool.api import schema
from ktool.api.schema import Field
from ktool.api.shapes.meta import resource
from ktool.api.shapes.podspec import POD_SPEC, default_pod_spec, validate_pod_spec
from ktool.api.shapes.podstatus import POD_STATUS

POD = resource(POD_SPEC, POD_STATUS)
WEB = {"name": "web", "image": "nginx:1.27"}


def pod(**spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [WEB])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def web(**members: Any) -> dict[str, Any]:
    return pod(containers=[{**WEB, **members}])


REFUSED = [
    (
        "unknown",
        {**pod(), "spec": {"conatiners": [], "containers": [WEB]}},
        ['spec.conatiners: unknown field; did you mean "containers"?'],
    ),
    ("unknown-case", web(imagepullpolicy="Always"), ['did you mean "imagePullPolicy"?']),
    ("unknown-far", pod(zzz=1), ["spec.zzz: unknown field"]),
    ("type-integer", pod(priority="three"), ['spec.priority: must be an integer, not "three"']),
    ("type-boolean", pod(hostNetwork="yes"), ['spec.hostNetwork: must be true or false, not "yes"']),
    ("bool-is-no-integer", pod(priority=True), ["spec.priority: must be an integer, not true"]),
    (
        "number-is-no-string",
        web(env=[{"name": "A", "value": 8080}]),
        ['spec.containers[0].env[0].value: must be a string, not 8080; put quotes around it: "8080"'],
    ),
    ("object", pod(securityContext=[]), ["spec.securityContext: must be an object, not []"]),
    ("list", pod(containers={"web": {}}), ["spec.containers: must be a list, not"]),
    ("map", pod(nodeSelector="disk=ssd"), ['spec.nodeSelector: must be a map, not "disk=ssd"']),
    ("map-value", pod(nodeSelector={"a": True}), ["spec.nodeSelector[a]: must be a string, not true"]),
    ("map-key", pod(nodeSelector={1: "a"}), ["spec.nodeSelector: keys must be strings, not 1"]),
    ("null-in-list", pod(containers=[None]), ["spec.containers[0]: must be an object, not null"]),
    ("required", pod(containers=[{"image": "x"}]), ["spec.containers[0].name: is required"]),
    ("required-null", pod(containers=None), ["spec.containers: is required"]),
    (
        "enum",
        pod(restartPolicy="always"),
        ['spec.restartPolicy: must be one of Always, OnFailure, Never, not "always"'],
    ),
    (
        "bounds",
        web(ports=[{"containerPort": 70000}]),
        ["ports[0].containerPort: must be between 1 and 65535, not 70000"],
    ),
    ("minimum", pod(terminationGracePeriodSeconds=-1), ["must be at least 0, not -1"]),
    ("int32", pod(priority=2**31), ["spec.priority: is too large for an int32"]),
    ("quantity", web(resources={"limits": {"cpu": "1 core"}}), ["resources.limits[cpu]: must be a quantity such as"]),
    ("time", {**pod(), "metadata": {"name": "a", "creationTimestamp": "today"}}, ["creationTimestamp: must be a time"]),
    ("not-an-object", "pod", ['must be an object, not "pod"']),
    (
        "all-at-once",
        pod(restartPolicy="x", hostNetwork=1, containers=[{"name": 1}]),
        ["spec.restartPolicy", "spec.hostNetwork", "spec.containers[0].name"],
    ),
]


@pytest.mark.parametrize("value, expected", [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_refused(value: Any, expected: list[str]) -> None:
    said = [str(cause) for cause in schema.check(POD, value)]
    assert len(said) == len(expected)
    for text in expected:
        assert any(text in line for line in said), said


def test_a_path_prefix_is_put_before_every_path() -> None:
    assert [c.field for c in schema.check(POD_SPEC, {"containers": [{}]}, "spec.template.spec")] == [
        "spec.template.spec.containers[0].name"
    ]


def test_null_is_absent() -> None:
    value = pod(nodeSelector=None, hostNetwork=None)
    assert schema.check(POD, value) == []
    defaulted = schema.default(POD, value)
    assert "nodeSelector" not in defaulted["spec"]
    assert "hostNetwork" not in defaulted["spec"]


def test_defaults_are_those_of_kubernetes() -> None:
    spec = schema.default(POD, web(ports=[{"containerPort": 80}]))["spec"]
    assert spec == {
        "containers": [
            {
                **WEB,
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }


def test_defaults_change_nothing_in_place_and_share_what_they_can() -> None:
    value = web(env=[{"name": "A", "value": "1"}], resources={"limits": {"cpu": "1000m"}})
    before = copy.deepcopy(value)
    once = schema.default(POD, value)
    assert value == before
    assert once["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "1"
    assert once["metadata"] is value["metadata"]
    assert once["spec"]["containers"][0]["env"] is value["spec"]["containers"][0]["env"]
    assert schema.default(POD, once) is once


def test_an_absent_object_gets_no_defaults_of_its_members() -> None:
    assert "livenessProbe" not in schema.default(POD, pod())["spec"]["containers"][0]


def test_a_null_in_a_map_of_texts_is_the_empty_text() -> None:
    value = pod(nodeSelector={"a": None})
    assert schema.check(POD, value) == []
    assert schema.default(POD, value)["spec"]["nodeSelector"] == {"a": ""}


NOT_ACTED_ON = [
    ("plain", pod(), []),
    ("probe", web(livenessProbe={"tcpSocket": {"port": 1}}), []),
    ("sidecar", pod(initContainers=[{**WEB, "name": "i", "restartPolicy": "Always"}]), []),
    ("stop-signal", web(lifecycle={"stopSignal": "SIGINT"}), ["spec.containers[0].lifecycle.stopSignal"]),
    (
        "tcp-hook",
        web(lifecycle={"preStop": {"tcpSocket": {"port": 1}}}),
        ["spec.containers[0].lifecycle.preStop.tcpSocket"],
    ),
    (
        "projected",
        pod(volumes=[{"name": "v", "projected": {"sources": [{"podCertificate": {"keyType": "ED25519"}}]}}]),
        ["spec.volumes[0].projected.sources[0].podCertificate"],
    ),
    ("volume", pod(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}]), ["spec.volumes[0].nfs"]),
    ("kubernetes-default", pod(dnsPolicy="ClusterFirst", schedulerName="default-scheduler"), []),
    ("explicit-default", web(terminationMessagePath="/dev/termination-log"), []),
    ("moot", pod(serviceAccountName="default", preemptionPolicy="Never"), []),
    ("falsy", pod(hostPID=False, dnsConfig={}, priority=0, subdomain=""), []),
    ("falsy-but-meant", pod(hostUsers=False), ["spec.hostUsers"]),
    (
        "other-value",
        pod(dnsPolicy="ClusterFirstWithHostNet", serviceAccountName="robot"),
        ["spec.serviceAccountName"],
    ),
    ("status-is-not-the-users", {**pod(), "status": {"phase": "Running"}}, []),
]


@pytest.mark.parametrize("value, expected", [case[1:] for case in NOT_ACTED_ON], ids=[case[0] for case in NOT_ACTED_ON])
def test_not_acted_on(value: Any, expected: list[str]) -> None:
    assert schema.not_acted_on(POD, value) == expected


def test_looking_up_fields() -> None:
    for path in (["spec", "containers", "image"], ["spec", "containers", "0", "image"]):
        found = schema.field_at(POD, path)
        assert found is not None
        assert found.type == "string"
    assert schema.field_at(POD, []) is POD
    assert schema.field_at(POD, ["spec", "nope"]) is None
    assert schema.field_at(POD, ["spec", "hostname", "deeper"]) is None
    label = schema.field_at(POD, ["metadata", "labels", "app"])
    assert label is not None and label.type == "string"


@pytest.mark.parametrize(
    "path, key",
    [
        ("spec.containers", "name"),
        ("spec.containers.ports", "containerPort,protocol"),
        ("spec.containers.env", "name"),
        ("spec.containers.volumeMounts", "mountPath"),
        ("spec.volumes", "name"),
        ("spec.containers.args", ""),
        ("spec.tolerations", ""),
        ("spec.nope", ""),
        ("status.conditions", "type"),
        ("metadata.ownerReferences", "uid"),
    ],
)
def test_merge_keys(path: str, key: str) -> None:
    assert schema.merge_key(POD, path.split(".")) == key


def walk(field: Field, path: str = "") -> Any:
    yield path, field
    for name, child in field.fields.items():
        yield from walk(child, f"{path}.{name}")
    if field.items is not None:
        yield from walk(field.items, f"{path}[]")


def test_every_field_is_well_formed_and_documented() -> None:
    types = {"object", "array", "map", "string", "integer", "number", "boolean", "int-or-string", "quantity", "time"}
    for path, field in walk(POD_SPEC, "spec"):
        assert field.type in types | {"bytes", "any"}, path
        assert field.doc or path.endswith("[]"), f"{path} has no doc"
        if field.type in ("array", "map"):
            assert field.items is not None, path
        for key in field.merge_key.split(",") if field.merge_key else ():
            assert field.items is not None and key in field.items.fields, path
        if field.default is not None:
            assert schema.check(field, field.default) == [], path


# --- properties --------------------------------------------------------------------------------------------------

member_names = sorted({path.rsplit(".", 1)[-1].removesuffix("[]") for path, _ in walk(POD)} - {""})
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(member_names) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(anything)
def test_check_never_raises(value: Any) -> None:
    for tree in (POD, POD_SPEC):
        schema.check(tree, value)
        schema.not_acted_on(tree, value)
        schema.default(tree, value)


def values_of(field: Field, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that `check` accepts."""
    if field.enum:
        return st.sampled_from(field.enum)
    match field.type:
        case "object":
            inner = {name: child for name, child in field.fields.items() if depth < 4 or child.required}
            required = {name: values_of(child, depth + 1) for name, child in inner.items() if child.required}
            optional = {name: values_of(child, depth + 1) for name, child in inner.items() if not child.required}
            # A few at a time: a pod with all of its fields is too large to be looked at often.
            chosen = st.lists(st.sampled_from(sorted(optional)), max_size=3) if optional else st.just([])
            return chosen.flatmap(
                lambda names: st.fixed_dictionaries({**required, **{name: optional[name] for name in names}})
            )
        case "array":
            return st.lists(values_of(field.items or Field("any"), depth + 1), max_size=2)
        case "map":
            return st.dictionaries(st.text(max_size=6), values_of(field.items or Field("any"), depth + 1), max_size=2)
        case "integer" | "int-or-string":
            low = -5 if field.minimum is None else field.minimum
            return st.integers(low, 70 if field.maximum is None else min(field.maximum, low + 70))
        case "boolean":
            return st.booleans()
        case "quantity":
            return st.sampled_from(["1", "100m", "1Gi", "-1", "0.5", 2, "3e2"])
        case "time":
            return st.just("2025-01-31T12:00:00Z")
        case "bytes":
            return st.just("aGFsbG8=")
        case "any":
            return st.just({"any": ["thing"]})
    return st.sampled_from(["", "a", "/a", "web", "A b", "..", "1", "a/b", "x" * 70])


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(values_of(POD_SPEC))
def test_whatever_has_the_shape_can_be_defaulted_and_judged(spec: dict[str, Any]) -> None:
    before = copy.deepcopy(spec)
    assert schema.check(POD_SPEC, spec) == []
    defaulted = default_pod_spec(schema.default(POD_SPEC, spec))
    assert schema.check(POD_SPEC, defaulted) == []
    assert default_pod_spec(schema.default(POD_SPEC, defaulted)) is defaulted
    for cause in (*validate_pod_spec(defaulted, "spec"), *validate_pod_spec(spec, "spec")):
        assert cause.field.startswith("spec")
        assert cause.message
    assert spec == before
