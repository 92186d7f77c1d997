"""Deployment controller: the plan for one template, the ReplicaSets of its revisions, and the rollout between them.

kinds/deployment calls it. Source: kubernetes.io/docs/concepts/workloads/controllers/deployment;
pkg/controller/deployment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ktool.api.action import Action, Create, Delete, Emit, Patch, Plan, Status
from ktool.api.marks import (
    CHANGE_CAUSE,
    COMPLETE,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    RESOLVED_IMAGES,
    REVISION,
    REVISION_HISTORY,
    TEMPLATE_HASH,
)
from ktool.api.obj import Obj, annotations_of, deleting, get, meta, name, namespace, owner_reference, timestamp, uid
from ktool.api.ref import POD, Ref
from ktool.api.world import World
from ktool.logic.workload import configuse, digests, revisions, rollback, rollout
from ktool.logic.workload.adoption import claim
from ktool.logic.workload.deploymentstatus import limits, replicas, status
from ktool.logic.workload.podcounts import count
from ktool.logic.workload.rollout import Sizes
from ktool.logic.workload.stopfirst import Order
from ktool.logic.workload.workloadkinds import REPLICA_SET


def plan(deployment: Obj, world: World, now: float) -> Plan:
    """Reconcile a Deployment: find or create the ReplicaSet of the present template, size all ReplicaSets, write the
    status."""
    if deleting(deployment):
        return Plan(because="being deleted; the garbage collector takes the ReplicaSets")
    if changed := configuse.follow(deployment, world):
        return Plan(tuple(changed))
    claimed, actions = claim(deployment, REPLICA_SET, world)
    sets = sorted((rs for rs in claimed if not deleting(rs)), key=_created)
    new = revisions.find_new(deployment, sets)
    old = [rs for rs in sets if rs is not new]
    sizes, ripening = _sizes(deployment, sets, world, now)
    order = Order.of(deployment, new, old, world)
    paused = get(deployment, "spec", "paused", default=False)
    if new is not None and not paused:
        actions += [*_number(deployment, new, old, sizes, world, now), *_forget(deployment, new, old, sizes)]
    if new is None and not paused:
        actions += _begin(deployment, old, sizes, world, order)
    else:
        ordered = [*old, new] if new is not None else old
        next_sizes = _next_sizes(deployment, new, old, sizes, order)
        actions += _resize(deployment, ordered, sizes, next_sizes)
        actions += order.told(deployment, old, sizes, next_sizes)
    said, deadline = status(deployment, sizes[name(new)] if new else None, [sizes[name(rs)] for rs in old], now)
    back = rollback.decide(deployment, new, sets, world, said["conditions"], now)
    actions += back.actions
    said = {**said, "conditions": back.conditions}
    if said != deployment.get("status"):
        actions.append(Status(Ref.of(deployment), said, uid(deployment)))
    after = min((seconds for seconds in (ripening, deadline, back.after) if seconds is not None), default=None)
    return Plan(tuple(actions), "" if actions else "every ReplicaSet has its size and the status says so", after)


def _created(replica_set: Obj) -> tuple[str, int, str]:
    return meta(replica_set).get("creationTimestamp", ""), revisions.revision(replica_set), name(replica_set)


def _sizes(deployment: Obj, sets: Sequence[Obj], world: World, now: float) -> tuple[dict[str, Sizes], float | None]:
    """The Sizes of each ReplicaSet by name, and the seconds until another pod becomes available. Pods are counted here
    and now: the counts in a ReplicaSet's status may be older than a pod's death."""
    patience = get(deployment, "spec", "minReadySeconds", default=0)
    sizes: dict[str, Sizes] = {}
    afters: list[float] = []
    for rs in sets:
        counts = count(world.controlled(uid(rs), POD), patience, now)
        wanted = get(rs, "spec", "replicas", default=0)
        sizes[name(rs)] = Sizes(
            name(rs),
            wanted,
            counts.existing,
            counts.available,
            ready=counts.ready,
            ending=counts.ending,
            most=_noted(rs, MAX_REPLICAS) or 0,
            sized_for=_noted(rs, DESIRED_REPLICAS),
        )
        afters += [counts.after] if counts.after is not None else []
    return sizes, min(afters, default=None)


def _noted(replica_set: Obj, key: str) -> int | None:
    text = annotations_of(replica_set).get(key, "")
    return int(text) if text.isdigit() else None


def _begin(deployment: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes], world: World, order: Order) -> list[Action]:
    """Start a rollout: create a ReplicaSet for the new template, as large as the strategy allows at once."""
    template = deployment["spec"]["template"]
    digest = _free_hash(deployment, world)
    new_name = revisions.new_name(deployment, digest)
    number = str(revisions.next_revision(old))
    size = order.step(deployment, Sizes(new_name, 0), [sizes[name(rs)] for rs in old])[new_name]
    selector = deployment["spec"]["selector"]
    spec = {
        "replicas": size,
        "minReadySeconds": get(deployment, "spec", "minReadySeconds", default=0),
        "selector": {
            **selector,
            "matchLabels": {**(selector.get("matchLabels") or {}), TEMPLATE_HASH: digest},
        },
        "template": revisions.with_hash(template, digest),
    }
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": new_name,
            "namespace": namespace(deployment),
            "labels": spec["template"]["metadata"]["labels"],
            "annotations": {**_copied_annotations(deployment), **_wish(deployment), REVISION: number},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": spec,
    }
    return [
        Create(replica_set),
        _said(deployment, f"Scaled up replica set {new_name} from 0 to {size}"),
        Patch(Ref.of(deployment), {"metadata": {"annotations": {REVISION: number}}}, uid(deployment)),
        *_resize(deployment, old, sizes, {name(rs): sizes[name(rs)].wanted for rs in old}),
    ]


def _free_hash(deployment: Obj, world: World) -> str:
    """The template's hash, or a variant where a foreign or terminating ReplicaSet has its name."""
    for collisions in range(world.count(REPLICA_SET) + 1):
        digest = revisions.template_hash(deployment["spec"]["template"], collisions)
        if world.get(Ref(REPLICA_SET, namespace(deployment), revisions.new_name(deployment, digest))) is None:
            break
    return digest


