"""Pod (v1): containers that share an address, on one node, once. What makes, places and runs them are others:
a ReplicaSet, the scheduler, and the node's loop (logic/plan/nodeplan, logic/pod/podstatus)."""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.action import Delete, Emit, Plan
from ktool.api.describe import Description, head, when
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version, Watch
from ktool.api.obj import (
    Obj,
    annotations_of,
    condition,
    controller_of,
    deleting,
    drop,
    epoch,
    get,
    is_true,
    meta,
    name,
    namespace,
    put,
    uid,
)
from ktool.api.pod import (
    CONTAINER_GROUPS,
    app_containers,
    app_statuses,
    finished,
    init_containers,
    init_statuses,
    node_of,
    qos_class,
    sidecars_of,
    statuses_of,
)
from ktool.api.ref import NODE, Ref
from ktool.api.rules.podrules import pod_annotation_causes
from ktool.api.shapes.meta import resource
from ktool.api.shapes.podspec import POD_SPEC, default_pod_spec, validate_pod_spec
from ktool.api.shapes.podstatus import POD_STATUS
from ktool.api.units.duration import since
from ktool.api.world import World
from ktool.logic.pod import podlooks
from ktool.logic.pod.podfields import grace_period
from ktool.logic.printercolumns import AGE, NAME
from ktool.logic.workload.podtrouble import trouble

SCHEMA = resource(spec=POD_SPEC, status=POD_STATUS)
_NONE = "<none>"

QUARANTINE = 40.0
"""Seconds that a pod made for a node that does not exist is kept, as Kubernetes has it (PodGC): the node may
be added yet, and whoever made the pod would make the next one at once."""


def default(obj: Obj) -> Obj:
    """The defaults of its spec; phase Pending and the QoS class of a new one."""
    spec = get(obj, "spec")
    if isinstance(spec, dict) and (filled := default_pod_spec(spec)) is not spec:
        obj = put(obj, "spec", filled)
    if not get(obj, "status", "phase"):
        obj = put(obj, "status", {"phase": "Pending", "qosClass": qos_class(obj), **(obj.get("status") or {})})
    return obj


# --- rules -------------------------------------------------------------------------------------------------------

_MUTABLE = (
    "spec.containers[*].image, spec.initContainers[*].image, spec.activeDeadlineSeconds, spec.tolerations (only"
    " additions) and spec.schedulingGates (only removals)"
)


def validate(obj: Obj, old: Obj | None) -> list[Cause]:
    spec = get(obj, "spec", default={})
    causes = validate_pod_spec(spec) + pod_annotation_causes(annotations_of(obj), "metadata.annotations")
    return causes if old is None else causes + _changes(spec, get(old, "spec", default={}))


def _changes(spec: Obj, old: Obj) -> list[Cause]:
    """What an update may not touch (core/v1: a Pod is made anew, not changed)."""
    causes = []
    if spec is old or spec == old:
        return []
    if _fixed(spec) != _fixed(old):
        changed = sorted(key for key in {*_fixed(spec), *_fixed(old)} if _fixed(spec).get(key) != _fixed(old).get(key))
        message = f"pod updates may not change {', '.join(changed)}; only {_MUTABLE} can be changed"
        causes.append(Cause("spec", f"{message}; delete the pod and create it anew", "FieldValueForbidden"))
    tolerations = spec.get("tolerations") or []
    if any(toleration not in tolerations for toleration in old.get("tolerations") or ()):
        message = "existing toleration can not be modified except its tolerationSeconds"
        causes.append(Cause("spec.tolerations", message, "FieldValueForbidden"))
    before = [gate.get("name") for gate in old.get("schedulingGates") or ()]
    if any(gate.get("name") not in before for gate in spec.get("schedulingGates") or ()):
        message = "may only be removed once the pod exists"
        causes.append(Cause("spec.schedulingGates", message, "FieldValueForbidden"))
    return causes


def _fixed(spec: Obj) -> Obj:
    """A spec without what an update may change."""
    for key in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        spec = drop(spec, key)
    for group in CONTAINER_GROUPS:
        if group in spec:
            spec = put(spec, group, [drop(container, "image") for container in spec[group] or ()])
    return spec


def graceful(obj: Obj) -> int | None:
    """Seconds to end; None where nothing runs: not placed yet, or ended."""
    if not node_of(obj) or finished(obj):
        return None
    return grace_period(obj)


