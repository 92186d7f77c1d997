"""Probes and hooks through a real node's SSH and Podman."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from ktool.logic.node.nodeaction import RunHook, StopPod
from ktool.logic.node.probecalls import Answer, Call, Exec, Grpc, Handler, HttpGet, TcpSocket
from tests.node.test_calls import health_server
from tests.podman.support import WEB, Node, done, pod

pytestmark = pytest.mark.podman

NOTING = "trap 'echo $0 >> /log/log; exit 0' TERM; while :; do sleep 0.1; done"


def noting(name: str, **fields: object) -> dict[str, object]:
    """A container that writes its name when it is told to end."""
    mounts = [{"name": "log", "mountPath": "/log"}]
    return {"name": name, "image": WEB, "command": ["sh", "-c", NOTING, name], "volumeMounts": mounts, **fields}


def test_probes_of_every_kind_and_the_order_of_an_end(node: Node) -> None:
    ip = "10.244.101.77"
    obj = pod(
        "calls",
        {"name": "web"},
        noting("main"),
        initContainers=[noting("first", restartPolicy="Always"), noting("second", restartPolicy="Always")],
        volumes=[{"name": "log", "emptyDir": {}}],
    )
    fact = node.run(obj, ip)
    ids = {container.name: container.id for container in fact.containers}

    def ask(handler: Handler, timeout: float = 5.0, container: str = "main") -> Answer:
        return node.runtime.call(Call("readiness", ids[container], handler, timeout))

    deadline = time.monotonic() + 10
    while not ask(HttpGet("HTTP", ip, 8080, "/healthz")).ok:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ask(HttpGet("HTTP", ip, 8080, "/nothing")) == Answer(False, "HTTP probe failed with statuscode: 404")
    late = ask(HttpGet("HTTP", ip, 8080, "/slow?ms=3000"), timeout=0.5)
    assert not late.ok and "context deadline exceeded" in late.message
    assert ask(TcpSocket(ip, 8080)).ok
    assert ask(TcpSocket(ip, 81)) == Answer(False, f"dial tcp {ip}:81: connect: connection refused")

    assert ask(Exec(("true",))) == Answer(True)
    assert ask(Exec(("sh", "-c", "echo not well; exit 3"))) == Answer(False, "not well")
    assert ask(Exec(("false",))) == Answer(False, "command exited with 1")
    assert not ask(Exec(("no-such-command",))).ok
    began = time.monotonic()
    answer = ask(Exec(("sleep", "77")), timeout=1)
    assert answer == Answer(False, 'command timed out: "sleep 77" timed out after 1s')
    assert time.monotonic() - began < 6
    assert "sleep 77" not in node.shell("ps -eo args"), "what took too long is killed"

    _grpc(node)

    hook = Exec(("sh", "-c", "echo hook >> /log/log"))
    done(node.runtime.perform(RunHook(fact.uid, "main", "run", Call("postStart", ids["main"], hook, 5.0))))
    failed = node.runtime.perform(
        RunHook(fact.uid, "main", "run", Call("postStart", ids["main"], Exec(("false",)), 5.0))
    )
    assert failed.failure is not None and failed.failure.reason == "FailedPostStartHook"
    slow = Exec(("sh", "-c", "sleep 1; echo pre-stop >> /log/log"))
    hooks = ((ids["main"], slow), (ids["web"], Exec(("false",))))
    stopped = node.runtime.perform(
        StopPod(fact.uid, fact.id, (ids["web"], ids["main"]), 10, hooks, (ids["second"], ids["first"]))
    )
    assert [reason for reason, _ in stopped.notes] == ["FailedPreStopHook"]
    log = node.shell(f"cat /var/lib/ktool/pods/{fact.uid}/volumes/log/log")
    assert log.split() == ["hook", "pre-stop", "main", "second", "first"]


def _grpc(node: Node) -> None:
    """The lab has no gRPC server, so one of this process answers; the node reaches it through the bridge."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect((node.machine.address, 9))
        own = str(towards.getsockname()[0])
    server = socket.create_server((own, 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            try:
                health_server(1)(connection)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    answer = node.runtime.call(Call("readiness", "", Grpc(own, server.getsockname()[1], ""), 5.0))
    server.close()
    thread.join(5)
    assert answer == Answer(True)
