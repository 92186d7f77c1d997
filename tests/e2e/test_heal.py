"""What breaks is mended: by a server within seconds, and by the next command where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ktool import lab as labs
from ktool.lab import Lab
from tests.e2e.conftest import Ktool, until
from tests.e2e.nodes import root_of
from tests.e2e.support import (
    WEB,
    container,
    documents,
    fresh,
    on,
    pod,
    ready,
    script,
    serving,
    space,
    status_of,
)

pytestmark = pytest.mark.podman

PODS = ("first", "second", "init")

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db"},
    "stringData": {"word": "kept-in-memory"},
}


def first(node: str) -> dict[str, Any]:
    """The pod that is found to have its secrets after a reboot too."""
    variable = {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "word"}}}
    main = {"name": "main", "image": WEB, "env": [variable], "volumeMounts": [{"name": "db", "mountPath": "/db"}]}
    return pod("first", main, volumes=[{"name": "db", "secret": {"secretName": "db"}}], nodeName=node)


@dataclass(frozen=True)
class World:
    """The program and a namespace with three pods: two web servers on the first node, one of them with an init
    container, and one on the second."""

    ktool: Ktool
    namespace: str
    lab: Lab

    def pods(self) -> dict[str, Any]:
        return {one["metadata"]["name"]: one for one in self.ktool.pods(self.namespace)}

    def restarts(self, name: str) -> int:
        return int(status_of(self.pods()[name], "main").get("restartCount", 0))

    def settled(self, name: str, restarts: int) -> bool:
        """Whether the pod is Ready after so many restarts."""
        found = self.pods()[name]
        return ready(found) and int(status_of(found, "main")["restartCount"]) == restarts

    def container(self, name: str) -> str:
        """Podman's id of the pod's main container."""
        return str(status_of(self.pods()[name], "main")["containerID"]).partition("//")[2]

    def asks(self, one: str, other: str) -> bool:
        """Whether a page of the other pod reaches the one."""
        address = self.pods()[other]["status"]["podIP"]
        # While routes are gone nobody answers, and TCP would wait ever longer before it tries again.
        words = ("exec", one, "-n", self.namespace, "--", "timeout", "3", "wget", "-qO-", f"http://{address}:8080/")
        return self.ktool(*words, status=None, timeout=15).stdout == f"v1 {other}\n"

    def nothing_twice(self) -> bool:
        """Whether every node has exactly the pods it should."""
        for node in self.lab.nodes:
            wanted = sorted(n for n, one in self.pods().items() if one["spec"]["nodeName"] == node.name)
            form = '{{index .Labels "ktool.dev/pod"}}'
            found = on(node, f"podman pod ps --filter label=ktool.dev/namespace={self.namespace} --format '{form}'")
            if sorted(found.split()) != wanted:
                return False
        return True


@pytest.fixture(scope="module")
def world(cluster: Ktool, lab: Lab) -> Iterator[World]:
    one, second = (node.name for node in lab.nodes[:2])
    web = {"name": "main", "image": WEB}
    keep = {"volumeMounts": [{"name": "keep", "mountPath": "/keep"}]}
    setup = script("setup", "echo ran >>/keep/log", **keep)
    memory = [{"name": "keep", "emptyDir": {}}]
    with space(cluster) as namespace:
        pods = (
            SECRET,
            first(one),
            pod("init", {**web, **keep}, initContainers=[setup], volumes=memory, nodeName=one),
            pod("second", web, nodeName=second),
        )
        cluster("apply", "-n", namespace, "-f", "-", stdin=documents(*pods))
        yield World(cluster, namespace, lab)


@pytest.fixture(params=["own", "server"])
def mend(request: pytest.FixtureRequest, world: World) -> Iterator[Callable[[], object]]:
    """What a person does to have things mended: nothing with a server, and else any command that acts."""
    if request.param == "server":
        with serving(world.ktool):
            yield lambda: None
        return
    yield lambda: world.ktool(
        "apply",
        "-n",
        world.namespace,
        "-f",
        "-",
        stdin=documents(first(world.lab.nodes[0].name)),
    )


def test_a_container_that_was_removed_by_hand_comes_back(world: World, mend: Callable[[], object]) -> None:
    before, node = world.restarts("first"), world.lab.nodes[0]
    old = world.container("first")
    on(node, f"podman rm -f -t 0 {old}")
    began = time.monotonic()
    mend()
    until(lambda: world.settled("first", before + 1), 20)
    assert time.monotonic() - began < 10
    assert world.container("first") != old and world.nothing_twice()
    assert world.asks("second", "first")


def test_a_pod_that_was_removed_by_hand_comes_back(world: World, mend: Callable[[], object]) -> None:
    node, pods = world.lab.nodes[0], world.pods()
    before = world.restarts("init")
    on(node, f"podman pod rm -f -t 0 $(podman inspect --format '{{{{.Pod}}}}' {world.container('init')})")
    began = time.monotonic()
    mend()
    until(lambda: world.settled("init", before + 1), 20)
    assert time.monotonic() - began < 10
    after = world.pods()["init"]
    assert after["metadata"]["uid"] == pods["init"]["metadata"]["uid"]
    assert after["status"]["podIP"] == pods["init"]["status"]["podIP"]
    assert world.nothing_twice() and world.asks("second", "init")
    log = world.ktool("exec", "init", "-n", world.namespace, "--", "cat", "/keep/log").stdout.split()
    assert log == ["ran"], "an init container that was done does not run again"


def test_a_node_that_reboots_gets_its_pods_back(world: World, mend: Callable[[], object]) -> None:
    node, before = world.lab.nodes[0], world.restarts("first")
    others = {name: world.restarts(name) for name in ("init", "second")}
    labs.reboot(world.lab.name, node.name, root_of(world.lab))
    mend()
    # How long it takes is a row of the benchmark.
    until(lambda: world.settled("first", before + 1) and world.settled("init", others["init"] + 1), 120)
    assert world.restarts("second") == others["second"]
    until(lambda: world.asks("second", "first") and world.asks("first", "second"), 5)
    show = ("exec", "first", "-n", world.namespace, "--", "sh", "-c", "echo $WORD; cat /db/word")
    assert world.ktool(*show).stdout.split() == ["kept-in-memory"] * 2
    routes = on(fresh(world.lab, node.name), "ip -4 route show proto 76")
    assert routes.count("via") == len(world.lab.nodes) - 1
    assert world.nothing_twice()


def test_network_and_routes_that_were_removed_by_hand_come_back(world: World, mend: Callable[[], object]) -> None:
    node = world.lab.nodes[0]
    on(node, "nft delete table ip ktool; ip -4 route flush proto 76")
    on(node, f"podman restart -t 0 {world.container('first')}")  # something that a server hears of
    mend()
    until(lambda: world.asks("second", "first") and world.asks("first", "second"), 30)
    assert "snat to ip saddr" in on(node, "nft list table ip ktool")


def test_a_node_that_is_off_is_not_ready_until_it_is_back(world: World) -> None:
    """Nor are its pods after a while: services send to others."""
    node, root = world.lab.nodes[2], root_of(world.lab)

    def state() -> str:
        return world.ktool("get", "node", node.name, "--no-headers").stdout.split()[1]

    def third() -> bool:
        return ready(world.ktool.json("get", "pod", "third", "-n", world.namespace))

    with serving(world.ktool):
        until(lambda: state() == "Ready")
        third_pod = pod("third", container("main"), nodeName=node.name)
        world.ktool("apply", "-n", world.namespace, "-f", "-", "--wait", stdin=documents(third_pod))
        labs.stop_node(world.lab.name, node.name, root)
        try:
            until(lambda: state() == "NotReady", 40)
            told = world.ktool("describe", "node", node.name).stdout
            assert "NodeNotReady" in told
            looked = world.ktool("drift", status=4).stdout
            assert any(line.startswith(node.name) and "cannot be asked" in line for line in looked.splitlines())
            assert third()
            until(lambda: not third(), 90)
        finally:
            labs.start_node(world.lab.name, node.name, root)
        began = time.monotonic()
        until(lambda: state() == "Ready", 40)
        assert time.monotonic() - began < 20
        until(third, 30)
        world.ktool("delete", "pod", "third", "-n", world.namespace)
