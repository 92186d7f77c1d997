"""Deployment (apps/v1): one template, the ReplicaSets of its revisions, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.action import Action, Create, Delete, Emit, Patch, Plan, Status
from ktool.api.duration import age
from ktool.api.errors import Cause
from ktool.api.kind import Column, Kind, Progress, Watch, owned
from ktool.api.obj import (
    Obj,
    annotations_of,
    condition,
    controlled_by,
    controller_of,
    deleting,
    epoch,
    generation,
    get,
    labels,
    meta,
    name,
    namespace,
    owner_reference,
    timestamp,
    uid,
    with_condition,
)
from ktool.api.ref import Ref
from ktool.api.schema import Field
from ktool.api.selector import from_label_selector
from ktool.api.shapes.meta import CONDITIONS, LABEL_SELECTOR, resource
from ktool.api.shapes.podspec import POD_TEMPLATE
from ktool.api.shapes.workload import default_template, images, template_causes
from ktool.api.world import World
from ktool.logic import revisions, rollout
from ktool.logic.rollout import Sizes
from ktool.logic.trouble import trouble

SCHEMA = resource(
    spec=Field(
        "object",
        "The pods wanted and how to get from the present ones to them.",
        required=True,
        fields={
            "replicas": Field("integer", "The wanted number of pods.", default=1, minimum=0),
            "selector": LABEL_SELECTOR,
            "template": POD_TEMPLATE,
            "strategy": Field(
                "object",
                "How new pods take the place of old ones.",
                default={},
                fields={
                    "type": Field(
                        "string",
                        "RollingUpdate goes step by step; Recreate ends all old pods first.",
                        default="RollingUpdate",
                        enum=("RollingUpdate", "Recreate"),
                    ),
                    "rollingUpdate": Field(
                        "object",
                        "How far a rolling update may leave the wanted number.",
                        fields={
                            "maxSurge": Field("int-or-string", "Pods above it; a percentage rounds up."),
                            "maxUnavailable": Field("int-or-string", "Pods below it; a percentage rounds down."),
                        },
                    ),
                },
            ),
            "minReadySeconds": Field(
                "integer", "Seconds a new pod must be Ready before it counts as available.", default=0, minimum=0
            ),
            "revisionHistoryLimit": Field("integer", "Old ReplicaSets to keep for a rollback.", default=10, minimum=0),
            "paused": Field("boolean", "While true a changed template starts no rollout."),
            "progressDeadlineSeconds": Field(
                "integer", "Seconds without progress after which the rollout is said to have failed.", default=600
            ),
        },
    ),
    status=Field(
        "object",
        "How far the rollout is.",
        read_only=True,
        fields={
            "observedGeneration": Field("integer", "The generation this status was computed from."),
            "replicas": Field("integer", "Pods of all its ReplicaSets."),
            "updatedReplicas": Field("integer", "Pods of the present template."),
            "readyReplicas": Field("integer", "Pods that are Ready."),
            "availableReplicas": Field("integer", "Pods that have been Ready for minReadySeconds."),
            "unavailableReplicas": Field("integer", "Pods still missing to the wanted availability."),
            "collisionCount": Field("integer", "Hash collisions met when naming a ReplicaSet."),
            "conditions": CONDITIONS,
        },
    ),
)


# --- the controller ----------------------------------------------------------------------------------------------


def plan(deployment: Obj, world: World, now: float) -> Plan:
    """Find or make the ReplicaSet of the present template, let the arithmetic size them all, say how far it is."""
    if deleting(deployment):
        return Plan(because="being deleted; the garbage collector takes the ReplicaSets")
    owned_sets = _replica_sets(deployment, world)
    adopted = [_adopt(deployment, rs) for rs in owned_sets if not controlled_by(rs, deployment)]
    new = revisions.find_new(deployment, owned_sets)
    old = sorted((rs for rs in owned_sets if rs is not new), key=_created)
    if get(deployment, "spec", "paused", default=False):
        actions = [*adopted, *_scale(deployment, new, old, world)]
    elif new is None:
        actions = [*adopted, *_begin(deployment, old)]
    else:
        actions = [*adopted, *_number(deployment, new, old), *_scale(deployment, new, old, world)]
        actions += _forget(deployment, new, old)
    status, after = _status(deployment, new, old, now)
    if status != deployment.get("status"):
        actions.append(Status(Ref.of(deployment), status, uid(deployment)))
    return Plan(tuple(actions), "" if actions else "every ReplicaSet has its size and the status says so", after)


def _replica_sets(deployment: Obj, world: World) -> list[Obj]:
    """Its own ReplicaSets, and those of nobody that its selector matches."""
    selector = from_label_selector(get(deployment, "spec", "selector", default={}))
    own = [rs for rs in world.owned(uid(deployment), "ReplicaSet") if controlled_by(rs, deployment)]
    orphans = [
        rs for rs in world.ownerless("ReplicaSet", namespace(deployment)) if selector.matches(labels(rs))
    ]
    return [rs for rs in own + orphans if not deleting(rs)]


def _created(replica_set: Obj) -> tuple[str, int, str]:
    return meta(replica_set).get("creationTimestamp", ""), revisions.revision(replica_set), name(replica_set)


def _adopt(deployment: Obj, replica_set: Obj) -> Action:
    return Patch(
        Ref.of(replica_set), {"metadata": {"ownerReferences": [owner_reference(deployment)]}}, uid(replica_set)
    )


def _begin(deployment: Obj, old: list[Obj]) -> list[Action]:
    """A rollout begins: a ReplicaSet for the new template, as large as the strategy allows at once."""
    template = deployment["spec"]["template"]
    digest = revisions.template_hash(template, get(deployment, "status", "collisionCount", default=0))
    new_name = revisions.new_name(deployment, digest)
    number = str(revisions.next_revision(old))
    size = _next_sizes(deployment, Sizes(new_name, 0), [_sizes(rs) for rs in old])[new_name]
    selector = deployment["spec"]["selector"]
    spec = {
        "replicas": size,
        "minReadySeconds": get(deployment, "spec", "minReadySeconds", default=0),
        "selector": {
            **selector,
            "matchLabels": {**(selector.get("matchLabels") or {}), revisions.HASH_LABEL: digest},
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
            "annotations": {**_copied_annotations(deployment), revisions.REVISION: number},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": spec,
    }
    return [
        Create(replica_set),
        _said(deployment, f"Scaled up replica set {new_name} from 0 to {size}"),
        Patch(Ref.of(deployment), {"metadata": {"annotations": {revisions.REVISION: number}}}, uid(deployment)),
    ]


def _number(deployment: Obj, new: Obj, old: list[Obj]) -> list[Action]:
    """The ReplicaSet in use has the highest revision: one that a rollback brought back gets a new number."""
    number = max(revisions.revision(new), revisions.next_revision(old) if old else 1)
    wanted = {**_copied_annotations(deployment), revisions.REVISION: str(number)}
    patch: dict[str, object] = {}
    if any(annotations_of(new).get(key) != value for key, value in wanted.items()):
        patch["metadata"] = {"annotations": wanted}
    patience = get(deployment, "spec", "minReadySeconds", default=0)
    if get(new, "spec", "minReadySeconds", default=0) != patience:
        patch["spec"] = {"minReadySeconds": patience}
    actions: list[Action] = [Patch(Ref.of(new), patch, uid(new))] if patch else []
    if annotations_of(deployment).get(revisions.REVISION) != str(number):
        mark = {"metadata": {"annotations": {revisions.REVISION: str(number)}}}
        actions.append(Patch(Ref.of(deployment), mark, uid(deployment)))
    return actions


def _copied_annotations(deployment: Obj) -> dict[str, str]:
    """What a revision keeps of its Deployment: why it was made (kubernetes.io/change-cause)."""
    cause = annotations_of(deployment).get(revisions.CHANGE_CAUSE)
    return {revisions.CHANGE_CAUSE: cause} if cause else {}


def _scale(deployment: Obj, new: Obj | None, old: list[Obj], world: World) -> list[Action]:
    """Bring every ReplicaSet to the size the arithmetic gives it now."""
    sets = [*old, new] if new is not None else old
    if not sets:
        return []
    if get(deployment, "spec", "paused", default=False) or new is None:
        sizes = rollout.proportional(_replicas(deployment), [_sizes(rs) for rs in sets], _limits(deployment))
    else:
        sizes = _next_sizes(deployment, _sizes(new), [_sizes_with_pods(rs, world) for rs in old])
    actions: list[Action] = []
    for rs in sets:
        before, after = _sizes(rs).wanted, sizes[name(rs)]
        if before != after:
            actions.append(Patch(Ref.of(rs), {"spec": {"replicas": after}}, uid(rs)))
            way = "up" if after > before else "down"
            actions.append(_said(deployment, f"Scaled {way} replica set {name(rs)} from {before} to {after}"))
    return actions


def _next_sizes(deployment: Obj, new: Sizes, old: list[Sizes]) -> dict[str, int]:
    replicas = _replicas(deployment)
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return rollout.recreate(replicas, new, old)
    return rollout.rolling_update(replicas, new, old, _limits(deployment))


def _limits(deployment: Obj) -> rollout.Limits:
    chosen = get(deployment, "spec", "strategy", "rollingUpdate", default={})
    return rollout.limits(_replicas(deployment), chosen.get("maxSurge", "25%"), chosen.get("maxUnavailable", "25%"))


def _replicas(deployment: Obj) -> int:
    return int(get(deployment, "spec", "replicas", default=1))


def _sizes(replica_set: Obj) -> Sizes:
    status = get(replica_set, "status", default={})
    wanted = get(replica_set, "spec", "replicas", default=0)
    return Sizes(name(replica_set), wanted, status.get("replicas", 0), status.get("availableReplicas", 0))


def _sizes_with_pods(replica_set: Obj, world: World) -> Sizes:
    """With the pods that really exist, ending ones included: Recreate waits for the last of them."""
    sizes = _sizes(replica_set)
    existing = max(sizes.existing, len(world.owned(uid(replica_set), "Pod")))
    return Sizes(sizes.name, sizes.wanted, existing, sizes.available)


def _forget(deployment: Obj, new: Obj, old: list[Obj]) -> list[Action]:
    """Once the rollout is complete, the oldest revisions beyond the history limit go."""
    if not rollout.complete(_replicas(deployment), _sizes(new), [_sizes(rs) for rs in old]):
        return []
    limit = get(deployment, "spec", "revisionHistoryLimit", default=10)
    return [Delete(Ref.of(rs), uid(rs)) for rs in revisions.expired(old, limit)]


def _said(deployment: Obj, message: str) -> Emit:
    return Emit(Ref.of(deployment), "ScalingReplicaSet", message, uid=uid(deployment))


def _wake_recreating(pod: Obj, world: World) -> Iterable[Ref]:
    """Recreate waits for the last old pod to be gone, which no ReplicaSet's count tells."""
    owner = controller_of(pod)
    replica_set = world.get(Ref("ReplicaSet", namespace(pod), owner["name"])) if owner else None
    above = controller_of(replica_set) if replica_set else None
    ref = Ref("Deployment", namespace(pod), above["name"] if above else "")
    found = world.get(ref)
    return [ref] if found and get(found, "spec", "strategy", "type") == "Recreate" else ()


