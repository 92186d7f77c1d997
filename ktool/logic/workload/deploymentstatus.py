"""Deployment status: the counts, and the conditions Available and Progressing.

The Deployment controller and its parts call it. Source: kubernetes.io/docs/concepts/workloads/controllers/deployment,
"Deployment status"; pkg/controller/deployment/progress.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from ktool.api.obj import Obj, condition, epoch, generation, get, timestamp, with_condition
from ktool.logic.workload import rollout
from ktool.logic.workload.rollout import Sizes

DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
_COMPLETE, _PAUSED, _MOVES = "NewReplicaSetAvailable", "DeploymentPaused", "ReplicaSetUpdated"


def replicas(deployment: Obj) -> int:
    return int(get(deployment, "spec", "replicas", default=1))


def limits(deployment: Obj) -> rollout.Limits:
    """maxSurge and maxUnavailable of the rolling update, in pods; both 0 for strategy Recreate."""
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return rollout.Limits(surge=0, unavailable=0)
    chosen = get(deployment, "spec", "strategy", "rollingUpdate", default={})
    return rollout.limits(replicas(deployment), chosen.get("maxSurge", "25%"), chosen.get("maxUnavailable", "25%"))


def held(deployment: Obj) -> bool:
    """Whether an unfinished rollout is paused."""
    said: Obj = get(deployment, "status", default={})
    updated = said.get("updatedReplicas", 0)
    unfinished = updated < replicas(deployment) or said.get("replicas", 0) > updated
    return unfinished and bool(get(deployment, "spec", "paused", default=False))


def status(deployment: Obj, new: Sizes | None, old: Sequence[Sizes], now: float) -> tuple[Obj, float | None]:
    """The status, and the seconds until the progress deadline passes. `new` is the ReplicaSet of the present template,
    None where there is none yet."""
    sets = [*old, new] if new is not None else list(old)
    available = sum(sizes.available for sizes in sets)
    result: Obj = {
        "observedGeneration": generation(deployment),
        "replicas": sum(sizes.existing for sizes in sets),
        "updatedReplicas": new.existing if new is not None else 0,
        "readyReplicas": sum(sizes.ready for sizes in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(sizes.wanted for sizes in sets) - available),
    }
    enough = available >= replicas(deployment) - limits(deployment).unavailable
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    message = f"Deployment {'has' if enough else 'does not have'} minimum availability."
    conditions = get(deployment, "status", "conditions", default=[])
    conditions = with_condition(conditions, "Available", str(enough), now, reason, message)
    result["conditions"], after = _with_progressing(deployment, new, old, result, conditions, now)
    return result, after


def _with_progressing(
    deployment: Obj, new: Sizes | None, old: Sequence[Sizes], counts: Obj, conditions: list[Obj], now: float
) -> tuple[list[Obj], float | None]:
    """The condition Progressing: lastUpdateTime moves with each step forward, and the deadline runs from there. Once a
    rollout is complete it stays so: later changes of pods are no rollout."""
    before = condition(deployment, "Progressing") or {}
    reason = before.get("reason")
    if get(deployment, "spec", "paused", default=False):
        return _progressing(conditions, "Unknown", now, _PAUSED, "Deployment is paused"), None
    if new is not None and rollout.complete(replicas(deployment), new, old):
        message = f'ReplicaSet "{new.name}" has successfully progressed.'
        return _progressing(conditions, "True", now, _COMPLETE, message), None
    if reason == _COMPLETE and new is not None and counts["replicas"] == counts["updatedReplicas"]:
        return conditions, None
    patience = get(deployment, "spec", "progressDeadlineSeconds", default=600)
    left = epoch(before.get("lastUpdateTime") or before.get("lastTransitionTime")) + patience - now
    if reason in (None, _COMPLETE, _PAUSED) or _has_moved(deployment, counts):
        what = f'ReplicaSet "{new.name}" is progressing.' if new else "A ReplicaSet is being created."
        return _moving(conditions, now, what), float(patience)
    if left <= 0:
        message = f'ReplicaSet "{new.name if new else ""}" has timed out progressing.'
        return _progressing(conditions, "False", now, DEADLINE_EXCEEDED, message), None
    return conditions, left


def _has_moved(deployment: Obj, counts: Obj) -> bool:
    """Whether the rollout made progress since the status was written (more new pods, fewer old ones, more available
    ones), or the spec changed."""
    before: Obj = get(deployment, "status", default={})

    def was(count: str) -> int:
        return int(before.get(count, 0))

    more = any(counts[count] > was(count) for count in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    fewer_old = counts["replicas"] - counts["updatedReplicas"] < was("replicas") - was("updatedReplicas")
    return more or fewer_old or counts["observedGeneration"] != was("observedGeneration")


def _progressing(conditions: list[Obj], status: str, now: float, reason: str, message: str) -> list[Obj]:
    result = with_condition(conditions, "Progressing", status, now, reason, message)
    return _updated(result, now) if result != conditions else conditions


def _moving(conditions: list[Obj], now: float, message: str) -> list[Obj]:
    return _updated(with_condition(conditions, "Progressing", "True", now, _MOVES, message), now)


def _updated(conditions: list[Obj], now: float) -> list[Obj]:
    return [
        {**entry, "lastUpdateTime": timestamp(now)} if entry["type"] == "Progressing" else entry for entry in conditions
    ]
