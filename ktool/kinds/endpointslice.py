"""EndpointSlice (discovery.k8s.io/v1): where a service is answered. The Service's controller keeps those of services
with a selector; the others are written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ktool.api.action import Create, Plan, Update
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Rules, Version, Watch
from ktool.api.obj import (
    Obj,
    controller_of,
    deleting,
    labels,
    meta,
    name,
    namespace,
    uid,
)
from ktool.api.ref import ENDPOINT_SLICE, ENDPOINTS, SERVICE, Ref
from ktool.api.rules import names
from ktool.api.shapes.build import array, boolean, choice, integer, obj, string, string_map, strings
from ktool.api.shapes.container import PORT
from ktool.api.shapes.meta import OBJECT_REFERENCE, resource
from ktool.api.shapes.service import APP_PROTOCOL, PROTOCOLS, usable_address
from ktool.api.world import World
from ktool.logic.network import endpoints, legacyendpoints
from ktool.logic.printercolumns import AGE, NAME

MOST_ENDPOINTS, MOST_PORTS, MOST_ADDRESSES = 1000, 100, 100
MORE = 3

_CONDITIONS = obj(
    "Whether it can be used; what is left out counts as true.",
    {
        "ready": boolean("New connections may be sent there."),
        "serving": boolean("It answers, whether or not it is ending."),
        "terminating": boolean("It is ending."),
    },
)
_ENDPOINT = obj(
    "One endpoint.",
    {
        "addresses": strings("Its addresses, all of which mean the same; ktool uses the first.", required=True),
        "conditions": _CONDITIONS,
        "hostname": string("Its name below the service's."),
        "nodeName": string("The node it is on."),
        "targetRef": OBJECT_REFERENCE,
        "zone": string("The zone it is in.", acted=False),
        "deprecatedTopology": string_map("No longer used by Kubernetes.", acted=False),
        "hints": obj("Who should use it.", {"forZones": strings("Zones.", acted=False)}, acted=False),
    },
)
_PORT = obj(
    "One port of every endpoint.",
    {
        "name": string("Name of the service's port."),
        "protocol": choice("Transport protocol.", *PROTOCOLS, default="TCP"),
        "port": integer("Where the endpoint listens.", **PORT),
        "appProtocol": APP_PROTOCOL,
    },
)

SCHEMA = resource(
    addressType=choice("Kind of the addresses; ktool sends to IPv4 only.", "IPv4", "IPv6", "FQDN", required=True),
    endpoints=array("Who answers.", _ENDPOINT),
    ports=array("Where.", _PORT),
)


def validate(slice_: Obj, old: Obj | None) -> list[Cause]:
    """The rules of discovery/v1; addresses that would lead to a node itself or to nobody are refused."""
    causes = [] if old is None or old.get("addressType") == slice_["addressType"] else [_fixed()]
    endpoints, ports = slice_.get("endpoints") or [], slice_.get("ports") or []
    if len(endpoints) > MOST_ENDPOINTS:
        causes.append(Cause("endpoints", f"must have at most {MOST_ENDPOINTS} items", "FieldValueTooMany"))
    if len(ports) > MOST_PORTS:
        causes.append(Cause("ports", f"must have at most {MOST_PORTS} items", "FieldValueTooMany"))
    for index, endpoint in enumerate(endpoints):
        causes += _endpoint(endpoint, slice_["addressType"], f"endpoints[{index}]")
    seen = set()
    for index, port in enumerate(ports):
        own = port.get("name") or ""
        if own and (problem := names.dns_label(own)):
            causes.append(Cause(f"ports[{index}].name", f'"{own}" {problem}'))
        if own in seen:
            causes.append(Cause(f"ports[{index}].name", f'"{own}" is there twice', "FieldValueDuplicate"))
        seen.add(own)
    return causes


def _fixed() -> Cause:
    return Cause("addressType", "field is immutable; delete the object and create it anew")


def _endpoint(endpoint: Obj, address_type: str, path: str) -> Iterator[Cause]:
    addresses = endpoint.get("addresses") or []
    if not 1 <= len(addresses) <= MOST_ADDRESSES:
        yield Cause(f"{path}.addresses", f"must have 1 to {MOST_ADDRESSES} items, not {len(addresses)}")
    for index, address in enumerate(addresses):
        if problem := _problem(address, address_type):
            yield Cause(f"{path}.addresses[{index}]", f'"{address}" {problem}')
    for member, rule in (("hostname", names.dns_label), ("nodeName", names.dns_subdomain)):
        if (text := endpoint.get(member)) and (problem := rule(text)):
            yield Cause(f"{path}.{member}", f'"{text}" {problem}')


def _problem(address: str, address_type: str) -> str:
    if address_type == "IPv4":
        return usable_address(address)
    return names.dns_subdomain(address) if address_type == "FQDN" else names.ip(address)


# --- the controller ----------------------------------------------------------------------------------------------


def plan(slice_: Obj, world: World, now: float) -> Plan:
    """Show the slices of its service as v1 Endpoints too."""
    service = controller_of(slice_)
    found = world.get(Ref(SERVICE, namespace(slice_), service["name"])) if service else None
    slices = endpoints.kept_for(found, world.owned(uid(found), ENDPOINT_SLICE)) if found is not None else []
    if found is None or deleting(found) or not slices:
        return Plan(because="nobody but its author keeps it")
    wanted = legacyendpoints.endpoints_for(found, slices)
    present = world.get(Ref.of(wanted))
    if present is None:
        return Plan((Create(wanted),))
    if _says(present) == _says(wanted):
        return Plan(because="the Endpoints of its service say the same")
    return Plan((Update({**wanted, "metadata": {**meta(present), **wanted["metadata"]}}),))


def _says(found: Obj) -> tuple[object, ...]:
    return found.get("subsets") or [], labels(found)


def _siblings(slice_: Obj, world: World) -> Iterable[Ref]:
    """The other slices of a service when one of them is gone."""
    if world.get(Ref.of(slice_)) is not None or (owner := controller_of(slice_)) is None:
        return ()
    return [Ref.of(one) for one in world.owned(owner["uid"], ENDPOINT_SLICE)]


def _of_endpoints(found: Obj, world: World) -> Iterable[Ref]:
    """Who puts right what somebody changed."""
    service = world.get(Ref(SERVICE, namespace(found), name(found)))
    return [Ref.of(one) for one in world.owned(uid(service), ENDPOINT_SLICE)[:1]] if service is not None else ()


# --- columns -----------------------------------------------------------------------------------------------------


def _ports(slice_: Obj, now: float) -> str:
    ports = [str(port.get("port") or "*") for port in slice_.get("ports") or ()]
    return _some(ports) or "<unset>"


def _addresses(slice_: Obj, now: float) -> str:
    return _some([address for one in slice_.get("endpoints") or () for address in one["addresses"]]) or "<unset>"


def _some(texts: list[str]) -> str:
    """The first three, and how many more there are, as kubectl has it."""
    more = f" + {len(texts) - MORE} more..." if len(texts) > MORE else ""
    return ",".join(texts[:MORE]) + more


KIND = Kind(
    Names("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    (Version("v1", SCHEMA),),
    rules=Rules(validate=validate),
    looks=Looks(
        columns=(
            NAME,
            Column("ADDRESSTYPE", lambda obj, now: str(obj.get("addressType", ""))),
            Column("PORTS", _ports),
            Column("ENDPOINTS", _addresses),
            AGE,
        )
    ),
    controller=Controller(watches=(Watch(ENDPOINT_SLICE, _siblings), Watch(ENDPOINTS, _of_endpoints)), plan=plan),
    apply_order=30,
)
