"""Podman's REST API over a Transport: podman-py's client for calls, plain HTTP for long-lived streams.

All of node/podman, node/bootstrap and node/network/podnetwork use it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ktool.importing import IMPORTING
from ktool.node.base import Transport
from ktool.node.podman.unanswered import unanswered
from ktool.node.reach.stream import ChannelStream, Stream

if TYPE_CHECKING:
    from ktool.node.podman.podmanclient import PodmanClient

SOCKET = "/run/podman/podman.sock"
VERSION = "4.3.1"
"""The oldest Podman we work with; newer servers answer older paths."""

UNCHANGED: Any = object()
"""The answer 304 Not Modified: it is so already."""


class Refused(Exception):
    """An error response of Podman. `status` is the HTTP status, `cause` Podman's short text, `message` its long one."""

    def __init__(self, status: int, cause: str, message: str) -> None:
        super().__init__(message)
        self.status, self.cause, self.message = status, cause, message


class PodmanApi:
    """Calls to one node's Podman. Every call has a deadline in seconds without data; other keywords are query
    parameters. Thread-safe; connections are kept alive and shared. Raises Refused for an error response, NodeError
    (Unreachable) where Podman cannot be reached."""

    def __init__(self, transport: Transport, path: str = SOCKET) -> None:
        self._transport, self._path = transport, path
        self._client: PodmanClient | None = None
        self._streams: set[ApiStream] = set()
        self._lock = threading.Lock()

    def prepare(self) -> PodmanClient:
        """Import podman-py and make its client. Done by the first call, or ahead of time by a thread that is idle."""
        with self._lock:
            if self._client is None:
                with IMPORTING:
                    from ktool.node.podman.podmanclient import PodmanClient
                self._client = PodmanClient(self._transport.node, self._open, VERSION)
            return self._client

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
        """The parsed body; None for an empty one; UNCHANGED where Podman reports that nothing had to change."""
        return self._call("POST", path, params, body, deadline, headers)

    def delete(self, path: str, *, deadline: float = 30.0, **params: Any) -> Any:
        return self._call("DELETE", path, params, None, deadline)

    def stream(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, upgrade: bool = False, **params: Any
    ) -> ApiStream:
        """Send a request on a connection of its own and return the open response; `close` ends it from any thread."""
        sock = self._open(10.0)
        stream = ApiStream(sock, method, self._forget)
        with self._lock:
            self._streams.add(stream)
        try:
            stream.start(f"/v{VERSION}/libpod/{path}{_query(params)}", body, upgrade)
            return stream
        except (OSError, http.client.HTTPException) as error:
            stream.close()
            raise unanswered(self._transport.node, path, error) from None
        except BaseException:
            stream.close()
            raise

    def close(self) -> None:
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()
        if self._client is not None:
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
        return _answer(*self.prepare().send(method, path, query, headers, data, deadline))


class ApiStream:
    """One HTTP exchange whose response is read as it arrives. After an upgrade `send` and `half_close` write to it."""

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
        """The data available, at least one byte; empty at the end."""
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
        """Treat a broken stream, or one closed by another thread, as its end."""
        assert self._response is not None
        try:
            return bytes(read(self._response))
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return b""


def _param(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def _query(params: Mapping[str, Any]) -> str:
    return "?" + urlencode({key: _param(value) for key, value in params.items()}) if params else ""


def _answer(status: int, text: bytes) -> Any:
    if status >= 400:
        raise _refused(status, text)
    if not text:
        return UNCHANGED if status == 304 else None
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
