"""DNS zone of the cluster: from Services and EndpointSlices to records, and to the configuration of dnsmasq and
unbound.

nodeplane/netview renders it; node/network/nameservers serves it. Sources: Kubernetes DNS-Based Service Discovery 1.1.0
(github.com/kubernetes/dns/blob/master/docs/specification.md); dnsmasq(8); hosts(5). An invalid DNS name or address is
left out and listed in `Zone.refused`: no text of a user reaches the configuration unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from ktool.api.marks import CLUSTER_DNS, POD_CIDR, SERVICE_CIDR, SERVICE_NAME, ZONE_DIRECTORY
from ktool.api.obj import Obj, content_hash, labels, name, namespace
from ktool.api.ref import Ref

DOMAIN = "cluster.local"
SERVER = str(CLUSTER_DNS)
"""The address at which every pod finds the name server of its own node."""
SERVER_NAME = f"kube-dns.kube-system.svc.{DOMAIN}"
TTL = 0
"""TTL of answers in seconds: asking again costs a resolver less than a pod that is gone costs its user. Negative
answers are not cached, because they come without an SOA record (RFC 2308)."""

_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?)*")
_PROTOCOLS = ("tcp", "udp", "sctp")


@dataclass(frozen=True, order=True)
class Record:
    """One resource record: names without the last dot; `type` A, AAAA, PTR, CNAME, SRV or TXT. `data` is the address,
    the name, or for SRV (RFC 2782) "PRIORITY WEIGHT PORT TARGET". The `name` of a PTR is the address itself."""

    name: str
    type: str
    data: str


Aliases = tuple[tuple[str, str], ...]
"""(name, the name it stands for)"""


@dataclass(frozen=True)
class Zone:
    """The configuration of a node's servers. `hosts` is reloaded at SIGHUP, `config` only at a start; `away` maps
    aliases to their targets outside the cluster. `hash` covers all three."""

    hosts: str
    config: str
    hash: str
    away: Aliases = ()
    refused: tuple[str, ...] = ()


def zone(services: Iterable[Obj], slices: Iterable[Obj]) -> Zone:
    """The whole zone for a node's server. Deterministic: the order of the objects does not matter."""
    by_service: dict[tuple[str, str], list[Obj]] = {}
    for piece in slices:
        by_service.setdefault((namespace(piece), labels(piece).get(SERVICE_NAME, "")), []).append(piece)
    records = set(_BUILT_IN)
    refused: list[str] = []
    for service in services:
        try:
            records.update(records_of(service, by_service.get((namespace(service), name(service)), ())))
        except ValueError as error:
            refused.append(f"{Ref.of(service)}: {error}")
    aliases = {record.name: record.data for record in records if record.type == "CNAME"}
    for alias in _circular(aliases):
        refused.append(f"{alias}: an ExternalName that leads back to itself")
        del aliases[alias]
    away = tuple(sorted((alias, aliases[alias]) for alias in aliases if not _inside(_end(alias, aliases))))
    outside = {alias for alias, _ in away}
    kept = {record for record in records if record.type != "CNAME" or record.name in aliases.keys() - outside}
    hosts, config = hosts_text(kept), config_text(kept)
    digest = content_hash([hosts, config, FRONT, away_text(away)], 16)
    return Zone(hosts, config, digest, away, tuple(sorted(refused)))


def _end(alias: str, aliases: Mapping[str, str]) -> str:
    """The final target of an alias whose chain has no loop."""
    while alias in aliases:
        alias = aliases[alias]
    return alias


def _inside(name_: str) -> bool:
    return name_ == DOMAIN or name_.endswith(f".{DOMAIN}")


def _circular(aliases: Mapping[str, str]) -> set[str]:
    """The aliases that lead into a loop: dnsmasq does not start with one."""
    found = set()
    for alias in aliases:
        passed, here = set(), alias
        while here in aliases and here not in passed:
            passed.add(here)
            here = aliases[here]
        if here in passed:
            found.add(alias)
    return found


# --- records -----------------------------------------------------------------------------------------------------


