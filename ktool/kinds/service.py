"""Service (v1): one address for many pods. Its plan gives addresses and node ports, and keeps the EndpointSlices; what
the nodes do with them is logic/network/balance."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ktool.api.action import Action, Create, Delete, Emit, Patch, Plan, Status, Update
from ktool.api.describe import Description, head
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Rules, Version, Watch
from ktool.api.obj import Obj, controlled_by, deleting, epoch, get, is_true, labels, meta, name, namespace, uid
from ktool.api.ref import ENDPOINT_SLICE, EVENT, NODE, POD, SERVICE, Ref
from ktool.api.selector import Selector, from_label_selector
from ktool.api.shapes.meta import resource
from ktool.api.shapes.service import (
    SERVICE_SPEC,
    SERVICE_STATUS,
    default_service,
    is_exposed,
    is_external_name,
    is_headless,
    ports_of,
    validate_service,
)
from ktool.api.world import World
from ktool.logic.network import allocation, endpoints
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.printercolumns import AGE, NAME

PATIENCE = 30.0
"""Seconds after which a service whose selector matches no pod is said to be wrong: its pods may be made after it."""

SCHEMA = resource(spec=SERVICE_SPEC, status=SERVICE_STATUS)


def taken(service: Obj, old: Obj | None, others: Callable[[], list[Obj]]) -> list[Cause]:
    """An address or node port that is asked for and that another service has."""
    spec, before = service["spec"], get(old, "spec", default={})
    address = spec.get("clusterIP") or ""
    if is_external_name(service) or is_headless(service) or address == before.get("clusterIP"):
        address = ""
    had = {(port.get("protocol"), port.get("nodePort")) for port in ports_of(old or {})}
    asked = {
        (str(port["protocol"]), port["nodePort"]): f"spec.ports[{index}].nodePort"
        for index, port in enumerate(ports_of(service) if is_exposed(service) else ())
        if port.get("nodePort") and (port["protocol"], port["nodePort"]) not in had
    }
    causes = []
    for other in others() if address or asked else ():
        who = f"service {namespace(other)}/{name(other)}"
        if address and get(other, "spec", "clusterIP") == address:
            text = f"{address} is already allocated to {who}; leave it out and a free one is given"
            causes.append(Cause("spec.clusterIP", text))
        for key in sorted(allocation.node_ports_taken([other]) & asked.keys()):
            text = f"{key[1]} is already allocated to {who}; leave it out and a free one is given"
            causes.append(Cause(asked[key], text))
    return causes


def plan(service: Obj, world: World, now: float) -> Plan:
    """First what only it can have, then who answers for it."""
    if deleting(service):
        return Plan(because="being deleted")
    services = world.list(SERVICE)
    try:
        given = _given(service, services)
    except allocation.Exhausted as error:
        return Plan((_warn(service, "AllocationFailed", str(error)),), str(error))
    if given:
        return Plan((Patch(Ref.of(service), {"spec": given}, uid(service)),))
    pods = _pods(service, world)
    warnings, after = _warnings(service, services, pods, now)
    actions = [*_slices(service, pods, world), *_status(service, world), *_untold(service, warnings, world)]
    return Plan(tuple(actions), "" if actions else "its slices are as its pods are", after)


def _warn(service: Obj, reason: str, message: str) -> Emit:
    return Emit(Ref.of(service), reason, message, "Warning", uid(service))


# --- what only it can have ---------------------------------------------------------------------------------------


def _given(service: Obj, services: list[Obj]) -> Obj:
    """What of the spec is to be filled in, or taken back because its type does not have it any more."""
    spec = service["spec"]
    patch: Obj = {}
    if is_external_name(service):
        if spec.get("clusterIP"):
            patch |= {"clusterIP": None, "clusterIPs": None}
    elif not spec.get("clusterIP"):
        address = allocation.address_for(service, services)
        patch |= {"clusterIP": address, "clusterIPs": [address]}
    ports = _ports(service, services)
    return patch if ports == ports_of(service) else {**patch, "ports": ports}


def _ports(service: Obj, services: list[Obj]) -> list[Obj]:
    ports = ports_of(service)
    if not is_exposed(service):
        return [{key: value for key, value in port.items() if key != "nodePort"} for port in ports]
    allocate = get(service, "spec", "type") == "NodePort" or get(
        service, "spec", "allocateLoadBalancerNodePorts", default=True
    )
    if not allocate or all(port.get("nodePort") for port in ports):
        return ports
    taken = allocation.node_ports_taken(services)
    result = []
    for port in ports:
        if not port.get("nodePort"):
            port = {**port, "nodePort": allocation.node_port_for(service, port, taken)}
            taken.add((str(port.get("protocol", "TCP")), port["nodePort"]))
        result.append(port)
    return result


# --- who answers -------------------------------------------------------------------------------------------------


def _slices(service: Obj, pods: list[Obj], world: World) -> list[Action]:
    """Make, change and delete slices, so that they are what the pods ask for. Those written by hand are left alone."""
    present = {name(one): one for one in world.owned(uid(service), ENDPOINT_SLICE) if endpoints.is_ours(one)}
    wanted = (
        {name(one): one for one in endpoints.slices_for(service, _pods(service, world))} if _selects(service) else {}
    )
    actions: list[Action] = []
    for own, slice_ in wanted.items():
        found = present.pop(own, None)
        if found is None:
            actions.append(Create(slice_))
        elif not _same(found, slice_):
            actions.append(Update(_changed(found, slice_)))
    actions += [Delete(Ref.of(found), uid(found)) for found in present.values()]
    return actions


def _selects(service: Obj) -> bool:
    return bool(get(service, "spec", "selector")) and not is_external_name(service)


def _pods(service: Obj, world: World) -> list[Obj]:
    """The pods that its selector matches."""
    if not _selects(service):
        return []
    wanted = service["spec"]["selector"].items()
    return world.list(POD, namespace(service), lambda found: wanted <= found.items())


def _same(found: Obj, wanted: Obj) -> bool:
    return labels(found) == labels(wanted) and all(
        (found.get(member) or []) == wanted[member] for member in ("endpoints", "ports")
    )


def _changed(found: Obj, wanted: Obj) -> Obj:
    metadata = {**meta(found), "labels": labels(wanted)}
    return {**found, "metadata": metadata, "endpoints": wanted["endpoints"], "ports": wanted["ports"]}


# --- where it is reached from outside ----------------------------------------------------------------------------


def _status(service: Obj, world: World) -> list[Action]:
    """The addresses of a LoadBalancer are those of the nodes that are ready."""
    ingress = []
    if get(service, "spec", "type") == "LoadBalancer":
        nodes = sorted(world.list(NODE), key=name)
        usable = [node for node in nodes if is_true(node, "Ready") and not is_simulated(node)]
        ingress = [{"ip": address, "ipMode": "VIP"} for node in usable if (address := _address(node))]
    wanted = {"ingress": ingress} if ingress else {}
    if get(service, "status", "loadBalancer", default={}) == wanted:
        return []
    status = {**(service.get("status") or {}), "loadBalancer": wanted}
    return [Status(Ref.of(service), status, uid(service))]


def _address(node: Obj) -> str:
    entries = get(node, "status", "addresses", default=())
    return next((str(entry["address"]) for entry in entries if entry.get("type") == "InternalIP"), "")


# --- what is not right -------------------------------------------------------------------------------------------


def _warnings(service: Obj, services: list[Obj], pods: list[Obj], now: float) -> tuple[list[Emit], float | None]:
    """What its user has to know, and the seconds after which there may be more."""
    said = []
    for (address, protocol, port), other in allocation.clashes(service, services):
        who = f"service {namespace(other)}/{name(other)}"
        if not protocol:
            text = f"Cluster IP {address} is already allocated to {who}; delete this service and let it choose another"
            said.append(_warn(service, "ClusterIPAlreadyAllocated", text))
        else:
            where = f"{protocol} port {port} of {'the nodes' if address == 'node' else address}"
            text = f"{where} is already taken by {who}; this service is not reached there"
            said.append(_warn(service, "PortAlreadyAllocated", text))
    if pods or not _selects(service):
        return said, None
    left = epoch(meta(service).get("creationTimestamp")) + PATIENCE - now
    if left > 0:
        return said, left
    text = f"no pod of namespace {namespace(service)} has the labels of its selector: {_selector(service, now)}"
    return [*said, _warn(service, "NothingSelected", text)], None


def _untold(service: Obj, warnings: list[Emit], world: World) -> list[Emit]:
    """Without what was said before: every change of a pod would count it once more."""
    if not warnings:
        return []
    events = world.list(EVENT, namespace(service))
    told = {get(one, "message") for one in events if get(one, "involvedObject", "uid") == uid(service)}
    return [warning for warning in warnings if warning.message not in told]


# --- what wakes it -----------------------------------------------------------------------------------------------


def _of_pod(pod: Obj, world: World) -> Iterable[Ref]:
    """The services that select a pod."""
    found = labels(pod).items()
    return [
        Ref.of(service)
        for service in world.list(SERVICE, namespace(pod))
        if (selector := service["spec"].get("selector")) and selector.items() <= found
    ]


def _of_slice(slice_: Obj, world: World) -> Iterable[Ref]:
    ref = Ref(SERVICE, namespace(slice_), endpoints.service_of(slice_))
    service = world.get(ref)
    return [ref] if service is not None and controlled_by(slice_, service) else ()


def _of_node(node: Obj, world: World) -> Iterable[Ref]:
    found = world.list(SERVICE)
    return [Ref.of(service) for service in found if get(service, "spec", "type") == "LoadBalancer"]


def _of_service(service: Obj, world: World) -> Iterable[Ref]:
    """Those that could not have what a service that is gone had."""
    if world.get(Ref.of(service)) is not None:
        return ()
    return [Ref.of(other) for other in world.list(SERVICE) if not get(other, "spec", "clusterIP")]


# --- columns -----------------------------------------------------------------------------------------------------


def _cluster_ip(service: Obj, now: float) -> str:
    return str(get(service, "spec", "clusterIP") or "<none>")


def _external(service: Obj, now: float) -> str:
    """As kubectl's printer has it (pkg/printers/internalversion, getServiceExternalIP)."""
    spec, outside = service.get("spec") or {}, get(service, "spec", "externalIPs", default=[])
    type_ = spec.get("type")
    if type_ == "ExternalName":
        return str(spec.get("externalName", ""))
    if type_ == "LoadBalancer":
        ingress = get(service, "status", "loadBalancer", "ingress", default=())
        found = [entry.get("ip") or entry.get("hostname") or "" for entry in ingress]
        return ",".join([*found, *outside]) or "<pending>"
    return ",".join(outside) or "<none>"


