"""The server's life: its socket, many clients at once, and its end."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from ktool.api.errors import ApiError
from ktool.api.ref import CONFIG_MAP, POD, Ref
from ktool.client.http import HttpClient, probe
from ktool.registry.client import ClientError, LogRequest
from ktool.serve.server import Server, ServerError
from tests.contract.conftest import Plane, configmap, pod


def test_only_the_owner_may_connect(plane: Plane):
    assert stat.S_IMODE(os.stat(plane.socket).st_mode) == 0o600
    assert sorted(os.listdir(os.path.dirname(plane.socket))) == ["ktool.sock", "ktool.sock.lock"]


def test_probe(plane: Plane):
    assert probe(plane.socket)
    assert not probe(plane.socket + ".none")
    assert not probe("/" + "x" * 200)
    plane.server.close()
    assert not probe(plane.socket)


def test_a_live_server_is_not_replaced(plane: Plane):
    with pytest.raises(ServerError, match="running already"):
        Server(plane.registry, plane.backend, plane.socket).start()
    assert probe(plane.socket)


def test_what_a_dead_server_left_is_replaced(plane: Plane):
    plane.server.close()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(plane.socket)
    assert os.path.exists(plane.socket)
    second = Server(plane.registry, plane.backend, plane.socket)
    second.start()
    assert HttpClient(plane.socket, plane.registry.kinds).version()["where"]
    second.close()
    assert not os.path.exists(plane.socket)


def test_a_path_that_is_too_long_is_explained(plane: Plane):
    with pytest.raises(ServerError, match="shorter state directory"):
        Server(plane.registry, plane.backend, "/tmp/" + "x" * 120).start()
    with pytest.raises(ServerError, match="cannot be made"):
        Server(plane.registry, plane.backend, "/nonexistent-directory/s").start()


def test_a_client_without_a_server_says_so(plane: Plane):
    plane.server.close()
    with pytest.raises(ClientError, match="no control plane answers"):
        HttpClient(plane.socket, plane.registry.kinds).list(CONFIG_MAP)


def test_a_client_goes_on_after_a_restart(plane: Plane):
    client = HttpClient(plane.socket, plane.registry.kinds)
    client.create(configmap("a"))
    plane.server.close()
    with pytest.raises(ClientError):
        client.get(Ref(CONFIG_MAP, "default", "a"))
    second = Server(plane.registry, plane.backend, plane.socket, plane.said.append)
    second.start()
    assert client.get(Ref(CONFIG_MAP, "default", "a"))
    second.close()


def test_a_connection_that_idled_too_long_is_replaced(plane: Plane, monkeypatch):
    from ktool.serve.connection import Connection

    monkeypatch.setattr(Connection, "timeout", 0.1)
    client = HttpClient(plane.socket, plane.registry.kinds)
    client.create(configmap("a"))
    time.sleep(0.4)
    assert not plane.server._open, "the idle connection is still open"
    assert client.get(Ref(CONFIG_MAP, "default", "a"))


def test_a_request_that_is_too_large_is_refused(plane: Plane):
    client = HttpClient(plane.socket, plane.registry.kinds)
    with pytest.raises(ApiError) as refused:
        client.create(configmap("a", data={"k": "x" * (9 << 20)}))
    assert refused.value.code == 413
    assert client.list(CONFIG_MAP).items == []


def test_the_client_needs_only_the_standard_library():
    modules = ["sqlalchemy", "paramiko", "podman", "yaml", "rich", "typer", "requests"]
    code = f"import sys, ktool.client.http; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


# --- many at once


def test_twenty_watchers_and_eight_writers(plane: Plane):
    """Every watcher sees every change once, in order, while all of it happens side by side."""
    writers, each, watchers = 8, 25, 20
    client = HttpClient(plane.socket, plane.registry.kinds)
    since = client.list(CONFIG_MAP).resource_version
    total = writers * each * 2
    seen: list[list[tuple[int, str, str]]] = [[] for _ in range(watchers)]
    errors: list[BaseException] = []

    def guarded(work, *args) -> None:
        try:
            work(*args)
        except BaseException as error:
            errors.append(error)

    def watch(mine: list[tuple[int, str, str]]) -> None:
        for event in client.watch(CONFIG_MAP, "default", since=since, timeout=60):
            meta = event.obj["metadata"]
            mine.append((int(meta["resourceVersion"]), event.type, meta["name"]))
            if len(mine) == total:
                return

    def write(number: int) -> None:
        for index in range(each):
            name = f"w{number}-{index}"
            client.create(configmap(name))
            client.patch(Ref(CONFIG_MAP, "default", name), {"data": {"n": str(index)}})

    threads = [threading.Thread(target=guarded, args=(watch, mine), daemon=True) for mine in seen]
    threads += [threading.Thread(target=guarded, args=(write, number), daemon=True) for number in range(writers)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.1, 60 - (time.monotonic() - started)))
    assert errors == []
    assert [len(mine) for mine in seen] == [total] * watchers
    assert all(mine == seen[0] for mine in seen)
    versions = [version for version, _, _ in seen[0]]
    assert versions == sorted(set(versions))
    assert len(client.list(CONFIG_MAP).items) == writers * each


def test_writers_of_one_object_lose_no_update(plane: Plane):
    """Optimistic concurrency: a counter that several threads raise by get and update ends at the sum."""
    client = HttpClient(plane.socket, plane.registry.kinds)
    ref = Ref(CONFIG_MAP, "default", "counter")
    client.create(configmap("counter", data={"n": "0"}))
    conflicts = []

    def raise_it() -> None:
        for _ in range(15):
            while True:
                live = client.get(ref)
                try:
                    client.update({**live, "data": {"n": str(int(live["data"]["n"]) + 1)}})
                    break
                except ApiError as error:
                    assert error.reason == "Conflict"
                    conflicts.append(error)

    threads = [threading.Thread(target=raise_it, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert client.get(ref)["data"]["n"] == "60"


# --- the end


def test_closing_ends_every_stream(plane: Plane):
    client = HttpClient(plane.socket, plane.registry.kinds)
    client.create(pod("p"))
    ref = Ref(POD, "default", "p")
    outcomes: list[object] = []

    def drain(stream) -> None:
        try:
            for _ in stream:
                pass
            outcomes.append("ended")
        except ClientError as error:
            outcomes.append(error)

    streams = [client.watch(POD) for _ in range(20)]
    streams.append(client.logs(ref, LogRequest(follow=True)))
    session = client.exec(ref, "", ["sh", "-c", "echo on; exec sleep 60"], stdin=True, tty=False)
    assert next(session.frames()) == (1, b"on\n")
    threads = [threading.Thread(target=drain, args=(one,), daemon=True) for one in [*streams, session.frames()]]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    plane.server.close()
    assert time.monotonic() - started < 3
    for thread in threads:
        thread.join(3)
    assert not any(thread.is_alive() for thread in threads)
    assert len(outcomes) == len(threads)
    assert sum(isinstance(one, ClientError) for one in outcomes[: len(streams)]) >= len(streams) - 1
    assert plane.backend.processes[0].closed.wait(3) and plane.backend.pipes[0][1].closed.wait(3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("serve")]


def test_a_request_that_was_read_is_answered_before_the_end(plane: Plane):
    client = HttpClient(plane.socket, plane.registry.kinds)
    done: list[str] = []
    with plane.registry.verbs():  # whoever holds the writer's place lets the apply wait
        applying = threading.Thread(
            target=lambda: done.extend(one.outcome for one in client.apply([configmap("a"), configmap("b")])),
            daemon=True,
        )
        applying.start()
        time.sleep(0.2)
        closing = threading.Thread(target=plane.server.close, daemon=True)
        closing.start()
        time.sleep(0.2)
        assert done == []
    applying.join(5)
    closing.join(5)
    assert done == ["created", "created"]
    assert not closing.is_alive() and not os.path.exists(plane.socket)


def test_closing_twice_or_before_the_start_is_fine(plane: Plane):
    plane.server.close()
    plane.server.close()
    assert not os.path.exists(plane.socket)
    Server(plane.registry, plane.backend, plane.socket).close()
    assert not os.path.exists(plane.socket)
