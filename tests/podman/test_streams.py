"""Events, logs and exec on a real node."""

from __future__ import annotations

import re
import threading
import time

import pytest

from ktool.logic.node.nodeaction import StopContainer
from ktool.node.base import LogOptions, NodeError
from tests.podman.support import Node, connect, done, pod, until

pytestmark = pytest.mark.podman


def _talker(script: str) -> dict[str, object]:
    return {"name": "web", "command": ["sh", "-c", script + "; exec sleep 1000"]}


def _log(node: Node, container: str, **options: object) -> bytes:
    return b"".join(node.runtime.logs(container, LogOptions(**options)))  # type: ignore[arg-type]


def test_changes_are_heard_within_a_second(node: Node) -> None:
    runtime = connect(node.machine, node.cluster)
    heard = threading.Event()
    try:
        runtime.listen(heard.set)
        fact = node.run(pod("heard", {"name": "web", "command": ["sleep", "1000"]}), "10.244.101.40")
        assert heard.wait(2)
        time.sleep(0.5)
        heard.clear()
        node.exec(fact.containers[0].id, "kill", "-9", "1")
        node.shell(f"podman kill {fact.containers[0].id} >/dev/null 2>&1")
        assert heard.wait(1), "the end of a container"
    finally:
        runtime.close()


def test_containers_of_others_wake_nobody(node: Node) -> None:
    runtime = connect(node.machine, "another-cluster")
    heard = threading.Event()
    try:
        runtime.listen(heard.set)
        node.run(pod("quiet"), "10.244.101.41")
        assert not heard.wait(1)
        assert runtime.observe().pods == ()
    finally:
        runtime.close()


def test_an_end_between_two_looks_is_not_lost(node: Node) -> None:
    """Podman restarts a container within the second, so that the list alone looks as before."""
    node.runtime.listen(lambda: None)
    fact = node.run(pod("once", _talker("[ -e /tmp/x ] || { touch /tmp/x; sleep 0.2; exit 9; }")), "10.244.101.42")
    assert until(lambda: node.container(fact.uid, "web").restarts) == 1


def test_a_restarted_podman_service_is_listened_to_again(node: Node) -> None:
    runtime = connect(node.machine, node.cluster)
    wakes: list[float] = []
    try:
        runtime.listen(lambda: wakes.append(time.monotonic()))
        node.shell("pkill -f '[p]odman system service'")
        until(lambda: wakes)
        until(lambda: _observes(runtime))
        wakes.clear()
        node.run(pod("after"), "10.244.101.43")
        until(lambda: wakes, 3)
    finally:
        runtime.close()


def _observes(runtime: object) -> bool:
    try:
        runtime.observe()  # type: ignore[attr-defined]
        return True
    except NodeError:
        return False


def test_logs(node: Node) -> None:
    fact = node.run(pod("logs", _talker("for i in 1 2 3 4 5; do echo line $i; done; echo err >&2")), "10.244.101.44")
    own = fact.containers[0].id
    until(lambda: b"err" in _log(node, own))
    everything = _log(node, own)
    assert sorted(everything.splitlines()) == sorted([*(b"line %d" % i for i in range(1, 6)), b"err"])
    assert len(_log(node, own, tail=2).splitlines()) == 2
    assert _log(node, own, tail=0) == b""
    assert _log(node, own, since=time.time() + 60) == b""
    assert _log(node, own, since=time.time() - 600) == everything
    assert all(re.match(rb"\d{4}-\d\d-\d\dT\S+ ", line) for line in _log(node, own, timestamps=True).splitlines())


def test_following_a_log_ends_with_the_container(node: Node) -> None:
    fact = node.run(pod("follow", _talker("echo first; sleep 1; echo second")), "10.244.101.45")
    own = fact.containers[0].id
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.extend(node.runtime.logs(own, LogOptions(follow=True))))
    thread.start()
    until(lambda: b"second" in b"".join(got))
    done(node.runtime.perform(StopContainer(fact.uid, "web", own, 0)))
    thread.join(10)
    assert not thread.is_alive() and b"".join(got) == b"first\nsecond\n"


def test_a_follower_that_goes_away_holds_nothing(node: Node) -> None:
    fact = node.run(pod("leaver", _talker("while :; do echo x; sleep 0.05; done")), "10.244.101.46")
    for _ in range(20):
        stream = node.runtime.logs(fact.containers[0].id, LogOptions(follow=True))
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert node.runtime._api._streams <= {node.runtime._events}


def test_logs_of_the_previous_run(node: Node) -> None:
    script = "if [ -e /tmp/n ]; then echo run 2; else touch /tmp/n; echo run 1; sleep 1.5; exit 1; fi"
    fact = node.run(pod("previous", _talker(script)), "10.244.101.47")
    own = fact.containers[0].id
    with pytest.raises(NodeError, match="no previous run"):
        _log(node, own, previous=True)
    until(lambda: node.container(fact.uid, "web").restarts == 1)
    until(lambda: _log(node, own) == b"run 2\n")
    assert _log(node, own, previous=True) == b"run 1\n"


def test_logs_of_nothing(node: Node) -> None:
    with pytest.raises(NodeError, match="no container"):
        _log(node, "0" * 64)


def test_exec(node: Node) -> None:
    own = node.run(pod("exec"), "10.244.101.48").containers[0].id
    assert node.exec(own, "sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
    assert node.exec(own, "cat", stdin=b"a\0b\n" * 5) == (0, b"a\0b\n" * 5, b"")
    big = bytes(range(256)) * 12_000
    assert node.exec(own, "sh", "-c", "wc -c", stdin=big)[1].split() == [str(len(big)).encode()]
    assert len(node.exec(own, "sh", "-c", "head -c 3000000 /dev/zero")[1]) == 3_000_000
    assert node.exec(own, "/no/such")[0] in (126, 127)


def test_a_terminal(node: Node) -> None:
    own = node.run(pod("tty"), "10.244.101.49").containers[0].id
    stream = node.runtime.exec(own, ["sh"], stdin=True, tty=True)
    try:
        stream.resize(31, 117)
        stream.send(b"stty size; test -t 0 && echo terminal; exit 5\n")
        text = b"".join(data for _, data in stream.frames())
        assert b"31 117" in text and b"terminal" in text.splitlines()[-1]
        assert stream.wait() == 5
    finally:
        stream.close()


def test_exec_leaves_nothing_that_slows_the_end_of_the_pod(node: Node) -> None:
    fact = node.run(pod("probe"), "10.244.101.50")
    for _ in range(3):
        node.exec(fact.containers[0].id, "true")
    began = time.monotonic()
    node.remove(fact)
    assert time.monotonic() - began < 2.5, "Podman takes 3 s more where an exec's conmon is left"
