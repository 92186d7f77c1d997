"""Rows about pods on real nodes, with a server and without. The floor of each is bare calls of Podman's API on the same
nodes, right before (`floor.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.bench import floor
from tests.bench.side import IMAGE, Side, deployment
from tests.bench.table import Runs, Sample

CONCURRENCIES = (2, 4, 8)
NEXT = "registry.lab/web:v2"
SERVER, OWN = "server", "own"
"""The two lives: a server is the control plane, or the command brings its own."""
SIZES = ((20, 1), (30, 3))


def pods(life: str, side: Side) -> Runs:
    """20 replicas on one node and 30 on three, `apply` to all Ready, then deleted. The floor is the best of several
    concurrencies of bare calls. The command ends later than that: it wants to see the first pod stay Ready for a
    second."""
    home = side.cluster()
    _warm(side, home, IMAGE)
    with ExitStack() as stack:
        if life == SERVER:
            stack.enter_context(side.server(home))
        while True:
            yield [sample for count, nodes in SIZES for sample in _apply_and_delete(side, home, life, count, nodes)]


def _apply_and_delete(side: Side, home: Path, life: str, count: int, nodes: int) -> Iterator[Sample]:
    sockets = _sockets(side)[:nodes]
    made, gone = _bare(sockets, count)
    manifest = deployment("many", count, node=side.lab.nodes[0].name if nodes == 1 else "")
    ready, took = side.ready(home, count, manifest)
    note = f"the whole command: {took:.2f} s, {took / made:.2f} of the floor"
    yield Sample(f"{count} pods on {nodes}, {life}: apply", ready, made, 1.25, note)
    took = side.ktool(home, "delete", "deployment", "many", "--cascade=foreground")
    yield Sample(f"{count} pods on {nodes}, {life}: delete", took, gone, 1.3)


def _bare(sockets: list[str], count: int) -> tuple[float, float]:
    """The best of several concurrencies: seconds to start the pods and to end them."""
    best_up, best_down = float("inf"), float("inf")
    for concurrency in CONCURRENCIES:
        share = count // len(sockets)
        per_node = [floor.pods(share, IMAGE, floor.subnet(path)) for path in sockets]
        up, ids = floor.create(sockets, per_node, concurrency)
        down = floor.remove(sockets, ids, concurrency)
        best_up, best_down = min(best_up, up), min(best_down, down)
    return best_up, best_down


def rollout(life: str, side: Side) -> Runs:
    """12 replicas on three nodes from v1 to v2 with the defaults (3 above, 3 below). The floor: four times three pods
    that start while three others end, by bare calls."""
    home = side.cluster()
    _warm(side, home, IMAGE, NEXT)
    with ExitStack() as stack:
        if life == SERVER:
            stack.enter_context(side.server(home))
        while True:
            bare = _bare_rollout(_sockets(side))
            side.ktool(home, "apply", "--wait", "-f", "-", stdin=deployment("many", 12))
            took = side.ktool(home, "set", "image", "deploy/many", f"web={NEXT}", "--wait")
            side.ktool(home, "delete", "deployment", "many", "--cascade=foreground")
            yield [Sample(f"roll 12 pods on 3 nodes, {life}", took, bare, 1.3)]


def _bare_rollout(sockets: list[str]) -> float:
    subnets = [floor.subnet(path) for path in sockets]
    _, ids = floor.create(sockets, [floor.pods(4, IMAGE, subnet) for subnet in subnets], 4)
    new = [floor.pods(4, NEXT, subnet, first=4) for subnet in subnets]
    took = floor.roll(sockets, ids, new, 4)
    floor.remove(sockets, ids, 4)
    return took


def _sockets(side: Side) -> list[str]:
    return [floor.node_socket(node.pid) for node in side.lab.nodes]


def _warm(side: Side, home: Path, *images: str) -> None:
    """Have every node pull these images."""
    for image in images:
        with side.applied(home, deployment("warm", 3, image)):
            pass


ROWS = {
    "pods": partial(pods, SERVER),
    "pods-own": partial(pods, OWN),
    "rollout": partial(rollout, SERVER),
    "rollout-own": partial(rollout, OWN),
}
