"""Stranded pods: bound to a node that stopped answering before they were observed to run. kinds/replicaset replaces
them.

They would hold up a rollout for as long as the node is away, and nothing is lost with them. When the node comes back,
whatever it has begun is stopped first.
"""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.action import Action, Delete, Emit
from ktool.api.obj import Obj, controller_of, deleting, epoch, get, meta, name, namespace, uid
from ktool.api.pod import node_of, statuses_of
from ktool.api.ref import NODE, GroupKind, Ref
from ktool.api.world import World
from ktool.logic.network.nodefields import silent_since
from ktool.logic.workload.stopfirst import single_writer

PATIENCE = 5.0
"""Seconds a node may be silent: less than a command waits for nodes that do not answer (follow/wait)."""


def find(pods: Sequence[Obj], world: World, now: float) -> tuple[list[Obj], float | None]:
    """The pods to give up now, and the seconds after which to look again."""
    found: list[Obj] = []
    waits: list[float] = []
    nodes: dict[str, float] = {}
    for pod in pods:
        if get(pod, "status", "phase", default="Pending") != "Pending" or deleting(pod):
            continue
        on = node_of(pod)
        if on not in nodes:
            node = world.get(Ref(NODE, "", on))
            nodes[on] = silent_since(node) if node is not None else 0.0
        silent = nodes[on]
        if not silent or epoch(meta(pod).get("creationTimestamp")) > silent:  # made for that node, knowing how it is
            continue
        if _has_run(pod) or _is_only_writer(pod, world):
            continue
        left = silent + PATIENCE - now
        if left > 0:
            waits.append(left)
        else:
            found.append(pod)
    return found, min(waits, default=None)


def given_up(owner: Obj, pod: Obj) -> list[Action]:
    """The deletion of a stranded pod and its Event."""
    message = f"Deleted pod: {name(pod)} (node {node_of(pod)} does not answer)"
    return [Delete(Ref.of(pod), uid(pod)), Emit(Ref.of(owner), "SuccessfulDelete", message, uid=uid(owner))]


def _has_run(pod: Obj) -> bool:
    return any(get(status, "state", "running") or get(status, "lastState", "terminated") for status in statuses_of(pod))


def _is_only_writer(pod: Obj, world: World) -> bool:
    """Whether the pod is a single writer: a replacement might then write beside it."""
    here: Obj | None = pod
    while here is not None and (owner := controller_of(here)):
        here = world.get(Ref(GroupKind.of(owner), namespace(pod), owner["name"]))
        if here is not None and single_writer(here):
            return True
    return False
