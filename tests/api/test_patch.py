"""Patches: the examples of the RFCs and of Kubernetes' documentation, and what must hold for all of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api import patch
from ktool.api.errors import ApiError
from ktool.api.shapes.meta import resource
from ktool.api.shapes.podspec import POD_SPEC
from ktool.api.shapes.podstatus import POD_STATUS

POD = resource(POD_SPEC, POD_STATUS)

# RFC 7386, appendix A
MERGE = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize("target, change, expected", MERGE)
def test_merge_as_the_rfc_says(target: Any, change: Any, expected: Any) -> None:
    before = copy.deepcopy((target, change))
    assert patch.merge(target, change) == expected
    assert (target, change) == before


# RFC 6902, appendix A, and its error cases
JSON = [
    ("add", {"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ("insert", {"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
    ("append", {"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
    ("remove", {"foo": 1, "baz": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 1}),
    ("remove-element", {"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
    ("replace", {"foo": 1}, [{"op": "replace", "path": "/foo", "value": 2}], {"foo": 2}),
    ("replace-element", {"a": [1, 2]}, [{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
    ("move", {"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
    ("move-element", {"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
    ("copy", {"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    ("test", {"a": {"b": [1, 2]}}, [{"op": "test", "path": "/a", "value": {"b": [1, 2]}}], {"a": {"b": [1, 2]}}),
    ("escapes", {"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
    ("whole", {"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
]


@pytest.mark.parametrize("target, operations, expected", [case[1:] for case in JSON], ids=[case[0] for case in JSON])
def test_json_patch(target: Any, operations: Any, expected: Any) -> None:
    before = copy.deepcopy(target)
    assert patch.json_patch(target, operations) == expected
    assert target == before


@pytest.mark.parametrize(
    "operations, code",
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422),
        ([{"op": "test", "path": "/a", "value": True}], 422),
        ([{"op": "remove", "path": "/missing"}], 422),
        ([{"op": "replace", "path": "/missing", "value": 1}], 422),
        ([{"op": "add", "path": "/missing/deep", "value": 1}], 422),
        ([{"op": "add", "path": "/list/5", "value": 1}], 422),
        ([{"op": "add", "path": "/list/01", "value": 1}], 422),
        ([{"op": "remove", "path": "/list/-"}], 422),
        ([{"op": "add", "path": "no-slash", "value": 1}], 400),
        ([{"op": "add", "path": "/a"}], 400),
        ([{"op": "move", "from": "/o", "path": "/o/x"}], 400),
        ([{"op": "wat", "path": "/a"}], 400),
        ([{"path": "/a"}], 400),
        ({"a": 1}, 400),
    ],
)
def test_json_patch_refusals(operations: Any, code: int) -> None:
    target = {"a": 1, "list": [1], "o": {"x": 1}}
    with pytest.raises(ApiError) as refused:
        patch.json_patch(target, operations)
    assert refused.value.code == code
    assert target == {"a": 1, "list": [1], "o": {"x": 1}}


# --- strategic ---------------------------------------------------------------------------------------------------


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


WEB, SIDE = {"name": "web", "image": "nginx:1"}, {"name": "side", "image": "side:1"}

STRATEGIC = [
    (
        "merges-by-name",
        pod(containers=[WEB, SIDE]),
        pod(containers=[{"name": "web", "image": "nginx:2"}]),
        pod(containers=[{"name": "web", "image": "nginx:2"}, SIDE]),
    ),
    ("adds", pod(containers=[WEB]), pod(containers=[SIDE]), pod(containers=[WEB, SIDE])),
    (
        "deletes",
        pod(containers=[WEB, SIDE]),
        pod(containers=[{"$patch": "delete", "name": "web"}]),
        pod(containers=[SIDE]),
    ),
    (
        "replaces-list",
        pod(containers=[WEB, SIDE]),
        pod(containers=[{"name": "new", "image": "n"}, {"$patch": "replace"}]),
        pod(containers=[{"name": "new", "image": "n"}]),
    ),
    (
        "replaces-map",
        pod(nodeSelector={"a": "1"}),
        pod(nodeSelector={"$patch": "replace", "b": "2"}),
        pod(nodeSelector={"b": "2"}),
    ),
    (
        "atomic-list",
        pod(containers=[{**WEB, "args": ["a", "b"]}]),
        pod(containers=[{"name": "web", "args": ["c"]}]),
        pod(containers=[{**WEB, "args": ["c"]}]),
    ),
    ("null-removes", pod(hostNetwork=True, nodeName="n"), pod(hostNetwork=None), pod(nodeName="n")),
    (
        "same-port-tcp-and-udp",
        pod(containers=[{**WEB, "ports": [{"containerPort": 53, "protocol": "UDP"}]}]),
        pod(containers=[{"name": "web", "ports": [{"containerPort": 53}]}]),
        pod(containers=[{**WEB, "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}]}]),
    ),
    (
        "retain-keys",
        pod(volumes=[{"name": "v", "emptyDir": {}}]),
        pod(volumes=[{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]),
        pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
    ),
    (
        "element-order",
        pod(containers=[WEB, SIDE]),
        {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}]}},
        pod(containers=[SIDE, WEB]),
    ),
    (
        "primitive-set",
        {"metadata": {"finalizers": ["a/b", "c/d"]}},
        {"metadata": {"finalizers": ["e/f"], "$deleteFromPrimitiveList/finalizers": ["a/b"]}},
        {"metadata": {"finalizers": ["c/d", "e/f"]}},
    ),
]


@pytest.mark.parametrize("target, change, expected", [c[1:] for c in STRATEGIC], ids=[c[0] for c in STRATEGIC])
def test_strategic(target: Any, change: Any, expected: Any) -> None:
    before = copy.deepcopy((target, change))
    result = patch.strategic(target, change, POD)
    assert sorted_sets(result) == sorted_sets(expected)
    assert (target, change) == before


def sorted_sets(obj: Any) -> Any:
    """finalizers are a set: their order says nothing."""
    found = copy.deepcopy(obj)
    if "finalizers" in found.get("metadata", {}):
        found["metadata"]["finalizers"].sort()
    return found


def test_strategic_refuses_an_element_without_its_key() -> None:
    with pytest.raises(ApiError, match="no name"):
        patch.strategic(pod(containers=[WEB]), pod(containers=[{"image": "x"}]), POD)


def test_strategic_that_changes_nothing_returns_the_target() -> None:
    target = pod(containers=[WEB, SIDE], nodeName="n")
    assert patch.strategic(target, pod(containers=[{"name": "web", "image": "nginx:1"}]), POD) is target


# --- three-way ---------------------------------------------------------------------------------------------------

THREE_WAY = [
    (
        "removes-what-was-applied-before",
        pod(containers=[WEB, SIDE], nodeName="n"),
        pod(containers=[WEB]),
        pod(containers=[WEB, SIDE], nodeName="n"),
        pod(containers=[WEB]),
    ),
    (
        "keeps-what-others-set",
        pod(containers=[WEB]),
        pod(containers=[{**WEB, "image": "nginx:2"}]),
        pod(containers=[{**WEB, "imagePullPolicy": "Always"}, SIDE], dnsPolicy="Default"),
        pod(containers=[{**WEB, "image": "nginx:2", "imagePullPolicy": "Always"}, SIDE], dnsPolicy="Default"),
    ),
    (
        "env-value-becomes-valueFrom",
        pod(containers=[{**WEB, "env": [{"name": "A", "value": "1"}]}]),
        pod(containers=[{**WEB, "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]),
        pod(containers=[{**WEB, "env": [{"name": "A", "value": "1"}]}]),
        pod(containers=[{**WEB, "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]),
    ),
    (
        "volume-changes-its-source-even-without-last-applied",
        None,
        pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
        pod(volumes=[{"name": "v", "emptyDir": {}}]),
        pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
    ),
    (
        "takes-the-order-of-the-manifest",
        pod(containers=[WEB, SIDE]),
        pod(containers=[SIDE, WEB]),
        pod(containers=[WEB, SIDE]),
        pod(containers=[SIDE, WEB]),
    ),
    (
        "null-removes",
        pod(),
        pod(dnsPolicy=None),
        pod(dnsPolicy="Default"),
        pod(),
    ),
    (
        "finalizers-of-others-stay",
        {"metadata": {"finalizers": ["mine/a"]}},
        {"metadata": {"finalizers": ["mine/b"]}},
        {"metadata": {"finalizers": ["mine/a", "theirs/x"]}},
        {"metadata": {"finalizers": ["theirs/x", "mine/b"]}},
    ),
]


@pytest.mark.parametrize("last, modified, live, expected", [c[1:] for c in THREE_WAY], ids=[c[0] for c in THREE_WAY])
def test_three_way(last: Any, modified: Any, live: Any, expected: Any) -> None:
    before = copy.deepcopy((last, modified, live))
    assert patch.three_way(last, modified, live, POD) == expected
    assert (last, modified, live) == before


def test_three_way_that_changes_nothing_returns_the_live_object() -> None:
    live = {**pod(containers=[{**WEB, "imagePullPolicy": "Always"}], dnsPolicy="x"), "status": {"phase": "Running"}}
    assert patch.three_way(pod(containers=[WEB]), pod(containers=[WEB]), live, POD) is live


# --- properties --------------------------------------------------------------------------------------------------

scalars = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b"]), st.booleans())
names = st.sampled_from(["a", "b", "c"])
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)
objects = st.dictionaries(names, json_values, max_size=3)
patches = st.dictionaries(names, st.none() | json_values, max_size=3)

ENV = st.fixed_dictionaries({"name": names}, optional={"value": scalars.map(str)})
CONTAINER = st.fixed_dictionaries(
    {"name": names},
    optional={
        "image": st.sampled_from(["x", "y"]),
        "args": st.lists(names, max_size=2),
        "env": st.lists(ENV, max_size=3, unique_by=lambda e: e["name"]),
        "ports": st.lists(
            st.fixed_dictionaries(
                {"containerPort": st.integers(1, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}
            ),
            max_size=3,
            unique_by=lambda p: (p["containerPort"], p.get("protocol", "TCP")),
        ),
    },
)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "labels": st.dictionaries(names, names, max_size=3),
                "finalizers": st.lists(st.sampled_from(["f/a", "f/b", "f/c"]), max_size=3, unique=True),
            },
        ),
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": st.lists(CONTAINER, max_size=3, unique_by=lambda c: c["name"]),
                "hostNetwork": st.booleans(),
                "nodeSelector": st.dictionaries(names, names, max_size=2),
            },
        ),
    }
)


@given(objects, patches)
def test_merge_twice_is_merge_once(target: Any, change: Any) -> None:
    before = copy.deepcopy(target)
    once = patch.merge(target, change)
    assert patch.merge(once, change) is once
    assert target == before


@given(PODS, PODS)
def test_strategic_twice_is_strategic_once(target: Any, change: Any) -> None:
    once = patch.strategic(target, change, POD)
    assert patch.strategic(once, change, POD) is once


@given(PODS, PODS, PODS)
def test_applying_twice_changes_nothing(last: Any, modified: Any, live: Any) -> None:
    before = copy.deepcopy((last, modified, live))
    once = patch.three_way(last, modified, live, POD)
    assert patch.three_way(modified, modified, once, POD) is once
    assert (last, modified, live) == before


@given(PODS, PODS)
def test_what_only_the_manifest_ever_set_is_the_manifest(last: Any, modified: Any) -> None:
    """Nobody else touched the object: after apply it is what the manifest says (empty members aside)."""
    assert sorted_sets(patch.three_way(last, modified, last, POD)) == sorted_sets(modified)


@given(PODS, PODS)
def test_apply_never_removes_what_it_did_not_set(modified: Any, live: Any) -> None:
    result = patch.three_way(None, modified, live, POD)
    assert live["metadata"].get("labels", {}).keys() <= result["metadata"].get("labels", {}).keys()
    names_of = {c["name"] for c in result["spec"].get("containers", ())}
    assert {c["name"] for c in live["spec"].get("containers", ())} <= names_of