# --- the status --------------------------------------------------------------------------------------------------


def _status(deployment: Obj, new: Obj | None, old: list[Obj], now: float) -> tuple[Obj, float | None]:
    """The counts and conditions, and the seconds until the progress deadline would pass."""
    sets = [rs for rs in (*old, new) if rs is not None]
    available = _total(sets, "availableReplicas")
    status: Obj = {
        "observedGeneration": generation(deployment),
        "replicas": _total(sets, "replicas"),
        "updatedReplicas": _total([new] if new else [], "replicas"),
        "readyReplicas": _total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(_sizes(rs).wanted for rs in sets) - available),
    }
    conditions = get(deployment, "status", "conditions", default=[])
    enough = available >= _replicas(deployment) - _limits(deployment).unavailable
    reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
    message = f"Deployment {'has' if enough else 'does not have'} minimum availability."
    conditions = with_condition(conditions, "Available", str(enough), now, reason, message)
    status["conditions"], after = _with_progressing(deployment, new, old, status, conditions, now)
    return status, after


def _with_progressing(
    deployment: Obj, new: Obj | None, old: list[Obj], status: Obj, conditions: list[Obj], now: float
) -> tuple[list[Obj], float | None]:
    """The condition Progressing: lastUpdateTime moves with each step forward, and the deadline runs from there."""
    before = condition(deployment, "Progressing") or {}
    if get(deployment, "spec", "paused", default=False):
        return _progressing(conditions, "Unknown", now, "DeploymentPaused", "Deployment is paused"), None
    if new is not None and rollout.complete(_replicas(deployment), _sizes(new), [_sizes(rs) for rs in old]):
        message = f'ReplicaSet "{name(new)}" has successfully progressed.'
        return _progressing(conditions, "True", now, "NewReplicaSetAvailable", message), None
    # What was complete or paused begins anew: its old time says nothing about this rollout.
    moved = before.get("reason") in (None, "NewReplicaSetAvailable", "DeploymentPaused") or any(
        status[count] != get(deployment, "status", count, default=0)
        for count in ("updatedReplicas", "readyReplicas", "availableReplicas", "replicas")
    )
    moved = moved or status["observedGeneration"] != get(deployment, "status", "observedGeneration", default=0)
    patience = get(deployment, "spec", "progressDeadlineSeconds", default=600)
    left = epoch(before.get("lastUpdateTime") or before.get("lastTransitionTime")) + patience - now
    if not moved and left <= 0:
        message = f'ReplicaSet "{name(new) if new else ""}" has timed out progressing.'
        return _progressing(conditions, "False", now, "ProgressDeadlineExceeded", message), None
    if not moved:
        return conditions, left
    what = f'ReplicaSet "{name(new)}" is progressing.' if new else "A ReplicaSet is being created."
    others = [entry for entry in conditions if entry["type"] != "Progressing" or entry["status"] == "True"]
    return _progressing(others, "True", now, "ReplicaSetUpdated", what), float(patience)


