"""The client of a running control plane: Kubernetes' REST API over HTTP/1.1 on a unix socket. Stdlib only.

One connection per thread is kept open for requests; a watch, a log that follows and an exec each take one of their
own, which `close` of their iterator ends. A connection that the server closed while it was idle is replaced before
the next request, never after: a request is sent once.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from ktool.api import framing
from ktool.api.errors import ApiError
from ktool.api.kind import REGISTRY, Kind
from ktool.api.obj import Obj, get, meta, namespace
from ktool.api.ref import Ref
from ktool.client.base import Applied, ClientError, Listing, LogRequest, WatchEvent

ANSWER_WITHIN = 120.0
"""Seconds after which a request without an answer is given up. An apply may wait for the database's lock."""

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}

Query = Mapping[str, object]


def probe(socket_path: str, timeout: float = 2.0) -> bool:
    """Whether a control plane answers on that socket. Costs one connect where there is none."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout)
            sock.connect(socket_path)
            sock.sendall(b"GET /version HTTP/1.1\r\nHost: ktool\r\nConnection: close\r\n\r\n")
            return sock.recv(12).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class _Connection(http.client.HTTPConnection):
    """http.client over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("ktool", timeout=ANSWER_WITHIN)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self.sock = sock

    def fresh(self) -> bool:
        """Whether the connection is open and nothing has arrived on it unasked (which would be its end)."""
        if self.sock is None:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class HttpClient:
    """ktool.client.base.Client on a server's socket. Threads may share one."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._mine = threading.local()
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._lock = threading.Lock()

    # --- documents

    def get(self, ref: Ref) -> Obj:
        return self._ask("GET", _object_path(ref))

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Listing:
        path = _kind(kind).path(_escaped(namespace))
        answer = self._ask("GET", path, {"labelSelector": labels, "fieldSelector": fields})
        return Listing(answer["items"], answer["metadata"]["resourceVersion"])

    def create(self, obj: Obj, *, dry_run: bool = False) -> Obj:
        kind = _kind(str(obj.get("kind", "")))
        path = kind.path(_escaped(namespace(obj) or "default"))
        return self._ask("POST", path, _dry(dry_run), obj)

    def update(self, obj: Obj, *, subresource: str = "", dry_run: bool = False) -> Obj:
        body = _scale(obj) if subresource == "scale" else obj
        return self._ask("PUT", _object_path(Ref.of(obj), subresource), _dry(dry_run), body)

    def patch(
        self, ref: Ref, patch: object, *, type: str = "merge", subresource: str = "", dry_run: bool = False
    ) -> Obj:
        path = _object_path(ref, subresource)
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
        return self._ask("DELETE", _object_path(ref), {}, options)

    def apply(self, objects: Sequence[Obj], *, dry_run: bool = False, strict: bool = False) -> list[Applied]:
        body = {"objects": list(objects), "dryRun": dry_run, "strict": strict}
        answer = self._ask("POST", "/apis/ktool.dev/v1/apply", {}, body)
        return [
            Applied(Ref(*one["ref"]), one["outcome"], one["object"], tuple(one["warnings"]))
            for one in answer["results"]
        ]

    def version(self) -> dict[str, str]:
        return self._ask("GET", "/version")

    # --- streams

    def watch(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        since: str = "",
        timeout: float | None = None,
    ) -> WatchStream:
        query: dict[str, object] = {
            "watch": "true",
            "labelSelector": labels,
            "fieldSelector": fields,
            "resourceVersion": since,
        }
        if timeout is not None:
            query["timeoutSeconds"] = f"{timeout:.3f}"
        return WatchStream(self._path, *self._stream("GET", _kind(kind).path(_escaped(namespace)), query))

    def logs(self, pod: Ref, request: LogRequest) -> LogStream:
        query: dict[str, object] = {"container": request.container}
        for flag in ("follow", "previous", "timestamps"):
            if getattr(request, flag):
                query[flag] = "true"
        if request.tail >= 0:
            query["tailLines"] = request.tail
        if request.since:
            query["sinceSeconds"] = request.since
        return LogStream(self._path, *self._stream("GET", _object_path(pod, "log"), query))

    def exec(self, pod: Ref, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> HttpExec:
        query = {
            "container": container,
            "command": list(argv),
            "stdin": _bool(stdin),
            "stdout": "true",
            "stderr": _bool(not tty),
            "tty": _bool(tty),
        }
        headers = {"Connection": "Upgrade", "Upgrade": framing.PROTOCOL}
        connection, response = self._stream("POST", _object_path(pod, "exec"), query, headers)
        return HttpExec(self._path, connection, response)

    def close(self) -> None:
        """End the connections of all threads. Streams that are open go on until their own close."""
        with self._lock:
            connections = list(self._open)
            self._open.clear()
        for connection in connections:
            connection.close()

    # --- HTTP

    def _ask(
        self, method: str, path: str, query: Query | None = None, body: Any = None, *, content_type: str = ""
    ) -> Any:
        connection = self._connection()
        response, data = self._exchange(connection, method, path, query or {}, body, content_type)
        if response.status >= 400:
            raise _refusal(response.status, data)
        return _document(data)

    def _stream(
        self, method: str, path: str, query: Query, headers: Mapping[str, str] | None = None
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        connection = _Connection(self._path)
        response, data = self._exchange(connection, method, path, query, None, "", headers, stream=True)
        if response.status >= 400:
            connection.close()
            raise _refusal(response.status, data)
        connection.sock.settimeout(None)
        return connection, response

    def _exchange(
        self,
        connection: _Connection,
        method: str,
        path: str,
        query: Query,
        body: Any,
        content_type: str,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The response and its body, which is left unread where it is a stream and no refusal."""
        done = False
        try:
            response = self._send(connection, method, path, query, body, content_type, headers)
            data = b"" if stream and response.status < 400 else response.read()
            done = True
            return response, data
        except (OSError, http.client.HTTPException) as error:
            raise _gone(self._path, error) from error
        finally:
            if not done:
                connection.close()

    def _send(
        self,
        connection: _Connection,
        method: str,
        path: str,
        query: Query,
        body: Any,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        given = {key: value for key, value in query.items() if value != ""}
        url = f"{path}?{urlencode(given, doseq=True)}" if given else path
        sent: dict[str, str] = {"Accept": "application/json", **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body, separators=(",", ":")).encode()
            sent["Content-Type"] = content_type or "application/json"
        try:
            connection.request(method, url, data, sent)
        except BrokenPipeError:
            pass  # the server refused before it had read everything: its answer says why
        return connection.getresponse()

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._mine, "connection", None)
        if connection is not None and connection.fresh():
            return connection
        if connection is not None:
            connection.close()
        else:
            connection = self._mine.connection = _Connection(self._path)
        with self._lock:
            self._open.add(connection)
        return connection


