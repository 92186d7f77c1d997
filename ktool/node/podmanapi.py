"""Podman's REST API over a Transport: podman-py's client for calls, plain HTTP for streams that stay open."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
import urllib3
from podman.api.client import APIClient
from podman.errors import APIError
from requests.adapters import HTTPAdapter

from ktool.node.base import NodeError, Transport
from ktool.node.stream import ChannelStream, Stream

SOCKET = "/run/podman/podman.sock"
VERSION = "4.3.1"
"""The oldest Podman we work with; newer servers answer older paths."""

POOL = 16
"""Idle connections kept: one per lane of pods, and a few for the loop itself. A forwarded one costs sshd nothing."""


class Refused(Exception):
    """Podman answered with an error. `status` is the HTTP status, `cause` Podman's short text, `message` its long."""

    def __init__(self, status: int, cause: str, message: str) -> None:
        super().__init__(message)
        self.status, self.cause, self.message = status, cause, message


class PodmanApi:
    """Calls to one node's Podman. Every call has a deadline in seconds without data; other keywords are query
    parameters. Thread-safe; connections are kept open and shared. Raises Refused for errors Podman reports, NodeError
    (Unreachable) where it cannot be asked."""

    def __init__(self, transport: Transport, path: str = SOCKET) -> None:
        self._transport, self._path = transport, path
        self._client = APIClient(base_url="http://podman", version=VERSION)
        self._client.trust_env = False  # no proxies, no .netrc: this never leaves the machine by itself
        self._client.mount("http://", _Adapter(self._open))
        self._streams: set[ApiStream] = set()
        self._lock = threading.Lock()

    def get(self, path: str, *, deadline: float = 15.0, **params: Any) -> Any:
        return self._call("GET", path, params, None, deadline)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        deadline: float = 30.0,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Any:
        """The parsed answer; None for an empty one. 304 Not Modified (it is so already) is an empty answer."""
        return self._call("POST", path, params, body, deadline, headers)

    def delete(self, path: str, *, deadline: float = 30.0, **params: Any) -> Any:
        return self._call("DELETE", path, params, None, deadline)

    def stream(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, upgrade: bool = False, **params: Any
    ) -> ApiStream:
        """Send a request on a connection of its own and hand back the open answer; `close` ends it from any thread."""
        sock = self._open(10.0)
        stream = ApiStream(sock, method, self._forget)
        with self._lock:
            self._streams.add(stream)
        try:
            stream.start(f"/v{VERSION}/libpod/{path}{_query(params)}", body, upgrade)
            return stream
        except (OSError, http.client.HTTPException) as error:
            stream.close()
            raise NodeError(self._transport.node, path, self._says(error)) from None
        except BaseException:
            stream.close()
            raise

    def close(self) -> None:
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()
        self._client.close()

    def _forget(self, stream: ApiStream) -> None:
        with self._lock:
            self._streams.discard(stream)

    def _open(self, timeout: float) -> Stream:
        return self._transport.connect_unix(self._path, timeout=timeout)

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        body: Mapping[str, Any] | None,
        deadline: float,
        more_headers: Mapping[str, str] | None = None,
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {**({"Content-Type": "application/json"} if data is not None else {}), **(more_headers or {})}
        query = {key: _param(value) for key, value in params.items()}
        send = {"GET": self._client.get, "DELETE": self._client.delete, "POST": self._client.post}[method]
        extra: dict[str, Any] = {"data": data} if method == "POST" else {}
        for attempt in (1, 2):
            try:
                response = send(path, params=query, headers=headers, timeout=deadline, **extra)
                return _answer(response)
            except (APIError, requests.RequestException) as error:
                # podman.service ends itself after five idle seconds under socket activation, and a kept connection
                # may die under a request. Everything asked for here may be asked for twice.
                if attempt == 2 or not _dropped(error):
                    raise NodeError(self._transport.node, path, self._says(error)) from None
        raise AssertionError("unreachable")

    def _says(self, error: BaseException) -> str:
        cause: BaseException = error.__cause__ or error.__context__ or error if isinstance(error, APIError) else error
        if isinstance(cause, requests.Timeout | TimeoutError):
            return f"Podman on {self._transport.node} did not answer in time"
        return f"Podman on {self._transport.node} cannot be asked: {_innermost(cause)}"


