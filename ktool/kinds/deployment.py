"""Deployment (apps/v1): one template, the ReplicaSets of its revisions, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.describe import Description, conditions, head, when
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version, Watch, owned
from ktool.api.marks import REVISION, ROLLBACK_ON_FAILURE
from ktool.api.obj import Obj, annotations_of, condition, controller_of, generation, get, meta, name, namespace, uid
from ktool.api.ref import CONFIG_MAP, POD, SECRET, Ref
from ktool.api.selector import from_label_selector, of_pods
from ktool.api.shapes.deployment import SCHEMA
from ktool.api.shapes.workload import default_template, template_causes
from ktool.api.world import World
from ktool.logic.pod import podlooks
from ktool.logic.printercolumns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR
from ktool.logic.workload import configuse, revisions, rollback, stopfirst
from ktool.logic.workload.adoption import ownerless
from ktool.logic.workload.deploymentcommands import WORKLOAD
from ktool.logic.workload.deploymentplan import plan
from ktool.logic.workload.deploymentstatus import DEADLINE_EXCEEDED, held, replicas
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET

# --- what wakes it -----------------------------------------------------------------------------------------------


def _wake_waiting(pod: Obj, world: World) -> Iterable[Ref]:
    """Recreate waits for the last old pod to be gone, others for a port, for the only writer of a volume, or for a
    failure to go back from: no ReplicaSet's count tells that."""
    owner = controller_of(pod)
    replica_set = world.get(Ref(REPLICA_SET, namespace(pod), owner["name"])) if owner else None
    above = controller_of(replica_set) if replica_set else None
    ref = Ref(DEPLOYMENT, namespace(pod), above["name"] if above else "")
    found = world.get(ref)
    if found is None:
        return ()
    waits = get(found, "spec", "strategy", "type") == "Recreate" or stopfirst.concerns(found)
    return [ref] if waits or ROLLBACK_ON_FAILURE in annotations_of(found) else ()


# --- progress --------------------------------------------------------------------------------------------------------


def progress(deployment: Obj, world: World) -> Progress:
    """In the words of `kubectl rollout status`; a certain failure of a new pod is said before the deadline. One that
    goes back by itself has not failed until it is there."""
    said = get(deployment, "status", default={})
    if said.get("observedGeneration", 0) < generation(deployment):
        return Progress(False, "Waiting for deployment spec update to be observed...")
    title = f'deployment "{name(deployment)}"'
    sets = world.controlled(uid(deployment), REPLICA_SET)
    new = revisions.find_new(deployment, sets)
    failed = rollback.failure(deployment, new, world) if new is not None else ""
    if failed and rollback.target(deployment, new, sets) is not None:
        why = rollback.is_coming(deployment) or failed
        return Progress(False, f"{title} goes back to the last good revision: {why}")
    if (condition(deployment, "Progressing") or {}).get("reason") == DEADLINE_EXCEEDED:
        missing = rollback.obstacle(new, world)[1] if new is not None else ""
        message = f"{title} exceeded its progress deadline{': ' + missing if missing else ''}"
        return Progress(False, message, message)
    if held(deployment):
        at_rest = not said.get("unavailableReplicas", 0)
        return Progress(at_rest and not failed, f"{title} is paused" if at_rest else _left(deployment), failed)
    if left := _left(deployment):
        return Progress(False, left, failed)
    if why := rollback.has_happened(deployment):
        return Progress(True, f"{title} was rolled back: {why}", rolled_back=why)
    return Progress(True, f"{title} successfully rolled out")


def _left(deployment: Obj) -> str:
    """What the rollout waits for; "" where it is finished."""
    said = get(deployment, "status", default={})
    wanted, updated = replicas(deployment), said.get("updatedReplicas", 0)
    total, available = said.get("replicas", 0), said.get("availableReplicas", 0)
    waiting = f'Waiting for deployment "{name(deployment)}" rollout to finish: '
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new replicas have been updated..."
    if total > updated:
        return f"{waiting}{total - updated} old replicas are pending termination..."
    if available < updated:
        return f"{waiting}{available} of {updated} updated replicas are available..."
    return ""


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


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    sheet = Description()
    spec, status = get(obj, "spec", default={}), get(obj, "status", default={})
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    sheet.row("CreationTimestamp", when(meta(obj).get("creationTimestamp")))
    head(sheet, obj)
    sheet.row("Selector", from_label_selector(spec.get("selector")).text)
    counts = [("replicas", "total"), ("updatedReplicas", "updated"), ("availableReplicas", "available")]
    numbers = [f"{spec.get('replicas', 1)} desired", *(f"{status.get(key, 0)} {word}" for key, word in counts)]
    updated = [numbers[0], numbers[2], numbers[1], numbers[3], f"{status.get('unavailableReplicas', 0)} unavailable"]
    sheet.row("Replicas", " | ".join(updated))
    strategy = spec.get("strategy") or {}
    sheet.row("StrategyType", strategy.get("type", "RollingUpdate"))
    sheet.row("MinReadySeconds", spec.get("minReadySeconds", 0))
    if rolling := strategy.get("rollingUpdate"):
        text = f"{rolling.get('maxUnavailable', '25%')} max unavailable, {rolling.get('maxSurge', '25%')} max surge"
        sheet.row("RollingUpdateStrategy", text)
    podlooks.template(sheet, spec.get("template") or {})
    conditions(sheet, obj)
    _replica_sets(sheet, obj, world)
    return sheet


def _replica_sets(sheet: Description, obj: Obj, world: World) -> None:
    revision = annotations_of(obj).get(REVISION)
    new: list[str] = []
    old: list[str] = []
    for found in world.owned(uid(obj), REPLICA_SET):
        have, wanted = get(found, "status", "replicas", default=0), get(found, "spec", "replicas", default=0)
        text = f"{name(found)} ({have}/{wanted} replicas created)"
        same = annotations_of(found).get(REVISION) == revision
        (new if same else old).append(text)
    sheet.row("OldReplicaSets", ", ".join(sorted(old)))
    sheet.row("NewReplicaSet", ", ".join(new))


KIND = Kind(
    Names("apps", "Deployment", "deployments", short=("deploy",), categories=("all",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default, validate=validate),
    looks=Looks(
        columns=(
            NAME,
            Column("READY", _ready),
            _status_column("UP-TO-DATE", "updatedReplicas"),
            _status_column("AVAILABLE", "availableReplicas"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        describe=describe,
        beside=(REPLICA_SET,),
    ),
    controller=Controller(
        watches=(
            owned(REPLICA_SET, by=DEPLOYMENT),
            ownerless(REPLICA_SET, by=DEPLOYMENT),
            Watch(POD, _wake_waiting),
            Watch(CONFIG_MAP, lambda config, world: configuse.readers(DEPLOYMENT, config, world)),
            Watch(SECRET, lambda secret, world: configuse.readers(DEPLOYMENT, secret, world)),
        ),
        plan=plan,
        progress=progress,
    ),
    workload=WORKLOAD,
    selects=of_pods,
    subresources=("status", "scale"),
)
