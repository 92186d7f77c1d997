"""Node (v1): a machine that runs pods. Its plan gives it a subnet for them; what it reports is written by its loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from ipaddress import ip_network

from ktool.api.action import Delete, Emit, Patch, Plan
from ktool.api.describe import Description, conditions, head, when
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Progress, Rules, Version, Watch
from ktool.api.marks import (
    CONNECTION,
    HOSTNAME,
    NODE_FINALIZER,
    OS,
    POD_CIDR,
    ROLE,
    ROLE_PREFIX,
    SERVICE_CIDR,
    SIMULATED,
    SIMULATED_CIDR,
)
from ktool.api.obj import Obj, annotations_of, condition, deleting, get, is_true, labels, meta, name, namespace, uid
from ktool.api.pod import app_containers, finished, node_of
from ktool.api.ref import NODE, POD, Ref
from ktool.api.rules import names
from ktool.api.schema import Field
from ktool.api.shapes.build import array, boolean, choice, integer, obj, quantities, string, strings, time
from ktool.api.shapes.meta import CONDITIONS, resource
from ktool.api.units.duration import age
from ktool.api.units.quantity import format_bytes, format_milli, value
from ktool.api.world import World
from ktool.logic.network.ipam import IpamError, carve
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.printercolumns import AGE, NAME

SUBNET_BITS, SIMULATED_BITS = 24, 22
"""Prefix lengths of a node's part of POD_CIDR and of SIMULATED_CIDR."""

_SCHEMES = ("ssh://", "local://", "simulated://")

_TAINT = obj(
    "Keeps pods away that do not tolerate it.",
    {
        "key": string("Name of the taint.", required=True),
        "value": string("Its value."),
        "effect": choice("What it does to pods.", "NoSchedule", "PreferNoSchedule", "NoExecute", required=True),
        "timeAdded": time("When it was set."),
    },
)
_ADDRESS = obj(
    "One address.",
    {
        "type": string("InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS.", required=True),
        "address": string("The address.", required=True),
    },
)
_INFO = obj(
    "Versions and ids.",
    {
        member: string(doc)
        for member, doc in (
            ("machineID", "Content of /etc/machine-id."),
            ("systemUUID", "Id of the hardware."),
            ("bootID", "Id of this boot."),
            ("kernelVersion", "Kernel release."),
            ("osImage", "Name of the operating system."),
            ("containerRuntimeVersion", "Container runtime and its version."),
            ("kubeletVersion", "Version of the kubelet; ktool installs none."),
            ("kubeProxyVersion", "Version of kube-proxy; ktool installs none."),
            ("operatingSystem", "linux."),
            ("architecture", "Processor architecture, as Go names it."),
        )
    },
)

SCHEMA = resource(
    spec=obj(
        "How the node is to be used.",
        {
            "podCIDR": string("Subnet of its pods' addresses; given when the node is added."),
            "podCIDRs": strings("The same as a list.", format="set"),
            "unschedulable": boolean("No new pods come here (cordon)."),
            "taints": array("Which pods are kept away.", _TAINT),
            "providerID": string("Id at a cloud provider.", acted=False),
            "externalID": string("No longer used by Kubernetes.", acted=False),
            "configSource": Field("any", "No longer used by Kubernetes.", acted=False),
        },
    ),
    status=obj(
        "What the node reports.",
        {
            "capacity": quantities("What the machine has."),
            "allocatable": quantities("What pods can have of it."),
            "addresses": array("How it is reached.", _ADDRESS),
            "conditions": CONDITIONS,
            "nodeInfo": _INFO,
            "phase": string("No longer used by Kubernetes."),
            "images": array("Images on it.", Field("any")),
            "daemonEndpoints": Field("any", "Ports of its daemons."),
            "volumesInUse": strings("Volumes in use."),
            "volumesAttached": array("Volumes attached.", Field("any")),
            "config": Field("any", "No longer used by Kubernetes."),
            "runtimeHandlers": array("Runtime classes it has.", Field("any")),
            "features": Field("any", "What its runtime can do."),
            "declaredFeatures": strings("What its kubelet can do."),
            "allocatedPods": integer("Pods on it."),
        },
        read_only=True,
    ),
)