# --- columns -----------------------------------------------------------------------------------------------------


def shown_status(obj: Obj) -> str:
    """The STATUS of `kubectl get pods` (k8s.io/kubernetes/pkg/printers/internalversion, printPod)."""
    reason = str(get(obj, "status", "reason", default="") or get(obj, "status", "phase", default="Pending"))
    scheduled = condition(obj, "PodScheduled") or {}
    if scheduled.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initializing = _init_reason(obj)
    if initializing and not is_true(obj, "Initialized"):
        reason = initializing
    else:
        reason = _app_reason(obj, reason)
    if deleting(obj) and get(obj, "status", "reason") == "NodeLost":
        return "Unknown"
    if deleting(obj) and not finished(obj):
        return "Terminating"
    return reason


def _init_reason(obj: Obj) -> str:
    """What the first init container that has not succeeded is about; "" where all have."""
    total, sidecars = len(init_containers(obj)), _sidecars(obj)
    for index, entry in enumerate(init_statuses(obj)):
        ended, waiting = get(entry, "state", "terminated"), get(entry, "state", "waiting", "reason", default="")
        if entry["name"] in sidecars and entry.get("started"):
            continue
        if ended is not None:
            if ended.get("exitCode") == 0:
                continue
            return f"Init:{_ended(ended)}"
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return ""


def _sidecars(obj: Obj) -> set[str]:
    return {container["name"] for container in sidecars_of(obj)}


def _side_by_side(obj: Obj) -> list[Obj]:
    """The status of every container that runs beside the others: sidecars first."""
    sidecars = _sidecars(obj)
    beside = [one for one in init_statuses(obj) if one["name"] in sidecars]
    return [*beside, *app_statuses(obj)]


def _app_reason(obj: Obj, reason: str) -> str:
    running = False
    for entry in reversed(app_statuses(obj)):
        ended, waiting = get(entry, "state", "terminated"), get(entry, "state", "waiting", "reason", default="")
        if waiting:
            reason = waiting
        elif ended is not None:
            reason = _ended(ended)
        elif entry.get("ready") and get(entry, "state", "running") is not None:
            running = True
    if reason == "Completed" and running:
        return "Running" if is_true(obj, "Ready") else "NotReady"
    return reason


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _ready(obj: Obj, now: float) -> str:
    entries = _side_by_side(obj)
    ready = sum(1 for entry in entries if entry.get("ready") and get(entry, "state", "running") is not None)
    return f"{ready}/{len(get(obj, 'spec', 'containers', default=())) + len(_sidecars(obj))}"


def _restarts(obj: Obj, now: float) -> str:
    """How often containers were started again, and how long ago the last one had ended."""
    if _init_reason(obj) and not is_true(obj, "Initialized"):
        entries = init_statuses(obj)
    else:
        entries = _side_by_side(obj)
    count = sum(int(entry.get("restartCount") or 0) for entry in entries)
    ends = [get(entry, "lastState", "terminated", "finishedAt", default="") for entry in entries]
    last = max(ends, default="")
    return f"{count} ({since(last, now)} ago)" if count and last else str(count)


def _gates(obj: Obj, now: float) -> str:
    gates = [gate.get("conditionType", "") for gate in get(obj, "spec", "readinessGates", default=())]
    return f"{sum(is_true(obj, gate) for gate in gates)}/{len(gates)}" if gates else _NONE


def _text(*path: str) -> Column:
    labels = {"podIP": "IP", "nodeName": "NODE", "nominatedNodeName": "NOMINATED NODE"}
    return Column(labels[path[-1]], lambda obj, now: str(get(obj, *path, default=_NONE) or _NONE), wide=True)


# --- the controller ----------------------------------------------------------------------------------------------


def progress(obj: Obj, world: World) -> Progress:
    """Done when it is Ready or has succeeded."""
    shown = name(obj)
    if deleting(obj):
        return Progress(False, f"pod {shown} is being deleted")
    if get(obj, "status", "phase") == "Succeeded":
        return Progress(True, f"pod {shown} has succeeded")
    if is_true(obj, "Ready"):
        return Progress(True, f"pod {shown} is ready")
    if failed := trouble(obj):
        return Progress(False, failed, failed)
    scheduled = condition(obj, "PodScheduled") or {}
    if not node_of(obj):
        why = scheduled.get("message") or "it waits for the scheduler"
        return Progress(False, f"pod {shown} is not placed yet: {why}")
    return Progress(False, f"pod {shown} on node {obj['spec']['nodeName']}: {shown_status(obj)}{_first_message(obj)}")


