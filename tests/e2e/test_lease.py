"""Who acts: a command, a server, one after the other and never two at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, serving, until
from tests.e2e.manifests import config, web
from tests.e2e.nodes import look

pytestmark = pytest.mark.podman

SLOW_TO_END = ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"]


def test_a_command_that_acts_itself_stays_until_pods_have_ended(cluster: Ktool, lab: Lab, namespace: str) -> None:
    deployment = json.loads(web(2, "v1"))
    deployment["spec"]["template"]["spec"]["containers"][0]["command"] = SLOW_TO_END
    cluster("apply", "-n", namespace, "-f", "-", stdin=json.dumps(deployment))
    cluster("scale", "deploy/web", "-n", namespace, "--replicas=1")
    assert len(cluster.pods(namespace)) == len(look(lab).of({namespace}).pods) == 1


def test_with_a_server_commands_load_neither_the_store_nor_ssh(
    cluster: Ktool, server: subprocess.Popen[bytes], namespace: str
) -> None:
    for words in (
        ("get", "pods", "-n", namespace),
        ("apply", "-n", namespace, "-f", "-", "--wait"),
        ("scale", "deploy/web", "--replicas=0", "-n", namespace),
        ("delete", "deploy/web", "-n", namespace),
    ):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "ktool", *words],
            env=cluster.env,
            input=web(1, "v1").encode(),
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()
        loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.decode().splitlines()}
        assert "ktool" in loaded
        assert not loaded & {"sqlalchemy", "paramiko", "podman", "cryptography"}, words


STAYS = """
apiVersion: v1
kind: Pod
metadata: {name: busy}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
    - {name: wait, image: registry.lab/web:v1, command: [sleep, "60"]}
  containers:
    - {name: web, image: registry.lab/web:v1}
"""


@pytest.fixture
def busy(cluster: Ktool, namespace: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is the control plane and stays so for a minute."""
    (tmp_path / "busy.yaml").write_text(STAYS)
    process = cluster.start("apply", "-n", namespace, "-f", str(tmp_path / "busy.yaml"))
    until(lambda: "`ktool apply" in cluster("lock").stdout)
    yield process
    process.kill()
    process.communicate()


def test_a_second_command_waits_and_says_who_is_at_work(
    cluster: Ktool, namespace: str, busy: subprocess.Popen[bytes]
) -> None:
    began = time.monotonic()
    done = cluster("apply", "--lock-timeout=1s", "-n", namespace, "-f", "-", stdin=config("late"), status=5)
    assert 1 <= time.monotonic() - began < 10
    assert f"(pid {busy.pid} on " in done.stderr and "ktool apply" in done.stderr and "--lock-timeout" in done.stderr
    assert done.stderr.count("\n") == 1
    # Looking takes no lock, and what was refused left nothing.
    cluster("get", "configmap/late", "-n", namespace, status=1)


def test_a_waiting_command_goes_on_when_the_other_one_is_ended(
    cluster: Ktool, namespace: str, busy: subprocess.Popen[bytes]
) -> None:
    waiting = cluster.start("create", "-n", namespace, "-f", "-")
    waiting.wait(30)  # it has no manifest: a wrong command line takes no lock
    assert waiting.returncode == 1
    busy.send_signal(signal.SIGTERM)
    began = time.monotonic()
    cluster("apply", "-n", namespace, "-f", "-", stdin=config("next"))
    assert time.monotonic() - began < 8
    assert busy.wait(10) == 143
    assert b"Traceback" not in (busy.stderr.read() if busy.stderr else b"")


def test_a_killed_command_blocks_nobody(cluster: Ktool, namespace: str, busy: subprocess.Popen[bytes]) -> None:
    busy.kill()
    busy.wait()
    killed = time.time()
    cluster("apply", "-n", namespace, "-f", "-", stdin=config("next"))
    lease = cluster.json("get", "lease/ktool", "-n", "kube-system")
    taken = datetime.fromisoformat(lease["spec"]["acquireTime"]).timestamp()
    assert taken - killed < 2, "the program's start included"
    assert not lease["spec"].get("holderIdentity")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "ctrl-C"])
def test_a_server_that_is_told_to_end_leaves_pods_running(
    cluster: Ktool, lab: Lab, namespace: str, how: signal.Signals
) -> None:
    with serving(cluster) as process:
        cluster("apply", "-n", namespace, "-f", "-", "--wait", stdin=web(2, "v1"))
        before = look(lab).of({namespace}).ids()
        process.send_signal(how)
        process.wait(5)
        assert process.returncode == 0
        assert not (cluster.home / "ktool.sock").exists()
        assert look(lab).of({namespace}).ids() == before
        assert len(before) == 2
        # Nobody answers on the socket now: the command acts itself.
        cluster("apply", "-n", namespace, "-f", "-", stdin=web(2, "v1"))
        assert look(lab).of({namespace}).ids() == before


def test_a_second_server_is_refused(cluster: Ktool, server: subprocess.Popen[bytes]) -> None:
    done = cluster("serve", "--lock-timeout=1s", status=5)
    assert f"(pid {server.pid} on " in done.stderr and "ktool serve" in done.stderr
    assert done.stderr.count("\n") == 1
    assert server.poll() is None
    cluster("get", "nodes")
