"""Probes and hooks over real connections of this machine: what is asked, and what is said of the answers."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import pytest

from ktool.logic.node.probecalls import Answer, Call, Grpc, Handler, HttpGet, Impossible, Sleep, TcpSocket
from ktool.node.podman import probeclient
from ktool.node.podman.podmanapi import PodmanApi
from ktool.node.reach.localhost import LocalTransport

HERE = "127.0.0.1"


def ask(handler: Handler, timeout: float = 5.0, purpose: str = "readiness") -> Answer:
    return probeclient.carry_out(cast(PodmanApi, None), LocalTransport("n1"), Call(purpose, "c", handler, timeout))


class Pages(http.server.BaseHTTPRequestHandler):
    """/status/N answers N; /to/... redirects there; /headers answers 200 only for what it must be sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        status, location = 200, ""
        if self.path.startswith("/status/"):
            status = int(self.path.rpartition("/")[2])
        elif self.path.startswith("/to/"):
            status, location = 302, self.path[3:]
        elif self.path.startswith("/away"):
            status, location = 301, "http://elsewhere.test/"
        elif self.path.startswith("/loop"):
            status, location = 307, "/loop"
        elif self.path.startswith("/slow"):
            time.sleep(1.0)
        self.send_response_only(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer((HERE, 0), Pages)
    server.daemon_threads = True
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HERE, 0))
        return int(sock.getsockname()[1])


# --- HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/", Answer(True), id="200"),
        pytest.param("/status/399", Answer(True), id="399"),
        pytest.param("/status/400", Answer(False, "HTTP probe failed with statuscode: 400"), id="400"),
        pytest.param("/status/503", Answer(False, "HTTP probe failed with statuscode: 503"), id="503"),
        pytest.param("/to/status/200", Answer(True), id="redirect"),
        pytest.param("/to/status/500", Answer(False, "HTTP probe failed with statuscode: 500"), id="redirect-to-500"),
        pytest.param("/away", Answer(True), id="redirect-to-another-host-is-not-followed"),
    ],
)
def test_http(pages: http.server.ThreadingHTTPServer, path: str, expected: Answer) -> None:
    assert ask(HttpGet("HTTP", HERE, pages.server_port, path)) == expected


def test_redirects_have_an_end(pages: http.server.ThreadingHTTPServer) -> None:
    answer = ask(HttpGet("HTTP", HERE, pages.server_port, "/loop"))
    assert not answer.ok and answer.message.endswith("stopped after 10 redirects")


def test_headers(pages: http.server.ThreadingHTTPServer) -> None:
    headers = (("Host", "web.test"), ("X-Probe", "1"), ("accept", "text/plain"))
    assert ask(HttpGet("HTTP", HERE, pages.server_port, "/h?a=1", headers)).ok
    path, seen = pages.seen[-1]  # type: ignore[attr-defined]
    assert path == "/h?a=1"
    assert seen == {
        "Host": "web.test",
        "X-Probe": "1",
        "accept": "text/plain",
        "User-Agent": "kube-probe/ktool",
        "Connection": "close",
    }


def test_nobody_listens() -> None:
    port = free_port()
    where = f"{HERE}:{port}"
    refused = f"dial tcp {where}: connect: connection refused"
    assert ask(HttpGet("HTTP", HERE, port, "/z")) == Answer(False, f'Get "http://{where}/z": {refused}')
    assert ask(TcpSocket(HERE, port)) == Answer(False, refused)


def test_what_takes_too_long_or_is_no_http(pages: http.server.ThreadingHTTPServer) -> None:
    began = time.monotonic()
    answer = ask(HttpGet("HTTP", HERE, pages.server_port, "/slow"), timeout=0.3)
    assert time.monotonic() - began < 0.9
    assert not answer.ok and "context deadline exceeded" in answer.message
    with listening(lambda sock: sock.sendall(b"SSH-2.0-x\r\n\r\n")) as port:
        answer = ask(HttpGet("HTTP", HERE, port, "/"))
    assert answer == Answer(False, f'Get "http://{HERE}:{port}/": malformed HTTP response "SSH-2.0-x"')
    with listening(lambda sock: None) as port:
        assert ask(HttpGet("HTTP", HERE, port, "/")).message == f'Get "http://{HERE}:{port}/": EOF'


