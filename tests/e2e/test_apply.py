"""What remains when the command has ended, and how a command ends that cannot do what was asked. No server runs: the
command itself is the control plane."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import ktool.lab
from ktool.lab import Lab
from tests.e2e.conftest import Ktool, until
from tests.e2e.nodes import look, root_of
from tests.e2e.support import WEB, container, documents, pod, script

pytestmark = pytest.mark.podman


@pytest.fixture
def apply(cluster: Ktool, namespace: str) -> Any:
    """Apply objects in the test's namespace."""

    def run(*objects: Any, status: int = 0, options: tuple[str, ...] = ()) -> Any:
        return cluster("apply", "-n", namespace, "-f", "-", *options, stdin=documents(*objects), status=status)

    return run


def server(name: str = "web") -> Any:
    """A container that serves pages, and crashes with exit code 1 when /crash is asked for."""
    return {"name": name, "image": WEB}


# --- what remains ------------------------------------------------------------------------------------------------


def test_podman_restarts_what_crashes_while_nobody_is_there(
    cluster: Ktool, lab: Lab, namespace: str, apply: Any
) -> None:
    manifest = pod("web", server())
    apply(manifest)
    assert cluster("lock").stdout == "nobody holds the lock\n"
    (before,) = look(lab).of({namespace}).containers
    cluster("exec", "-n", namespace, "web", "--", "wget", "-qO-", "http://localhost:8080/crash", status=None)

    def again() -> Any:
        (now,) = look(lab).of({namespace}).containers
        return now["State"] == "running" and now["StartedAt"] > before["StartedAt"] and now

    assert until(again, 10)["Id"] == before["Id"]
    answered = ["exec", "-n", namespace, "web", "--", "wget", "-qO-", "http://localhost:8080/"]
    until(lambda: cluster(*answered, status=None).stdout == "v1 web\n", 10)
    assert _restarts(cluster, namespace) == "0", "nobody has looked since"
    assert apply(manifest).stdout == "pod/web unchanged\n"
    assert _restarts(cluster, namespace) == "1"
    (found,) = cluster.pods(namespace)[0]["status"]["containerStatuses"]
    assert found["lastState"]["terminated"]["exitCode"] == 1
    assert cluster("logs", "-n", namespace, "web").stdout == "web web v1 listens on port 8080\n"
    assert cluster("logs", "-n", namespace, "web", "--previous").stdout.splitlines() == [
        "web web v1 listens on port 8080",
        "web web v1 crashes as asked",
    ]


def _restarts(ktool: Ktool, namespace: str) -> str:
    return ktool("get", "pods", "-n", namespace, "--no-headers").stdout.split()[3]


# --- how it ends when it cannot be done --------------------------------------------------------------------------


CRASHES = pod("bad", script("main", "echo one; echo two; echo three >&2; exit 3"))
NO_IMAGE = pod("bad", container("main") | {"image": "registry.lab/nothing:v9"})
NO_CONFIG = pod("bad", container("main", envFrom=[{"configMapRef": {"name": "missing"}}]))
NO_PROGRAM = pod("bad", container("main", "/no/such/program"))
NO_ROOM = pod("bad", container("main", resources={"requests": {"memory": "100Ti"}}))


@pytest.mark.parametrize(
    ("manifest", "seconds", "said"),
    [
        (CRASHES, 12, ["CrashLoopBackOff", "exit code 3", "one", "two", "three"]),
        (NO_IMAGE, 5, ["ErrImagePull", "registry.lab/nothing:v9", "manifest unknown"]),
        (NO_CONFIG, 5, ["CreateContainerConfigError", 'configmap "missing" not found']),
        (NO_PROGRAM, 5, ["container main", "/no/such/program"]),
        (NO_ROOM, 20, ["0/3 nodes are available", "Insufficient memory"]),
    ],
    ids=["crash loop", "no image", "no ConfigMap", "no program", "no room"],
)
def test_trouble_is_said_in_seconds(apply: Any, manifest: Any, seconds: float, said: list[str]) -> None:
    began = time.monotonic()
    done = apply(manifest, status=1)
    assert time.monotonic() - began < seconds
    assert "error: pod/bad: " in done.stderr
    for words in said:
        assert words in done.stderr


def test_a_crash_loop_of_a_deployment_is_no_success(apply: Any) -> None:
    labels = {"app": "bad"}
    template = {"metadata": {"labels": labels}, "spec": CRASHES["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"}, "spec": spec}
    done = apply(manifest, status=1)
    assert "error: deployment.apps/bad: " in done.stderr
    assert "exit code 3" in done.stderr and "three" in done.stderr


def test_the_time_is_over(cluster: Ktool, namespace: str, apply: Any) -> None:
    began = time.monotonic()
    slow = pod("slow", server(), initContainers=[container("wait", "sleep", "60")])
    done = apply(slow, status=6, options=("--timeout", "2s"))
    assert 2 <= time.monotonic() - began < 12
    assert done.stderr.splitlines()[-1].startswith("error: timed out after 2s waiting for pod/slow")
    assert "Init:0/1" in done.stderr
    assert cluster("lock").stdout == "nobody holds the lock\n"


@pytest.fixture
def stopped(lab: Lab) -> Iterator[str]:
    """A node without power, until the end of the test."""
    name = lab.nodes[2].name
    ktool.lab.stop_node(lab.name, name, root_of(lab))
    try:
        yield name
    finally:
        ktool.lab.start_node(lab.name, name, root_of(lab))


def test_a_node_that_is_off(cluster: Ktool, lab: Lab, namespace: str, apply: Any, stopped: str) -> None:
    here, there = (pod(name, server(), nodeName=node) for name, node in (("a", lab.nodes[0].name), ("b", stopped)))
    began = time.monotonic()
    done = apply(here, there, status=4)
    assert time.monotonic() - began < 60
    assert f"error: node {stopped} cannot be used: " in done.stderr
    assert "error: pod/b: " in done.stderr and "error: pod/a" not in done.stderr
    listed = cluster("get", "pods", "-n", namespace, "--no-headers").stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [["a", "1/1", "Running"], ["b", "0/1", "Pending"]]
    assert "NotReady" in cluster("get", "node", stopped).stdout

    ktool.lab.start_node(lab.name, stopped, root_of(lab))
    assert apply(here, there).stdout == "pod/a unchanged\npod/b unchanged\n"
    assert {one["Labels"]["ktool.dev/pod"] for one in look(lab).of({namespace}).pods} == {"a", "b"}
