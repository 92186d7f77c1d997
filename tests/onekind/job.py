"""Job (batch/v1), in its simplest form: pods that run to their end. The one file that a new kind is."""

from __future__ import annotations

from ktool.api.action import Action, Create, Emit, Plan, Status
from ktool.api.describe import Description, head, when
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version, owned
from ktool.api.obj import (
    Obj,
    content_hash,
    deleting,
    get,
    joined_name,
    labels,
    name,
    namespace,
    owner_reference,
    put,
    timestamp,
    uid,
)
from ktool.api.ref import POD, GroupKind, Ref
from ktool.api.schema import Field
from ktool.api.shapes.meta import CONDITIONS, LABEL_SELECTOR, resource
from ktool.api.shapes.podspec import POD_TEMPLATE
from ktool.api.shapes.workload import default_template, selector_and_template_causes
from ktool.api.workload import Workload
from ktool.api.world import World
from ktool.logic.printercolumns import AGE, CONTAINERS, IMAGES, NAME

JOB = GroupKind("batch", "Job")
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"

SCHEMA = resource(
    spec=Field(
        "object",
        "What to run, and how often.",
        required=True,
        fields={
            "completions": Field("integer", "How many pods have to succeed.", default=1, minimum=0),
            "parallelism": Field("integer", "How many pods run at a time.", default=1, minimum=0),
            "backoffLimit": Field("integer", "How many pods may fail.", default=6, minimum=0),
            "selector": LABEL_SELECTOR,
            "template": POD_TEMPLATE,
        },
    ),
    status=Field(
        "object",
        "How far it is.",
        read_only=True,
        fields={
            "active": Field("integer", "Pods that run or wait."),
            "succeeded": Field("integer", "Pods that succeeded."),
            "failed": Field("integer", "Pods that failed."),
            "conditions": CONDITIONS,
        },
    ),
)


def identify(job: Obj) -> Obj:
    """The selector and the label by which no other Job has the same pods."""
    if get(job, "spec", "selector"):
        return job
    job = put(job, "spec", "selector", {"matchLabels": {CONTROLLER_UID: uid(job)}})
    kept = labels(get(job, "spec", "template", default={}))
    return put(job, "spec", "template", "metadata", "labels", {**kept, CONTROLLER_UID: uid(job)})


def validate(job: Obj, old: Obj | None) -> list[Cause]:
    return selector_and_template_causes(job, old, ("Never", "OnFailure"))


def plan(job: Obj, world: World, now: float) -> Plan:
    if deleting(job):
        return Plan(because="being deleted; the garbage collector takes the pods")
    pods = world.controlled(uid(job), POD)
    ended = {phase: [pod for pod in pods if get(pod, "status", "phase") == phase] for phase in ("Succeeded", "Failed")}
    succeeded, failed = len(ended["Succeeded"]), len(ended["Failed"])
    active = len(pods) - succeeded - failed
    over = _over(job, succeeded, failed)
    actions: list[Action] = []
    if not over:
        missing = min(job["spec"]["parallelism"], job["spec"]["completions"] - succeeded) - active
        for number in range(len(pods), len(pods) + max(0, missing)):
            pod_name = joined_name(name(job), content_hash([uid(job), number], 5))
            actions.append(Create(_pod(job, pod_name)))
            actions.append(Emit(Ref.of(job), "SuccessfulCreate", f"Created pod: {pod_name}", uid=uid(job)))
    status = {"active": active, "succeeded": succeeded, "failed": failed}
    if before := get(job, "status", "conditions"):
        status["conditions"] = before
    elif over:
        status["conditions"] = [{"type": over, "status": "True", "lastTransitionTime": timestamp(now)}]
    if status != job.get("status"):
        actions.append(Status(Ref.of(job), status, uid(job)))
    return Plan(tuple(actions), "" if actions else f"{succeeded} of {job['spec']['completions']} pods have succeeded")


def _over(job: Obj, succeeded: int, failed: int) -> str:
    if failed > job["spec"]["backoffLimit"]:
        return "Failed"
    return "Complete" if succeeded >= job["spec"]["completions"] else ""


def _pod(job: Obj, pod_name: str) -> Obj:
    template = job["spec"]["template"]
    metadata = {
        "name": pod_name,
        "namespace": namespace(job),
        "labels": labels(template),
        "ownerReferences": [owner_reference(job)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def progress(job: Obj, world: World) -> Progress:
    status = get(job, "status", default={})
    over = {entry["type"] for entry in status.get("conditions") or ()}
    message = f'job "{name(job)}": {status.get("succeeded", 0)} of {job["spec"]["completions"]} pods have succeeded'
    failed = f'job "{name(job)}" has reached its backoff limit' if "Failed" in over else ""
    return Progress("Complete" in over, message, failed)


def describe(job: Obj, world: World, now: float) -> Description:
    sheet = Description()
    sheet.row("Name", name(job))
    sheet.row("Namespace", namespace(job))
    head(sheet, job)
    sheet.row("Parallelism", job["spec"]["parallelism"])
    sheet.row("Completions", job["spec"]["completions"])
    sheet.row("Start Time", when(job["metadata"].get("creationTimestamp")))
    status = get(job, "status", default={})
    told = [f"{status.get(key, 0)} {word}" for key, word in (("active", "Active"), ("succeeded", "Succeeded"))]
    sheet.row("Pods Statuses", " / ".join([*told, f"{status.get('failed', 0)} Failed"]))
    return sheet


def _completions(job: Obj, now: float) -> str:
    return f"{get(job, 'status', 'succeeded', default=0)}/{job['spec']['completions']}"


KIND = Kind(
    Names("batch", "Job", "jobs", categories=("all",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default_template, identify=identify, validate=validate),
    looks=Looks((NAME, Column("COMPLETIONS", _completions), AGE, CONTAINERS, IMAGES), describe),
    controller=Controller((owned(POD, by=JOB),), plan, progress),
    workload=Workload(),
    subresources=("status",),
)