def _progressing(conditions: list[Obj], status: str, now: float, reason: str, message: str) -> list[Obj]:
    result = with_condition(conditions, "Progressing", status, now, reason, message)
    if reason == "ReplicaSetUpdated" or result != conditions:
        return [
            {**entry, "lastUpdateTime": timestamp(now)} if entry["type"] == "Progressing" else entry for entry in result
        ]
    return result


def _total(replica_sets: list[Obj], count: str) -> int:
    return sum(get(rs, "status", count, default=0) for rs in replica_sets)


def progress(deployment: Obj, world: World) -> Progress:
    """In the words of `kubectl rollout status`; a certain failure of a new pod is said before the deadline."""
    status = get(deployment, "status", default={})
    if status.get("observedGeneration", 0) < generation(deployment):
        return Progress(False, "Waiting for deployment spec update to be observed...")
    title = f'deployment "{name(deployment)}"'
    if (condition(deployment, "Progressing") or {}).get("reason") == "ProgressDeadlineExceeded":
        message = f"{title} exceeded its progress deadline"
        return Progress(False, message, message)
    wanted, updated = _replicas(deployment), status.get("updatedReplicas", 0)
    total, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    waiting = f"Waiting for {title} rollout to finish: "
    failed = _trouble(deployment, world)
    if updated < wanted:
        return Progress(False, f"{waiting}{updated} out of {wanted} new replicas have been updated...", failed)
    if total > updated:
        return Progress(False, f"{waiting}{total - updated} old replicas are pending termination...", failed)
    if available < updated:
        return Progress(False, f"{waiting}{available} of {updated} updated replicas are available...", failed)
    return Progress(True, f"{title} successfully rolled out")


