"""Drift detection: how nodes differ from their desired state, found by a dry run of the node loop's first pass.

`ktool drift` calls it. Nothing is claimed: a claim would end the connection of the control plane that is at work. A
node is asked over a connection of its own, only with commands that read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ktool.api.obj import Obj, deleting, name
from ktool.api.ref import NODE
from ktool.api.world import World
from ktool.logic.node.nodeaction import NodeFacts
from ktool.logic.plan import netplan, nodeplan
from ktool.logic.plan.driftwords import Drift, told
from ktool.logic.pod.context import Context
from ktool.node.base import NodeError, Runtime
from ktool.nodeplane.netview import NetView, Snapshot

AT_ONCE = 16
"""Limit of nodes that are asked at the same time."""


@dataclass(frozen=True)
class NodeDrift:
    """Result for one node: its drift, or the error for which it could not be asked."""

    node: str
    drift: tuple[Drift, ...] = ()
    error: str = ""


def inspect(
    objects: Iterable[Obj],
    nodes: Sequence[str],
    *,
    cluster: str,
    connect: Callable[[Obj], Runtime],
    clock: Callable[[], float],
) -> list[NodeDrift]:
    """Drift of each of these nodes. `objects` is everything the store has that plans are made from; `connect` opens a
    node without claiming it."""
    world = World(objects)
    net = NetView(Snapshot(world))
    known = {name(node): node for node in world.list(NODE)}

    def ask(node: Obj) -> NodeDrift:
        try:
            runtime = connect(node)
            try:
                facts = runtime.observe()
            finally:
                runtime.close()
        except NodeError as error:
            return NodeDrift(name(node), error=error.message)
        return NodeDrift(name(node), tuple(compare(node, facts, world, net, cluster, clock())))

    if not nodes:
        return []
    with ThreadPoolExecutor(min(AT_ONCE, len(nodes)), thread_name_prefix="drift") as pool:
        return list(pool.map(ask, [known[node] for node in nodes]))


def compare(node: Obj, facts: NodeFacts, world: World, net: NetView, cluster: str, now: float) -> list[Drift]:
    """Difference between a node and its desired state: what the first pass of its loop would change."""
    pods = [] if deleting(node) else world.on_node(name(node))
    plan = nodeplan.plan(pods, facts, Context(node, cluster, {}, world.get, now))
    have = netplan.seen(facts)
    settings = netplan.refresh(net.settings(node), have, {}, now).settings
    return told(pods, facts, plan, settings, have)
