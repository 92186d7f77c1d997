"""Looking at nodes without acting on them: what each has that it should not have, and the other way round.

Nothing is claimed: a claim would end the connection of the control plane that is at work. A node is asked over a
connection of its own, only with commands that read.
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
"""Nodes that are asked at the same time."""


@dataclass(frozen=True)
class Look:
    """What came of asking one node: what has drifted there, or why it could not be asked."""

    node: str
    drift: tuple[Drift, ...] = ()
    error: str = ""


def look(
    objects: Iterable[Obj],
    nodes: Sequence[str],
    *,
    cluster: str,
    connect: Callable[[Obj], Runtime],
    clock: Callable[[], float],
) -> list[Look]:
    """Ask each of these nodes. `objects` is everything the store has that plans are made from; `connect` opens a node
    without claiming it."""
    world = World(objects)
    net = NetView(Snapshot(world))
    known = {name(node): node for node in world.list(NODE)}

    def ask(node: Obj) -> Look:
        try:
            runtime = connect(node)
            try:
                facts = runtime.observe()
            finally:
                runtime.close()
        except NodeError as error:
            return Look(name(node), error=error.message)
        return Look(name(node), tuple(judge(node, facts, world, net, cluster, clock())))

    if not nodes:
        return []
    with ThreadPoolExecutor(min(AT_ONCE, len(nodes)), thread_name_prefix="drift") as pool:
        return list(pool.map(ask, [known[one] for one in nodes]))


def judge(node: Obj, facts: NodeFacts, world: World, net: NetView, cluster: str, now: float) -> list[Drift]:
    """What the next pass of the node's loop would change, as if it were its first one."""
    pods = [] if deleting(node) else world.on_node(name(node))
    plan = nodeplan.plan(pods, facts, Context(node, cluster, {}, world.get, now))
    have = netplan.seen(facts)
    settings = netplan.refresh(net.settings(node), have, {}, now).settings
    return told(pods, facts, plan, settings, have)
