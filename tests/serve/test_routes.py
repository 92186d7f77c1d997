"""URL paths, queries and bodies, read into values."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.errors import ApiError
from ktool.api.kind import Kind, Names, Version
from ktool.api.kinds import Kinds
from ktool.api.schema import Field
from ktool.serve import routes

SHAPE = Field("object")
NAMESPACE = Kind(
    Names("", "Namespace", "namespaces", namespaced=False), (Version("v1", SHAPE),), subresources=("status", "finalize")
)
POD = Kind(Names("", "Pod", "pods"), (Version("v1", SHAPE),), subresources=("status", "log", "exec"))
NODE = Kind(Names("", "Node", "nodes", namespaced=False), (Version("v1", SHAPE),))
DEPLOYMENT = Kind(Names("apps", "Deployment", "deployments"), (Version("v1", SHAPE),), subresources=("status", "scale"))


@pytest.fixture
def kinds() -> Kinds:
    found = Kinds()
    for kind in (NAMESPACE, POD, NODE, DEPLOYMENT):
        found.add(kind)
    return found


@pytest.mark.parametrize(
    ("path", "kind", "namespace", "name", "subresource"),
    [
        ("/api/v1/pods", POD, None, "", ""),
        ("/api/v1/namespaces/a/pods", POD, "a", "", ""),
        ("/api/v1/namespaces/a/pods/b", POD, "a", "b", ""),
        ("/api/v1/namespaces/a/pods/b/log", POD, "a", "b", "log"),
        ("/api/v1/namespaces", NAMESPACE, None, "", ""),
        ("/api/v1/namespaces/a", NAMESPACE, None, "a", ""),
        ("/api/v1/namespaces/a/status", NAMESPACE, None, "a", "status"),
        ("/api/v1/namespaces/a/finalize", NAMESPACE, None, "a", "finalize"),
        ("/api/v1/nodes/n.example.org", NODE, None, "n.example.org", ""),
        ("/apis/apps/v1/deployments", DEPLOYMENT, None, "", ""),
        ("/apis/apps/v1/namespaces/a/deployments/web/scale", DEPLOYMENT, "a", "web", "scale"),
        ("/api/v1/namespaces/a/pods/b%20c", POD, "a", "b c", ""),
        ("/api/v1/namespaces/a/pods/..", POD, "a", "..", ""),
    ],
)
def test_a_path_is_read(kinds, path, kind, namespace, name, subresource):
    assert routes.parse(path, kinds) == routes.Route(kind, namespace, name, subresource, "v1")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/api",
        "/api/v1",
        "/api/v1/deployments",
        "/api/v2/pods",
        "/apis/v1/pods",
        "/apis/apps/v1",
        "/api/v1/pods/b",
        "/api/v1/namespaces/a/nodes",
        "/api/v1/namespaces/a/nodes/n",
        "/api/v1/namespaces/a/pods/b/scale",
        "/api/v1/namespaces/a/pods/b/log/more",
        "/api/v1/namespaces/a/pods/b%2Fc",
        "/api/v1/namespaces/a%00/pods",
        "/api/v1//pods",
        "/apis/apps/v1/namespaces/a/pods",
        "/metrics",
    ],
)
def test_a_path_that_is_none_is_not_found(kinds, path):
    with pytest.raises(ApiError) as refused:
        routes.parse(path, kinds)
    assert (refused.value.code, refused.value.reason) == (404, "NotFound")


names = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/%?#"), min_size=1, max_size=20)


@given(names, names)
def test_every_object_is_found_under_the_path_its_kind_gives(namespace, name):
    kinds = Kinds()
    kinds.add(DEPLOYMENT)
    for subresource in ("", "status", "scale"):
        route = routes.parse(DEPLOYMENT.path(namespace, name, subresource), kinds)
        assert route == routes.Route(DEPLOYMENT, namespace, name, subresource, "v1")
        assert route.ref == (DEPLOYMENT.gk, namespace, name)


@given(st.text(max_size=60))
def test_no_path_breaks_the_parser(path):
    kinds = Kinds()
    for kind in (NAMESPACE, POD):
        kinds.add(kind)
    try:
        routes.parse(path, kinds)
    except ApiError as error:
        assert error.code == 404


def test_list_options():
    query = routes.query("labelSelector=a%3Db%2Cc&fieldSelector=x%3Dy&watch=1&resourceVersion=7&timeoutSeconds=30")
    assert routes.list_options(query) == routes.ListOptions("a=b,c", "x=y", True, "7", 30.0, False)
    assert routes.list_options(routes.query("")) == routes.ListOptions()


@pytest.mark.parametrize(
    "text",
    ["watch=perhaps", "timeoutSeconds=soon", "timeoutSeconds=-1", "timeoutSeconds=1e9", "timeoutSeconds=nan", "a=%ff"],
)
def test_a_query_that_makes_no_sense_is_refused(text):
    with pytest.raises(ApiError) as refused:
        routes.list_options(routes.query(text))
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        ("", None, routes.DeleteOptions()),
        ("gracePeriodSeconds=0&propagationPolicy=Orphan&dryRun=All", None, routes.DeleteOptions(0, "Orphan", "", True)),
        ("", {"gracePeriodSeconds": 5, "preconditions": {"uid": "u"}}, routes.DeleteOptions(5, uid="u")),
        (
            "",
            {"propagationPolicy": "Foreground", "dryRun": ["All"]},
            routes.DeleteOptions(None, "Foreground", "", True),
        ),
    ],
    ids=["none", "query", "body", "more"],
)
def test_delete_options(text, body, expected):
    assert routes.delete_options(routes.query(text), body) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"gracePeriodSeconds": -1},
        {"gracePeriodSeconds": True},
        {"gracePeriodSeconds": "5"},
        {"propagationPolicy": "Now"},
        {"dryRun": ["Some"]},
        {"dryRun": "All"},
        {"preconditions": {"resourceVersion": "5"}},
        {"preconditions": ["u"]},
    ],
    ids=str,
)
def test_delete_options_that_make_no_sense_are_refused(body):
    with pytest.raises(ApiError) as refused:
        routes.delete_options({}, body)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[NaN]", b"Infinity", b"\xff", b"[" * 100_000, b'"\\ud800"'],
    ids=["empty", "cut", "nan", "infinity", "not utf-8", "deep", "surrogate"],
)
def test_a_body_that_is_no_json_is_refused(body):
    with pytest.raises(ApiError) as refused:
        routes.json_body(body)
    assert refused.value.code == 400


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_a_body_that_is_json_is_read(value):
    assert routes.json_body(json.dumps(value, ensure_ascii=False).encode()) == value
    assert routes.json_body(json.dumps(value).encode()) == value


def test_what_the_url_says_is_put_into_the_object():
    route = routes.Route(DEPLOYMENT, "a", "web")
    full = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "a", "name": "web"}}
    assert routes.addressed({}, route) == full
    assert routes.addressed(full, route) == full


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "Pod"},
        {"apiVersion": "apps/v2"},
        {"metadata": {"name": "other"}},
        {"metadata": {"namespace": "other"}},
        {"metadata": "web"},
    ],
    ids=["kind", "version", "name", "namespace", "metadata"],
)
def test_an_object_that_disagrees_with_its_url_is_refused(obj):
    with pytest.raises(ApiError) as refused:
        routes.addressed(obj, routes.Route(DEPLOYMENT, "a", "web"))
    assert refused.value.code == 400


def test_patch_types():
    assert routes.patch_type("application/merge-patch+json; charset=utf-8") == "merge"
    with pytest.raises(ApiError) as refused:
        routes.patch_type("application/json")
    assert refused.value.code == 415


@pytest.mark.parametrize(
    ("text", "agent", "manager"),
    [
        pytest.param("", "kubectl/v1.30.0 (linux/amd64) kubernetes/abc", "kubectl", id="program"),
        pytest.param("fieldManager=helm", "Go-http-client/1.1", "helm", id="said"),
        pytest.param("", "", "unknown", id="nobody-says"),
    ],
)
def test_the_field_manager(text, agent, manager):
    assert routes.manager(routes.query(text), agent) == manager
