"""Deployment (apps/v1): one template, the ReplicaSets of its revisions, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ktool.api.action import Action, Create, Delete, Emit, Patch, Plan, Status
from ktool.api.duration import age
from ktool.api.errors import Cause
from ktool.api.kind import Column, Kind, Progress, Watch, owned
from ktool.api.obj import (
    Obj,
    annotations_of,
    condition,
    controller_of,
    deleting,
    generation,
    get,
    meta,
    name,
    namespace,
    owner_reference,
    uid,
)
from ktool.api.ref import Ref
from ktool.api.selector import from_label_selector
from ktool.api.shapes.deployment import DEPLOYMENT
from ktool.api.shapes.workload import default_template, images, template_causes
from ktool.api.world import World
from ktool.logic import revisions, rollout
from ktool.logic.claims import claim, ownerless
from ktool.logic.deploymentstatus import DEADLINE_EXCEEDED, limits, replicas, status
from ktool.logic.podcounts import count
from ktool.logic.rollout import Sizes
from ktool.logic.trouble import trouble

# --- the controller ----------------------------------------------------------------------------------------------


def plan(deployment: Obj, world: World, now: float) -> Plan:
    """Find or make the ReplicaSet of the present template, let the arithmetic size them all, say how far it is."""
    if deleting(deployment):
        return Plan(because="being deleted; the garbage collector takes the ReplicaSets")
    claimed, actions = claim(deployment, "ReplicaSet", world)
    sets = sorted((rs for rs in claimed if not deleting(rs)), key=_created)
    new = revisions.find_new(deployment, sets)
    old = [rs for rs in sets if rs is not new]
    sizes, ripening = _sizes(deployment, sets, world, now)
    paused = get(deployment, "spec", "paused", default=False)
    if new is not None and not paused:
        actions += [*_number(deployment, new, old), *_forget(deployment, new, old, sizes)]
    if new is None and not paused:
        actions += _begin(deployment, old, sizes, world)
    else:
        ordered = [*old, new] if new is not None else old
        actions += _resize(deployment, ordered, sizes, _next_sizes(deployment, new, old, sizes))
    said, deadline = status(deployment, sizes[name(new)] if new else None, [sizes[name(rs)] for rs in old], now)
    if said != deployment.get("status"):
        actions.append(Status(Ref.of(deployment), said, uid(deployment)))
    after = min((seconds for seconds in (ripening, deadline) if seconds is not None), default=None)
    return Plan(tuple(actions), "" if actions else "every ReplicaSet has its size and the status says so", after)


def _created(replica_set: Obj) -> tuple[str, int, str]:
    return meta(replica_set).get("creationTimestamp", ""), revisions.revision(replica_set), name(replica_set)


def _sizes(deployment: Obj, sets: Sequence[Obj], world: World, now: float) -> tuple[dict[str, Sizes], float | None]:
    """The size of each ReplicaSet by name, and the seconds until another pod is available. Pods are counted here and
    now: the counts in a ReplicaSet's status may be older than a pod's death."""
    patience = get(deployment, "spec", "minReadySeconds", default=0)
    sizes: dict[str, Sizes] = {}
    afters: list[float] = []
    for rs in sets:
        counts = count(world.controlled(uid(rs), "Pod"), patience, now)
        wanted = get(rs, "spec", "replicas", default=0)
        sizes[name(rs)] = Sizes(
            name(rs), wanted, counts.existing, counts.available, ready=counts.ready, ending=counts.ending
        )
        afters += [counts.after] if counts.after is not None else []
    return sizes, min(afters, default=None)


def _begin(deployment: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes], world: World) -> list[Action]:
    """A rollout begins: a ReplicaSet for the new template, as large as the strategy allows at once."""
    template = deployment["spec"]["template"]
    digest = _free_hash(deployment, world)
    new_name = revisions.new_name(deployment, digest)
    number = str(revisions.next_revision(old))
    size = _step(deployment, Sizes(new_name, 0), [sizes[name(rs)] for rs in old])[new_name]
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
            "annotations": {**_copied_annotations(deployment), **_wish(deployment), revisions.REVISION: number},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": spec,
    }
    return [
        Create(replica_set),
        _said(deployment, f"Scaled up replica set {new_name} from 0 to {size}"),
        Patch(Ref.of(deployment), {"metadata": {"annotations": {revisions.REVISION: number}}}, uid(deployment)),
        *_resize(deployment, old, sizes, {name(rs): sizes[name(rs)].wanted for rs in old}),
    ]


def _free_hash(deployment: Obj, world: World) -> str:
    """The template's hash; another one where a ReplicaSet that is not ours, or is just going, has its name."""
    for collisions in range(world.count("ReplicaSet") + 1):
        digest = revisions.template_hash(deployment["spec"]["template"], collisions)
        if world.get(Ref("ReplicaSet", namespace(deployment), revisions.new_name(deployment, digest))) is None:
            break
    return digest


def _number(deployment: Obj, new: Obj, old: Sequence[Obj]) -> list[Action]:
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