def test_a_hook_is_content_with_any_answer(pages: http.server.ThreadingHTTPServer) -> None:
    assert ask(HttpGet("HTTP", HERE, pages.server_port, "/status/500"), purpose="preStop").ok
    assert not ask(HttpGet("HTTP", HERE, free_port(), "/"), purpose="preStop").ok


def test_https_is_not_verified(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer((HERE, 0), Pages)
    server.daemon_threads = True
    server.seen = []  # type: ignore[attr-defined]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        assert ask(HttpGet("HTTPS", HERE, server.server_port, "/to/status/204")) == Answer(True)
        answer = ask(HttpGet("HTTPS", HERE, server.server_port, "/status/503"))
        assert answer == Answer(False, "HTTP probe failed with statuscode: 503")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with listening(lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert not ask(HttpGet("HTTPS", HERE, port, "/")).ok


def _certificate(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "old.pem"
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return path


# --- the others ----------------------------------------------------------------------------------------------------


class listening:
    """A server that does one thing with each connection and closes it."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve

    def __enter__(self) -> int:
        self._sock = socket.create_server((HERE, 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return int(self._sock.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    connection.recv(1 << 16)
                    self._serve(connection)
                except OSError:
                    pass


def test_tcp(pages: http.server.ThreadingHTTPServer) -> None:
    assert ask(TcpSocket(HERE, pages.server_port)) == Answer(True)


def test_what_needs_no_connection() -> None:
    assert ask(Sleep(0)).ok
    assert ask(Impossible("no such port")) == Answer(False, "no such port")


def health_server(status: int | None, grpc: str = "0", said: str = "") -> Callable[[socket.socket], None]:
    """A gRPC server that knows the service "" and "db"; hyper-h2 on this side too, but the words are ours to check."""

    def serve(sock: socket.socket) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        body = b""
        while data := sock.recv(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = dict(event.headers)
                    assert headers[":path"] == "/grpc.health.v1.Health/Check" and headers["te"] == "trailers"
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    answer(connection, event.stream_id, body)
            sock.sendall(connection.data_to_send())

    def answer(connection: Any, stream: int, body: bytes) -> None:
        assert body in (b"\0\0\0\0\0", b"\0\0\0\0\x04\x0a\x02db"), body
        headers = [(":status", "200"), ("content-type", "application/grpc")]
        ending = [("grpc-status", grpc), *([("grpc-message", said)] if said else [])]
        if status is None:
            connection.send_headers(stream, [*headers, *ending], end_stream=True)
            return
        connection.send_headers(stream, headers)
        message = bytes([8, status]) if status else b""
        connection.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message)
        connection.send_headers(stream, ending, end_stream=True)

    return serve


@pytest.mark.parametrize(
    ("service", "status", "grpc", "expected"),
    [
        pytest.param("", 1, "0", Answer(True), id="serving"),
        pytest.param("db", 1, "0", Answer(True), id="a-named-service"),
        pytest.param("", 2, "0", Answer(False, 'service unhealthy (responded with "NOT_SERVING")'), id="not-serving"),
        pytest.param("", 0, "0", Answer(False, 'service unhealthy (responded with "UNKNOWN")'), id="unknown"),
        pytest.param("db", None, "5", Answer(False, "error: health rpc probe failed: no db"), id="no-such-service"),
        pytest.param(
            "",
            None,
            "12",
            Answer(
                False,
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no db",
            ),
            id="not-implemented",
        ),
    ],
)
def test_grpc(service: str, status: int | None, grpc: str, expected: Answer) -> None:
    with listening_raw(health_server(status, grpc, "no%20db" if status is None else "")) as port:
        assert ask(Grpc(HERE, port, service)) == expected


def test_grpc_where_there_is_none(pages: http.server.ThreadingHTTPServer) -> None:
    port = free_port()
    answer = ask(Grpc(HERE, port, ""), timeout=2)
    assert answer == Answer(False, f'timeout: failed to connect service "{HERE}:{port}" within 2s')
    answer = ask(Grpc(HERE, pages.server_port, ""), timeout=2)
    assert not answer.ok and answer.message.startswith("error: health rpc probe failed: ")
    with listening(lambda sock: time.sleep(1)) as silent:
        answer = ask(Grpc(HERE, silent, ""), timeout=0.3)
    assert answer == Answer(False, "timeout: health rpc did not complete within 0.3s")


class listening_raw(listening):
    """As above, but all that comes is for `serve`."""

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self._serve(connection)
                except OSError:
                    pass
