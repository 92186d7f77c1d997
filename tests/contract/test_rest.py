"""The REST face as any HTTP client sees it: codes, documents, discovery, streams."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time

import pytest

from ktool.registry import execframes
from ktool.serve import watch
from tests.contract.conftest import configmap, deployment, pod


class Rest:
    """One connection to the server, kept open."""

    def __init__(self, path: str) -> None:
        self.connection = http.client.HTTPConnection("ktool", timeout=20)
        self.connection.sock = socket.socket(socket.AF_UNIX)
        self.connection.sock.settimeout(20)
        self.connection.sock.connect(path)

    def __call__(self, method: str, url: str, body=None, content_type="application/json") -> tuple[int, object]:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self.connection.request(method, url, data, {"Content-Type": content_type} if data is not None else {})
        response = self.connection.getresponse()
        text = response.read()
        kind = response.headers["Content-Type"]
        return response.status, json.loads(text) if kind == "application/json" else text.decode()


@pytest.fixture
def rest(plane):
    found = Rest(plane.socket)
    yield found
    found.connection.close()


MAPS = "/api/v1/namespaces/default/configmaps"


def raw(plane, data: bytes) -> bytes:
    """What the server says to these bytes until it closes the connection."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(plane.socket)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
        return answer


# --- documents


def test_an_object_lives_and_dies(rest):
    code, made = rest("POST", MAPS, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    assert code == 201 and (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")
    assert rest("GET", f"{MAPS}/a") == (200, made)
    code, changed = rest("PUT", f"{MAPS}/a", {**made, "data": {"k": "2"}})
    assert code == 200 and changed["data"] == {"k": "2"}
    code, changed = rest("PATCH", f"{MAPS}/a", {"data": {"k": "3"}}, "application/merge-patch+json")
    assert code == 200 and changed["data"] == {"k": "3"}
    code, gone = rest("DELETE", f"{MAPS}/a")
    assert code == 200 and gone["metadata"]["uid"] == made["metadata"]["uid"]
    code, status = rest("GET", f"{MAPS}/a")
    assert (code, status["kind"], status["reason"]) == (404, "Status", "NotFound")
    assert status["details"] == {"name": "a", "kind": "configmaps"}


def test_a_list_names_its_kind_and_version(rest):
    rest("POST", MAPS, configmap("a"))
    code, listing = rest("GET", "/api/v1/configmaps?labelSelector=")
    assert code == 200 and listing["kind"] == "ConfigMapList" and listing["apiVersion"] == "v1"
    assert int(listing["metadata"]["resourceVersion"]) > 0 and len(listing["items"]) == 1


def test_a_collection_is_deleted_by_selector(rest):
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        rest("POST", MAPS, configmap(name, labels={"app": app}))
    code, gone = rest("DELETE", f"{MAPS}?labelSelector=app%3Dx")
    assert code == 200 and [one["metadata"]["name"] for one in gone["items"]] == ["a", "c"]
    assert [one["metadata"]["name"] for one in rest("GET", MAPS)[1]["items"]] == ["b"]


def test_delete_options_in_the_body(rest):
    rest("POST", "/api/v1/namespaces/default/pods", pod("p"))
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 7}
    code, ending = rest("DELETE", "/api/v1/namespaces/default/pods/p", options)
    assert code == 200 and ending["metadata"]["deletionGracePeriodSeconds"] == 7
    code, status = rest("DELETE", "/api/v1/namespaces/default/pods/p", {"preconditions": {"uid": "other"}})
    assert (code, status["reason"]) == (409, "Conflict")
    code, _ = rest("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0")
    assert code == 200 and rest("GET", "/api/v1/namespaces/default/pods/p")[0] == 404


def test_dry_run(rest):
    assert rest("POST", f"{MAPS}?dryRun=All", configmap("a"))[0] == 201
    assert rest("GET", f"{MAPS}/a")[0] == 404
    code, status = rest("POST", f"{MAPS}?dryRun=Some", configmap("a"))
    assert code == 400 and "dryRun" in status["message"]


def test_the_scale_of_an_object(rest):
    web = "/apis/apps/v1/namespaces/default/deployments/web"
    rest("POST", web.rpartition("/")[0], deployment("web", 2))
    code, scale = rest("GET", f"{web}/scale")
    assert code == 200 and scale["kind"] == "Scale" and scale["spec"] == {"replicas": 2}
    code, scale = rest("PUT", f"{web}/scale", {**scale, "spec": {"replicas": 4}})
    assert code == 200 and scale["spec"] == {"replicas": 4}
    assert rest("PUT", f"{web}/scale", deployment("web", 9))[0] == 400
    assert rest("GET", web)[1]["spec"]["replicas"] == 4


def test_a_pod_is_bound_once(rest):
    pods = "/api/v1/namespaces/default/pods"
    made = rest("POST", pods, pod("p", node=""))[1]
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    assert rest("POST", f"{pods}/p/binding", {**binding, "metadata": {"uid": "other"}})[0] == 409
    assert rest("POST", f"{pods}/p/binding", {**binding, "target": {}})[0] == 400
    assert rest("POST", f"{pods}/q/binding", binding)[0] == 404
    code, status = rest("POST", f"{pods}/p/binding", {**binding, "metadata": {"uid": made["metadata"]["uid"]}})
    assert (code, status["status"]) == (201, "Success")
    assert rest("GET", f"{pods}/p")[1]["spec"]["nodeName"] == "n1"
    code, status = rest("POST", f"{pods}/p/binding", {**binding, "target": {"name": "n2"}})
    assert (code, status["reason"]) == (409, "Conflict")
    assert rest("GET", f"{pods}/p/binding")[0] == 405


@pytest.mark.parametrize(
    ("method", "url", "body", "content_type", "code"),
    [
        ("GET", "/nothing/here", None, "", 404),
        ("GET", "/api/v1/gizmos", None, "", 404),
        ("POST", "/api/v1/configmaps", {"metadata": {"name": "a"}}, "application/json", 405),
        ("PUT", MAPS, {}, "application/json", 405),
        ("PATCH", MAPS, {}, "application/merge-patch+json", 405),
        ("POST", f"{MAPS}/a", {}, "application/json", 405),
        ("POST", MAPS, b"{", "application/json", 400),
        ("POST", MAPS, [], "application/json", 400),
        ("POST", MAPS, b"", "application/json", 400),
        ("POST", MAPS, {"kind": "Pod", "metadata": {"name": "a"}}, "application/json", 400),
        ("POST", MAPS, {"metadata": {"name": "a", "namespace": "other"}}, "application/json", 400),
        ("POST", MAPS, {"metadata": {"name": "A_B"}}, "application/json", 422),
        ("PATCH", f"{MAPS}/a", {}, "application/json", 415),
        ("PATCH", f"{MAPS}/a", {}, "application/apply-patch+yaml", 415),
        ("GET", f"{MAPS}?watch=perhaps", None, "", 400),
        ("GET", f"{MAPS}?labelSelector=a+in+(", None, "", 400),
        ("GET", f"{MAPS}?watch=1&resourceVersion=soon", None, "", 400),
        ("DELETE", f"{MAPS}/a?propagationPolicy=Sideways", None, "", 400),
        ("DELETE", "/api/v1/namespaces/default/pods/a/status", None, "", 405),
        ("POST", "/api/v1/namespaces/default/pods/a/log", {}, "application/json", 405),
        ("POST", "/api/v1/namespaces/default/pods/a/exec?command=x", None, "", 400),
        ("GET", "/apis/ktool.dev/v1/apply", None, "", 405),
        ("POST", "/apis/ktool.dev/v1/apply", {"objects": {}}, "application/json", 400),
        ("POST", "/apis/ktool.dev/v1/apply", {"objects": ["a"]}, "application/json", 400),
        ("POST", "/apis/ktool.dev/v1/apply", {"objects": [], "strict": 1}, "application/json", 400),
    ],
)
def test_what_is_refused_is_a_status(rest, method, url, body, content_type, code):
    answered, status = rest(method, url, body, content_type)
    assert (answered, status["kind"], status["status"], status["code"]) == (code, "Status", "Failure", code)
    assert status["message"] and status["reason"]


# --- HTTP


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"BREW /version HTTP/1.1\r\n\r\n", 405),
        (b"GET /version HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /version HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /version HTTP/1.1\r\nContent-Length: minus\r\n\r\n", 400),
        (b"POST /version HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /version HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n", 413),
    ],
    ids=["no http", "method", "version", "long line", "long header", "length", "chunked", "too large"],
)
def test_a_request_that_is_none_is_a_status(plane, data, code):
    head, _, body = raw(plane, data).partition(b"\r\n\r\n")
    assert head.split()[1] == str(code).encode()
    assert b"Connection: close" in head
    assert json.loads(body)["kind"] == "Status" and json.loads(body)["code"] == code


