"""`kill -9` of the program at any moment, then the plain command again: the same end state as without the kill."""

from __future__ import annotations

import subprocess
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool
from tests.e2e.nodes import look, settled

pytestmark = pytest.mark.podman

MOMENTS = [round(0.05 + 3.45 * (number / 19) ** 2, 2) for number in range(20)]
"""Seconds after the start: 0.05 to 3.5, closest to each other where the program reads, writes and reaches nodes."""
ROUNDS = [(MOMENTS[number::4], last) for number, last in enumerate((0.7, 1.0, 1.4, 2.0))]
"""When `apply` is killed, and then `delete` of all of them."""

APP = """
apiVersion: v1
kind: Namespace
metadata: {name: NAME}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAME}
data: {colour: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: NAME}
spec:
  replicas: 3
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      volumes:
        - {name: pages, emptyDir: {}}
        - {name: memory, emptyDir: {medium: Memory}}
        - {name: settings, configMap: {name: settings}}
      initContainers:
        - name: first
          image: registry.lab/web:v1
          command: [sh, -c, "cp /settings/colour /pages/colour"]
          volumeMounts: [{name: pages, mountPath: /pages}, {name: settings, mountPath: /settings}]
      containers:
        - name: web
          image: registry.lab/web:v1
          volumeMounts: [{name: pages, mountPath: /pages}, {name: memory, mountPath: /memory}]
        - name: side
          image: registry.lab/web:v1
          env: [{name: PORT, value: "8081"}]
"""


def killed(ktool: Ktool, after: float, *words: str) -> bool:
    """Start the program and kill it so many seconds later; whether it was still at work."""
    process = ktool.start(*words)
    try:
        process.communicate(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        process.kill()
        process.communicate()


def end_state(ktool: Ktool, lab: Lab, namespaces: Iterable[str], replicas: int = 3) -> list[Any]:
    """Assert that each namespace has so many pods, all Ready, and the nodes these and nothing more. The pods."""
    every = ktool.json("get", "pods", "-A")["items"]
    pods = [pod for pod in every if pod["metadata"]["namespace"] in namespaces]
    assert Counter(pod["metadata"]["namespace"] for pod in pods) == dict.fromkeys(namespaces, replicas)
    settled(look(lab), pods, every)
    return pods


def nothing_left(ktool: Ktool, lab: Lab, namespaces: Iterable[str]) -> None:
    seen = look(lab)
    here = seen.of(namespaces)
    assert (here.pods, here.containers) == ((), ())
    assert not seen.volumes - {pod["metadata"]["uid"] for pod in ktool.json("get", "pods", "-A")["items"]}
    left = ktool("get", "namespaces", "-o", "name").stdout.split()
    assert not {f"namespace/{name}" for name in namespaces} & set(left)


@pytest.fixture
def spaces(cluster: Ktool, lab: Lab) -> Iterator[list[str]]:
    """Names that the test may make namespaces of."""
    names = [f"kill-{uuid.uuid4().hex[:8]}" for _ in ROUNDS[0][0]]
    yield names
    cluster("delete", "namespace", *names, "--ignore-not-found", "--now")


@pytest.mark.parametrize(("moments", "last"), ROUNDS, ids=str)
def test_apply_killed_and_repeated(
    cluster: Ktool, lab: Lab, spaces: list[str], tmp_path: Path, moments: list[float], last: float
) -> None:
    at_work = []
    for name, moment in zip(spaces, moments, strict=True):
        (tmp_path / f"{name}.yaml").write_text(APP.replace("NAME", name))
        at_work.append(killed(cluster, moment, "apply", "-f", str(tmp_path / f"{name}.yaml")))
        cluster("apply", "-f", str(tmp_path / f"{name}.yaml"))
        end_state(cluster, lab, [name])
    assert at_work[0], "the first one was to be killed at work"
    again = cluster("apply", "-f", str(tmp_path)).stdout.splitlines()
    assert len(again) == 3 * len(spaces)
    assert all(line.endswith(" unchanged") for line in again), again
    end_state(cluster, lab, spaces)

    killed(cluster, last, "delete", "-f", str(tmp_path))
    cluster("delete", "-f", str(tmp_path), "--ignore-not-found")
    nothing_left(cluster, lab, spaces)


def test_changes_killed_and_repeated(cluster: Ktool, lab: Lab, spaces: list[str], tmp_path: Path) -> None:
    name, file = spaces[0], tmp_path / "app.yaml"
    file.write_text(APP.replace("NAME", name))
    cluster("apply", "-f", str(file))
    for replicas, moment in ((5, 0.8), (2, 1.2), (3, 1.6)):
        words = ("scale", "deploy/app", "-n", name, f"--replicas={replicas}")
        killed(cluster, moment, *words)
        cluster(*words)
        end_state(cluster, lab, [name], replicas)
    for version, moment in (("v2", 0.9), ("v1", 1.8)):
        file.write_text(APP.replace("NAME", name).replace("web:v1", f"web:{version}"))
        killed(cluster, moment, "apply", "-f", str(file))
        cluster("apply", "-f", str(file))
        pods = end_state(cluster, lab, [name])
        images = {one["image"] for pod in pods for one in pod["spec"]["containers"]}
        assert images == {f"registry.lab/web:{version}"}
