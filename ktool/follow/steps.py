"""About the pods that a command waits for: whose they are, which step each is at, and what keeps it there."""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.obj import Obj, condition, deleting, get, is_true, name, uid
from ktool.api.pod import node_of, statuses_of
from ktool.api.ref import NODE, POD, GroupKind, Ref
from ktool.api.workload import Generation
from ktool.api.world import World
from ktool.follow.follower import below
from ktool.present.table import Table


def pods_of(world: World, ref: Ref) -> list[Obj]:
    """The pods of an object: itself, or what it owns."""
    obj = world.get(ref)
    if obj is None:
        return []
    return [found for found in (obj, *below(world, uid(obj))) if GroupKind.of(found) == POD]


def settled(pod: Obj) -> bool:
    """Whether nobody waits for this pod."""
    return is_true(pod, "Ready") or get(pod, "status", "phase") == "Succeeded"


def unschedulable(pod: Obj) -> str:
    """Why no node takes the pod, as the scheduler says; "" where it does not say so."""
    scheduled = condition(pod, "PodScheduled") or {}
    if scheduled.get("status") != "False":
        return ""
    message = str(scheduled.get("message") or "fits on no node")
    return (
        message + "; `ktool node add` makes a machine a node" if message.startswith("no nodes available") else message
    )


def homeless(world: World, pod: Obj) -> str:
    """Why no node runs the pod, and none is going to as things are; "" where one does."""
    node = node_of(pod)
    if not node:
        return unschedulable(pod)
    gone = get(pod, "status", "phase") == "Pending" and world.get(Ref(NODE, "", node)) is None
    return f"spec.nodeName is {node}, and there is no such node" if gone else ""


def not_ready(world: World, node: str) -> str:
    """Why a node takes no orders; "" where it does, or is not known."""
    found = world.get(Ref(NODE, "", node)) if node else None
    ready = condition(found, "Ready") if found else None
    if ready is None or ready.get("status") == "True":
        return ""
    return str(ready.get("message") or ready.get("reason") or "not Ready")


def pod_line(pod: Obj) -> str:
    """Which pod, where, and which step it is at."""
    on = node_of(pod)
    return f"  pod {name(pod)}{f' on {on}' if on else ''}: {pod_step(pod)}"


def pod_step(pod: Obj) -> str:
    """The step a pod is at, in one short phrase: its first container that waits, or its phase."""
    if deleting(pod):
        return "ending"
    for status in statuses_of(pod):
        if waiting := get(status, "state", "waiting", default={}):
            return f"{status['name']}: {waiting.get('message') or waiting.get('reason') or 'waiting'}"
    return unschedulable(pod) or str(get(pod, "status", "phase", default="Pending"))


# --- a rollout ---------------------------------------------------------------------------------------------------


def rollout_lines(generations: Sequence[Generation]) -> list[str]:
    """A table of all pods of a workload: what is under way first, and the current revision before the old ones."""
    found = [(one, pod) for one in generations for pod in one.pods]
    if not found:
        return []
    found.sort(key=lambda row: (_rests(row[1]), not row[0].current, -row[0].number, name(row[1])))
    table = Table(("REVISION", "POD", "NODE", "STEP"))
    rows = [
        (f"{one.number}{' (new)' if one.current else ''}", name(pod), node_of(pod), _step(pod)) for one, pod in found
    ]
    return table.lines(rows)


def _rests(pod: Obj) -> bool:
    return settled(pod) and not deleting(pod)


def _step(pod: Obj) -> str:
    if is_true(pod, "Ready") and not deleting(pod):
        return "ready"
    step = pod_step(pod)
    return "running, not ready yet" if step == "Running" else step
