"""Scale-down order: which pods of a ReplicaSet are deleted first. kinds/replicaset calls it.

The order is that of the Kubernetes documentation (ReplicaSet, "Scaling a ReplicaSet"): pods that are not Ready, then
the cheaper to delete, then those that share a node with the most of their siblings, then the younger.

One thing stands before the costs that Kubernetes does not look at: a pod that has not been Ready for minReadySeconds
goes before one that has. A Deployment counts on it when it lets an old ReplicaSet have as many pods less as there are
available ones to spare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ktool.api.marks import DELETION_COST
from ktool.api.obj import Obj, annotations_of, condition, epoch, get, is_true, meta, name
from ktool.api.pod import app_statuses, node_of
from ktool.logic.workload.podcounts import available

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def first_to_go(pods: Sequence[Obj], count: int, patience: float, now: float) -> list[Obj]:
    """The `count` pods to delete. `patience`: minReadySeconds. Every tie is broken by name, so two passes over the same
    pods agree."""
    siblings = Counter(node_of(pod) for pod in pods if is_true(pod, "Ready"))

    def order(pod: Obj) -> tuple[Any, ...]:
        node = node_of(pod)
        ready = is_true(pod, "Ready")
        return (
            bool(node),
            _PHASES.get(get(pod, "status", "phase", default="Pending"), 2),
            ready,
            available(pod, patience, now),
            _deletion_cost(pod),
            -siblings[node] if ready else 0,
            -_ready_since(pod),
            -_restarts(pod),
            -epoch(meta(pod).get("creationTimestamp")),
            name(pod),
        )

    return sorted(pods, key=order)[:count]


def _deletion_cost(pod: Obj) -> int:
    text = annotations_of(pod).get(DELETION_COST, "0")
    return int(text) if text.lstrip("-").isdigit() else 0


def _ready_since(pod: Obj) -> float:
    ready = condition(pod, "Ready")
    return epoch(ready.get("lastTransitionTime")) if ready else 0.0


def _restarts(pod: Obj) -> int:
    return max((int(s.get("restartCount", 0)) for s in app_statuses(pod)), default=0)