def records_of(service: Obj, slices: Sequence[Obj]) -> list[Record]:
    """The records of one Service with the EndpointSlices that carry its name. Raises ValueError for an invalid name,
    address or port."""
    spec: Obj = service.get("spec") or {}
    domain = domain_name(f"{_label(name(service))}.{_label(namespace(service))}.svc.{DOMAIN}")
    if spec.get("type") == "ExternalName":
        return _external(domain, str(spec.get("externalName") or ""))
    addresses = [str(entry) for entry in spec.get("clusterIPs") or [spec.get("clusterIP")] if entry]
    if addresses and addresses[0] != "None":
        return _of_addresses(domain, addresses, spec.get("ports") or ())
    return _headless(domain, slices) if addresses else []


def _external(domain: str, target: str) -> list[Record]:
    address = _address_or_empty(target)
    if address:
        return [_at(domain, address)]
    return [Record(domain, "CNAME", domain_name(target.lower().removesuffix(".")))]


def _of_addresses(domain: str, addresses: Sequence[str], ports: Sequence[Obj]) -> list[Record]:
    found = []
    for text in addresses:
        found += [_at(domain, address(text)), Record(address(text), "PTR", domain)]
    return found + [_srv(domain, port, domain) for port in ports if port.get("name")]


def _headless(domain: str, slices: Sequence[Obj]) -> list[Record]:
    """Records of a headless service: an address for each ready endpoint, and a name of its own: its hostname, or its
    address with dashes."""
    found = []
    for piece in slices:
        if piece.get("addressType") == "FQDN":
            continue  # the specification knows no record for these
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for text in endpoint.get("addresses") or ():
                own = address(str(text))
                label = str(endpoint.get("hostname") or re.sub(r"[.:]+", "-", own).strip("-"))
                host = domain_name(f"{_label(label)}.{domain}")
                found += [_at(domain, own), _at(host, own), Record(own, "PTR", host)]
                found += [_srv(domain, port, host) for port in piece.get("ports") or () if port.get("name")]
    return found


def _at(domain: str, own: str) -> Record:
    return Record(domain, "AAAA" if ":" in own else "A", own)


def _srv(domain: str, port: Obj, target: str) -> Record:
    protocol, number = str(port.get("protocol") or "TCP").lower(), port.get("port")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"{protocol!r} is not a protocol")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 65536:
        raise ValueError(f"{number!r} is not a port")
    own = domain_name(f"_{_label(str(port['name']))}._{protocol}.{domain}")
    return Record(own, "SRV", f"0 100 {number} {target}")


# --- what may stand in a line ------------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def domain_name(text: str) -> str:
    """The text itself. Raises ValueError unless it is a lower-case DNS name (RFC 1035; `_` as in RFC 2782)."""
    if len(text) > 253 or not _NAME.fullmatch(text):
        raise ValueError(f"{text[:64]!r} is not a DNS name")
    return text


def _label(text: str) -> str:
    if "." in text:
        raise ValueError(f"{text[:64]!r} is not a DNS label")
    return domain_name(text)


@lru_cache(maxsize=65536)
def address(text: str) -> str:
    """An address in canonical form. Raises ValueError for an invalid one, also with a zone (%eth0)."""
    if "%" in text:
        raise ValueError(f"{text[:64]!r} is not an address")
    return str(ip_address(text))


def _address_or_empty(text: str) -> str:
    try:
        return address(text)
    except ValueError:
        return ""


# --- dnsmasq -----------------------------------------------------------------------------------------------------

_BUILT_IN = (
    Record(SERVER_NAME, "A", SERVER),
    Record(SERVER, "PTR", SERVER_NAME),
    Record(f"dns-version.{DOMAIN}", "TXT", "1.1.0"),
)
_LOCAL = (
    DOMAIN,
    *(f"{'.'.join(reversed(cidr.split('.')[:2]))}.in-addr.arpa" for cidr in (str(SERVICE_CIDR), POD_CIDR)),
)
_OPTIONS = (
    f"listen-address={SERVER}",
    "bind-interfaces",
    "no-hosts",
    "no-resolv",
    "pid-file=",
    f"addn-hosts={ZONE_DIRECTORY}/hosts",
    f"local-ttl={TTL}",
    "cache-size=10000",
    *(f"local=/{domain}/" for domain in _LOCAL),
)
FRONT = "\n".join(
    (
        f"listen-address={SERVER}",
        "port=53",
        "bind-interfaces",
        "no-hosts",
        f"pid-file={ZONE_DIRECTORY}/pid",
        "resolv-file=/etc/resolv.conf",  # the node's own servers, followed as that file changes
        f"servers-file={ZONE_DIRECTORY}/servers",
        "strict-order",
        "cache-size=10000",
        "dns-forward-max=1000",
        "",
    )
)
"""Configuration of the server that pods query. It forwards the cluster's names to another one: dnsmasq reads new SRV
and CNAME records at a start only, and this way a new one can start before the old one ends."""