def _next_sizes(deployment: Obj, new: Obj | None, old: Sequence[Obj], sizes: Mapping[str, Sizes]) -> dict[str, int]:
    """The size of each ReplicaSet by name: the next step of the rollout. While it is paused, and where the Deployment
    was scaled in the middle of it, all of them take their share of the new number first."""
    olds = [sizes[name(rs)] for rs in old]
    if new is None:
        return rollout.proportional(replicas(deployment), olds, limits(deployment)) if olds else {}
    if get(deployment, "spec", "paused", default=False) or _was_scaled(deployment, [*old, new]):
        return rollout.proportional(replicas(deployment), [*olds, sizes[name(new)]], limits(deployment))
    return _step(deployment, sizes[name(new)], olds)


def _step(deployment: Obj, new: Sizes, old: Sequence[Sizes]) -> dict[str, int]:
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return rollout.recreate(replicas(deployment), new, old)
    return rollout.rolling_update(replicas(deployment), new, old, limits(deployment))


def _was_scaled(deployment: Obj, sets: Sequence[Obj]) -> bool:
    if get(deployment, "spec", "strategy", "type") == "Recreate":
        return False
    before = {annotations_of(rs).get(revisions.DESIRED) for rs in sets if get(rs, "spec", "replicas", default=0)}
    return bool(before - {None, str(replicas(deployment))})


def _wish(deployment: Obj) -> dict[str, str]:
    """What a ReplicaSet is sized for."""
    most = replicas(deployment) + limits(deployment).surge
    return {revisions.DESIRED: str(replicas(deployment)), revisions.MOST: str(most)}


def _resize(deployment: Obj, sets: Sequence[Obj], sizes: Mapping[str, Sizes], after: Mapping[str, int]) -> list[Action]:
    """Give every ReplicaSet its size, and note on those that have pods what they are sized for."""
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


def _forget(deployment: Obj, new: Obj, old: Sequence[Obj], sizes: Mapping[str, Sizes]) -> list[Action]:
    """Once the rollout is complete, the oldest revisions beyond the history limit go."""
    if not rollout.complete(replicas(deployment), sizes[name(new)], [sizes[name(rs)] for rs in old]):
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


# --- progress --------------------------------------------------------------------------------------------------------


def progress(deployment: Obj, world: World) -> Progress:
    """In the words of `kubectl rollout status`; a certain failure of a new pod is said before the deadline."""
    said = get(deployment, "status", default={})
    if said.get("observedGeneration", 0) < generation(deployment):
        return Progress(False, "Waiting for deployment spec update to be observed...")
    title = f'deployment "{name(deployment)}"'
    if (condition(deployment, "Progressing") or {}).get("reason") == DEADLINE_EXCEEDED:
        message = f"{title} exceeded its progress deadline"
        return Progress(False, message, message)
    wanted, updated = replicas(deployment), said.get("updatedReplicas", 0)
    total, available = said.get("replicas", 0), said.get("availableReplicas", 0)
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
    new = revisions.find_new(deployment, world.controlled(uid(deployment), "ReplicaSet"))
    pods = world.controlled(uid(new), "Pod") if new else []
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
    causes = template_causes(deployment, old) + _strategy_causes(get(deployment, "spec", "strategy", default={}))
    deadline = get(deployment, "spec", "progressDeadlineSeconds", default=600)
    if deadline <= get(deployment, "spec", "minReadySeconds", default=0):
        causes.append(Cause("spec.progressDeadlineSeconds", "must be greater than minReadySeconds"))
    return causes


def _strategy_causes(strategy: Obj) -> list[Cause]:
    where, chosen = "spec.strategy.rollingUpdate", strategy.get("rollingUpdate")
    if chosen is None:
        return []
    if strategy.get("type") == "Recreate":
        return [Cause(where, "may not be specified when strategy type is Recreate", "FieldValueForbidden")]
    causes = [
        Cause(f"{where}.{knob}", f'must be a number or a percentage like "25%", not "{chosen[knob]}"')
        for knob in ("maxSurge", "maxUnavailable")
        if not _is_count(chosen.get(knob, 0))
    ]
    if causes:
        return causes
    unavailable = chosen.get("maxUnavailable", 0)
    if isinstance(unavailable, str) and int(unavailable.rstrip("%")) > 100:
        return [Cause(f"{where}.maxUnavailable", f'must not be greater than 100%, not "{unavailable}"')]
    if all(not str(chosen.get(knob, 0)).strip("0%") for knob in ("maxSurge", "maxUnavailable")):
        return [Cause(f"{where}.maxUnavailable", "may not be 0 when `maxSurge` is 0")]
    return []


def _is_count(value: object) -> bool:
    if isinstance(value, str):
        return value.endswith("%") and value[:-1].isdecimal()
    return isinstance(value, int) and value >= 0


def _ready(deployment: Obj, now: float) -> str:
    return f"{get(deployment, 'status', 'readyReplicas', default=0)}/{replicas(deployment)}"


def _status_column(label: str, count: str) -> Column:
    return Column(label, lambda obj, now: str(get(obj, "status", count, default=0)), type="integer")


KIND = Kind(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    DEPLOYMENT,
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
    watches=(
        owned("ReplicaSet", by="Deployment"),
        ownerless("ReplicaSet", by="Deployment"),
        Watch("Pod", _wake_recreating),
    ),
    plan=plan,
    progress=progress,
)
