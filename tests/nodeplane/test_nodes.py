"""Node loops on threads: nodes that do not answer hold up no others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ktool.api.obj import Obj, name
from ktool.node.base import Runtime, Unreachable
from ktool.nodeplane.nodes import Nodes
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.everykind import KINDS

DARK, ALL = 40, 100


class Network:
    """Connections to nodes of which the first DARK never answer: a connect to one of them hangs until the end."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.hung: set[str] = set()
        self.answered: dict[str, int] = {}

    def connect(self, node: Obj) -> Runtime:
        if int(name(node).removeprefix("n")) < DARK:
            self.hung.add(name(node))
            self.end.wait(60)
        self.answered[name(node)] = self.answered.get(name(node), 0) + 1
        raise Unreachable(name(node), "connect", "no route to host")


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.end.set()


@pytest.fixture
def nodes(store: Store, network: Network) -> Iterator[Nodes]:
    registry = Registry(store, KINDS)
    for number in range(ALL):
        registry.create(_node(number))
    found = Nodes(registry, Cache(store), cluster="c", connect=network.connect, clock=time.time, every_node=True)
    yield found
    network.end.set()
    found.stop(timeout=10)


def _node(number: int) -> dict[str, Any]:
    notes = {"ktool.dev/connection": f"ssh://root@192.0.2.{number + 1}"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}", "annotations": notes}}


def until(what: Any, seconds: float) -> float:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "not in time"
        time.sleep(0.01)
    return time.monotonic() - begun


def test_dark_nodes_hold_up_no_others(nodes: Nodes, network: Network) -> None:
    nodes.start()
    until(lambda: len(network.answered) == ALL - DARK, 30)
    until(lambda: len(network.hung) == DARK, 30)
    assert not set(network.answered) & network.hung
    again = dict(network.answered)
    until(lambda: all(network.answered[node] > count for node, count in again.items()), 60)


def test_threads_are_made_as_they_are_needed(nodes: Nodes, network: Network) -> None:
    before = threading.active_count()
    nodes.start()
    until(lambda: len(network.hung) == DARK, 30)
    assert threading.active_count() - before < 2 * DARK + 10
