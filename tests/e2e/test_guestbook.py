"""The main job: a folder of YAML becomes running pods on three nodes that reach each other, in both lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ktool.lab import Lab
from tests.e2e.conftest import Ktool, serving
from tests.e2e.nodes import look, settled

pytestmark = pytest.mark.podman

FOLDER = str(Path(__file__).parents[2] / "manifests" / "guestbook")
NAMESPACE = "guestbook"
OBJECTS = ("namespace/guestbook", "configmap/guestbook", "deployment.apps/backend", "deployment.apps/frontend")


@pytest.fixture(scope="module", params=["own", "server"])
def ktool(request: pytest.FixtureRequest, cluster: Ktool) -> Iterator[Ktool]:
    """With the guestbook applied once for all tests of a life."""
    with serving(cluster) if request.param == "server" else nullcontext():
        done = cluster("apply", "-f", FOLDER, "--wait")
        assert done.stdout.splitlines() == [f"{name} created" for name in OBJECTS]
        yield cluster
        cluster("delete", "-f", FOLDER, "--ignore-not-found")


@pytest.fixture
def pods(ktool: Ktool) -> list[Any]:
    return ktool.pods(NAMESPACE)


def test_every_pod_is_ready_and_on_its_node(ktool: Ktool, lab: Lab, pods: list[Any]) -> None:
    settled(look(lab), pods, pods)
    for app in ("backend", "frontend"):
        mine = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{app}-")]
        assert {pod["spec"]["nodeName"] for pod in mine} == {node.name for node in lab.nodes}
    assert len({pod["status"]["podIP"] for pod in pods}) == len(pods) == 6


def test_pods_reach_pods_on_the_other_nodes_under_their_own_address(ktool: Ktool, pods: list[Any]) -> None:
    fetch = 'for ip; do wget -qO- "http://$ip:8080/"; wget -qO- "http://$ip:8080/client"; done'
    for caller in (pod for pod in pods if pod["metadata"]["name"].startswith("backend-")):
        others = [pod for pod in pods if pod["spec"]["nodeName"] != caller["spec"]["nodeName"]]
        addresses = [pod["status"]["podIP"] for pod in others]
        name = caller["metadata"]["name"]
        lines = ktool("exec", "-n", NAMESPACE, name, "--", "sh", "-c", fetch, "sh", *addresses).stdout.splitlines()
        assert lines[::2] == [f"v1 {pod['metadata']['name']}" for pod in others]
        assert lines[1::2] == [caller["status"]["podIP"]] * len(others)


def test_containers_have_their_configuration_and_share_a_volume(ktool: Ktool) -> None:
    script = "cat /pages/index.html /etc/guestbook/robots.txt; echo $GUESTBOOK_GREETING; test -s /pages/time.txt"
    done = ktool("exec", "-n", NAMESPACE, "deploy/frontend", "-c", "web", "--", "sh", "-c", script)
    greeting = "Welcome to the guestbook"
    assert done.stdout.splitlines() == [greeting, "User-agent: *", "Disallow:", greeting]


def test_a_second_apply_changes_nothing(ktool: Ktool, lab: Lab, pods: list[Any]) -> None:
    before = look(lab).of({NAMESPACE}).ids()
    done = ktool("apply", "-f", FOLDER, "--wait")
    assert done.stdout.splitlines() == [f"{name} unchanged" for name in OBJECTS]
    assert look(lab).of({NAMESPACE}).ids() == before
    assert [pod["metadata"]["resourceVersion"] for pod in ktool.pods(NAMESPACE)] == [
        pod["metadata"]["resourceVersion"] for pod in pods
    ]


def test_delete_ends_everything(ktool: Ktool, lab: Lab) -> None:
    assert ktool("delete", "-f", FOLDER).stdout.count(" deleted\n") == len(OBJECTS)
    left = look(lab).of({NAMESPACE})
    assert (left.pods, left.containers) == ((), ())
    assert not left.volumes - {pod["metadata"]["uid"] for pod in ktool.json("get", "pods", "-A")["items"]}
    assert ktool("get", "namespace", NAMESPACE, status=1).stderr.startswith("Error from server (NotFound)")
