"""`ktool describe` of everything but pods: workloads, nodes, configuration, and any other kind in a plain form."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

from ktool.api.marks import REVISION
from ktool.api.masked import values
from ktool.api.obj import Obj, annotations_of, controller_of, get, meta, name, namespace, uid
from ktool.api.pod import app_containers, finished
from ktool.api.ref import ENDPOINT_SLICE, POD
from ktool.api.selector import from_label_selector
from ktool.api.units.duration import age
from ktool.api.units.quantity import format_bytes, format_milli, value
from ktool.api.world import World
from ktool.logic.network import endpoints
from ktool.logic.workload.kinds import REPLICA_SET
from ktool.present import describe_pod
from ktool.present.sheet import Sheet, conditions, head, when


def deployment(obj: Obj, world: World) -> Sheet:
    sheet = Sheet()
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
    describe_pod.template(sheet, spec.get("template") or {})
    conditions(sheet, obj)
    _replica_sets(sheet, obj, world)
    return sheet


def _replica_sets(sheet: Sheet, obj: Obj, world: World) -> None:
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


def replica_set(obj: Obj, world: World) -> Sheet:
    sheet = Sheet()
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
    describe_pod.template(sheet, spec.get("template") or {})
    conditions(sheet, obj)
    return sheet


_PHASES = (("Running", "Running"), ("Pending", "Waiting"), ("Succeeded", "Succeeded"), ("Failed", "Failed"))


# --- nodes -------------------------------------------------------------------------------------------------------


def node(obj: Obj, world: World) -> Sheet:
    sheet = Sheet()
    spec, status = get(obj, "spec", default={}), get(obj, "status", default={})
    sheet.row("Name", name(obj))
    head(sheet, obj)
    sheet.row("CreationTimestamp", when(meta(obj).get("creationTimestamp")))
    sheet.rows("Taints", [_taint(taint) for taint in spec.get("taints") or ()])
    sheet.row("Unschedulable", str(bool(spec.get("unschedulable"))).lower())
    conditions(sheet, obj)
    sheet.title("Addresses")
    for address in status.get("addresses") or ():
        sheet.row(address["type"], address["address"], 1)
    for label, key in (("Capacity", "capacity"), ("Allocatable", "allocatable")):
        sheet.title(label)
        for resource, amount in sorted((status.get(key) or {}).items()):
            sheet.row(resource, amount, 1)
    sheet.title("System Info")
    info = status.get("nodeInfo") or {}
    for label, key in _NODE_INFO:
        sheet.row(label, info.get(key, ""), 1)
    sheet.row("PodCIDR", spec.get("podCIDR", ""))
    _pods_of_node(sheet, obj, world)
    return sheet


_NODE_INFO = (
    ("Machine ID", "machineID"),
    ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"),
    ("OS Image", "osImage"),
    ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"),
    ("Container Runtime Version", "containerRuntimeVersion"),
)


def _taint(taint: Obj) -> str:
    given = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key', '')}{given}:{taint.get('effect', '')}"


_ASKED = (("requests", "cpu"), ("limits", "cpu"), ("requests", "memory"), ("limits", "memory"))


def _pods_of_node(sheet: Sheet, obj: Obj, world: World) -> None:
    """The pods on the node with what they ask for, and the sums against what can be had."""
    pods = [pod for pod in world.on_node(name(obj)) if not finished(pod)]
    pods.sort(key=lambda pod: (namespace(pod), name(pod)))
    sheet.line(f"Non-terminated Pods:  ({len(pods)} in total)")
    room = get(obj, "status", "allocatable", default={})
    now = time.time()
    rows, totals = [], [Fraction(0)] * len(_ASKED)
    for pod in pods:
        asked = [_sum(pod, group, resource) for group, resource in _ASKED]
        totals = [total + part for total, part in zip(totals, asked, strict=True)]
        cells = [_share(amount, resource, room) for amount, (_, resource) in zip(asked, _ASKED, strict=True)]
        rows.append((namespace(pod), name(pod), *cells, age(pod, now)))
    header = ("Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits", "Age")
    sheet.table(header, rows)
    sheet.title("Allocated resources")
    cells = [_share(amount, resource, room) for amount, (_, resource) in zip(totals, _ASKED, strict=True)]
    sheet.table(("Resource", "Requests", "Limits"), [("cpu", *cells[:2]), ("memory", *cells[2:])])


def _sum(pod: Obj, group: str, resource: str) -> Fraction:
    amounts = [get(c, "resources", group, resource) for c in app_containers(pod)]
    return sum((value(amount) for amount in amounts if amount is not None), Fraction(0))


def _share(amount: Fraction, resource: str, room: Obj) -> str:
    text = format_milli(int(amount * 1000)) if resource == "cpu" else format_bytes(int(amount))
    whole = value(room[resource]) if room.get(resource) else Fraction(0)
    return f"{text} ({int(amount * 100 / whole) if whole else 0}%)"


# --- configuration and the rest -----------------------------------------------------------------------------------


def config_map(obj: Obj, world: World) -> Sheet:
    sheet = Sheet()
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.line("")
    sheet.line("Data")
    sheet.line("====")
    for key, text in sorted((obj.get("data") or {}).items()):
        sheet.line(f"{key}:")
        sheet.line("----")
        for line in str(text).split("\n"):
            sheet.line(line)
        sheet.line("")
    sheet.line("")
    sheet.line("BinaryData")
    sheet.line("====")
    for key, data in sorted((obj.get("binaryData") or {}).items()):
        sheet.line(f"{key}: {len(data) * 3 // 4 - data.count('=')} bytes")
    sheet.line("")
    return sheet


def secret(obj: Obj, world: World) -> Sheet:
    """Keys and sizes, as kubectl shows them: never a value."""
    sheet = Sheet()
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.line("")
    sheet.row("Type", obj.get("type"))
    if obj.get("immutable"):
        sheet.row("Immutable", "true")
    sheet.line("")
    sheet.line("Data")
    sheet.line("====")
    for key, masked in sorted(values(obj).items()):
        sheet.row(key, f"{len(masked)} bytes")
    return sheet


def namespaces(obj: Obj, world: World) -> Sheet:
    sheet = Sheet()
    sheet.row("Name", name(obj))
    head(sheet, obj)
    sheet.row("Status", get(obj, "status", "phase", default="Active"))
    sheet.line("")
    conditions(sheet, obj)
    return sheet


def anything(obj: Obj, world: World) -> Sheet:
    """Every field of a kind that has no layout of its own, titled like kubectl's fallback."""
    sheet = Sheet()
    sheet.row("Name", name(obj))
    if namespace(obj):
        sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.row("API Version", obj.get("apiVersion"))
    sheet.row("Kind", obj.get("kind"))
    _tree(sheet, {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}, 0)
    return sheet