def _number(
    deployment: Obj, new: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes], world: World, now: float
) -> list[Action]:
    """Annotate the ReplicaSet in use: the highest revision number (a rollback gives it a new one), the images it runs,
    and when it was complete for the first time."""
    number = max(revisions.revision(new), revisions.next_revision(old) if old else 1)
    wanted = {**_copied_annotations(deployment), REVISION: str(number)}
    if images := digests.seen(new, world.controlled(uid(new), POD)):
        wanted[RESOLVED_IMAGES] = digests.text(images)
    if replicas(deployment) and not rollback.completed(new) and _complete(deployment, new, old, sizes):
        wanted[COMPLETE] = timestamp(now)
    if 0 < revisions.revision(new) < number:
        wanted[REVISION_HISTORY] = revisions.with_one_more(new)
    patch: dict[str, object] = {}
    if any(annotations_of(new).get(key) != value for key, value in wanted.items()):
        patch["metadata"] = {"annotations": wanted}
    patience = get(deployment, "spec", "minReadySeconds", default=0)
    if get(new, "spec", "minReadySeconds", default=0) != patience:
        patch["spec"] = {"minReadySeconds": patience}
    actions: list[Action] = [Patch(Ref.of(new), patch, uid(new))] if patch else []
    if annotations_of(deployment).get(REVISION) != str(number):
        mark = {"metadata": {"annotations": {REVISION: str(number)}}}
        actions.append(Patch(Ref.of(deployment), mark, uid(deployment)))
    return actions


def _copied_annotations(deployment: Obj) -> dict[str, str]:
    """The annotations that a revision copies from its Deployment: its change cause (kubernetes.io/change-cause)."""
    cause = annotations_of(deployment).get(CHANGE_CAUSE)
    return {CHANGE_CAUSE: cause} if cause else {}


def _next_sizes(
    deployment: Obj, new: Obj | None, old: Sequence[Obj], sizes: Mapping[str, Sizes], order: Order
) -> dict[str, int]:
    """The next size of each ReplicaSet by name: the next step of the rollout. While it is paused, and after a change of
    `replicas` in the middle of it, all of them are scaled in proportion first."""
    olds = [sizes[name(rs)] for rs in old]
    if new is None:
        return rollout.proportional(replicas(deployment), olds, limits(deployment)) if olds else {}
    newest = sizes[name(new)]
    if not get(deployment, "spec", "paused", default=False) and not _was_scaled(deployment, [*old, new]):
        return order.step(deployment, newest, olds)
    if rollout.saturated(replicas(deployment), newest):
        return {**{sizes.name: 0 for sizes in olds}, newest.name: newest.wanted}
    return rollout.proportional(replicas(deployment), [*olds, newest], limits(deployment))


def _was_scaled(deployment: Obj, sets: Sequence[Obj]) -> bool:
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return False
    before = {annotations_of(rs).get(DESIRED_REPLICAS) for rs in sets if get(rs, "spec", "replicas", default=0)}
    return bool(before - {None, str(replicas(deployment))})


def _wish(deployment: Obj) -> dict[str, str]:
    """The annotations that record what a ReplicaSet was sized for."""
    most = replicas(deployment) + limits(deployment).surge
    return {DESIRED_REPLICAS: str(replicas(deployment)), MAX_REPLICAS: str(most)}


def _resize(deployment: Obj, sets: Sequence[Obj], sizes: Mapping[str, Sizes], after: Mapping[str, int]) -> list[Action]:
    """Resize the ReplicaSets, and annotate those with pods with what they are sized for."""
    actions: list[Action] = []
    for rs in sets:
        wanted, size = sizes[name(rs)].wanted, after[name(rs)]
        patch: dict[str, object] = {}
        if wanted != size:
            patch["spec"] = {"replicas": size}
        if (wanted or size) and not _wish(deployment).items() <= annotations_of(rs).items():
            patch["metadata"] = {"annotations": _wish(deployment)}
        if patch:
            actions.append(Patch(Ref.of(rs), patch, uid(rs)))
        if wanted != size:
            way = "up" if size > wanted else "down"
            actions.append(_said(deployment, f"Scaled {way} replica set {name(rs)} from {wanted} to {size}"))
    return actions


def _complete(deployment: Obj, new: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes]) -> bool:
    return rollout.complete(replicas(deployment), sizes[name(new)], [sizes[name(rs)] for rs in old])


def _forget(deployment: Obj, new: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes]) -> list[Action]:
    """Once the rollout is complete, delete the oldest revisions beyond the history limit."""
    if not _complete(deployment, new, old, sizes):
        return []
    limit = get(deployment, "spec", "revisionHistoryLimit", default=10)
    return [Delete(Ref.of(rs), uid(rs)) for rs in revisions.expired(old, limit)]


def _said(deployment: Obj, message: str) -> Emit:
    return Emit(Ref.of(deployment), "ScalingReplicaSet", message, uid=uid(deployment))