def _trouble(deployment: Obj, world: World) -> str:
    new = revisions.find_new(deployment, world.owned(uid(deployment), "ReplicaSet"))
    pods = world.owned(uid(new), "Pod") if new else []
    return next((said for pod in pods if not deleting(pod) and (said := trouble(pod))), "")


# --- shape -------------------------------------------------------------------------------------------------------


def default(deployment: Obj) -> Obj:
    deployment = default_template(deployment)
    strategy = get(deployment, "spec", "strategy", default={})
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return deployment
    chosen = {"maxSurge": "25%", "maxUnavailable": "25%", **(strategy.get("rollingUpdate") or {})}
    strategy = {"type": "RollingUpdate", "rollingUpdate": chosen}
    return {**deployment, "spec": {**deployment["spec"], "strategy": strategy}}


def validate(deployment: Obj, old: Obj | None) -> list[Cause]:
    causes = template_causes(deployment, old)
    strategy = get(deployment, "spec", "strategy", default={})
    chosen = strategy.get("rollingUpdate")
    where = "spec.strategy.rollingUpdate"
    if strategy.get("type") == "Recreate" and chosen is not None:
        causes.append(Cause(where, "may not be specified when strategy type is Recreate"))
    for knob in ("maxSurge", "maxUnavailable"):
        value = (chosen or {}).get(knob, 0)
        if not _is_count(value):
            causes.append(Cause(f"{where}.{knob}", f'must be a number or a percentage like "25%", not "{value}"'))
    if chosen and all(
        _is_count(chosen.get(knob)) and str(chosen[knob]).rstrip("%").strip("0") == ""
        for knob in ("maxSurge", "maxUnavailable")
    ):
        causes.append(Cause(f"{where}.maxUnavailable", "may not be 0 when `maxSurge` is 0"))
    deadline = get(deployment, "spec", "progressDeadlineSeconds", default=600)
    patience = get(deployment, "spec", "minReadySeconds", default=0)
    if isinstance(deadline, int) and isinstance(patience, int) and deadline <= patience:
        causes.append(Cause("spec.progressDeadlineSeconds", "must be greater than minReadySeconds"))
    return causes


