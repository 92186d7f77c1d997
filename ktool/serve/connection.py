"""One connection of one client: HTTP/1.1 in, documents and streams out.

Whatever goes wrong is answered with a metav1.Status; a fault of our own is one with code 500 and a line in the log,
which names where it happened but quotes no value (a value may be a secret).
"""

from __future__ import annotations

import json
import select
import socket
import traceback
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ktool.api.errors import ApiError, method_not_allowed
from ktool.api.marks import APPLY_PATH
from ktool.registry.request import LOCAL
from ktool.serve import discovery, execstream, logstream, resources, routes, watch
from ktool.serve.resources import Request
from ktool.store.errors import StoreError

if TYPE_CHECKING:
    from ktool.registry.registry import Registry
    from ktool.serve.server import Server

BODY_LIMIT = 8 << 20
"""The longest body of a request in bytes."""

IDLE_SECONDS = 90.0
"""How long a connection may be silent, between requests or within one, and how long a client may not read."""


_REASONS = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Connection(BaseHTTPRequestHandler):
    """Constructed with the connection's socket; returns when the connection is over."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: Server  # type: ignore[assignment]
    registry: Registry
    """The registry for whoever sent the request: today always the owner of the socket."""

    def serve(self) -> None:
        """One request. BaseHTTPRequestHandler finds it by the names below."""
        self.streaming = False
        try:
            self._dispatch()
        except ApiError as error:
            self._refuse(error)
        except StoreError as error:
            self._refuse(ApiError(500, "InternalError", str(error)))
        except (BrokenPipeError, ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            self.server.say(f"{self.command} {urlsplit(self.path).path}: {_where(error)}")
            self._refuse(ApiError(500, "InternalError", "Internal error occurred: see the log of the control plane"))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def _dispatch(self) -> None:
        request = self._read()
        manager = routes.manager(request.query, self.headers.get("User-Agent") or "")
        self.registry = registry = self.server.registry.as_(LOCAL.managing(manager))
        if request.path == APPLY_PATH:
            if request.method != "POST":
                raise method_not_allowed("apply is a POST")
            return self.reply(*resources.apply(registry, request))
        if request.method == "GET" and (plain := self._plain(request.path)) is not None:
            return self.reply(200, plain)
        route = routes.parse(request.path, self.server.registry.kinds)
        if route.subresource == "log":
            return logstream.serve(self, route, request)
        if route.subresource == "exec":
            return execstream.serve(self, route, request)
        if request.method == "GET" and not route.name and routes.flag(request.query, "watch"):
            return watch.serve(self, route, request)
        self.reply(*resources.answer(registry, route, request))

    def _plain(self, path: str) -> Any:
        """What is answered without a look at any object."""
        registry = self.server.registry
        if path == "/version":
            return discovery.version(self.server.where, registry.store.cluster_id, registry.kinds)
        if path in ("/healthz", "/livez", "/readyz"):
            return "ok"
        return discovery.document(path, registry.kinds)

    # --- reading

    def _read(self) -> Request:
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            raise ApiError(411, "LengthRequired", "a request's body needs a Content-Length")
        told = self.headers.get("Content-Length") or "0"
        if not (told.isascii() and told.isdigit()):
            self.close_connection = True
            raise ApiError(400, "BadRequest", "Content-Length is not a number")
        length = int(told)
        if length > BODY_LIMIT:
            self.close_connection = True
            raise ApiError(
                413, "RequestEntityTooLarge", f"a request of {length} bytes is longer than the {BODY_LIMIT} allowed"
            )
        body = self.rfile.read(length) if length else b""
        if len(body) < length:
            raise ConnectionError("the client went away")
        path, _, query = self.path.partition("?")
        content_type = self.headers.get("Content-Type") or ""
        return Request(self.command, path, routes.query(query), content_type, body)

    # --- answering

    def reply(self, code: int, document: Any) -> None:
        """One whole answer in one write: JSON, or plain text where the document is a string."""
        if self.server.closing.is_set():
            self.close_connection = True
        if isinstance(document, str):
            body, content_type = document.encode(), "text/plain; charset=utf-8"
        else:
            body, content_type = json.dumps(document, separators=(",", ":")).encode(), "application/json"
        self.connection.sendall(self._head(code, content_type, f"Content-Length: {len(body)}") + body)

    def start_stream(self, content_type: str) -> None:
        """The head of an answer whose end is not known yet; `chunk` sends its parts and `end_stream` ends it."""
        self.streaming = True
        self.connection.sendall(self._head(200, content_type, "Transfer-Encoding: chunked"))

    def chunk(self, data: bytes) -> None:
        if data:
            self.connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.connection.sendall(b"0\r\n\r\n")
        self.streaming = False

    def upgrade(self, protocol: str) -> None:
        """Leave HTTP: what follows on the connection is the other protocol's."""
        self.streaming = True
        self.close_connection = True
        self.connection.sendall(
            f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n".encode()
        )
        self.connection.settimeout(None)

    def gone(self) -> bool:
        """Whether the client has closed its end, or the server is closing."""
        if self.server.closing.is_set():
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)

    def end(self) -> None:
        """Close the connection under whoever reads from it."""
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _head(self, code: int, content_type: str, length: str) -> bytes:
        close = "Connection: close\r\n" if self.close_connection else ""
        return (
            f"HTTP/1.1 {code} {_REASONS.get(code, 'Status')}\r\nContent-Type: {content_type}\r\n{length}\r\n{close}\r\n"
        ).encode()

    def _refuse(self, error: ApiError) -> None:
        if self.streaming:  # too late for a Status: the client sees the stream break off
            self.close_connection = True
            return
        try:
            self.reply(error.code, error.to_status())
        except OSError:
            self.close_connection = True

    # --- BaseHTTPRequestHandler's own answers and log lines

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the parser of the request line and headers refuses, as a Status."""
        self.close_connection = True
        self.streaming = False
        if code == 501:
            self._refuse(method_not_allowed(message or "this method is not understood"))
        else:
            self._refuse(ApiError(int(code), "BadRequest", message or "the request is not HTTP"))

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _where(error: Exception) -> str:
    """A fault without its message: the type, and the innermost lines it came through."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    through = " < ".join(f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in frames[::-1])
    return f"{type(error).__name__} in {through}"
