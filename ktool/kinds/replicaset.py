"""ReplicaSet (apps/v1): so many pods of one template, no more and no fewer."""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.action import Action, Create, Delete, Emit, Plan, Status
from ktool.api.describe import Description, conditions, head
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version, Watch, owned
from ktool.api.marks import RESOLVED_IMAGES
from ktool.api.obj import (
    Obj,
    annotations_of,
    content_hash,
    controller_of,
    deleting,
    generation,
    get,
    joined_name,
    labels,
    meta,
    name,
    namespace,
    owner_reference,
    uid,
)
from ktool.api.ref import NODE, POD, GroupKind, Ref
from ktool.api.schema import Field
from ktool.api.selector import from_label_selector, of_pods
from ktool.api.shapes.meta import CONDITIONS, LABEL_SELECTOR, resource
from ktool.api.shapes.podspec import POD_TEMPLATE
from ktool.api.shapes.workload import default_template, template_causes
from ktool.api.workload import Workload
from ktool.api.world import World
from ktool.logic.network.nodefields import answers
from ktool.logic.pod import podlooks
from ktool.logic.printercolumns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR
from ktool.logic.workload import stranded
from ktool.logic.workload.adoption import claim, ownerless
from ktool.logic.workload.podcounts import active, count
from ktool.logic.workload.scaledown import first_to_go
from ktool.logic.workload.workloadkinds import REPLICA_SET

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
    pods, actions = claim(replica_set, POD, world)
    there = [pod for pod in pods if active(pod)]
    lost, later = stranded.find(there, world, now)
    for pod in lost:
        actions += stranded.given_up(replica_set, pod)
        there.remove(pod)
    wanted = get(replica_set, "spec", "replicas", default=0)
    if len(there) < wanted:
        actions += _create(replica_set, world, wanted - len(there))
    elif len(there) > wanted:
        actions += _delete(replica_set, there, len(there) - wanted, now)
    status, ripening = _status(replica_set, there, now)
    if status != replica_set.get("status"):
        actions.append(Status(Ref.of(replica_set), status, uid(replica_set)))
    after = min((seconds for seconds in (later, ripening) if seconds is not None), default=None)
    because = "" if actions else f"{len(there)} of {wanted} pods exist and the status says so"
    return Plan(tuple(actions), because, after)


def _create(replica_set: Obj, world: World, missing: int) -> list[Action]:
    """Pod names come from the ReplicaSet's uid and a slot number: planning twice names the same pods."""
    actions: list[Action] = []
    slot = 0
    taken: set[str] = set()
    while len(actions) < 2 * missing:
        pod_name = joined_name(name(replica_set), content_hash([uid(replica_set), slot], 5))
        slot += 1
        if pod_name in taken or world.get(Ref(POD, namespace(replica_set), pod_name)) is not None:
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
    notes = annotations_of(template)
    if images := annotations_of(replica_set).get(RESOLVED_IMAGES):
        notes = {**notes, RESOLVED_IMAGES: images}
    if notes:
        metadata["annotations"] = notes
    if finalizers := meta(template).get("finalizers"):
        metadata["finalizers"] = finalizers
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _delete(replica_set: Obj, there: list[Obj], surplus: int, now: float) -> list[Action]:
    actions: list[Action] = []
    for pod in first_to_go(there, surplus, get(replica_set, "spec", "minReadySeconds", default=0), now):
        actions.append(Delete(Ref.of(pod), uid(pod)))
        message = f"Deleted pod: {name(pod)}"
        actions.append(Emit(Ref.of(replica_set), "SuccessfulDelete", message, uid=uid(replica_set)))
    return actions


def _status(replica_set: Obj, there: list[Obj], now: float) -> tuple[Obj, float | None]:
    """The counts, and the seconds until the next Ready pod will have been so for minReadySeconds."""
    counts = count(there, get(replica_set, "spec", "minReadySeconds", default=0), now)
    template_labels = labels(get(replica_set, "spec", "template", default={})).items()
    status: Obj = {
        "replicas": counts.existing,
        "fullyLabeledReplicas": sum(template_labels <= labels(pod).items() for pod in there),
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "observedGeneration": generation(replica_set),
    }
    if conditions := get(replica_set, "status", "conditions"):
        status["conditions"] = conditions
    return status, counts.after


def _with_pods_on(node: Obj, world: World) -> Iterable[Ref]:
    """A node that stops answering concerns those whose pods have not begun to run there."""
    if answers(node):
        return ()
    owners = [(namespace(pod), controller_of(pod)) for pod in world.on_node(name(node))]
    return {
        Ref(REPLICA_SET, space, owner["name"])
        for space, owner in owners
        if owner and GroupKind.of(owner) == REPLICA_SET
    }


def progress(replica_set: Obj, world: World) -> Progress:
    wanted = get(replica_set, "spec", "replicas", default=0)
    status = get(replica_set, "status", default={})
    if status.get("observedGeneration", 0) < generation(replica_set):
        return Progress(False, "Waiting for the ReplicaSet's spec update to be observed...")
    have, available = status.get("replicas", 0), status.get("availableReplicas", 0)
    done = have == available == wanted
    return Progress(done, f"{available} of {wanted} pods of replicaset {name(replica_set)!r} are available")


def _column(*path: str) -> Column:
    label = {"replicas": "CURRENT", "readyReplicas": "READY"}.get(path[-1], path[-1].upper())
    return Column(label, lambda obj, now: str(get(obj, *path, default=0)), type="integer")


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    sheet = Description()
    spec, status = get(obj, "spec", default={}), get(obj, "status", default={})
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    sheet.row("Selector", from_label_selector(spec.get("selector")).text)
    head(sheet, obj)
    owner = controller_of(obj)
    if owner:
        sheet.row("Controlled By", f"{owner['kind']}/{owner['name']}")
    sheet.row("Replicas", f"{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired")
    phases = [get(pod, "status", "phase", default="Pending") for pod in world.owned(uid(obj), POD)]
    words = [f"{phases.count(phase)} {word}" for phase, word in _PHASES]
    sheet.row("Pods Status", " / ".join(words))
    podlooks.template(sheet, spec.get("template") or {})
    conditions(sheet, obj)
    return sheet


_PHASES = (("Running", "Running"), ("Pending", "Waiting"), ("Succeeded", "Succeeded"), ("Failed", "Failed"))


KIND = Kind(
    Names("apps", "ReplicaSet", "replicasets", short=("rs",), categories=("all",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default_template, validate=template_causes),
    looks=Looks(
        columns=(
            NAME,
            Column("DESIRED", lambda obj, now: str(get(obj, "spec", "replicas", default=0)), type="integer"),
            _column("status", "replicas"),
            _column("status", "readyReplicas"),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        describe=describe,
        beside=(POD,),
    ),
    controller=Controller(
        watches=(owned(POD, by=REPLICA_SET), ownerless(POD, by=REPLICA_SET), Watch(NODE, _with_pods_on)),
        plan=plan,
        progress=progress,
    ),
    workload=Workload(),
    selects=of_pods,
    subresources=("status", "scale"),
)