def test_half_a_request_is_dropped(plane):
    assert raw(plane, b"POST /api/v1/configmaps HTTP/1.1\r\nContent-Length: 100\r\n\r\n{") == b""
    assert plane.said == []


def test_requests_follow_each_other_on_one_connection(plane):
    get = b"GET /healthz HTTP/1.1\r\nHost: k\r\n\r\n"
    answer = raw(plane, get * 3)
    assert answer.count(b"HTTP/1.1 200 OK") == 3 and answer.endswith(b"ok")


def test_a_fault_of_ours_is_a_status_and_a_line_in_the_log(plane, rest, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the password is hunter2")

    monkeypatch.setattr(plane.registry, "get", broken)
    code, status = rest("GET", f"{MAPS}/a")
    assert (code, status["reason"]) == (500, "InternalError")
    assert "Traceback" not in json.dumps(status) and "hunter2" not in json.dumps(status)
    assert len(plane.said) == 1 and "ZeroDivisionError" in plane.said[0] and "hunter2" not in plane.said[0]
    plane.said.clear()
    assert rest("GET", "/version")[0] == 200


# --- discovery


def test_discovery(rest, gadget):
    assert rest("GET", "/api")[1]["versions"] == ["v1"]
    groups = {group["name"]: group for group in rest("GET", "/apis")[1]["groups"]}
    assert groups["test.ktool.dev"]["preferredVersion"] == {"groupVersion": "test.ktool.dev/v1", "version": "v1"}
    assert rest("GET", "/apis/apps")[1]["name"] == "apps"
    core = {one["name"]: one for one in rest("GET", "/api/v1")[1]["resources"]}
    assert core["pods"]["kind"] == "Pod" and core["pods"]["shortNames"] == ["po"] and core["pods"]["namespaced"]
    assert not core["namespaces"]["namespaced"]
    assert core["pods/log"]["verbs"] == ["get"] and core["pods/exec"]["kind"] == "PodExecOptions"
    apps = rest("GET", "/apis/apps/v1")[1]
    assert apps["groupVersion"] == "apps/v1"
    scale = next(one for one in apps["resources"] if one["name"] == "deployments/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert rest("GET", "/apis/nothing/v1")[0] == 404


def test_health_and_version(rest, plane):
    assert rest("GET", "/healthz") == (200, "ok") and rest("GET", "/readyz") == (200, "ok")
    assert plane.socket in rest("GET", "/version")[1]["where"]


def test_a_kind_in_twenty_lines_has_everything(plane, rest, gadget):
    root = "/apis/test.ktool.dev/v1"
    names = [one["name"] for one in rest("GET", root)[1]["resources"]]
    assert names == ["gadgets", "gadgets/status", "gadgets/scale"]
    url = f"{root}/namespaces/default/gadgets"
    events = _lines(plane.socket, f"{url}?watch=true&timeoutSeconds=3", 3)
    code, made = rest("POST", url, {"metadata": {"name": "g"}, "spec": {"colour": "red"}})
    assert code == 201 and made["spec"] == {"colour": "red", "size": 1, "replicas": 1}
    code, status = rest("POST", url, {"metadata": {"name": "h"}, "spec": {"size": 13, "colour": "red"}})
    assert code == 422 and status["details"]["causes"][0]["message"] == "13 is unlucky"
    code, status = rest("POST", url, {"metadata": {"name": "h"}, "spec": {"colour": "blue"}})
    assert code == 422 and status["details"]["causes"][0]["field"] == "spec.colour"
    assert rest("GET", f"{root}/gadgets")[1]["kind"] == "GadgetList"
    patch = {"status": {"phase": "Done"}}
    code, changed = rest("PATCH", f"{url}/g/status", patch, "application/merge-patch+json")
    assert code == 200 and changed["status"] == {"phase": "Done"}
    assert rest("DELETE", f"{url}/g")[0] == 200
    assert [event["type"] for event in events()] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_kind_that_is_gone_has_nothing(rest):
    assert rest("GET", "/apis/test.ktool.dev/v1/gadgets")[0] == 404


# --- watch


def _lines(socket_path: str, url: str, count: int):
    """Start a watch; the result waits for `count` of its events."""
    rest = Rest(socket_path)
    rest.connection.request("GET", url)
    response = rest.connection.getresponse()
    assert (response.status, response.headers["Transfer-Encoding"]) == (200, "chunked")
    found: list[dict] = []
    thread = threading.Thread(
        target=lambda: found.extend(json.loads(response.readline()) for _ in range(count)), daemon=True
    )
    thread.start()

    def wait() -> list[dict]:
        thread.join(10)
        rest.connection.close()
        return found

    return wait


def test_a_watch_that_is_too_old_is_an_error_event(rest):
    code, text = 0, b""
    rest.connection.request("GET", f"{MAPS}?watch=1&resourceVersion=999999999")
    response = rest.connection.getresponse()
    code, text = response.status, response.read()
    event = json.loads(text)
    assert code == 200 and event["type"] == "ERROR"
    assert (event["object"]["kind"], event["object"]["code"], event["object"]["reason"]) == ("Status", 410, "Expired")


def test_bookmarks_come_where_they_are_allowed(rest, plane, monkeypatch):
    monkeypatch.setattr(watch, "BOOKMARK_SECONDS", 0.0)
    for allowed in (True, False):
        rest.connection.request("GET", f"{MAPS}?watch=1&timeoutSeconds=1.2&allowWatchBookmarks={str(allowed).lower()}")
        lines = rest.connection.getresponse().read().splitlines()
        assert bool(lines) == allowed
        for event in map(json.loads, lines):
            assert event["type"] == "BOOKMARK" and event["object"]["kind"] == "ConfigMap"
            assert int(event["object"]["metadata"]["resourceVersion"]) >= 1


def test_a_watch_ends_with_a_bookmark_to_go_on_from(rest):
    rest("POST", MAPS, configmap("a"))
    rest.connection.request("GET", f"{MAPS}?watch=1&timeoutSeconds=1.2&allowWatchBookmarks=true")
    added, bookmark = map(json.loads, rest.connection.getresponse().read().splitlines())
    assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
    version = bookmark["object"]["metadata"]["resourceVersion"]
    assert int(version) >= int(added["object"]["metadata"]["resourceVersion"])
    rest.connection.request("GET", f"{MAPS}?watch=1&timeoutSeconds=0.2&resourceVersion={version}")
    assert rest.connection.getresponse().read() == b""


def test_a_watcher_that_goes_away_is_let_go(plane):
    watchers = [_lines(plane.socket, f"{MAPS}?watch=1", 1) for _ in range(5)]
    Rest(plane.socket)("POST", MAPS, configmap("a"))
    assert all(len(wait()) == 1 for wait in watchers)
    deadline = time.monotonic() + 5
    while len(plane.server._open) > 1:
        assert time.monotonic() < deadline, "connections of watchers that are gone stay open"
        time.sleep(0.05)


# --- exec


def test_exec_needs_the_upgrade_it_speaks(rest):
    rest("POST", "/api/v1/namespaces/default/pods", pod("p"))
    code, status = rest("POST", "/api/v1/namespaces/default/pods/p/exec?command=true")
    assert code == 400 and execframes.PROTOCOL in status["message"]


def test_a_client_that_sends_no_frames_loses_its_session(plane, rest):
    rest("POST", "/api/v1/namespaces/default/pods", pod("p"))
    head = f"Connection: Upgrade\r\nUpgrade: {execframes.PROTOCOL}\r\n"
    url = "/api/v1/namespaces/default/pods/p/exec?command=sleep&command=60&stdin=true"
    answer = raw(plane, f"POST {url} HTTP/1.1\r\n{head}\r\n".encode() + b"\xff" * 100)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert plane.backend.processes[0].closed.wait(5)
