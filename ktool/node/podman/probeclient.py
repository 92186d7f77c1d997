"""Probes and lifecycle hooks, carried out on a node: HTTP, TCP and gRPC through a stream to the pod's address, exec
through Podman.

The runtime, performer and podending of node/podman call it. Each call has a timeout. Failures are worded as the kubelet
words them (pkg/probe).
"""

from __future__ import annotations

import ssl
import time
from contextlib import closing
from typing import Any
from urllib.parse import urljoin, urlsplit

from ktool.logic.node.probecalls import USER_AGENT, Answer, Call, Exec, Grpc, HttpGet, Impossible, Sleep, TcpSocket
from ktool.node.base import NodeError, Transport, Unreachable
from ktool.node.podman import containerio
from ktool.node.podman.podmanapi import PodmanApi
from ktool.node.reach.stream import Stream

MOST_REDIRECTS = 10
MOST_HEADER = 64 * 1024
MOST_SAID = 10 * 1024
"""Bytes of a command's output that are kept, as the kubelet does."""


def carry_out(api: PodmanApi, transport: Transport, call: Call) -> Answer:
    """Carry out one call. Raises Unreachable where the node itself cannot be asked."""
    deadline = time.monotonic() + call.timeout
    handler = call.handler
    if isinstance(handler, Exec):
        return _exec(api, transport, call.container, handler, call.timeout)
    if isinstance(handler, HttpGet):
        # A hook only has to be delivered; a probe asks for what is answered.
        return _http(transport, handler, deadline, any_status=call.purpose in ("postStart", "preStop"))
    if isinstance(handler, TcpSocket):
        return _tcp(transport, handler, deadline)
    if isinstance(handler, Grpc):
        return _grpc(transport, handler, call.timeout, deadline)
    if isinstance(handler, Sleep):
        time.sleep(min(handler.seconds, call.timeout))
        return Answer(True)
    assert isinstance(handler, Impossible)
    return Answer(False, handler.message)


# --- a command ---------------------------------------------------------------------------------------------------


def _exec(api: PodmanApi, transport: Transport, container: str, handler: Exec, timeout: float) -> Answer:
    try:
        status, output = containerio.run(api, transport, container, handler.command, timeout, MOST_SAID)
    except Unreachable:
        raise
    except NodeError as error:
        return Answer(False, error.message)
    if status == 0:
        return Answer(True)
    if status is None:
        words = " ".join(handler.command)
        return Answer(False, f'command timed out: "{words}" timed out after {timeout:g}s')
    return Answer(False, output.decode("utf-8", "replace").strip() or f"command exited with {status}")


# --- connections -------------------------------------------------------------------------------------------------


def _connect(transport: Transport, host: str, port: int, deadline: float) -> Stream:
    """A stream to the pod. Raises Unreachable, or ConnectionError with the kubelet's message."""
    began = time.monotonic()
    left = deadline - began
    try:
        return transport.connect_tcp(host, port, timeout=max(0.05, left))
    except Unreachable:
        raise
    except NodeError:
        if time.monotonic() >= deadline:
            raise ConnectionError(f"dial tcp {host}:{port}: i/o timeout") from None
        # sshd does not hand on why; only a refusal comes at once, while an address that nobody has takes seconds.
        why = "connection refused" if time.monotonic() - began < 1 else "no route to host"
        raise ConnectionError(f"dial tcp {host}:{port}: connect: {why}") from None


def _tcp(transport: Transport, handler: TcpSocket, deadline: float) -> Answer:
    try:
        _connect(transport, handler.host, handler.port, deadline).close()
    except ConnectionError as error:
        return Answer(False, str(error))
    return Answer(True)


