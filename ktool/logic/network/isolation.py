"""NetworkPolicy resolution: the pods that policies isolate, and what is allowed to and from them, as addresses and
ports.

nodeplane/netview calls it; logic/network/policy renders the result. Source:
kubernetes.io/docs/concepts/services-networking/network-policies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from ktool.api.marks import CLUSTER_DNS
from ktool.api.obj import Obj, get, labels, name, namespace, uid
from ktool.api.pod import app_containers, finished, node_of
from ktool.api.selector import EVERYTHING, Selector, from_label_selector
from ktool.api.shapes.networkpolicy import EGRESS, INGRESS, cidr
from ktool.api.shapes.service import PROTOCOLS
from ktool.logic.network.policy import EVERY_PORT, EVERYBODY, Isolated, Openings, Peers, Ports, merged


@dataclass(frozen=True, eq=False)
class _Pod:
    uid: str
    node: str
    address: int
    ports: tuple[tuple[str, str, int], ...]
    """(name, protocol, number) of its containers' named ports."""


DNS_NAMESPACE, DNS_LABELS = "kube-system", {"k8s-app": "kube-dns"}
_DNS = _Pod("", "", int(CLUSTER_DNS), (("dns", "UDP", 53), ("dns-tcp", "TCP", 53)))
"""Our DNS server as policies know it: a pod of the Deployment coredns, with the labels that kubeadm gives it."""


def isolated(
    policies: Iterable[Obj], pods: Iterable[Obj], namespaces: Iterable[Obj], held: Mapping[str, str]
) -> dict[str, list[Isolated]]:
    """Node -> its isolated pods, with what all policies together allow. `held`: pod uid -> its reserved address, known
    before the pod's status has it."""
    scene = _Scene(pods, namespaces, held)
    for policy in sorted(policies, key=lambda one: (namespace(one), name(one))):
        scene.add(policy)
    return scene.result()


def address_of(pod: Obj, held: Mapping[str, str]) -> str:
    """The pod's own address; "" where it has none: not allocated yet, ended, or on the host network."""
    if get(pod, "spec", "hostNetwork") or finished(pod):
        return ""
    return held.get(uid(pod)) or str(get(pod, "status", "podIP", default=""))


def concern(pod: Obj, held: Mapping[str, str]) -> object:
    """The fields of a pod that rules depend on. While they are unchanged, so are the rules."""
    own = address_of(pod, held)
    return (own, node_of(pod), labels(pod), _named_ports(pod)) if own else None