def servers_text(port: int, before: int, away: Aliases = ()) -> str:
    """The servers-file of FRONT, reloaded at SIGHUP: the server of the cluster's names, and the previous one. dnsmasq
    accepts an outstanding answer of the previous one only while it is on the list."""
    lines = [f"server=/{domain}/{SERVER}#{each}\n" for domain in _LOCAL for each in (port, before)]
    return "".join([*lines, *(f"server=/{domain_name(alias)}/{SERVER}#{AWAY_PORT}\n" for alias, _ in away)])


# --- unbound -----------------------------------------------------------------------------------------------------

AWAY_PORT = 5303
"""Address of the server for aliases that lead out of the cluster."""

_AWAY_OPTIONS = (
    "server:",
    f"  interface: {SERVER}@{AWAY_PORT}",
    f"  access-control: {SERVER}/32 allow",
    '  username: "nobody"',
    '  chroot: ""',
    '  pidfile: ""',
    f'  directory: "{ZONE_DIRECTORY}"',
    "  use-syslog: no",
    '  logfile: ""',
    "  module-config: iterator",
    "  do-not-query-localhost: no",
    "  do-ip6: no",
    "  num-threads: 1",
    "  msg-cache-size: 1m",
    "  rrset-cache-size: 1m",
    "  outgoing-range: 256",
)
_AWAY_UPSTREAM = ("forward-zone:", '  name: "."', f"  forward-addr: {SERVER}@53", "  forward-no-cache: yes")


def away_text(away: Aliases) -> str:
    """unbound's configuration; "" where none is needed. dnsmasq answers an alias only together with a target it knows
    itself, so another server has to follow those that lead out: it asks FRONT for their targets. A zone of the type
    redirect is the one whose CNAME unbound follows (unbound.conf(5), local-zone)."""
    if not away:
        return ""
    zones = []
    for alias, target in away:
        zones.append(f'  local-zone: "{domain_name(alias)}." redirect')
        zones.append(f'  local-data: "{domain_name(alias)}. {TTL} IN CNAME {domain_name(target)}."')
    return "\n".join([*_AWAY_OPTIONS, *zones, *_AWAY_UPSTREAM, ""])


def hosts_text(records: Iterable[Record]) -> str:
    """The A, AAAA and PTR records as hosts(5). dnsmasq answers a PTR question with the first name an address has."""
    names: dict[str, set[str]] = {}
    first: dict[str, str] = {}
    for record in records:
        if record.type in ("A", "AAAA"):
            names.setdefault(address(record.data), set()).add(domain_name(record.name))
        elif record.type == "PTR":
            own, target = address(record.name), domain_name(record.data)
            names.setdefault(own, set()).add(target)
            first[own] = min(first.get(own, target), target)
    lines = []
    for own in sorted(names):
        ordered = sorted(names[own], key=lambda text: (text != first.get(own), text))
        lines += [f"{own} {text}\n" for text in ordered]
    return "".join(lines)


def config_text(records: Iterable[Record]) -> str:
    """dnsmasq's configuration: its options, and the records it takes from nowhere else."""
    lines = list(_OPTIONS)
    for record in sorted(records):
        own = record.name
        match record.type:
            case "CNAME":
                lines.append(f"cname={domain_name(own)},{domain_name(record.data)},{TTL}")
            case "SRV":
                priority, weight, port, target = record.data.split(" ")
                lines.append(
                    f"srv-host={domain_name(own)},{domain_name(target)},{int(port)},{int(priority)},{int(weight)}"
                )
            case "TXT":
                if not re.fullmatch(r"[0-9A-Za-z._-]+", record.data):
                    raise ValueError(f"{record.data!r} is not a text for a TXT record")
                lines.append(f"txt-record={domain_name(own)},{record.data}")
    return "\n".join([*lines, ""])
