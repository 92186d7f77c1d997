"""Service load balancing: from Services and EndpointSlices to the nftables rules of one node.

nodeplane/netview renders it; node/network/nftables sets it. One table, `ip ktool-svc`. A packet to a service takes one
lookup in a verdict map, however many services there are; the chain it leads to picks an endpoint, and connection
tracking does the rest (nft(8)). The text contains only addresses, numbers and names that this module has checked: no
field of an object gets into it unchecked.

Source addresses: a pod's is kept everywhere (the rule of node/network/podnetwork keeps it across nodes). A client from
outside keeps its own where the endpoint is on the node it asked; towards another node the connection takes that of the
node, because the answer must come back this way. A pod that reaches itself through its service sees its gateway.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TypeGuard

from ktool.api.marks import CLUSTER_DNS, POD_CIDR, SERVICE_CIDR
from ktool.api.obj import Obj, get, name, namespace, uid
from ktool.api.rules import names
from ktool.api.shapes.service import (
    AFFINITY_SECONDS,
    DAY,
    PROTOCOLS,
    is_exposed,
    is_external_name,
    is_headless,
    ports_of,
)
from ktool.logic.network import allocation, endpoints

TABLE = "ktool-svc"
BRIDGE = "ktool0"
FORMAT = "format-2"
"""An empty chain that says how the table is made up: one of another format is removed, not changed."""

RESET = "after-reset"
"""Connections that a server has reset are forgotten at once, not after ten seconds: while the kernel knows one, a
client that takes the same port again is sent to the pod of before, which has often just ended."""

FACT = "identity"
"""The chain whose only rule carries the hash, by which a node says what it has."""


@dataclass(frozen=True)
class Endpoint:
    address: str
    port: int
    node: str


@dataclass(frozen=True)
class Frontend:
    """One port of one service, validated. `label` names its chains. The (address, port) pairs it listens on: `inside`
    for everybody, `outside` on external addresses, `node_ports` on every node's own addresses."""

    label: str
    protocol: str
    inside: tuple[tuple[str, int], ...]
    outside: tuple[tuple[str, int], ...]
    node_ports: tuple[int, ...]
    backends: tuple[Endpoint, ...]
    affinity: int
    local_inside: bool
    local_outside: bool


@dataclass(frozen=True)
class Rules:
    """The table as text, its hash, and the endpoints that UDP flows may keep (SetRules)."""

    text: str
    hash: str
    flows: Mapping[str, frozenset[str]] = field(default_factory=dict)


# --- from objects ------------------------------------------------------------------------------------------------


def frontends(services: Iterable[Obj], slices: Iterable[Obj]) -> list[Frontend]:
    """Every service port that has an address, in the order of their labels."""
    services = list(services)
    held = allocation.holders(services)
    by_service: dict[tuple[str, str], list[Obj]] = defaultdict(list)
    for slice_ in slices:
        by_service[namespace(slice_), endpoints.service_of(slice_)].append(slice_)
    found = []
    for service in services:
        own = sorted(by_service.get((namespace(service), name(service)), ()), key=name)
        found += list(_of_service(service, own, held))
    return sorted(found, key=lambda one: one.label)