class _Scene:
    """All pods by namespace and labels, and the rules collected for them."""

    def __init__(self, pods: Iterable[Obj], namespaces: Iterable[Obj], held: Mapping[str, str]) -> None:
        self.namespaces = {name(one): labels(one) for one in namespaces}
        alike: dict[tuple[str, frozenset[tuple[str, str]]], list[_Pod]] = defaultdict(list)
        alike[DNS_NAMESPACE, frozenset(DNS_LABELS.items())].append(_DNS)
        for pod in pods:
            number = _number(address_of(pod, held))
            if number is not None:
                own = _Pod(uid(pod), node_of(pod), number, _named_ports(pod))
                alike[namespace(pod), frozenset(labels(pod).items())].append(own)
        self.groups: dict[str, list[tuple[dict[str, str], list[_Pod]]]] = defaultdict(list)
        for (space, shared), members in alike.items():
            self.groups[space].append((dict(shared), members))
        self.open: dict[str, dict[_Pod, Openings]] = {INGRESS: {}, EGRESS: {}}
        self.peers = {EVERYBODY.ranges: EVERYBODY}
        self.known: dict[tuple[str, Selector], list[_Pod]] = {}

    def add(self, policy: Obj) -> None:
        own, spec = namespace(policy), policy.get("spec") or {}
        chosen = [pod for pod in self._pods(own, from_label_selector(spec.get("podSelector") or {})) if pod is not _DNS]
        types = spec.get("policyTypes") or ()
        if chosen and INGRESS in types:
            self._ingress(chosen, own, spec.get("ingress") or ())
        if chosen and EGRESS in types:
            openings = [one for rule in spec.get("egress") or () for one in self._egress(own, rule)]
            for pod in chosen:
                self._let(EGRESS, pod, openings)

    def _ingress(self, chosen: list[_Pod], own: str, rules: Iterable[Obj]) -> None:
        peers = [(self._peers(own, rule.get("from") or ()), rule.get("ports") or ()) for rule in rules]
        by_names: dict[object, list[tuple[Peers, Ports]]] = {}
        for pod in chosen:
            if pod.ports not in by_names:
                by_names[pod.ports] = [(who, _ports(ports, pod.ports)) for who, ports in peers]
            self._let(INGRESS, pod, by_names[pod.ports])

    def _egress(self, own: str, rule: Obj) -> Iterator[tuple[Peers, Ports]]:
        """Add the allowances of an egress rule. A named port may be a different number in each destination pod."""
        peers, ports = rule.get("to") or (), rule.get("ports") or ()
        numbered = [port for port in ports if not isinstance(port.get("port"), str)]
        if numbered or not ports:
            yield self._peers(own, peers), _ports(numbered, ())
        by_name = [port for port in ports if isinstance(port.get("port"), str)]
        alike: dict[tuple[tuple[str, str, int], ...], list[_Pod]] = defaultdict(list)
        for pod in self._peer_pods(own, peers) if by_name else ():
            alike[pod.ports].append(pod)
        for named, found in alike.items():
            yield self._one(_addresses(found)), _ports(by_name, named)

    def _let(self, direction: str, pod: _Pod, openings: Iterable[tuple[Peers, Ports]]) -> None:
        """Add an allowance. A selected pod is isolated even where nothing is allowed."""
        found = self.open[direction].setdefault(pod, {})
        for peers, ports in openings:
            if peers.ranges and ports:
                found[peers] = found.get(peers, frozenset()) | ports

    # --- who is meant

    def _peers(self, own: str, peers: Iterable[Obj]) -> Peers:
        if not peers:
            return EVERYBODY
        blocks = [found for peer in peers if peer.get("ipBlock") for found in _block(peer["ipBlock"])]
        return self._one([*_addresses(self._peer_pods(own, peers)), *blocks])

    def _one(self, ranges: Iterable[tuple[int, int]]) -> Peers:
        found = merged(ranges)
        return self.peers.setdefault(found, Peers(found))

    def _peer_pods(self, own: str, peers: Iterable[Obj]) -> list[_Pod]:
        if not peers:
            return [pod for space in [*self.groups] for pod in self._pods(space, EVERYTHING)]
        found: list[_Pod] = []
        for peer in peers:
            wanted, around = peer.get("podSelector"), peer.get("namespaceSelector")
            if around is None and wanted is None:
                continue
            spaces = [own]
            if around is not None:
                selected = from_label_selector(around)
                spaces = [space for space in self.groups if selected.matches(self.namespaces.get(space))]
            selector = from_label_selector(wanted or {})
            found += [pod for space in spaces for pod in self._pods(space, selector)]
        return found

    def _pods(self, space: str, selector: Selector) -> list[_Pod]:
        key = (space, selector)
        if key not in self.known:
            groups = self.groups.get(space, ())
            self.known[key] = [pod for shared, members in groups if selector.matches(shared) for pod in members]
        return self.known[key]

    def result(self) -> dict[str, list[Isolated]]:
        found: dict[str, list[Isolated]] = defaultdict(list)
        ingress, egress = self.open[INGRESS], self.open[EGRESS]
        for pod in sorted({*ingress, *egress}, key=lambda pod: (pod.address, pod.uid)):
            found[pod.node].append(Isolated(pod.uid, pod.address, ingress.get(pod), egress.get(pod)))
        return found


def _named_ports(pod: Obj) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (port["name"], port.get("protocol", "TCP"), port["containerPort"])
        for container in app_containers(pod)
        for port in container.get("ports") or ()
        if port.get("name")
    )


def _ports(ports: Iterable[Obj], named: Iterable[tuple[str, str, int]]) -> Ports:
    """The ports of a pod that these NetworkPolicyPorts allow, with named ports resolved. An empty list allows every
    port."""
    if not ports:
        return EVERY_PORT
    found: set[tuple[str, int, int]] = set()
    for port in ports:
        protocol, number = port.get("protocol", "TCP"), port.get("port")
        if number is None:
            found.add((protocol, 0, 65535))
        elif isinstance(number, str):
            found |= {(protocol, own, own) for word, kind, own in named if (word, kind) == (number, protocol)}
        else:
            found.add((protocol, number, port.get("endPort") or number))
    return frozenset(one for one in found if one[0] in PROTOCOLS and _is_port(one[1]) and _is_port(one[2]))


def _is_port(number: object) -> bool:
    return type(number) is int and 0 <= number <= 65535


@lru_cache(maxsize=65536)
def _number(text: str) -> int | None:
    """An IPv4 address as a number; None for anything else."""
    try:
        return int(IPv4Address(text))
    except ValueError:
        return None


def _addresses(pods: Iterable[_Pod]) -> list[tuple[int, int]]:
    return [(pod.address, pod.address) for pod in pods]


def _block(block: Obj) -> list[tuple[int, int]]:
    """The address ranges of an IPBlock; none for IPv6, as pods have IPv4 addresses only."""
    whole = cidr(block.get("cidr"))
    if not isinstance(whole, IPv4Network):
        return []
    first, last = int(whole.network_address), int(whole.broadcast_address)
    parts = [part for text in block.get("except") or () if isinstance(part := cidr(text), IPv4Network)]
    found = []
    for start, end in merged((int(part.network_address), int(part.broadcast_address)) for part in parts):
        if first < start:
            found.append((first, min(start - 1, last)))
        first = max(first, end + 1)
    return [*found, (first, last)] if first <= last else found