def _first_message(obj: Obj) -> str:
    for entry in statuses_of(obj):
        if message := get(entry, "state", "waiting", "message", default=""):
            return f" ({message})"
    return ""


def plan(obj: Obj, world: World, now: float) -> Plan:
    """A pod is run by its node's loop. What is left to do here: one whose node was removed goes with it."""
    node = node_of(obj)
    if not node:
        return Plan(because="the scheduler places it")
    if world.get(Ref(NODE, "", node)) is not None:
        return Plan(because=f"the loop of node {node} runs it")
    ref = Ref.of(obj)
    left = epoch(meta(obj).get("creationTimestamp")) + QUARANTINE - now
    if left > 0 and not (deleting(obj) or get(obj, "status", "startTime")):
        message = f"spec.nodeName is {node}, and there is no such node"
        return Plan((Emit(ref, "NodeNotFound", message, "Warning", uid(obj)),), after=left)
    message = f"node {node} does not exist: the pod is deleted"
    return Plan((Emit(ref, "NodeGone", message, "Warning", uid(obj)), Delete(ref, uid(obj), grace=0)))


def _on_node(node: Obj, world: World) -> Iterable[Ref]:
    """A node that comes or goes concerns the pods bound to it; its heartbeats do not."""
    if world.get(Ref(NODE, "", name(node))) is not None:
        return ()
    return [Ref.of(pod) for pod in world.on_node(name(node))]


# --- describe -------------------------------------------------------------------------------------------------------


def describe(pod: Obj, world: World, now: float) -> Description:
    sheet = Description()
    status, spec = get(pod, "status", default={}), get(pod, "spec", default={})
    sheet.row("Name", name(pod))
    sheet.row("Namespace", namespace(pod))
    sheet.row("Priority", spec.get("priority") or 0)
    sheet.row("Service Account", spec.get("serviceAccountName") or "default")
    sheet.row("Node", "/".join(filter(None, (spec.get("nodeName"), status.get("hostIP")))))
    if status.get("startTime"):
        sheet.row("Start Time", when(status["startTime"]))
    head(sheet, pod)
    if deleting(pod):
        sheet.row("Status", f"Terminating (since {when(meta(pod)['deletionTimestamp'])})")
        sheet.row("Termination Grace Period", f"{meta(pod).get('deletionGracePeriodSeconds', 0)}s")
    else:
        sheet.row("Status", status.get("phase") if shown_status(pod) != "Unknown" else "Unknown")
    for label, key in (("Reason", "reason"), ("Message", "message")):
        if status.get(key):
            sheet.row(label, status[key])
    sheet.row("IP", status.get("podIP", ""))
    sheet.rows("IPs", [f"IP: {entry['ip']}" for entry in status.get("podIPs") or ()])
    owner = controller_of(pod)
    if owner:
        sheet.row("Controlled By", f"{owner['kind']}/{owner['name']}")
    if init := init_containers(pod):
        podlooks.containers(sheet, "Init Containers", init, init_statuses(pod))
    podlooks.containers(sheet, "Containers", app_containers(pod), app_statuses(pod))
    podlooks.conditions(sheet, pod)
    podlooks.volumes(sheet, spec)
    sheet.row("QoS Class", status.get("qosClass", ""))
    podlooks.placement(sheet, spec)
    return sheet


KIND = Kind(
    Names("", "Pod", "pods", short=("po",), categories=("all",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default, validate=validate, graceful=graceful),
    looks=Looks(
        columns=(
            NAME,
            Column("READY", _ready),
            Column("STATUS", lambda obj, now: shown_status(obj)),
            Column("RESTARTS", _restarts),
            AGE,
            _text("status", "podIP"),
            _text("spec", "nodeName"),
            _text("status", "nominatedNodeName"),
            Column("READINESS GATES", _gates, wide=True),
        ),
        describe=describe,
    ),
    controller=Controller(watches=(Watch(NODE, _on_node),), plan=plan, progress=progress),
    subresources=("status", "binding", "log", "exec"),
)