class _Stream:
    """A response that goes on until the server ends it or `close` does, from any thread."""

    def __init__(self, path: str, connection: _Connection, response: http.client.HTTPResponse) -> None:
        self._path, self._connection, self._response = path, connection, response
        self._sock = connection.sock
        self._closed = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            _shut(self._sock)

    def _chunks(self) -> Iterator[bytes]:
        """The bytes as they arrive. Raises ClientError where the stream breaks off."""
        try:
            while not self._closed and (data := self._response.read1(1 << 16)):
                yield data
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not self._closed:
                raise ClientError(f"the control plane on {self._path} went away in the middle of its answer") from error
        finally:
            self._closed = True
            self._connection.close()
            self._response.close()


class WatchStream(_Stream):
    """The events of a watch. Raises ApiError where the server ends it with one (410: list again)."""

    def __init__(self, path: str, connection: _Connection, response: http.client.HTTPResponse) -> None:
        super().__init__(path, connection, response)
        self._events = self._read()

    def __iter__(self) -> Iterator[WatchEvent]:
        return self

    def __next__(self) -> WatchEvent:
        return next(self._events)

    def _read(self) -> Iterator[WatchEvent]:
        rest = b""
        for data in self._chunks():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.close()
                    raise ApiError.from_status(event["object"])
                yield WatchEvent(event["type"], event["object"])


class LogStream(_Stream):
    """The bytes of a log."""

    def __init__(self, path: str, connection: _Connection, response: http.client.HTTPResponse) -> None:
        super().__init__(path, connection, response)
        self._bytes = self._chunks()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._bytes)


class HttpExec:
    """ktool.client.base.ExecSession on an upgraded connection (see api/framing)."""

    def __init__(self, path: str, connection: _Connection, response: http.client.HTTPResponse) -> None:
        self._path, self._connection, self._sock = path, connection, connection.sock
        self._response = response
        self._sending = threading.Lock()
        self._status: bytes | None = None
        self._closed = False

    def send(self, data: bytes) -> None:
        """Bytes for the command's stdin. What comes after its end is dropped, as a pipe's reader would."""
        self._frame(framing.STDIN, data)

    def close_stdin(self) -> None:
        self._frame(framing.CLOSE, bytes([framing.STDIN]))

    def resize(self, rows: int, columns: int) -> None:
        self._frame(framing.RESIZE, framing.resize(rows, columns))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        try:
            for channel, payload in framing.unpack(self._response.fp.read):
                if channel in (framing.STDOUT, framing.STDERR):
                    yield channel, payload
                elif channel == framing.STATUS:
                    self._status = payload
                    return
        except (OSError, ValueError) as error:
            if not self._closed:
                raise self._lost() from error

    def wait(self) -> int:
        for _ in self.frames() if self._status is None else ():
            pass
        if self._status is None:
            raise self._lost()
        return framing.exit_code(self._status)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            _shut(self._sock)
            self._connection.close()
            self._response.close()

    def _frame(self, channel: int, payload: bytes) -> None:
        with self._sending:
            try:
                self._sock.sendall(framing.pack(channel, payload))
            except OSError:
                pass  # the command ended, or the server did: `frames` and `wait` tell which

    def _lost(self) -> ClientError:
        return ClientError(f"the control plane on {self._path} went away before the command ended")


# --- helpers -----------------------------------------------------------------------------------------------------


def _kind(kind: str) -> Kind:
    if kind not in REGISTRY:
        raise ApiError(404, "NotFound", f"there is no kind {kind!r}", kind=kind)
    return REGISTRY[kind]


def _escaped(namespace: str | None) -> str | None:
    return None if namespace is None else quote(namespace, safe="")


def _object_path(ref: Ref, subresource: str = "") -> str:
    kind = _kind(ref.kind)
    return kind.path(_escaped(ref.namespace or "default"), quote(ref.name, safe=""), subresource)


def _scale(obj: Obj) -> Obj:
    """What an update of a whole object's scale sends: autoscaling/v1 Scale."""
    spec = {"replicas": get(obj, "spec", "replicas", default=0)}
    return {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta(obj), "spec": spec}


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _shut(sock: socket.socket) -> None:
    """End a connection so that a thread which reads from it wakes up."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


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
    """What a user is told where no answer came."""
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return ClientError(f"no control plane answers on {path}: it has ended, or was never started")
    if isinstance(error, PermissionError):
        return ClientError(f"the control plane's socket {path} belongs to another user")
    if isinstance(error, TimeoutError):
        return ClientError(f"the control plane on {path} gave no answer within {ANSWER_WITHIN:.0f} seconds")
    return ClientError(f"the control plane on {path} went away before it answered")
