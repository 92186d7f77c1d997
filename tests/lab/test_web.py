"""The web server of the lab's images, on loopback: it answers, and it leaves without losing a request."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from importlib import resources

import pytest

Server = tuple[subprocess.Popen[str], int]


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start the server with these environment variables; returns its process and port."""
    started: list[subprocess.Popen[str]] = []

    def start(**environment: str) -> Server:
        script = str(resources.files("ktool.lab") / "web.pl")
        env = {"VERSION": "v1", "PORT": "0", **environment}
        process = subprocess.Popen(["/usr/bin/perl", script], env=env, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, int(process.stdout.readline().rsplit(" ", 1)[1])

    yield start
    for process in started:
        process.kill()
        process.communicate()


def fetch(port: int, path: str, method: str = "GET", body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "method", "status", "text"),
    [
        pytest.param("/", "GET", 200, f"v1 {socket.gethostname()}\n", id="version-and-name"),
        pytest.param("/healthz", "GET", 200, "ok\n", id="healthz"),
        pytest.param("/client", "GET", 200, "127.0.0.1\n", id="client"),
        pytest.param("/slow?ms=20", "GET", 200, f"v1 {socket.gethostname()}\n", id="slow"),
        pytest.param("/", "HEAD", 200, "", id="head"),
        pytest.param("/", "POST", 200, f"v1 {socket.gethostname()}\n", id="post-with-body"),
        pytest.param("/none", "GET", 404, "not found\n", id="unknown-path"),
    ],
)
def test_answers(serve: Callable[..., Server], path: str, method: str, status: int, text: str) -> None:
    _, port = serve()
    assert fetch(port, path, method, "x" * 100_000 if method == "POST" else None) == (status, text)


def test_broken_is_never_ready(serve: Callable[..., Server]) -> None:
    _, port = serve(VERSION="broken")
    assert [fetch(port, path)[0] for path in ("/", "/healthz", "/slow")] == [503, 503, 503]


def test_crash_exits_with_1(serve: Callable[..., Server]) -> None:
    process, port = serve()
    with pytest.raises((http.client.HTTPException, OSError)):
        fetch(port, "/crash")
    assert process.wait(5) == 1


def test_requests_in_one_packet_are_all_answered(serve: Callable[..., Server]) -> None:
    _, port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n" * 3 + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200 OK") == 4 and answer.count(b"keep-alive") == 3


def test_what_is_no_http_is_refused(serve: Callable[..., Server]) -> None:
    _, port = serve()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_slow_request_holds_up_nobody(serve: Callable[..., Server]) -> None:
    _, port = serve()
    slow = threading.Thread(target=fetch, args=(port, "/slow?ms=1000"))
    slow.start()
    start = time.monotonic()
    for _ in range(20):
        assert fetch(port, "/")[0] == 200
    assert time.monotonic() - start < 0.8
    slow.join()


def test_many_clients_see_no_error(serve: Callable[..., Server]) -> None:
    _, port = serve()
    statuses: list[int] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for number in range(200):
            connection.request("GET", "/", headers={"Connection": "close"} if number % 10 == 9 else {})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)

    clients = [threading.Thread(target=client) for _ in range(20)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert statuses == [200] * 4000


def test_sigterm_serves_everyone_who_has_connected(serve: Callable[..., Server]) -> None:
    """A request in flight, a kept connection, one that has only connected: all are answered, then it exits with 0."""
    process, port = serve()
    kept, silent = (socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(2))
    kept.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert b"keep-alive" in kept.recv(4096)
    answers: list[tuple[int, str]] = []
    slow = threading.Thread(target=lambda: answers.append(fetch(port, "/slow?ms=700")))
    slow.start()
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    for client in (kept, silent):
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer
        client.close()
    assert fetch(port, "/")[0] == 200  # still listening: somebody's rules may send a client here for another moment
    slow.join()
    assert answers == [(200, f"v1 {socket.gethostname()}\n")]
    assert process.wait(5) == 0
    assert process.stdout is not None and "got SIGTERM, 3 connections open" in process.stdout.read()


def test_sigterm_with_nobody_there_ends_at_once(serve: Callable[..., Server]) -> None:
    process, _ = serve()
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0 and time.monotonic() - start < 0.3


def test_idle_connections_and_hung_clients_do_not_hold_it(serve: Callable[..., Server]) -> None:
    process, port = serve(DRAIN_SECONDS="1")
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(b"GET / HT")
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 0


def test_exit_at_once(serve: Callable[..., Server]) -> None:
    process, port = serve(EXIT_AT_ONCE="1")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(1) == 0
        assert client.recv(100) == b""


def test_access_log(serve: Callable[..., Server]) -> None:
    process, port = serve(ACCESS_LOG="1")
    fetch(port, "/client?x=1")
    process.send_signal(signal.SIGTERM)
    assert "127.0.0.1 GET /client?x=1\n" in process.communicate(timeout=5)[0]
