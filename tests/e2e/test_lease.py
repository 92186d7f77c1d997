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
from tests.e2e.nodes import look, settled

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


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "ctrl-C"])
def test_a_second_command_waits_says_for_whom_and_goes_on_when_that_one_is_ended(
    cluster: Ktool, namespace: str, busy: subprocess.Popen[bytes], how: signal.Signals, status: int, tmp_path: Path
) -> None:
    began = time.monotonic()
    done = cluster("apply", "--lock-timeout=1s", "-n", namespace, "-f", "-", stdin=config("late"), status=5)
    assert 1 <= time.monotonic() - began < 10
    assert f"(pid {busy.pid} on " in done.stderr and "ktool apply" in done.stderr and "--lock-timeout" in done.stderr
    assert done.stderr.count("\n") == 1
    # What is wrong with the input is said at once. Looking takes no lock, and what was refused left nothing.
    for verb in ("apply", "delete", "create"):
        cluster(verb, "-n", namespace, "-f", "-", stdin="a: b", status=1, timeout=20)
    cluster("get", "configmap/late", "-n", namespace, status=1)

    (tmp_path / "next.yaml").write_text(config("next"))
    waiting = cluster.start("apply", "-n", namespace, "-f", str(tmp_path / "next.yaml"))
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1)
    busy.send_signal(how)
    _, said = busy.communicate(timeout=5)
    assert busy.returncode == status
    assert b"Traceback" not in said
    assert waiting.communicate(timeout=10) == (b"configmap/next created\n", b"")
    assert waiting.returncode == 0


def test_a_killed_command_blocks_nobody(cluster: Ktool, namespace: str, busy: subprocess.Popen[bytes]) -> None:
    busy.kill()
    busy.wait()
    killed = time.time()
    cluster("apply", "-n", namespace, "-f", "-", stdin=config("next"))
    lease = cluster.json("get", "lease/ktool", "-n", "kube-system")
    taken = datetime.fromisoformat(lease["spec"]["acquireTime"]).timestamp()
    assert taken - killed < 2, "the program's start included"
    assert not lease["spec"].get("holderIdentity")


def test_a_server_that_is_told_to_end_leaves_pods_running(cluster: Ktool, lab: Lab, namespace: str) -> None:
    with serving(cluster) as process:
        cluster("apply", "-n", namespace, "-f", "-", "--wait", stdin=web(2, "v1"))
        before = look(lab).of({namespace}).ids()
        process.send_signal(signal.SIGINT)
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


def test_a_killed_server_blocks_nobody(cluster: Ktool, lab: Lab, namespace: str) -> None:
    process = cluster.start("serve")
    until(lambda: (cluster.home / "ktool.sock").exists())
    cluster("apply", "-n", namespace, "-f", "-", "--wait", stdin=web(2, "v1"))
    before = look(lab).of({namespace}).ids()
    process.kill()
    process.communicate()
    assert (cluster.home / "ktool.sock").exists(), "what is left of it"
    cluster("apply", "-n", namespace, "-f", "-", stdin=web(2, "v1"), timeout=8)
    with serving(cluster):
        assert len(cluster.pods(namespace)) == 2
    assert look(lab).of({namespace}).ids() == before


def test_several_commands_at_once_with_a_server(
    cluster: Ktool, lab: Lab, server: subprocess.Popen[bytes], namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "web.yaml").write_text(web(2, "v1"))
    commands = [cluster.start("apply", "-n", namespace, "-f", str(tmp_path / "web.yaml"), "--wait") for _ in range(4)]
    said = sorted(command.communicate(timeout=60)[0] for command in commands)
    assert said == [b"deployment.apps/web created\n", *[b"deployment.apps/web unchanged\n"] * 3]
    pods = cluster.pods(namespace)
    assert len(pods) == 2
    settled(look(lab), pods, cluster.json("get", "pods", "-A")["items"])