def default(node: Obj) -> Obj:
    """A new Node gets the finalizer and the labels that every Node of Kubernetes has."""
    metadata = meta(node)
    wanted = {HOSTNAME: name(node), OS: "linux"}
    if annotations_of(node).get(CONNECTION, "").startswith("simulated://"):
        wanted[SIMULATED] = "true"
    if not wanted.keys() <= labels(node).keys():
        node = {**node, "metadata": {**metadata, "labels": {**wanted, **labels(node)}}}
    finalizers = metadata.get("finalizers") or []
    if not metadata.get("uid") and NODE_FINALIZER not in finalizers:
        node = {**node, "metadata": {**meta(node), "finalizers": [*finalizers, NODE_FINALIZER]}}
    return node


def validate(node: Obj, old: Obj | None) -> list[Cause]:
    """Taints that make sense, a way to reach the node, and no other subnet once pods have addresses of it."""
    causes: list[Cause] = []
    seen = set()
    for index, taint in enumerate(get(node, "spec", "taints", default=())):
        path = f"spec.taints[{index}]"
        if problem := names.label_key(taint["key"]):
            causes.append(Cause(f"{path}.key", f'"{taint["key"]}" {problem}'))
        if problem := names.label_value(taint.get("value") or ""):
            causes.append(Cause(f"{path}.value", f'"{taint["value"]}" {problem}'))
        if (taint["key"], taint["effect"]) in seen:
            message = f"there are two taints {taint['key']} with {taint['effect']}"
            causes.append(Cause(path, message, "FieldValueDuplicate"))
        seen.add((taint["key"], taint["effect"]))
    connection = annotations_of(node).get(CONNECTION)
    if connection is not None and not connection.startswith(_SCHEMES):
        message = f'must begin with {", ".join(_SCHEMES)}, not "{connection}"'
        causes.append(Cause(f"metadata.annotations[{CONNECTION}]", message))
    return causes + _subnet_causes(node, old)


def _subnet_causes(node: Obj, old: Obj | None) -> list[Cause]:
    subnet = get(node, "spec", "podCIDR", default="")
    before = get(old, "spec", "podCIDR", default="")
    if before and subnet != before:
        message = f"may not be changed from {before}; remove the node and add it again"
        return [Cause("spec.podCIDR", message, "FieldValueForbidden")]
    if subnet and (problem := names.subnet(subnet)):
        return [Cause("spec.podCIDR", f'"{subnet}" {problem}')]
    return []


def taken(node: Obj, old: Obj | None, others: Callable[[], list[Obj]]) -> list[Cause]:
    """A subnet that is asked for and lies over another one of the cluster."""
    subnet = get(node, "spec", "podCIDR", default="")
    if not subnet or subnet == get(old, "spec", "podCIDR"):
        return []
    own = ip_network(subnet)
    if own.overlaps(SERVICE_CIDR):
        return [Cause("spec.podCIDR", f"{subnet} overlaps the range of services, {SERVICE_CIDR}")]
    return [
        Cause("spec.podCIDR", f"{subnet} overlaps {theirs} of node {name(other)}; leave it out and a free one is given")
        for other in others()
        if (theirs := get(other, "spec", "podCIDR")) and own.overlaps(ip_network(theirs))
    ]


# --- the controller ----------------------------------------------------------------------------------------------


def plan(node: Obj, world: World, now: float) -> Plan:
    """Give a new node its subnet; take the pods off one that is being removed."""
    if deleting(node):
        return _leave(node, world)
    if get(node, "spec", "podCIDR"):
        return Plan(because=f"it has the subnet {node['spec']['podCIDR']}")
    try:
        subnet = _subnet(node, world.list(NODE))
    except IpamError as error:
        message = str(error)
        return Plan((Emit(Ref.of(node), "CIDRNotAvailable", message, "Warning", uid(node)),), message)
    return Plan((Patch(Ref.of(node), {"spec": {"podCIDR": subnet, "podCIDRs": [subnet]}}, uid(node)),))


def _subnet(node: Obj, nodes: Iterable[Obj]) -> str:
    """The subnet for this node. Those that have none yet are served in the order in which they were added, so that
    plans made on one World never give two nodes the same."""
    simulated = is_simulated(node)
    cluster, bits = (SIMULATED_CIDR, SIMULATED_BITS) if simulated else (POD_CIDR, SUBNET_BITS)
    nodes = list(nodes)
    taken = [subnet for other in nodes if (subnet := get(other, "spec", "podCIDR"))]
    waiting = [
        other
        for other in nodes
        if not get(other, "spec", "podCIDR") and not deleting(other) and is_simulated(other) == simulated
    ]
    for other in sorted(waiting, key=_since):
        if _since(other) >= _since(node):
            break
        taken.append(carve(cluster, taken, bits))
    return carve(cluster, taken, bits)