class _Reader:
    """Reads from a stream until a deadline."""

    def __init__(self, stream: Any, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def some(self) -> bytes:
        """The next bytes; empty at the end. Raises TimeoutError."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._stream.settimeout(left)
        return bytes(self._stream.recv(1 << 16))


class _Tls:
    """TLS over a stream that is not a socket. The certificate is not verified: a probe asks whether the server answers,
    and a pod's certificate is seldom issued for its address."""

    def __init__(self, stream: Any, deadline: float) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._stream, self._in, self._out = stream, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)
        self._reader = _Reader(stream, deadline)
        self._through(self._tls.do_handshake)

    def _through(self, step: Any) -> Any:
        while True:
            try:
                result = step()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self._reader.some()
                if not data:
                    raise ConnectionError("EOF") from None
                self._in.write(data)

    def _flush(self) -> None:
        if data := self._out.read():
            self._stream.sendall(data)

    def settimeout(self, seconds: float) -> None:
        """The deadline was given at the beginning."""

    def sendall(self, data: bytes) -> None:
        self._through(lambda: self._tls.write(data))

    def recv(self, size: int) -> bytes:
        try:
            return bytes(self._through(lambda: self._tls.read(size)))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""


# --- HTTP --------------------------------------------------------------------------------------------------------


def _http(transport: Transport, handler: HttpGet, deadline: float, any_status: bool) -> Answer:
    """Follow redirects to the same host; a redirect to another host is a success (pkg/probe/http)."""
    url = handler.url
    for _ in range(MOST_REDIRECTS):
        try:
            status, location = _get(transport, url, handler, deadline)
        except TimeoutError:
            why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Answer(False, f'Get "{url}": {why}')
        except (OSError, ssl.SSLError, ValueError) as error:
            return Answer(False, f'Get "{url}": {error}')
        if any_status:
            return Answer(True)
        if status in (301, 302, 303, 307, 308) and location:
            url, before = urljoin(url, location), url
            if urlsplit(url).hostname == urlsplit(before).hostname:
                continue
            return Answer(True)
        if 200 <= status < 400:
            return Answer(True)
        return Answer(False, f"HTTP probe failed with statuscode: {status}")
    return Answer(False, f'Get "{url}": stopped after {MOST_REDIRECTS} redirects')


def _get(transport: Transport, url: str, handler: HttpGet, deadline: float) -> tuple[int, str]:
    """Status and Location of the response. Raises OSError (TimeoutError), ValueError for a malformed response."""
    parts = urlsplit(url)
    host, secure = parts.hostname or handler.host, parts.scheme == "https"
    with closing(_connect(transport, host, parts.port or (443 if secure else 80), deadline)) as plain:
        stream: Any = _Tls(plain, deadline) if secure else plain
        stream.settimeout(max(0.05, deadline - time.monotonic()))
        stream.sendall(_request(parts, handler))
        reader = _Reader(stream, deadline)
        head = b""
        while True:
            while b"\r\n\r\n" not in head:
                data = reader.some()
                if not data or len(head) > MOST_HEADER:
                    raise ValueError("EOF" if not head else "malformed HTTP response")
                head += data
            status, location = _parsed(head)
            if status >= 200 or status == 101:
                return status, location
            head = head.partition(b"\r\n\r\n")[2]  # 100 Continue and the like: the answer is still to come


def _request(parts: Any, handler: HttpGet) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    names = {name.lower(): name for name in headers}
    lines = []
    for name, value in handler.headers:
        if known := names.get(name.lower()):
            headers.pop(known, None)
        lines.append(f"{name}: {value}")
    text = "\r\n".join([f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), *lines])
    return text.encode("utf-8") + b"\r\n\r\n"


def _parsed(head: bytes) -> tuple[int, str]:
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():
        raise ValueError(f'malformed HTTP response "{lines[0][:80]}"')
    named = (line.partition(":") for line in lines[1:])
    return int(words[1]), next((value.strip() for name, _, value in named if name.lower() == "location"), "")


# --- gRPC --------------------------------------------------------------------------------------------------------


def _grpc(transport: Transport, handler: Grpc, timeout: float, deadline: float) -> Answer:
    from ktool.node.podman import grpchealth

    try:
        stream = _connect(transport, handler.host, handler.port, deadline)
    except ConnectionError:
        where = f'"{handler.host}:{handler.port}"'
        return Answer(False, f"timeout: failed to connect service {where} within {timeout:g}s")
    with closing(stream):
        try:
            return grpchealth.check(stream, _Reader(stream, deadline).some, handler, timeout)
        except TimeoutError:
            return Answer(False, f"timeout: health rpc did not complete within {timeout:g}s")
        except OSError as error:
            return Answer(False, f"error: health rpc probe failed: {error}")