def _shown_ports(service: Obj, now: float) -> str:
    texts = []
    for port in ports_of(service):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or "<none>"


def selects(service: Obj) -> Selector | None:
    """The pods that `logs svc/web` chooses from."""
    labels_ = get(service, "spec", "selector")
    return from_label_selector({"matchLabels": labels_}) if labels_ else None


def _selector(service: Obj, now: float) -> str:
    selector = get(service, "spec", "selector", default={})
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items())) or "<none>"


# --- describe -------------------------------------------------------------------------------------------------------


def describe(obj: Obj, world: World, now: float) -> Description:
    """As kubectl has it (k8s.io/kubectl/pkg/describe, describeService)."""
    sheet = Description()
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


def _service_port(sheet: Description, port: Obj, slices: list[Obj]) -> None:
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


KIND = Kind(
    Names("", "Service", "services", short=("svc",), categories=("all",)),
    (Version("v1", SCHEMA),),
    rules=Rules(default=default_service, validate=validate_service, taken=taken),
    looks=Looks(
        columns=(
            NAME,
            Column("TYPE", lambda obj, now: str(get(obj, "spec", "type", default=""))),
            Column("CLUSTER-IP", _cluster_ip),
            Column("EXTERNAL-IP", _external),
            Column("PORT(S)", _shown_ports),
            AGE,
            Column("SELECTOR", _selector, wide=True),
        ),
        describe=describe,
        beside=(ENDPOINT_SLICE,),
    ),
    controller=Controller(
        watches=(
            Watch(POD, _of_pod),
            Watch(ENDPOINT_SLICE, _of_slice),
            Watch(NODE, _of_node),
            Watch(SERVICE, _of_service),
        ),
        plan=plan,
    ),
    selects=selects,
    subresources=("status",),
    apply_order=30,
)
