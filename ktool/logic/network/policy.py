"""NetworkPolicy rules: from the resolved policies (logic/network/isolation) to the nftables rules of one node.

nodeplane/netview renders it; node/network/nftables sets it. One table, `ip ktool-pol`, on nodes with an isolated pod;
none elsewhere. A new connection costs one lookup by the pod's address at each end, in a verdict map; it leads to a
chain that pods with the same rules share, and a rule there compares addresses by one lookup in a set of intervals. It
applies after the services' rules (logic/network/balance) have chosen an endpoint, so both ends are pods' own addresses.
What is not allowed is dropped, as by most of Kubernetes' network plugins.

Source: kubernetes.io/docs/concepts/services-networking/network-policies. Always allowed: replies, a pod to itself, and
traffic between a pod and its own node, which is why only forwarded packets are filtered. The one exception is the
cluster's DNS server: here it runs on the node, in Kubernetes it is a pod, and policies name it as one.

The text contains only numbers and addresses: names of chains and sets derive from their content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ktool.api.marks import CLUSTER_DNS
from ktool.logic.network.balance import HASH_HERE

TABLE = "ktool-pol"
FORMAT = "format-1"
"""An empty chain that says how the table is made up: one of another format is removed, not changed."""

Ranges = tuple[tuple[int, int], ...]
"""Addresses as numbers, first and last of each range, in order and apart from each other."""
Ports = frozenset[tuple[str, int, int]]
"""(protocol, first, last)."""
EVERY_PORT: Ports = frozenset({("ANY", 0, 65535)})


@dataclass(frozen=True, eq=False)
class Peers:
    """An interned set of addresses."""

    ranges: Ranges

    @cached_property
    def elements(self) -> str:
        return _joined(
            _address(first) if first == last else f"{_address(first)}-{_address(last)}" for first, last in self.ranges
        )

    @cached_property
    def label(self) -> str:
        """The name of its nftables set."""
        return f"peers-{_digest(self.elements)}"


EVERYBODY = Peers(((0, 2**32 - 1),))
Openings = dict[Peers, Ports]


@dataclass(frozen=True)
class Isolated:
    """An isolated pod and what is allowed for it; None for a direction that no policy restricts."""

    uid: str
    address: int
    ingress: Openings | None
    egress: Openings | None


@dataclass(frozen=True)
class Policies:
    """The table as text and its hash; both "" for no table. `pods`: the uids of the isolated pods."""

    text: str
    hash: str
    pods: frozenset[str]


def render(pods: Iterable[Isolated]) -> Policies:
    """The table for the node of these pods."""
    table = _Table()
    for pod in pods:
        table.add(pod)
    if not table.guarded:
        return Policies("", "", frozenset())
    body = table.text()
    digest = _digest(body)
    return Policies(body.replace(HASH_HERE, digest, 1), digest, frozenset(table.guarded))


_HEAD = f"""table ip {TABLE} {{
    chain {FORMAT} {{
    }}
    chain identity {{
        return comment "{HASH_HERE}"
    }}
"""

# An accept ends the chain of its hook only: what one end may send, the other one still has to let in.
_BASE = f"""    chain forward-egress {{
        type filter hook forward priority -5; policy accept;
        ct state established,related accept
        ip saddr . ip daddr @self accept
        ip saddr vmap @egress
    }}
    chain forward-ingress {{
        type filter hook forward priority -4; policy accept;
        ct state established,related accept
        ip saddr . ip daddr @self accept
        ip daddr vmap @ingress
    }}
    chain input-dns {{
        type filter hook input priority -5; policy accept;
        ct state established,related accept
        ip daddr {CLUSTER_DNS} ip saddr vmap @egress
    }}
}}
"""


class _Table:
    """The table under construction: its sets and chains by content, and the elements of its maps."""

    def __init__(self) -> None:
        self.guarded: list[str] = []
        self.sets: dict[str, str] = {}
        self.chains: dict[str, str] = {}
        self.verdicts: dict[str, dict[str, str]] = {"ingress": {}, "egress": {}}
        self.known: dict[object, str] = {}

    def add(self, pod: Isolated) -> None:
        own, guarded = _address(pod.address), False
        for word, opened in (("ingress", pod.ingress), ("egress", pod.egress)):
            if opened is not None and (verdict := self._verdict(word, opened)):
                self.verdicts[word][own] = verdict
                guarded = True
        if guarded:
            self.guarded.append(pod.uid)

    def _verdict(self, word: str, opened: Openings) -> str:
        """The verdict for a pod's address in one direction; "" where everything is allowed."""
        key = (word, frozenset(opened.items()))
        if key not in self.known:
            self.known[key] = self._chain(word, opened)
        return self.known[key]

    def _chain(self, word: str, opened: Openings) -> str:
        if opened.get(EVERYBODY, frozenset()) & EVERY_PORT:
            return ""
        if not opened:
            return "drop"
        end = "saddr" if word == "ingress" else "daddr"
        lines = sorted({line for peers, ports in opened.items() for line in self._rules(peers, ports, end)})
        body = "".join(f"        {line}\n" for line in [*lines, "drop"])
        chain = f"{word}-{_digest(body)}"
        self.chains[chain] = f"    chain {chain} {{\n{body}    }}\n"
        return f"goto {chain}"

    def _rules(self, peers: Peers, ports: Ports, end: str) -> Iterator[str]:
        who = "" if peers is EVERYBODY else f"ip {end} @{self._set(peers)} "
        if ports & EVERY_PORT:
            yield f"{who}accept"
            return
        for protocol in sorted({one[0] for one in ports}):
            spans = merged((first, last) for kind, first, last in ports if kind == protocol)
            word = protocol.lower()
            if spans == ((0, 65535),):
                yield f"{who}meta l4proto {word} accept"
            else:
                shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
                yield f"{who}{word} dport {{ {shown} }} accept"

    def _set(self, peers: Peers) -> str:
        if peers.label not in self.sets:
            self.sets[peers.label] = _filled(f"set {peers.label}", "type ipv4_addr; flags interval;", peers.elements)
        return peers.label

    def text(self) -> str:
        parts = [_HEAD, *(text for kind in (self.sets, self.chains) for _, text in sorted(kind.items()))]
        for word, verdicts in self.verdicts.items():
            shown = _joined(f"{address} : {verdict}" for address, verdict in verdicts.items())
            parts.append(_filled(f"map {word}", "type ipv4_addr : verdict;", shown))
        both = self.verdicts["ingress"] | self.verdicts["egress"]
        parts.append(_filled("set self", "type ipv4_addr . ipv4_addr;", _joined(f"{own} . {own}" for own in both)))
        return "".join([*parts, _BASE])


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers in the fewest ranges."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _address(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _joined(elements: Iterable[str]) -> str:
    return ",\n            ".join(elements)


def _filled(what: str, type_: str, elements: str) -> str:
    filled = f"        elements = {{\n            {elements}\n        }}\n" if elements else ""
    return f"    {what} {{\n        {type_}\n{filled}    }}\n"
