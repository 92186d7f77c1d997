"""Endpoints (v1): what EndpointSlices replaced, for people and programs that know it. That of a service with a selector
follows from its slices; one written by hand for a service without a selector is turned into slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ktool.api.action import Action, Create, Delete, Plan, Update
from ktool.api.errors import Cause
from ktool.api.kind import Column, Controller, Kind, Looks, Names, Rules, Version, Watch
from ktool.api.marks import SKIP_MIRROR
from ktool.api.obj import Obj, deleting, get, labels, meta, name, namespace, uid
from ktool.api.ref import ENDPOINT_SLICE, ENDPOINTS, SERVICE, Ref
from ktool.api.rules import names
from ktool.api.shapes.build import array, choice, integer, obj, string
from ktool.api.shapes.container import PORT
from ktool.api.shapes.meta import OBJECT_REFERENCE, resource
from ktool.api.shapes.service import APP_PROTOCOL, PROTOCOLS, usable_address
from ktool.api.world import World
from ktool.logic.network import endpoints, legacyendpoints
from ktool.logic.printercolumns import AGE, NAME

SHOWN = 3

_ADDRESS = obj(
    "One endpoint.",
    {
        "ip": string("Its address.", required=True),
        "hostname": string("Its name below the service's."),
        "nodeName": string("The node it is on."),
        "targetRef": OBJECT_REFERENCE,
    },
)
_PORT = obj(
    "One port of every endpoint of the subset.",
    {
        "name": string("Name of the service's port."),
        "port": integer("Where the endpoint listens.", required=True, **PORT),
        "protocol": choice("Transport protocol.", *PROTOCOLS, default="TCP"),
        "appProtocol": APP_PROTOCOL,
    },
)

SCHEMA = resource(
    subsets=array(
        "Endpoints that have the same ports.",
        obj(
            "Addresses and ports.",
            {
                "addresses": array("Those that are ready.", _ADDRESS),
                "notReadyAddresses": array("Those that are not.", _ADDRESS),
                "ports": array("Where they listen.", _PORT),
            },
        ),
    )
)


def validate(found: Obj, old: Obj | None) -> list[Cause]:
    causes: list[Cause] = []
    for index, subset in enumerate(found.get("subsets") or ()):
        causes += _subset(subset, f"subsets[{index}]")
    return causes


def _subset(subset: Obj, path: str) -> Iterator[Cause]:
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        yield Cause(path, "must have `addresses` or `notReadyAddresses`", "FieldValueRequired")
    for member in ("addresses", "notReadyAddresses"):
        for index, address in enumerate(subset.get(member) or ()):
            own = f"{path}.{member}[{index}]"
            if problem := usable_address(address["ip"]):
                yield Cause(f"{own}.ip", f'"{address["ip"]}" {problem}')
            for key, rule in (("hostname", names.dns_label), ("nodeName", names.dns_subdomain)):
                if (text := address.get(key)) and (problem := rule(text)):
                    yield Cause(f"{own}.{key}", f'"{text}" {problem}')
    ports = subset.get("ports") or []
    for index, port in enumerate(ports):
        own = port.get("name") or ""
        if not own and len(ports) > 1:
            yield Cause(
                f"{path}.ports[{index}].name", "is required where there are several ports", "FieldValueRequired"
            )
        if own and (problem := names.dns_label(own)):
            yield Cause(f"{path}.ports[{index}].name", f'"{own}" {problem}')


# --- the controller ----------------------------------------------------------------------------------------------


def plan(found: Obj, world: World, now: float) -> Plan:
    """Mirror what was written by hand; end what shows slices that are gone."""
    if deleting(found):
        return Plan(because="being deleted")
    service = world.get(Ref(SERVICE, namespace(found), name(found)))
    if legacyendpoints.is_ours(found):
        if service is not None and endpoints.kept_for(service, world.owned(uid(service), ENDPOINT_SLICE)):
            return Plan(because="it is kept with the slices of its service")
        return Plan((Delete(Ref.of(found), uid(found)),))
    wanted = {name(one): one for one in legacyendpoints.mirrored(found)} if _mirrors(found, service) else {}
    present = {name(one): one for one in world.owned(uid(found), ENDPOINT_SLICE)}
    actions: list[Action] = []
    for own, slice_ in wanted.items():
        before = present.pop(own, None)
        if before is None:
            actions.append(Create(slice_))
        elif any(before.get(key) != slice_[key] for key in ("endpoints", "ports")) or labels(before) != labels(slice_):
            metadata = {**meta(before), "labels": labels(slice_)}
            actions.append(Update({**slice_, "metadata": metadata}))
    actions += [Delete(Ref.of(one), uid(one)) for one in present.values()]
    return Plan(tuple(actions), "" if actions else "its slices say the same")


def _mirrors(found: Obj, service: Obj | None) -> bool:
    """Whether the addresses are those of a service whose endpoints nobody else keeps."""
    if service is None or get(service, "spec", "selector"):
        return False
    return labels(found).get(SKIP_MIRROR) != "true"


def _of_service(service: Obj, world: World) -> Iterable[Ref]:
    return [Ref(ENDPOINTS, namespace(service), name(service))]


def _of_slice(slice_: Obj, world: World) -> Iterable[Ref]:
    return [Ref(ENDPOINTS, namespace(slice_), endpoints.service_of(slice_))]


# --- columns -----------------------------------------------------------------------------------------------------


def _endpoints(found: Obj, now: float) -> str:
    """As kubectl's printer has it (pkg/printers/internalversion, formatEndpoints)."""
    texts: list[str] = []
    for subset in found.get("subsets") or ():
        addresses = [address["ip"] for address in subset.get("addresses") or ()]
        ports = [port["port"] for port in subset.get("ports") or ()]
        texts += [f"{ip}:{port}" for port in ports for ip in addresses] if ports else addresses
    more = f" + {len(texts) - SHOWN} more..." if len(texts) > SHOWN else ""
    return ",".join(texts[:SHOWN]) + more or "<none>"


KIND = Kind(
    Names("", "Endpoints", "endpoints", short=("ep",)),
    (Version("v1", SCHEMA),),
    rules=Rules(validate=validate),
    looks=Looks(
        columns=(
            NAME,
            Column("ENDPOINTS", _endpoints),
            AGE,
        )
    ),
    controller=Controller(watches=(Watch(SERVICE, _of_service), Watch(ENDPOINT_SLICE, _of_slice)), plan=plan),
    apply_order=30,
)