def _since(node: Obj) -> tuple[str, str]:
    return str(meta(node).get("creationTimestamp", "")), name(node)


def _leave(node: Obj, world: World) -> Plan:
    """The pods of a node that goes are gone from the API at once, so that others take their place; the node's loop
    ends their containers before it lets the Node go."""
    pods = sorted(world.on_node(name(node)), key=lambda pod: Ref.of(pod))
    actions = tuple(Delete(Ref.of(pod), uid(pod), grace=0) for pod in pods)
    return Plan(actions, "" if actions else "being removed; its loop cleans the machine and lets it go")


def _removed(node: Obj, world: World) -> Iterable[Ref]:
    """A node that is gone leaves its subnet to one that could not get any."""
    if world.get(Ref.of(node)) is not None:
        return ()
    return [Ref.of(other) for other in world.list(NODE) if not get(other, "spec", "podCIDR")]


def _pod_on_leaving(pod: Obj, world: World) -> Iterable[Ref]:
    """A pod that was put on a node while it was being removed."""
    where = Ref(NODE, "", node_of(pod))
    node = world.get(where) if where.name else None
    return (where,) if node is not None and deleting(node) else ()


def progress(node: Obj, world: World) -> Progress:
    """Done when the node is Ready and has its subnet."""
    ready = condition(node, "Ready")
    if ready is not None and ready.get("status") == "True" and get(node, "spec", "podCIDR"):
        return Progress(True, f'node "{name(node)}" is ready')
    why = f": {ready['message']}" if ready is not None and ready.get("message") else ""
    return Progress(False, f'waiting for node "{name(node)}" to be ready{why}')


# --- columns -----------------------------------------------------------------------------------------------------


def _status(node: Obj, now: float) -> str:
    known = condition(node, "Ready") is not None
    words = [("Ready" if is_true(node, "Ready") else "NotReady") if known else "Unknown"]
    if is_simulated(node):
        words.append("Simulated")
    if get(node, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(node: Obj, now: float) -> str:
    roles = {key.removeprefix(ROLE_PREFIX) for key in labels(node) if key.startswith(ROLE_PREFIX)}
    if role := labels(node).get(ROLE):
        roles.add(role)
    return ",".join(sorted(role for role in roles if role)) or "<none>"


def _address(kind: str, node: Obj) -> str:
    for entry in get(node, "status", "addresses", default=()):
        if entry.get("type") == kind:
            return str(entry["address"])
    return "<none>"


def _info(member: str, node: Obj) -> str:
    return str(get(node, "status", "nodeInfo", member) or "<unknown>")


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    sheet = Description()
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
        for what, amount in sorted((status.get(key) or {}).items()):
            sheet.row(what, amount, 1)
    sheet.title("System Info")
    info = status.get("nodeInfo") or {}
    for label, key in _NODE_INFO:
        sheet.row(label, info.get(key, ""), 1)
    sheet.row("PodCIDR", spec.get("podCIDR", ""))
    _pods_of_node(sheet, obj, world, now)
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


def _pods_of_node(sheet: Description, obj: Obj, world: World, now: float) -> None:
    """The pods on the node with what they ask for, and the sums against what can be had."""
    pods = [pod for pod in world.on_node(name(obj)) if not finished(pod)]
    pods.sort(key=lambda pod: (namespace(pod), name(pod)))
    sheet.line(f"Non-terminated Pods:  ({len(pods)} in total)")
    room = get(obj, "status", "allocatable", default={})
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


KIND = Kind(
    Names("", "Node", "nodes", short=("no",), namespaced=False),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default, validate=validate, taken=taken),
    looks=Looks(
        columns=(
            NAME,
            Column("STATUS", _status),
            Column("ROLES", _roles),
            AGE,
            Column("VERSION", lambda obj, now: _info("kubeletVersion", obj)),
            Column("INTERNAL-IP", lambda obj, now: _address("InternalIP", obj), wide=True),
            Column("EXTERNAL-IP", lambda obj, now: _address("ExternalIP", obj), wide=True),
            Column("OS-IMAGE", lambda obj, now: _info("osImage", obj), wide=True),
            Column("KERNEL-VERSION", lambda obj, now: _info("kernelVersion", obj), wide=True),
            Column("CONTAINER-RUNTIME", lambda obj, now: _info("containerRuntimeVersion", obj), wide=True),
        ),
        describe=describe,
        beside=(POD,),
    ),
    controller=Controller(watches=(Watch(NODE, _removed), Watch(POD, _pod_on_leaving)), plan=plan, progress=progress),
    subresources=("status",),
    apply_order=5,
)
