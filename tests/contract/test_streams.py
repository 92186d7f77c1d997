"""Logs and exec through both clients, over real pipes and processes."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ktool.api.errors import ApiError
from ktool.api.ref import POD, Ref
from ktool.registry.client import LogRequest
from tests.contract.conftest import pod

P = Ref(POD, "default", "p")


def refused(call, *args, **named) -> ApiError:
    """Of a stream, a refusal may also come with its first piece."""
    with pytest.raises(ApiError) as found:
        list(call(*args, **named))
    return found.value


# --- logs


def test_logs(client, plane):
    client.create(pod("p"))
    assert b"".join(client.logs(P, LogRequest())) == b"".join(plane.backend.lines)
    assert b"".join(client.logs(P, LogRequest(tail=2))) == b"".join(plane.backend.lines[-2:])
    assert b"".join(client.logs(P, LogRequest(tail=0))) == b""


def test_what_is_asked_of_a_log_reaches_the_node(client, plane):
    client.create(pod("p", "main", "side"))
    list(client.logs(P, LogRequest(container="side", previous=True, tail=3, since=60, timestamps=True)))
    name, container, options = plane.backend.asked[-1]
    assert (name, container) == ("p", "side")
    assert (options.follow, options.previous, options.tail, options.timestamps) == (False, True, 3, True)
    assert abs(time.time() - 60 - options.since) < 10
    list(client.logs(P, LogRequest(container="main")))
    assert plane.backend.asked[-1][2].since == 0.0


def test_a_log_that_is_followed_comes_as_it_is_written(client, plane):
    client.create(pod("p"))
    log = client.logs(P, LogRequest(follow=True))
    pieces: list[bytes] = []
    thread = threading.Thread(target=lambda: pieces.extend(log), daemon=True)
    thread.start()
    assert plane.backend.opened.wait(5)
    writing, pipe = plane.backend.pipes[0]
    for text in (b"one\n", b"two\n"):
        os.write(writing, text)
        deadline = time.monotonic() + 5
        while text not in b"".join(pieces):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    log.close()
    thread.join(5)
    assert not thread.is_alive(), "close does not end the log"
    assert pipe.closed.wait(5), "the node's end stays open"
    assert b"".join(pieces) == b"one\ntwo\n"


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [("unreachable", 503, "node node1 cannot be reached: no route to host"), ("refused", 500, "the disk is full")],
)
def test_what_a_node_refuses_is_told(client, name, code, says):
    client.create(pod(name))
    ref = Ref(POD, "default", name)
    for error in (
        refused(client.logs, ref, LogRequest()),
        refused(client.exec, ref, "", ["true"], stdin=False, tty=False),
    ):
        assert error.code == code and says in error.message


def test_a_pod_whose_streams_cannot_be_had(client):
    client.create(pod("p", "main", "side"))
    client.create(pod("unbound", node=""))
    assert refused(client.logs, Ref(POD, "default", "none"), LogRequest()).code == 404
    error = refused(client.logs, P, LogRequest())
    assert error.message == "a container name must be specified for pod p, choose one of: [main side]"
    assert refused(client.logs, P, LogRequest(container="x")).message == "container x is not valid for pod p"
    error = refused(client.logs, Ref(POD, "default", "unbound"), LogRequest())
    assert error.code == 400 and "does not have a host assigned" in error.message
    assert refused(client.exec, P, "x", ["true"], stdin=False, tty=False).code == 400
    assert refused(client.exec, P, "main", [], stdin=False, tty=False).code == 400


# --- exec


def run(client, script: str, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
    session = client.exec(P, "", ["sh", "-c", script], stdin=stdin is not None, tty=False)
    try:
        if stdin is not None:
            threading.Thread(target=lambda: (session.send(stdin), session.close_stdin()), daemon=True).start()
        out = {1: b"", 2: b""}
        for channel, data in session.frames():
            out[channel] += data
        return session.wait(), out[1], out[2]
    finally:
        session.close()


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exec_has_outputs_and_an_exit_status(client, code):
    client.create(pod("p"))
    assert run(client, f"echo out; echo err >&2; exit {code}") == (code, b"out\n", b"err\n")


def test_exec_takes_stdin_of_any_size_and_content(client):
    client.create(pod("p"))
    data = bytes(range(256)) * 12_000
    assert run(client, "cat", data) == (0, data, b"")
    assert run(client, "wc -c", b"")[1].strip() == b"0"


def test_exec_argv_is_not_read_by_any_shell(client):
    client.create(pod("p"))
    words = ["a b", "$HOME", "'\"`;&|", "", "ü\n", "*"]
    session = client.exec(P, "", ["printf", "%s|", *words], stdin=False, tty=False)
    assert b"".join(data for _, data in session.frames()).decode() == "".join(f"{word}|" for word in words)
    assert session.wait() == 0
    session.close()


def test_input_and_output_take_turns(client):
    client.create(pod("p"))
    session = client.exec(P, "", ["cat"], stdin=True, tty=False)
    frames = session.frames()
    for line in (b"one\n", b"two\n"):
        session.send(line)
        assert next(frames) == (1, line)
    session.close_stdin()
    assert list(frames) == [] and session.wait() == 0
    session.close()


def test_the_terminals_size_reaches_the_node(client, plane):
    client.create(pod("p"))
    session = client.exec(P, "", ["cat"], stdin=True, tty=True)
    session.resize(24, 80)
    session.resize(50, 132)
    session.send(b"x")
    assert next(session.frames()) == (1, b"x")
    assert plane.backend.processes[0].sizes == [(24, 80), (50, 132)]
    session.close()


def test_a_session_that_is_closed_ends_the_command(client, plane):
    client.create(pod("p"))
    session = client.exec(P, "", ["sh", "-c", "echo started; exec sleep 60"], stdin=False, tty=False)
    assert next(session.frames()) == (1, b"started\n")
    session.close()
    assert plane.backend.processes[0].closed.wait(5)
