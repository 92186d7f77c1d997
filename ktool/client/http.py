"""HttpClient: the client of a running control plane, speaking Kubernetes' REST API over HTTP/1.1 on a unix socket.

app.py makes it for commands. Standard library only, to keep their start fast. One connection per thread is kept alive
for requests; a watch, a followed log and an exec each take one of their own, which `close` of their iterator ends. A
connection that the server closed while it was idle is replaced before the next request, never after: a request is sent
once.
"""

from __future__ import annotations

import builtins
import http.client
import json
import socket
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from ktool.api.errors import ApiError, bad_request
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.marks import APPLY_PATH
from ktool.api.obj import Obj, get, meta, namespace
from ktool.api.ref import GroupKind, Ref
from ktool.client.httpstream import ANSWER_WITHIN, Connection, HttpExec, LogStream, WatchStream
from ktool.registry import execframes
from ktool.registry.client import Applied, ClientError, Listing, LogRequest

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}

Query = Mapping[str, object]


@dataclass(frozen=True)
class _Call:
    """One HTTP request. The body is JSON; a query's entries that are "" are left out."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        given = {key: value for key, value in self.query.items() if value != ""}
        return f"{self.path}?{urlencode(given, doseq=True)}" if given else self.path


def probe(socket_path: str, timeout: float = 2.0) -> bool:
    """Whether a control plane listens on the socket. Costs one connect."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(socket_path)
            sock.sendall(b"GET /version HTTP/1.1\r\nHost: ktool\r\nConnection: close\r\n\r\n")
            return sock.recv(12).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class HttpClient:
    """Implements registry/client.Client on a server's socket. Thread-safe."""

    def __init__(self, socket_path: str, kinds: Kinds) -> None:
        self.kinds = kinds
        self._path = socket_path
        self._mine = threading.local()
        self._open: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()

    # --- documents

    def get(self, ref: Ref, *, version: str = "") -> Obj:
        return self._ask("GET", self._object_path(ref, version=version))

    def list(
        self, gk: GroupKind, namespace: str | None = None, *, labels: str = "", fields: str = "", version: str = ""
    ) -> Listing:
        path = self._kind(gk).path(_escaped(namespace), version=version)
        answer = self._ask("GET", path, {"labelSelector": labels, "fieldSelector": fields})
        return Listing(answer["items"], answer["metadata"]["resourceVersion"])

    def create(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        kind = self._kind(GroupKind.of(obj))
        path = kind.path(_escaped(namespace(obj) or "default"), version=kind.version_of(obj))
        return self._ask("POST", path, _dry(dry_run), obj)

    def update(self, obj: Obj, *, subresource: str = "", dry_run: bool = False) -> Obj:
        body = _scale(obj) if subresource == "scale" else obj
        version = self._kind(GroupKind.of(obj)).version_of(obj)
        return self._ask("PUT", self._object_path(Ref.of(obj), subresource, version), _dry(dry_run), body)

    def patch(
        self, ref: Ref, patch: object, *, type: str = "merge", subresource: str = "", dry_run: bool = False
    ) -> Obj:
        path = self._object_path(ref, subresource)
        return self._ask("PATCH", path, _dry(dry_run), patch, content_type=PATCH_TYPES[type])

    def delete(
        self,
        ref: Ref,
        *,
        grace: int | None = None,
        propagation: str = "Background",
        uid: str = "",
        dry_run: bool = False,
    ) -> Obj:
        options: Obj = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        if dry_run:
            options["dryRun"] = ["All"]
        return self._ask("DELETE", self._object_path(ref), {}, options)

    def apply(self, objects: Sequence[Obj], *, dry_run: bool = False, strict: bool = False) -> builtins.list[Applied]:
        body = {"objects": list(objects), "dryRun": dry_run, "strict": strict}
        answer = self._ask("POST", APPLY_PATH, {}, body)
        return [
            Applied(Ref.parse(one["ref"]), one["outcome"], one["object"], tuple(one["warnings"]))
            for one in answer["results"]
        ]

    def version(self) -> dict[str, str]:
        return self._ask("GET", "/version")

    def document(self, path: str) -> Any:
        """What the server tells about itself at a path of discovery, for client/kinds."""
        return self._ask("GET", path)

    # --- streams

    def watch(
        self,
        gk: GroupKind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        since: str = "",
        timeout: float | None = None,
        version: str = "",
    ) -> WatchStream:
        query: dict[str, object] = {
            "watch": "true",
            "labelSelector": labels,
            "fieldSelector": fields,
            "resourceVersion": since,
        }
        if timeout is not None:
            query["timeoutSeconds"] = f"{timeout:.3f}"
        path = self._kind(gk).path(_escaped(namespace), version=version)
        return WatchStream(self._path, *self._stream("GET", path, query))

    def logs(self, pod: Ref, request: LogRequest) -> LogStream:
        query: dict[str, object] = {"container": request.container}
        for flag in ("follow", "previous", "timestamps"):
            if getattr(request, flag):
                query[flag] = "true"
        if request.tail >= 0:
            query["tailLines"] = request.tail
        if request.since:
            query["sinceSeconds"] = request.since
        return LogStream(self._path, *self._stream("GET", self._object_path(pod, "log"), query))

    def exec(self, pod: Ref, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> HttpExec:
        query = {
            "container": container,
            "command": list(argv),
            "stdin": _bool(stdin),
            "stdout": "true",
            "stderr": _bool(not tty),
            "tty": _bool(tty),
        }
        headers = {"Connection": "Upgrade", "Upgrade": execframes.PROTOCOL}
        connection, response = self._stream("POST", self._object_path(pod, "exec"), query, headers)
        return HttpExec(self._path, connection, response)

    def close(self) -> None:
        """Close the connections of all threads. Open streams continue until they are closed themselves."""
        with self._lock:
            connections = list(self._open)
            self._open.clear()
        for connection in connections:
            connection.close()

    # --- HTTP

    def _ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
    ) -> Obj:
        call = _Call(method, path, query or {}, body, content_type)
        response, data = self._exchange(self._connection(), call)
        if response.status >= 400:
            raise _refusal(response.status, data)
        answer = _document(data)
        if not isinstance(answer, dict):
            raise ClientError("the control plane gave an answer that is no JSON object")
        return answer

    def _stream(
        self, method: str, path: str, query: Query, headers: Mapping[str, str] | None = None
    ) -> tuple[Connection, http.client.HTTPResponse]:
        connection = Connection(self._path)
        response, data = self._exchange(connection, _Call(method, path, query, headers=headers or {}), stream=True)
        if response.status >= 400:
            connection.close()
            raise _refusal(response.status, data)
        connection.sock.settimeout(None)
        return connection, response

    def _exchange(
        self, connection: Connection, call: _Call, *, stream: bool = False
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The response and its body. The body is left unread for a stream, unless it is an error."""
        done = False
        try:
            response = _send(connection, call)
            data = b"" if stream and response.status < 400 else response.read()
            done = True
            return response, data
        except (OSError, http.client.HTTPException) as error:
            raise _gone(self._path, error) from error
        finally:
            if not done:
                connection.close()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._mine, "connection", None)
        if connection is not None and connection.fresh():
            return connection
        if connection is not None:
            connection.close()
        else:
            connection = self._mine.connection = Connection(self._path)
        with self._lock:
            self._open.add(connection)
        return connection

    # --- kinds and paths

    def _kind(self, gk: GroupKind) -> Kind:
        kind = self.kinds.get(gk)
        if kind is None:
            raise ApiError(404, "NotFound", f"there is no kind {str(gk)!r}", kind=str(gk))
        return kind

    def _object_path(self, ref: Ref, subresource: str = "", version: str = "") -> str:
        if not ref.name:  # the path would be that of the collection: a deletion of it spares nothing
            raise bad_request("resource name may not be empty")
        kind = self._kind(ref.gk)
        return kind.path(_escaped(ref.namespace or "default"), quote(ref.name, safe=""), subresource, version)


# --- helpers -----------------------------------------------------------------------------------------------------


def _send(connection: Connection, call: _Call) -> http.client.HTTPResponse:
    sent: dict[str, str] = {"Accept": "application/json", **call.headers}
    data = None
    if call.body is not None:
        data = json.dumps(call.body, separators=(",", ":")).encode()
        sent["Content-Type"] = call.content_type
    try:
        connection.request(call.method, call.url, data, sent)
    except BrokenPipeError:
        pass  # the server refused before it had read everything: its answer says why
    return connection.getresponse()


def _escaped(namespace: str | None) -> str | None:
    return None if namespace is None else quote(namespace, safe="")


def _scale(obj: Obj) -> Obj:
    """The autoscaling/v1 Scale to send for an update of a whole object's scale."""
    spec = {"replicas": get(obj, "spec", "replicas", default=0)}
    return {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta(obj), "spec": spec}


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ClientError("the control plane gave an answer that is not JSON") from error


def _refusal(code: int, data: bytes) -> Exception:
    status = _document(data)
    if isinstance(status, dict) and status.get("kind") == "Status":
        return ApiError.from_status(status)
    return ClientError(f"the control plane answered {code} without a reason")


def _gone(path: str, error: Exception) -> ClientError:
    """The message for the user where the server did not answer."""
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return ClientError(f"no control plane answers on {path}: it has ended, or was never started")
    if isinstance(error, PermissionError):
        return ClientError(f"the control plane's socket {path} belongs to another user")
    if isinstance(error, TimeoutError):
        return ClientError(f"the control plane on {path} gave no answer within {ANSWER_WITHIN:.0f} seconds")
    return ClientError(f"the control plane on {path} went away before it answered")