def _is_count(value: object) -> bool:
    if isinstance(value, str):
        return value.endswith("%") and value[:-1].isdigit()
    return isinstance(value, int) and value >= 0


def _ready(deployment: Obj, now: float) -> str:
    return f"{get(deployment, 'status', 'readyReplicas', default=0)}/{_replicas(deployment)}"


def _status_column(label: str, count: str) -> Column:
    return Column(label, lambda obj, now: str(get(obj, "status", count, default=0)), type="integer")


KIND = Kind(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    SCHEMA,
    short=("deploy",),
    categories=("all",),
    subresources=("status", "scale"),
    default=default,
    validate=validate,
    columns=(
        Column("NAME", lambda obj, now: name(obj)),
        Column("READY", _ready),
        _status_column("UP-TO-DATE", "updatedReplicas"),
        _status_column("AVAILABLE", "availableReplicas"),
        Column("AGE", age),
        Column("CONTAINERS", lambda obj, now: ",".join(images(obj)[0]), wide=True),
        Column("IMAGES", lambda obj, now: ",".join(images(obj)[1]), wide=True),
        Column("SELECTOR", lambda obj, now: from_label_selector(obj["spec"]["selector"]).text, wide=True),
    ),
    watches=(owned("ReplicaSet", by="Deployment"), Watch("Pod", _wake_recreating)),
    plan=plan,
    progress=progress,
)
