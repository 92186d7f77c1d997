"""Automatic rollback: an annotated Deployment returns to its last good revision when the new one certainly fails.

The Deployment controller and logic/workload/deploymentcommands call it. Kubernetes leaves a failed rollout where it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktool.api.action import Action, Emit, Patch
from ktool.api.marks import COMPLETE, ROLLBACK_ON_FAILURE
from ktool.api.obj import (
    Obj,
    annotations_of,
    condition,
    deleting,
    epoch,
    generation,
    get,
    meta,
    name,
    put,
    timestamp,
    uid,
)
from ktool.api.patch import difference
from ktool.api.ref import POD, Ref
from ktool.api.world import World
from ktool.logic.workload import configuse, revisions
from ktool.logic.workload.deploymentstatus import DEADLINE_EXCEEDED
from ktool.logic.workload.podtrouble import trouble, unready

CONDITION = "RolledBack"
"""Status False: it is about to happen; True: it has, and nothing else was asked for since."""
CALM = 3.0
"""Seconds that a failure must last before a rollback: it may mend itself, and a person can still read the logs of the
failed pods."""
PROVEN = 15.0
"""Seconds after its completion within which a revision may still fail: without a probe, or minReadySeconds, a program
that ends after a moment has been Ready. What breaks later was no rollout."""


def completed(replica_set: Obj) -> float:
    """When a revision was complete for the first time (epoch seconds); 0 for never."""
    return epoch(annotations_of(replica_set).get(COMPLETE))


def last_good(replica_sets: Iterable[Obj], other_than: Obj) -> Obj | None:
    """The newest revision that was ever complete."""
    found = [rs for rs in revisions.history(replica_sets) if completed(rs) and uid(rs) != uid(other_than)]
    return found[-1] if found else None


def failure(deployment: Obj, new: Obj, world: World) -> str:
    """Why the new revision certainly fails; "" while it may succeed, and where it has."""
    certain, missing = obstacle(new, world)
    if certain or (condition(deployment, "Progressing") or {}).get("reason") != DEADLINE_EXCEEDED:
        return certain
    return f"progress deadline exceeded{': ' + missing if missing else ''}"


def obstacle(new: Obj, world: World) -> tuple[str, str]:
    """(certain, any): the certain failure of a ReplicaSet's pods ("" for none), and the reason why one is not Ready,
    certain or not. Pods that broke after the revision had proved good are ignored."""
    proved = completed(new) + PROVEN if completed(new) else math.inf
    pods = [pod for pod in world.controlled(uid(new), POD) if not deleting(pod) and _changed(pod) < proved]
    certain = next((said for pod in sorted(pods, key=name) if (said := trouble(pod))), "")
    return certain, certain or next((said for pod in sorted(pods, key=name) if (said := unready(pod))), "")


def _changed(pod: Obj) -> float:
    """When the pod's Ready condition changed last."""
    return epoch((condition(pod, "Ready") or {}).get("lastTransitionTime") or meta(pod).get("creationTimestamp"))


def target(deployment: Obj, new: Obj | None, replica_sets: Iterable[Obj]) -> Obj | None:
    """The revision to roll back to. None where the Deployment is not annotated for it, is paused, or has no good
    revision."""
    if annotations_of(deployment).get(ROLLBACK_ON_FAILURE) != "true" or get(
        deployment, "spec", "paused", default=False
    ):
        return None
    return last_good(replica_sets, new) if new is not None else None


FORGET: Obj = {"metadata": {"annotations": {COMPLETE: None}}}
"""The merge patch for a revision that has failed after all."""


def patch(deployment: Obj, good: Obj) -> Obj:
    """The merge patch that rolls a Deployment back to another revision. If a config change caused the failure, its hash
    is recorded, so that the same content is not tried again."""
    returned = revisions.rolled_back(deployment, good)
    if failed := configuse.failed_with(deployment["spec"]["template"]):
        returned = put(returned, "metadata", "annotations", {**annotations_of(returned), **failed})
    found: Obj = difference(deployment, returned)
    return found


@dataclass(frozen=True)
class Return:
    """The result: the conditions of the status, the actions, and the seconds until the next look."""

    conditions: list[Obj]
    actions: Sequence[Action] = ()
    after: float | None = None


def decide(
    deployment: Obj, new: Obj | None, replica_sets: Sequence[Obj], world: World, conditions: Sequence[Obj], now: float
) -> Return:
    """Whether to roll back now. `conditions` are the Deployment's other conditions."""
    others = [entry for entry in conditions if entry.get("type") != CONDITION]
    before = next((entry for entry in conditions if entry.get("type") == CONDITION), {})
    good = target(deployment, new, replica_sets)
    said = {**deployment, "status": {"conditions": others}}
    why = failure(said, new, world) if good is not None and new is not None else ""
    if good is None or not why:
        stays = before.get("status") == "True" and before.get("observedGeneration") == generation(deployment)
        return Return([*others, before] if stays else others)
    if before.get("status") != "False" or before.get("observedGeneration") != generation(deployment):
        return Return([*others, _entry("False", why, generation(deployment), now)], after=CALM)
    left = epoch(before.get("lastTransitionTime")) + CALM - now
    if left > 0:
        return Return([*others, before], after=left)
    message = f"revision {revisions.revision(good)} is back: {before['message']}"
    assert new is not None
    back = Patch(Ref.of(deployment), patch(deployment, good), uid(deployment))
    bad = Patch(Ref.of(new), FORGET, uid(new))
    told = Emit(Ref.of(deployment), "DeploymentRollback", f"Rolled back: {message}", "Warning", uid(deployment))
    return Return([*others, _entry("True", message, generation(deployment) + 1, now)], (bad, back, told))


def _entry(status: str, message: str, observed: int, now: float) -> Obj:
    return {
        "type": CONDITION,
        "status": status,
        "reason": "RolloutFailed",
        "message": message,
        "lastTransitionTime": timestamp(now),
        "observedGeneration": observed,
    }


def has_happened(deployment: Obj) -> str:
    """The reason of a rollback that happened; "" if none did, or the spec was changed since."""
    found = condition(deployment, CONDITION) or {}
    current = found.get("status") == "True" and found.get("observedGeneration") == generation(deployment)
    return str(found.get("message", "")) if current else ""


def is_coming(deployment: Obj) -> str:
    """The reason of a rollback that is about to happen; "" for none."""
    found = condition(deployment, CONDITION) or {}
    return str(found.get("message", "")) if found.get("status") == "False" else ""