class ApiStream:
    """One HTTP exchange whose answer is read as it comes. After an upgrade `send` and `half_close` write to it."""

    def __init__(self, sock: Stream, method: str, on_close: Any) -> None:
        self._sock, self._method, self._on_close = sock, method, on_close
        self._response: http.client.HTTPResponse | None = None

    def start(self, target: str, body: Mapping[str, Any] | None, upgrade: bool) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        head = [f"{self._method} {target} HTTP/1.1", "Host: podman", f"Content-Length: {len(data)}"]
        head.append("Content-Type: application/json")
        head += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
        self._sock.sendall("\r\n".join(head).encode("ascii") + b"\r\n\r\n" + data)
        self._response = http.client.HTTPResponse(self._sock, method=self._method)  # type: ignore[arg-type]
        self._sock.settimeout(60.0)
        self._response.begin()
        if self._response.status >= 400:
            raise _refused(self._response.status, self._response.read())
        self._sock.settimeout(None)

    @property
    def content_type(self) -> str:
        assert self._response is not None
        return self._response.headers.get("Content-Type", "")

    def line(self) -> bytes:
        """The next line; empty at the end."""
        return self._guard(lambda response: response.readline())

    def exactly(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""

        def read(response: http.client.HTTPResponse) -> bytes:
            parts: list[bytes] = []
            left = size
            while left > 0 and (part := self._raw(response, left)):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)

        return self._guard(read)

    def some(self, size: int = 1 << 16) -> bytes:
        """What is there, at least one byte; empty at the end."""
        return self._guard(lambda response: self._raw(response, size))

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if isinstance(self._sock, ChannelStream):
            self._sock.abort()
        else:
            with contextlib.suppress(OSError):  # wakes a reader in another thread; close alone does not
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
        self._on_close(self)

    @staticmethod
    def _raw(response: http.client.HTTPResponse, size: int) -> bytes:
        # After "101 UPGRADED" http.client thinks the body is empty; the bytes come from the socket's reader below it.
        if response.status == 101 or (not response.chunked and response.length is None):
            return response.fp.read1(size) if response.fp else b""
        return response.read1(size)

    def _guard(self, read: Any) -> bytes:
        """A stream that breaks or is closed by another thread has ended, for whoever reads it."""
        assert self._response is not None
        try:
            return bytes(read(self._response))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return b""


class _Adapter(HTTPAdapter):
    """requests over connections that a Transport opens."""

    def __init__(self, open_stream: Any) -> None:
        class Connection(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                limit = self.timeout if isinstance(self.timeout, int | float) else 10.0
                self.sock = open_stream(min(limit, 10.0))

            @property
            def is_connected(self) -> bool:
                if isinstance(self.sock, ChannelStream):
                    return not self.sock.dropped
                return bool(super().is_connected)

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool_class = Pool
        super().__init__(pool_connections=1, pool_maxsize=POOL)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = urllib3.PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": self._pool_class}


def _param(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def _query(params: Mapping[str, Any]) -> str:
    return "?" + urlencode({key: _param(value) for key, value in params.items()}) if params else ""


def _answer(response: Any) -> Any:
    if response.status_code >= 400:
        raise _refused(response.status_code, response.content)
    text = response.content
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text.decode("utf-8", "replace")


def _refused(status: int, content: bytes) -> Refused:
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        text = content.decode("utf-8", "replace").strip() or f"HTTP {status}"
        return Refused(status, text, text)
    errors = [str(entry) for entry in body.get("Errs") or () if entry]
    message = str(body.get("message") or "; ".join(errors) or f"HTTP {status}")
    return Refused(status, str(body.get("cause") or message), message)


def _dropped(error: BaseException) -> bool:
    """Whether a kept connection turned out to be closed before any answer came."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError):
            return True
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = inner or seen.__cause__
    return False


def _innermost(error: BaseException) -> str:
    seen = error
    while inner := next((arg for arg in seen.args if isinstance(arg, BaseException)), None):
        seen = inner
    return str(seen) or type(seen).__name__
