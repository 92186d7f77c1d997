"""Pod counts of ReplicaSets and Deployments: existing, Ready, and available (Ready for minReadySeconds).

kinds/replicaset and the Deployment controller call it. Source: apps/v1 ReplicaSetStatus; pkg/controller (IsPodActive)
and pkg/api/v1/pod (IsPodAvailable).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ktool.api.obj import Obj, condition, deleting, epoch, is_true
from ktool.api.pod import finished


@dataclass(frozen=True)
class Counts:
    """`existing`: active pods, `ending`: terminating ones that are still there. `after`: seconds until the next Ready
    pod becomes available, None where none is waiting for that."""

    existing: int
    ready: int
    available: int
    ending: int
    after: float | None


def count(pods: Iterable[Obj], patience: float, now: float) -> Counts:
    """Count the pods. `patience`: minReadySeconds."""
    existing, waits, ending = 0, [], 0
    for pod in pods:
        if finished(pod):
            continue
        if deleting(pod):
            ending += 1
            continue
        existing += 1
        if is_true(pod, "Ready"):
            waits.append(max(0.0, _ready_since(pod) + patience - now) if patience else 0.0)
    after = min((seconds for seconds in waits if seconds > 0), default=None)
    return Counts(existing, len(waits), waits.count(0.0), ending, after)


def available(pod: Obj, patience: float, now: float) -> bool:
    """Whether an active pod is Ready, and has been so for `patience` (minReadySeconds)."""
    return is_true(pod, "Ready") and (not patience or _ready_since(pod) + patience <= now)


def active(pod: Obj) -> bool:
    """Whether a pod counts as a replica: neither terminating nor finished."""
    return not deleting(pod) and not finished(pod)


def _ready_since(pod: Obj) -> float:
    return epoch((condition(pod, "Ready") or {}).get("lastTransitionTime"))
