"""Node loops on threads: nodes that do not answer hold up no others."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ktool.api.obj import Obj, condition, name
from ktool.api.ref import NODE
from ktool.logic.node.nodeaction import NodeAction, NodeFacts, Outcome, SetZone
from ktool.node.base import Runtime, Unreachable
from ktool.node.simulated.runtime import RUNTIMES, SimulatedRuntime
from ktool.nodeplane.nodes import Nodes
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.everykind import KINDS
from tests.nodeplane.support import LONG, until

DARK, ALL = 40, 100


class Network:
    """The way to a hundred machines. `dark`: those that take what they are sent and never answer, until `end`. Nodes
    are told apart by name, so that no real connection is made."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.dark = {f"n{number}" for number in range(DARK)}
        self.hung: set[str] = set()
        self.looks: Counter[str] = Counter()
        self.told: set[str] = set()

    def connect(self, node: Obj) -> Runtime:
        self.pass_(name(node))
        return Machine(name(node), self)

    def pass_(self, node: str) -> None:
        """Return where the node answers."""
        if node in self.dark:
            self.hung.add(node)
            self.end.wait()
            raise Unreachable(node, "connect", "no route to host")


class Machine(SimulatedRuntime):
    """A simulated machine that is taken for a real one, at the other end of this network."""

    def __init__(self, node: str, network: Network) -> None:
        super().__init__(node)
        self._network = network

    def observe(self) -> NodeFacts:
        self._network.pass_(self.node)
        self._network.looks[self.node] += 1
        return super().observe()

    def perform(self, action: NodeAction) -> Outcome:
        self._network.pass_(self.node)
        if isinstance(action, SetZone):
            self._network.told.add(self.node)
        return super().perform(action)


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.end.set()


@pytest.fixture
def registry(store: Store) -> Registry:
    registry = Registry(store, KINDS)
    for number in range(ALL):
        registry.create(_node(number))
    return registry


@pytest.fixture
def nodes(store: Store, registry: Registry, network: Network) -> Iterator[Nodes]:
    RUNTIMES.clear()
    found = Nodes(registry, Cache(store), cluster="c", connect=network.connect, clock=time.time, every_node=True)
    yield found
    network.end.set()
    found.stop(timeout=10)
    RUNTIMES.clear()


def _node(number: int) -> dict[str, Any]:
    notes = {"ktool.dev/connection": f"ssh://root@192.0.2.{number + 1}"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"n{number}", "annotations": notes}}


def ready(registry: Registry) -> set[str]:
    found = registry.list(NODE)[0]
    return {name(node) for node in found if (condition(node, "Ready") or {}).get("status") == "True"}


def test_nodes_that_hang_in_connect_hold_up_no_others(nodes: Nodes, network: Network, registry: Registry) -> None:
    others = {f"n{number}" for number in range(ALL)} - network.dark
    nodes.start()
    until(lambda: ready(registry) == others)
    until(lambda: network.hung == network.dark)
    before = dict(network.looks)
    for node in others:
        nodes.node_changed(node)
    until(lambda: all(network.looks[node] > before[node] for node in others))
    assert not set(network.looks) & network.dark


def test_nodes_that_go_dark_later_hold_up_no_others(nodes: Nodes, network: Network, registry: Registry) -> None:
    """They hang while they are looked at and while they are told of network settings, both at once."""
    gone, network.dark = network.dark, set()
    nodes.start()
    everyone = {f"n{number}" for number in range(ALL)}
    until(lambda: ready(registry) == everyone)
    until(lambda: network.told == everyone)
    network.dark = gone
    for node in sorted(everyone):
        nodes.node_changed(node)
    until(lambda: network.hung == gone)
    network.told.clear()
    service = {"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}}
    registry.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, **service})

    def known() -> bool:
        nodes._cache.sync()
        return network.told == everyone - gone

    until(known)
    assert ready(registry) == everyone, "nobody knows of the others yet: they may answer"


def test_threads_are_made_as_they_are_needed(nodes: Nodes, network: Network) -> None:
    before = threading.active_count()
    nodes.start()
    until(lambda: len(network.hung) == DARK)
    assert threading.active_count() - before <= ALL + 10


def test_the_end_waits_for_hanging_nodes_once_and_not_for_each(nodes: Nodes, network: Network) -> None:
    nodes.start()
    until(lambda: len(network.hung) == DARK)
    begun = time.monotonic()
    nodes.stop(timeout=0.5)
    assert time.monotonic() - begun < 0.1 * DARK < LONG
