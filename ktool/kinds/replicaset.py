"""ReplicaSet (apps/v1): so many pods of one template, no more and no fewer."""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.action import Action, Create, Delete, Emit, Patch, Plan, Status
from ktool.api.duration import age
from ktool.api.kind import Column, Kind, Progress, Watch, owned
from ktool.api.obj import (
    Obj,
    condition,
    content_hash,
    controller_of,
    deleting,
    epoch,
    generation,
    get,
    is_true,
    joined_name,
    labels,
    meta,
    name,
    namespace,
    owner_reference,
    uid,
)
from ktool.api.ref import Ref
from ktool.api.schema import Field
from ktool.api.selector import from_label_selector
from ktool.api.shapes.meta import CONDITIONS, LABEL_SELECTOR, resource
from ktool.api.shapes.podspec import POD_TEMPLATE
from ktool.api.shapes.workload import default_template, images, template_causes
from ktool.api.world import World
from ktool.logic.scaledown import first_to_go

SCHEMA = resource(
    spec=Field(
        "object",
        "How many pods, and of what.",
        required=True,
        fields={
            "replicas": Field("integer", "The wanted number of pods.", default=1, minimum=0),
            "minReadySeconds": Field(
                "integer", "Seconds a new pod must be Ready before it counts as available.", default=0, minimum=0
            ),
            "selector": LABEL_SELECTOR,
            "template": POD_TEMPLATE,
        },
    ),
    status=Field(
        "object",
        "What there is.",
        read_only=True,
        fields={
            "replicas": Field("integer", "Pods that exist."),
            "fullyLabeledReplicas": Field("integer", "Pods that carry every label of the template."),
            "readyReplicas": Field("integer", "Pods that are Ready."),
            "availableReplicas": Field("integer", "Pods that have been Ready for minReadySeconds."),
            "observedGeneration": Field("integer", "The generation this status was computed from."),
            "conditions": CONDITIONS,
        },
    ),
)


def plan(replica_set: Obj, world: World, now: float) -> Plan:
    """Adopt pods that match, create what is missing, delete what is too much, and count."""
    if deleting(replica_set):
        return Plan(because="being deleted; the garbage collector takes the pods")
    pods = _pods(replica_set, world)
    actions = [_adopt(replica_set, pod) for pod in pods if controller_of(pod) is None]
    active = [pod for pod in pods if _active(pod)]
    wanted = get(replica_set, "spec", "replicas", default=0)
    if len(active) < wanted:
        actions += _create(replica_set, world, wanted - len(active))
    elif len(active) > wanted:
        actions += _delete(replica_set, active, len(active) - wanted)
    status, after = _status(replica_set, active, now)
    if status != replica_set.get("status"):
        actions.append(Status(Ref.of(replica_set), status, uid(replica_set)))
    because = "" if actions else f"{len(active)} of {wanted} pods exist and the status says so"
    return Plan(tuple(actions), because, after)


def _pods(replica_set: Obj, world: World) -> list[Obj]:
    """Its own pods, and those of nobody that its selector matches."""
    selector = from_label_selector(get(replica_set, "spec", "selector", default={}))
    orphans = [
        pod
        for pod in world.ownerless("Pod", namespace(replica_set))
        if selector.matches(labels(pod)) and not deleting(pod)
    ]
    return [*world.controlled(uid(replica_set), "Pod"), *orphans]


def _active(pod: Obj) -> bool:
    return not deleting(pod) and get(pod, "status", "phase") not in ("Succeeded", "Failed")


def _adopt(replica_set: Obj, pod: Obj) -> Action:
    others = meta(pod).get("ownerReferences") or []
    return Patch(Ref.of(pod), {"metadata": {"ownerReferences": [*others, owner_reference(replica_set)]}}, uid(pod))


def _create(replica_set: Obj, world: World, count: int) -> list[Action]:
    """Pod names come from the ReplicaSet's uid and a slot number: planning twice names the same pods."""
    actions: list[Action] = []
    slot = 0
    taken: set[str] = set()
    while len(actions) < 2 * count:
        pod_name = joined_name(name(replica_set), content_hash([uid(replica_set), slot], 5))
        slot += 1
        if pod_name in taken or world.get(Ref("Pod", namespace(replica_set), pod_name)) is not None:
            continue
        taken.add(pod_name)
        actions.append(Create(_pod(replica_set, pod_name)))
        actions.append(Emit(Ref.of(replica_set), "SuccessfulCreate", f"Created pod: {pod_name}", uid=uid(replica_set)))
    return actions