def _of_service(service: Obj, slices: list[Obj], held: Mapping[allocation.Claim, str]) -> Iterator[Frontend]:
    if is_external_name(service) or is_headless(service):
        return
    if names.dns_label(name(service)) or names.dns_label(namespace(service)):
        return
    spec, own = service["spec"], uid(service)
    address = _address(spec.get("clusterIP") or "")
    if not address or held.get((address, "", 0)) != own:
        return
    seconds = get(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds", default=AFFINITY_SECONDS)
    affinity = seconds if spec.get("sessionAffinity") == "ClientIP" and _within(seconds, DAY) else 0
    for port in ports_of(service):
        number, protocol = port.get("port"), port.get("protocol", "TCP")
        if not _within(number, 65535) or protocol not in PROTOCOLS:
            continue
        external = [_address(text) for text in spec.get("externalIPs") or ()]
        candidates = [port.get("nodePort")] if is_exposed(service) else []
        candidates += [number] if spec.get("type") == "LoadBalancer" else []
        yield Frontend(
            label=f"{namespace(service)}/{name(service)}/{protocol.lower()}/{number}",
            protocol=protocol.lower(),
            inside=((address, number),),
            outside=tuple((one, number) for one in external if one and held.get((one, protocol, number)) == own),
            node_ports=tuple(one for one in candidates if _within(one, 65535) and held["node", protocol, one] == own),
            backends=tuple(_backends(slices, port.get("name") or "", protocol)),
            affinity=affinity,
            local_inside=spec.get("internalTrafficPolicy") == "Local",
            local_outside=spec.get("externalTrafficPolicy") == "Local",
        )


def _backends(slices: list[Obj], port_name: str, protocol: str) -> list[Endpoint]:
    """The endpoints for new connections: the ready ones or, if there are none, those that serve while terminating
    (KEP-1669)."""
    chosen: dict[tuple[str, int], Endpoint] = {}
    ending: dict[tuple[str, int], Endpoint] = {}
    for slice_ in slices:
        if slice_.get("addressType") != "IPv4":
            continue
        number = _number(slice_, port_name, protocol)
        for entry in slice_.get("endpoints") or () if number else ():
            address = _address(next(iter(entry.get("addresses") or ()), ""))
            if not address:
                continue
            endpoint = Endpoint(address, number, str(entry.get("nodeName") or ""))
            if endpoints.ready(entry):
                chosen.setdefault((address, number), endpoint)
            elif endpoints.serving_while_ending(entry):
                ending.setdefault((address, number), endpoint)
    return [endpoint for _, endpoint in sorted((chosen or ending).items())]


def _number(slice_: Obj, port_name: str, protocol: str) -> int:
    """The slice's port number for a service port, matched by name; 0 where it has none."""
    for port in slice_.get("ports") or ():
        if (port.get("name") or "") == port_name and port.get("protocol", "TCP") == protocol:
            return int(port["port"]) if _within(port.get("port"), 65535) else 0
    return 0


@lru_cache(maxsize=65536)
def _address(text: object) -> str:
    """An IPv4 address in canonical form; "" for anything else."""
    try:
        return str(IPv4Address(text)) if isinstance(text, str) else ""
    except ValueError:
        return ""


def _within(number: object, most: int) -> TypeGuard[int]:
    return type(number) is int and 1 <= number <= most


# --- to text -----------------------------------------------------------------------------------------------------


def render(found: Iterable[Frontend], node: str, kept_ports: Set[tuple[str, int]] = frozenset()) -> Rules:
    """The table for a node. `kept_ports` are (protocol, port) of the node itself that no service may take from outside:
    its sshd's."""
    table = _Table(node, kept_ports)
    for frontend in found:
        table.add(frontend)
    body = table.text()
    digest = hashlib.sha256(body.encode()).hexdigest()[:16]
    return Rules(body.replace(HASH_HERE, digest, 1), digest, table.flows)


HASH_HERE = "HASH-HERE"

_HEAD = f"""table ip {TABLE} {{
    chain {FORMAT} {{
    }}
    chain {FACT} {{
        return comment "{HASH_HERE}"
    }}
    ct timeout {RESET} {{
        protocol tcp
        l3proto ip
        policy = {{ close : 0 }}
    }}
    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmp type port-unreachable
    }}
"""

_BASE = f"""    chain services {{
        ip daddr . meta l4proto . th dport vmap @svc
        fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @ports
    }}
    chain unanswered {{
        ip daddr . meta l4proto . th dport vmap @no-svc
        fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-ports
        ip daddr {SERVICE_CIDR} ip daddr != {CLUSTER_DNS} goto refuse
    }}
    chain prerouting {{
        type nat hook prerouting priority -110; policy accept;
        jump services
    }}
    chain output {{
        type nat hook output priority -110; policy accept;
        jump services
    }}
    chain postrouting {{
        type nat hook postrouting priority 80; policy accept;
        ct status dnat meta l4proto tcp ct timeout set "{RESET}"
        ip saddr . ip daddr @hairpin masquerade
        ct status dnat ip saddr != {POD_CIDR} oifname != {{ "lo", "{BRIDGE}" }} masquerade
    }}
    chain filter-input {{
        type filter hook input priority -10; policy accept;
        ct state new jump unanswered
    }}
    chain filter-forward {{
        type filter hook forward priority -10; policy accept;
        ct state new jump unanswered
    }}
    chain filter-output {{
        type filter hook output priority -10; policy accept;
        ct state new jump unanswered
    }}
}}
"""

_ADDRESSED, _LOCAL = "typeof ip daddr . meta l4proto . th dport : verdict;", "typeof meta l4proto . th dport : verdict;"
_CLIENTS = "type ipv4_addr; flags dynamic,timeout; timeout"


class _Table:
    """The table of one node under construction: the elements of its maps, and the chains they lead to."""

    def __init__(self, node: str, kept_ports: Set[tuple[str, int]]) -> None:
        self.node, self.kept_ports = node, kept_ports
        self.services: list[str] = []
        self.ports: list[str] = []
        self.no_services: list[str] = []
        self.no_ports: list[str] = []
        self.hairpin: set[str] = set()
        self.clients: dict[str, int] = {}
        self.chains: dict[str, list[str]] = {}
        self.flows: dict[str, frozenset[str]] = {}

    def add(self, one: Frontend) -> None:
        if one.protocol == "udp":
            self._datagrams(one)
        local = tuple(backend for backend in one.backends if backend.node == self.node)
        here = (backend.address for backend in one.backends if backend.node in (self.node, ""))
        self.hairpin |= {f"{address} . {address}" for address in here}
        everywhere = f"svc-{one.label}"
        chain = self._local(one, local) if one.local_inside else self._chain(everywhere, one, one.backends)
        self._lead([f"{address} . {one.protocol} . {port}" for address, port in one.inside], chain)
        outer = [(address, port) for address, port in one.outside if (one.protocol, port) not in self.kept_ports]
        ports = [port for port in one.node_ports if (one.protocol, port) not in self.kept_ports]
        if outer or ports:
            chain = self._chain(everywhere, one, one.backends)
            if one.local_outside and chain:
                chain = self._outside(one, chain, self._local(one, local))
            self._lead([f"{address} . {one.protocol} . {port}" for address, port in outer], chain)
            self._lead([f"{one.protocol} . {port}" for port in ports], chain, own=True)

    def _datagrams(self, one: Frontend) -> None:
        """Record all endpoints of the service for UDP flows: which of them a client may use was decided when its flow
        began."""
        endpoints = frozenset(f"{backend.address}:{backend.port}" for backend in one.backends)
        for address, port in (*one.inside, *one.outside, *(("", port) for port in one.node_ports)):
            self.flows[f"{address}:{port}"] = endpoints

    def _lead(self, keys: list[str], chain: str, own: bool = False) -> None:
        """Map these keys to the chain, or reject them where there is none."""
        answered, unanswered = (self.ports, self.no_ports) if own else (self.services, self.no_services)
        if chain:
            answered += [f"{key} : goto {chain}" for key in keys]
        else:
            unanswered += [f"{key} : goto refuse" for key in keys]

    def _local(self, one: Frontend, local: tuple[Endpoint, ...]) -> str:
        return self._chain(f"near-{one.label}", one, local)

    def _outside(self, one: Frontend, everywhere: str, near: str) -> str:
        """The chain for external connections with externalTrafficPolicy Local: pods and the node itself reach all
        endpoints (kubernetes.io/docs/reference/networking/virtual-ips), others only the node's own, or are rejected."""
        if near:
            lines = [f"ip saddr {POD_CIDR} goto {everywhere}", f"fib saddr type local goto {everywhere}"]
            self.chains[f"ext-{one.label}"] = [*lines, f"goto {near}"]
            return f"ext-{one.label}"
        return ""

    def _chain(self, chain: str, one: Frontend, backends: tuple[Endpoint, ...]) -> str:
        """The chain that picks one of these endpoints; "" for none."""
        if not backends:
            return ""
        if chain not in self.chains:
            if one.affinity:
                self.chains[chain] = self._sticky(one, backends)
            else:
                targets = [f"{backend.address} . {backend.port}" for backend in backends]
                self.chains[chain] = [f"meta l4proto {one.protocol} dnat ip to {_pick('map', targets)}"]
        return chain

    def _sticky(self, one: Frontend, backends: tuple[Endpoint, ...]) -> list[str]:
        """Session affinity: a set of clients for each endpoint, with a timeout. The set's name encodes its definition,
        so an endpoint that stays keeps its clients."""
        lines, targets = [], []
        for backend in backends:
            own = f"{one.label}/{backend.address}/{backend.port}"
            clients, chain = f"aff-{own}/{one.affinity}", f"to-{own}"
            self.clients[clients] = one.affinity
            to = f"meta l4proto {one.protocol} dnat ip to {backend.address}:{backend.port}"
            self.chains[chain] = [f"update @{clients} {{ ip saddr }}", to]
            lines.append(f"ip saddr @{clients} goto {chain}")
            targets.append(f"goto {chain}")
        return [*lines, _pick("vmap", targets)]

    def text(self) -> str:
        parts = [_HEAD]
        parts += [f"    set {name} {{\n        {_CLIENTS} {time}s;\n    }}\n" for name, time in self.clients.items()]
        for chain, lines in self.chains.items():
            rules = "\n        ".join(lines)
            parts.append(f"    chain {chain} {{\n        {rules}\n    }}\n")
        parts.append(_elements("map svc", _ADDRESSED, self.services))
        parts.append(_elements("map ports", _LOCAL, self.ports))
        parts.append(_elements("map no-svc", _ADDRESSED, self.no_services))
        parts.append(_elements("map no-ports", _LOCAL, self.no_ports))
        parts.append(_elements("set hairpin", "type ipv4_addr . ipv4_addr;", sorted(self.hairpin)))
        return "".join([*parts, _BASE])


def _pick(kind: str, targets: list[str]) -> str:
    """One of the targets at random. The closing brace stands in a line of its own: nft 1.0.6 does not read it
    otherwise."""
    numbered = ", ".join(f"{number} : {target}" for number, target in enumerate(targets))
    return f"numgen random mod {len(targets)} {kind} {{ {numbered}\n        }}"


def _elements(what: str, type_: str, elements: list[str]) -> str:
    body = ",\n            ".join(elements)
    filled = f"        elements = {{\n            {body}\n        }}\n" if elements else ""
    return f"    {what} {{\n        {type_}\n{filled}    }}\n"