def _tree(sheet: Sheet, members: Obj, level: int) -> None:
    for key, found in sorted(members.items()):
        _member(sheet, _titled(key), found, level)


def _member(sheet: Sheet, label: str, found: Any, level: int) -> None:
    if isinstance(found, dict) and found:
        sheet.title(label, level)
        _tree(sheet, found, level + 1)
    elif isinstance(found, list) and found:
        sheet.title(label, level)
        for item in found:
            if isinstance(item, dict):
                _tree(sheet, item, level + 1)
            else:
                sheet.line(str(item), level + 1)
    else:
        sheet.row(label, found if found not in ({}, []) else "", level)


def _titled(key: str) -> str:
    """`holderIdentity` -> `Holder Identity`."""
    spaced = "".join(f" {c}" if c.isupper() and i and not key[i - 1].isupper() else c for i, c in enumerate(key))
    return spaced[:1].upper() + spaced[1:]


# --- services ----------------------------------------------------------------------------------------------------


def service(obj: Obj, world: World) -> Sheet:
    """As kubectl has it (k8s.io/kubectl/pkg/describe, describeService)."""
    sheet = Sheet()
    spec = get(obj, "spec", default={})
    sheet.row("Name", name(obj))
    sheet.row("Namespace", namespace(obj))
    head(sheet, obj)
    sheet.row("Selector", ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items())))
    sheet.row("Type", spec.get("type", "ClusterIP"))
    sheet.row("IP", spec.get("clusterIP", ""))
    if spec.get("externalIPs"):
        sheet.row("External IPs", ",".join(spec["externalIPs"]))
    if spec.get("externalName"):
        sheet.row("External Name", spec["externalName"])
    if ingress := get(obj, "status", "loadBalancer", "ingress", default=()):
        sheet.row("LoadBalancer Ingress", ", ".join(entry.get("ip") or entry.get("hostname", "") for entry in ingress))
    slices = [one for one in world.list(ENDPOINT_SLICE, namespace(obj)) if endpoints.service_of(one) == name(obj)]
    for port in spec.get("ports") or ():
        _service_port(sheet, port, slices)
    sheet.row("Session Affinity", spec.get("sessionAffinity", "None"))
    for label, key in (
        ("External Traffic Policy", "externalTrafficPolicy"),
        ("Internal Traffic Policy", "internalTrafficPolicy"),
    ):
        if spec.get(key):
            sheet.row(label, spec[key])
    return sheet


def _service_port(sheet: Sheet, port: Obj, slices: list[Obj]) -> None:
    own, protocol = port.get("name") or "", port.get("protocol", "TCP")
    sheet.row("Port", f"{own or '<unset>'}  {port['port']}/{protocol}")
    sheet.row("TargetPort", f"{port.get('targetPort', port['port'])}/{protocol}")
    if port.get("nodePort"):
        sheet.row("NodePort", f"{own or '<unset>'}  {port['nodePort']}/{protocol}")
    found = [
        f"{endpoint['addresses'][0]}:{target['port']}"
        for one in slices
        for target in one.get("ports") or ()
        if (target.get("name") or "", target.get("protocol", "TCP")) == (own, protocol) and target.get("port")
        for endpoint in one.get("endpoints") or ()
        if endpoints.ready(endpoint)
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    sheet.row("Endpoints", ",".join(sorted(found)[:3]) + more)