def _pod(replica_set: Obj, pod_name: str) -> Obj:
    template = get(replica_set, "spec", "template", default={})
    metadata = {
        "name": pod_name,
        "namespace": namespace(replica_set),
        "labels": labels(template),
        "ownerReferences": [owner_reference(replica_set)],
    }
    if notes := meta(template).get("annotations"):
        metadata["annotations"] = notes
    if finalizers := meta(template).get("finalizers"):
        metadata["finalizers"] = finalizers
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _delete(replica_set: Obj, active: list[Obj], count: int) -> list[Action]:
    actions: list[Action] = []
    for pod in first_to_go(active, count):
        actions.append(Delete(Ref.of(pod), uid(pod)))
        message = f"Deleted pod: {name(pod)}"
        actions.append(Emit(Ref.of(replica_set), "SuccessfulDelete", message, uid=uid(replica_set)))
    return actions


def _status(replica_set: Obj, active: list[Obj], now: float) -> tuple[Obj, float | None]:
    """The counts, and the seconds until the next Ready pod will have been so for minReadySeconds."""
    patience = get(replica_set, "spec", "minReadySeconds", default=0)
    template_labels = labels(get(replica_set, "spec", "template", default={})).items()
    ready = [pod for pod in active if is_true(pod, "Ready")]
    remaining = [max(0.0, _ready_since(pod) + patience - now) for pod in ready] if patience else [0.0] * len(ready)
    status: Obj = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(template_labels <= labels(pod).items() for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": remaining.count(0.0),
        "observedGeneration": generation(replica_set),
    }
    if conditions := get(replica_set, "status", "conditions"):
        status["conditions"] = conditions
    return status, min((seconds for seconds in remaining if seconds > 0), default=None)


def _ready_since(pod: Obj) -> float:
    return epoch((condition(pod, "Ready") or {}).get("lastTransitionTime"))


def _wake_for_orphan(pod: Obj, world: World) -> Iterable[Ref]:
    """A pod of nobody may be one to adopt."""
    if controller_of(pod) is not None:
        return ()
    return [
        Ref.of(rs)
        for rs in world.list("ReplicaSet", namespace(pod))
        if from_label_selector(get(rs, "spec", "selector", default={})).matches(labels(pod))
    ]


def progress(replica_set: Obj, world: World) -> Progress:
    wanted = get(replica_set, "spec", "replicas", default=0)
    status = get(replica_set, "status", default={})
    if status.get("observedGeneration", 0) < generation(replica_set):
        return Progress(False, "Waiting for the ReplicaSet's spec update to be observed...")
    have, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    done = have == available == wanted
    return Progress(done, f"{available} of {wanted} pods of replicaset {name(replica_set)!r} are available")


def _count(*path: str) -> Column:
    label = {"replicas": "CURRENT", "readyReplicas": "READY"}.get(path[-1], path[-1].upper())
    return Column(label, lambda obj, now: str(get(obj, *path, default=0)), type="integer")


KIND = Kind(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    SCHEMA,
    short=("rs",),
    categories=("all",),
    subresources=("status", "scale"),
    default=default_template,
    validate=template_causes,
    columns=(
        Column("NAME", lambda obj, now: name(obj)),
        Column("DESIRED", lambda obj, now: str(get(obj, "spec", "replicas", default=0)), type="integer"),
        _count("status", "replicas"),
        _count("status", "readyReplicas"),
        Column("AGE", age),
        Column("CONTAINERS", lambda obj, now: ",".join(images(obj)[0]), wide=True),
        Column("IMAGES", lambda obj, now: ",".join(images(obj)[1]), wide=True),
        Column("SELECTOR", lambda obj, now: from_label_selector(obj["spec"]["selector"]).text, wide=True),
    ),
    watches=(owned("Pod", by="ReplicaSet"), Watch("Pod", _wake_for_orphan)),
    plan=plan,
    progress=progress,
)
