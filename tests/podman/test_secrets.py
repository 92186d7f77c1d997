"""Secrets on a real node: containers have them, the node's disk does not; logins for pulls are written nowhere."""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from ktool.api.masked import Masked
from ktool.logic.node.nodeaction import Credential, EnsureImage, RemoveVolumes
from tests.podman.support import Node, done, pod, until

pytestmark = pytest.mark.podman

PRIVATE = "private.lab/web:v2"


@pytest.fixture
def canary() -> str:
    return f"canary-{uuid.uuid4().hex}"


def secret(**data: str) -> dict[str, Any]:
    meta = {"name": "db", "namespace": "default", "uid": "s", "resourceVersion": "1"}
    return {"metadata": meta, "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


def with_variables(name: str, **more: Any) -> dict[str, Any]:
    env = [
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "URL", "value": "db://$(PASSWORD)@host"},
        {"name": "OPEN", "value": "yes"},
    ]
    script = "echo begun $OPEN; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    return pod(name, {"name": "web", "command": ["sh", "-c", script], "env": env, **more})


def on_disk(node: Node, text: str) -> list[str]:
    """Files of the node's disks that hold the text, as its host sees them: its memory is not among them."""
    disks = Path(node.machine.identity).parent / node.machine.name.rpartition("-")[2]
    assert (disks / "containers" / "storage").is_dir()
    found = subprocess.run(["grep", "-rlaF", text, str(disks)], capture_output=True, text=True, timeout=60)
    assert found.returncode in (0, 1), found.stderr
    return found.stdout.splitlines()


def test_variables_reach_the_container_and_no_disk(node: Node, canary: str) -> None:
    web = with_variables("hidden")
    fact = node.run(web, "10.244.101.30", {"db": secret(password=canary)})
    own = fact.containers[0].id
    shown = node.exec(own, "sh", "-c", 'echo "$PASSWORD $URL $OPEN"')[1].decode()
    assert shown == f"{canary} db://{canary}@host yes\n", "a command in the container has them too"
    main = node.exec(own, "sh", "-c", "tr '\\0' '\\n' </proc/1/environ")[1].decode()
    assert f"PASSWORD={canary}\n" in main
    assert canary not in node.shell(f"podman pod inspect {fact.id}; podman secret inspect $(podman secret ls -q)")
    assert "begun yes" in node.shell(f"podman logs {own}")
    assert on_disk(node, "begun yes") and not on_disk(node, canary)
    # Podman writes config.json again at each start.
    node.shell(f"kill -9 $(podman inspect --format '{{{{.State.Pid}}}}' {own})")
    again = until(lambda: (one := node.container(fact.uid, "web")).restarts == 1 and one.state == "running" and one)
    assert again.id == own, "Podman itself has started it again"
    assert node.exec(own, "sh", "-c", "echo $PASSWORD")[1].decode().strip() == canary
    assert not on_disk(node, canary)
    node.remove(fact)
    assert node.shell("podman secret ls -q").split(), "they are what tells us to look again"
    done(node.runtime.perform(RemoveVolumes(fact.uid)))
    done(node.runtime.perform(RemoveVolumes(fact.uid)))
    assert not node.shell("podman secret ls -q").split()
    assert fact.uid not in node.shell("cat /proc/mounts; ls /run/ktool/pods /var/lib/ktool/pods")
    assert not node.shell(f"grep -rlaF {canary} /run /tmp /var/tmp 2>/dev/null")


def test_without_its_memory_a_container_does_not_start(node: Node, canary: str) -> None:
    """As after a reboot, when Podman starts what has a restart policy before we have come by."""
    web = with_variables("forgotten")
    rendered = node.create(web, "10.244.101.31", {"db": secret(password=canary)})
    own = rendered.containers["web"]["name"]
    uid = web["metadata"]["uid"]
    node.shell(f"umount /run/ktool/pods/{uid}/volumes/_env")
    assert (
        "no such secret data" in node.shell(f"podman start {own} 2>&1") or node.container(uid, "web").state != "running"
    )
    assert node.container(uid, "web").state != "running"
    assert not on_disk(node, canary)


def test_files_are_in_memory(node: Node, canary: str) -> None:
    web = pod(
        "files",
        {"name": "web", "volumeMounts": [{"name": "db", "mountPath": "/db"}]},
        volumes=[{"name": "db", "secret": {"secretName": "db", "defaultMode": 0o400}}],
        securityContext={"fsGroup": 1234},
    )
    own = node.run(web, "10.244.101.32", {"db": secret(password=canary)}).containers[0].id
    assert node.exec(own, "cat", "/db/password")[1].decode() == canary
    assert node.exec(own, "stat", "-L", "-c", "%a %g", "/db/password")[1] == b"440 1234\n"
    assert node.exec(own, "sh", "-c", "echo x >/db/password")[0] != 0, "Secrets are read-only"
    assert node.shell(f"stat -f -c %T /run/ktool/pods/{web['metadata']['uid']}/volumes/db") == "tmpfs\n"
    assert not on_disk(node, canary)


def login(node: Node, password: str | None = None) -> Credential:
    known = (Path(node.machine.identity).parent / "private-password").read_text().strip()
    return Credential("regcred", "lab", Masked((password or known).encode()))


def test_a_pull_with_a_login_is_written_nowhere(node: Node) -> None:
    right = login(node)
    assert right.password is not None
    done(node.runtime.perform(EnsureImage(PRIVATE, "Always", (login(node, "old"), right))))
    assert PRIVATE in node.shell("podman images --format '{{.Repository}}:{{.Tag}}'")
    text = right.password.reveal().decode()
    encoded = base64.b64encode(f"lab:{text}".encode()).decode()
    assert not on_disk(node, text) and not on_disk(node, encoded)
    assert not node.shell(f"grep -rlaF -e {text} -e {encoded} /run /tmp /var/tmp 2>/dev/null")
    node.shell(f"podman rmi {PRIVATE}")


@pytest.mark.parametrize("right", [True, False], ids=["no login", "wrong login"])
def test_a_pull_that_is_refused_says_why(node: Node, right: bool) -> None:
    logins = () if right else (login(node, "wrong"),)
    failure = node.runtime.perform(EnsureImage(PRIVATE, "Always", logins, hint="what to do")).failure
    assert failure is not None and failure.reason == "ErrImagePull"
    assert failure.message.endswith(": what to do"), failure.message
