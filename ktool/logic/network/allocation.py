"""Allocation of cluster IPs and node ports: which Service gets an address or port, and which one came too late.

kinds/service calls it. An address is derived from the service's name, so the same service gets the same one again
wherever it is free, and two control planes that plan on one World agree. A part of each range is left for explicit
requests (kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from ktool.api.marks import SERVICE_CIDR
from ktool.api.obj import Obj, get, meta, name, namespace, uid
from ktool.api.shapes.service import NODE_PORTS, is_exposed, is_external_name, is_headless, ports_of

CHOSEN_ADDRESSES, CHOSEN_PORTS = 256, 86
"""The static band at the beginning of each range: allocated only when nothing else is left."""

Claim = tuple[str, str, int]
"""(address, protocol, port). The address "node" means every address of every node; port 0, protocol "" the whole
address."""


class Exhausted(Exception):
    """No free address or port is left; the message is a sentence."""


def claims(service: Obj) -> Iterator[Claim]:
    """The cluster IPs and node ports that a service uses."""
    if is_external_name(service):
        return
    address = get(service, "spec", "clusterIP", default="")
    if address and not is_headless(service):
        yield (address, "", 0)
    for port in ports_of(service):
        protocol = str(port.get("protocol", "TCP"))
        if is_exposed(service) and port.get("nodePort"):
            yield ("node", protocol, port["nodePort"])
        if get(service, "spec", "type") == "LoadBalancer":
            yield ("node", protocol, port["port"])
        for external in get(service, "spec", "externalIPs", default=()):
            yield (external, protocol, port["port"])


def holders(services: Iterable[Obj]) -> dict[Claim, str]:
    """Claim -> uid of its holder, the oldest service that has it."""
    found: dict[Claim, str] = {}
    for service in sorted(services, key=seniority):
        for claim in claims(service):
            found.setdefault(claim, uid(service))
    return found


def seniority(service: Obj) -> tuple[str, str, str]:
    return str(meta(service).get("creationTimestamp", "")), namespace(service), name(service)


def clashes(service: Obj, services: Iterable[Obj]) -> list[tuple[Claim, Obj]]:
    """The claims of a service that an older one holds, each with that service."""
    own = set(claims(service))
    if not own:
        return []
    found: dict[Claim, Obj] = {}
    mine, when = uid(service), seniority(service)
    address, outside = service["spec"].get("clusterIP"), _is_outside(service["spec"])
    for other in services:
        spec = other["spec"]  # thousands of others, of which next to none has anything in common with this one
        if spec.get("clusterIP") != address and not (outside and _is_outside(spec)):
            continue
        if uid(other) == mine or seniority(other) > when:
            continue
        for claim in claims(other):
            if claim in own:
                found.setdefault(claim, other)
    return sorted(found.items(), key=lambda pair: pair[0])


def _is_outside(spec: Obj) -> bool:
    return spec.get("type", "ClusterIP") != "ClusterIP" or bool(spec.get("externalIPs"))


# --- giving ------------------------------------------------------------------------------------------------------


def address_for(service: Obj, services: Iterable[Obj]) -> str:
    """A free cluster IP for a service. Raises Exhausted."""
    taken = {get(other, "spec", "clusterIP", default="") for other in services}
    first = int(SERVICE_CIDR.network_address)
    last = SERVICE_CIDR.num_addresses - 1  # the broadcast address is not given
    key = f"{namespace(service)}/{name(service)}"
    for offset in _tries(key, CHOSEN_ADDRESSES + 1, last, 11):
        if (address := str(IPv4Address(first + offset))) not in taken:
            return address
    raise Exhausted(f"all addresses of {SERVICE_CIDR} are taken; delete services that nobody needs")


def node_port_for(service: Obj, port: Obj, taken: set[tuple[str, int]]) -> int:
    """A free node port for one port of a service; `taken` are the (protocol, port) of all others. Raises Exhausted."""
    protocol = str(port.get("protocol", "TCP"))
    key = f"{namespace(service)}/{name(service)}/{port['port']}"  # one number for both protocols of a port
    for number in _tries(key, NODE_PORTS.start + CHOSEN_PORTS, NODE_PORTS.stop, NODE_PORTS.start):
        if (protocol, number) not in taken:
            return number
    raise Exhausted(f"all node ports from {NODE_PORTS.start} to {NODE_PORTS.stop - 1} are taken")


def node_ports_taken(services: Iterable[Obj]) -> set[tuple[str, int]]:
    return {
        (str(port.get("protocol", "TCP")), port["nodePort"])
        for service in services
        if is_exposed(service)
        for port in ports_of(service)
        if port.get("nodePort")
    }


def _tries(key: str, first: int, end: int, lower: int) -> Iterator[int]:
    """Candidates in order: every number from `first` to `end` once, starting at the key's hash, then those from `lower`
    on."""
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % (end - first)
    yield from range(first + start, end)
    yield from range(first, first + start)
    yield from range(lower, first)
