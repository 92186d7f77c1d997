"""Links between nodes: the routes and tunnels by which pods of one node reach those of another, for each mode.

    hostgw      a route over the other node's own address; the nodes share a link
    vxlan       a tunnel over UDP port 4789 (RFC 7348); works across routers
    wireguard   the same, encrypted; each node makes its own key and publishes only the public half

nodeplane/netview computes them, node/network/linkdevices sets them. A change of the mode is made pair by pair and
interrupts nothing: a node first gets the device of the new mode and announces it on its Node object (`announced`);
others send by it only then, and by what the node itself uses until then. A device stays for as long as any node may
send by it. So an unreachable node goes on being reached the old way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from ktool.api.marks import MTU, NETWORK, WIREGUARD_KEY, WIREGUARD_PEERS
from ktool.api.obj import Obj, annotations_of, get, name
from ktool.api.ref import CONFIG_MAP, Ref
from ktool.logic.network.nodefields import Other, address_of, is_simulated, others

HOSTGW, VXLAN, WIREGUARD = MODES = ("hostgw", "vxlan", "wireguard")
SETTINGS = Ref(CONFIG_MAP, "kube-system", "ktool-network")
"""Its data.mode is the mode of the cluster; hostgw where there is none."""

VXLAN_DEVICE, WIREGUARD_DEVICE = "ktool-vxlan", "ktool-wg"
DEVICES = {VXLAN_DEVICE: VXLAN, WIREGUARD_DEVICE: WIREGUARD}
VXLAN_PORT, WIREGUARD_PORT = 4789, 51820
OVERHEAD = {VXLAN: 50, WIREGUARD: 80}
"""Bytes that each packet grows by: IPv4, UDP, VXLAN and Ethernet headers; for WireGuard what its own tools reckon."""

ANNOTATIONS = (NETWORK, WIREGUARD_KEY, WIREGUARD_PEERS)

_ETHERNET_MTU, _KEY_LENGTH = 1500, 8
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True)
class Route:
    """A route to a pod subnet. `device` is one of DEVICES, or "" where `via` is the other node itself."""

    subnet: str
    via: str
    device: str = ""

    @property
    def mode(self) -> str:
        return DEVICES.get(self.device, HOSTGW)


@dataclass(frozen=True)
class Vxlan:
    """The VXLAN device: its own `address` and hardware address `mac`, the node's address `local`. `peers` are (address
    of the peer's device, its hardware address, address of the node)."""

    address: str
    local: str
    mac: str
    mtu: int
    peers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class WireGuard:
    """The WireGuard device. `peers` are (public key, address of the node, its pod subnet)."""

    address: str
    mtu: int
    peers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Links:
    """All links of a node, wanted or observed."""

    routes: tuple[Route, ...] = ()
    vxlan: Vxlan | None = None
    wireguard: WireGuard | None = None

    @property
    def hash(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


def mode_of(settings: Obj | None) -> str:
    """The mode in SETTINGS; hostgw for an unknown one (kinds/configmap rejects it)."""
    mode = get(settings, "data", "mode", default=HOSTGW)
    return mode if mode in MODES else HOSTGW


# --- what a node should have -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What a node has announced about its links. `known` is False for a node that was never observed."""

    known: bool
    sends: frozenset[str] = field(default_factory=frozenset)
    takes: frozenset[str] = field(default_factory=frozenset)
    key: str = ""
    peers: frozenset[str] = field(default_factory=frozenset)


def links(node: Obj, nodes: Iterable[Obj], mode: str) -> Links:
    """The links that `node` should have now, in a cluster of this mode."""
    nodes = list(nodes)
    subnet, own = get(node, "spec", "podCIDR", default=""), address_of(node)
    if is_simulated(node) or not (subnet and own):
        return Links()
    peers = others(node, nodes)
    heard = {name(other.node): said(other.node) for other in peers}
    routes = [_route(node, other, heard[name(other.node)], mode) for other in peers]
    found = tuple(route for route in routes if route is not None)
    used = {mode, *(route.mode for route in found)}.union(*(one.sends for one in heard.values()))
    smallest = min([_mtu(node), *(_mtu(other.node) for other in peers)])
    return Links(
        found,
        _vxlan(subnet, own, peers, smallest - OVERHEAD[VXLAN]) if VXLAN in used else None,
        _wireguard(subnet, peers, heard, smallest - OVERHEAD[WIREGUARD]) if WIREGUARD in used else None,
    )


def _route(node: Obj, other: Other, heard: Said, mode: str) -> Route | None:
    """The route to another node: by the cluster's mode if that node accepts it from this one, else by the mode that
    node sends by itself."""
    if not _takes(node, heard, mode):
        mode = next((one for one in MODES if one in heard.sends and one != mode and _takes(node, heard, one)), "")
    if mode == HOSTGW:
        return Route(other.subnet, other.address)
    if mode == VXLAN:
        return Route(other.subnet, device_address(other.subnet), VXLAN_DEVICE)
    return Route(other.subnet, "", WIREGUARD_DEVICE) if mode == WIREGUARD else None


def _takes(node: Obj, heard: Said, mode: str) -> bool:
    if mode == VXLAN:
        return not heard.known or VXLAN in heard.takes
    if mode == WIREGUARD:
        return bool(heard.key) and WIREGUARD in heard.takes and _short(said(node).key) in heard.peers
    return True


def _vxlan(subnet: str, own: str, peers: list[Other], mtu: int) -> Vxlan:
    known = [(device_address(other.subnet), _mac(other.subnet), other.address) for other in peers]
    return Vxlan(device_address(subnet), own, _mac(subnet), mtu, tuple(sorted(known)))


def _wireguard(subnet: str, peers: list[Other], heard: Mapping[str, Said], mtu: int) -> WireGuard:
    known: dict[str, tuple[str, str, str]] = {}
    for other in peers:  # two nodes with one key are one machine's copies: the first has it
        if key := heard[name(other.node)].key:
            known.setdefault(key, (key, other.address, other.subnet))
    return WireGuard(device_address(subnet), mtu, tuple(sorted(known.values())))


def device_address(subnet: str) -> str:
    """The address of a node's tunnel devices: the network address of its pod subnet, which no pod has."""
    return str(ip_network(subnet).network_address)


def _mac(subnet: str) -> str:
    """A hardware address derived from the subnet (IEEE 802, locally administered)."""
    return ":".join(f"{byte:02x}" for byte in (0x0E, 0x4C, *ip_network(subnet).network_address.packed))


def _mtu(node: Obj) -> int:
    text = annotations_of(node).get(MTU, "")
    return int(text) if text.isascii() and text.isdecimal() and 576 <= int(text) <= 65535 else _ETHERNET_MTU


# --- what nodes tell each other ----------------------------------------------------------------------------------


def announced(seen: Links, key: str, met: Set[str]) -> dict[str, str | None]:
    """The annotations with which a node announces its observed links; None for one to be removed. `met`: the WireGuard
    keys of nodes it has had a handshake with."""
    sends = ",".join(sorted({route.mode for route in seen.routes})) or "none"
    takes = [mode for mode, device in ((VXLAN, seen.vxlan), (WIREGUARD, seen.wireguard)) if device]
    peers = [_short(peer) for peer in sorted(met_peers(seen, met))]
    return {
        NETWORK: f"sends={sends} takes={','.join([HOSTGW, *takes])}",
        WIREGUARD_KEY: key or None,
        WIREGUARD_PEERS: ",".join(peers) or None,
    }


def met_peers(seen: Links, met: Set[str]) -> frozenset[str]:
    """The WireGuard keys of peers that the node has had a handshake with."""
    return frozenset(key for key, _, _ in seen.wireguard.peers if key in met) if seen.wireguard else frozenset()


def said(node: Obj) -> Said:
    """The announcement on a Node object."""
    notes = annotations_of(node)
    text = notes.get(NETWORK, "")
    words = dict(word.partition("=")[::2] for word in text.split())
    return Said(
        bool(text),
        frozenset(words.get("sends", "").split(",")) & frozenset(MODES),
        frozenset(words.get("takes", "").split(",")) & frozenset(MODES),
        key if _PUBLIC_KEY.fullmatch(key := notes.get(WIREGUARD_KEY, "")) else "",
        frozenset(notes.get(WIREGUARD_PEERS, "").split(",")) - {""},
    )


def has_switched(node: Obj, nodes: Iterable[Obj], mode: str) -> bool:
    """Whether a node announces this mode alone, with no device of another mode left."""
    heard = said(node)
    sends = {mode} if others(node, nodes) else set()
    return heard.known and heard.sends == sends and heard.takes == {HOSTGW, mode}


def told_of(node: Obj) -> str:
    """The announcement in words."""
    heard = said(node)
    if not heard.known:
        return "has told nothing yet"
    return f"sends by {_listed(heard.sends)} and takes {_listed(heard.takes)}"


def _listed(modes: Iterable[str]) -> str:
    return ", ".join(sorted(modes)) or "nothing"


def _short(key: str) -> str:
    return key[:_KEY_LENGTH]


# --- what differs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A deviation from the wanted links, in words: `what` it is, how it was `found`, and the `repair`."""

    what: str
    found: str
    repair: str


def differences(wanted: Links, have: Links) -> list[Difference]:
    """The deviations of a node's links from the wanted ones."""
    should, now, found = _ways(wanted), _ways(have), []
    for subnet in sorted({**should, **now}):
        via, seen = should.get(subnet, ""), now.get(subnet, "")
        if not via:
            found.append(Difference(f"route {subnet}", f"not wanted (via {seen})", "will be removed"))
        elif via != seen:
            found.append(
                Difference(f"route {subnet}", f"leads to {seen}" if seen else "missing", f"will be set via {via}")
            )
    found += _device_differences(f"device {VXLAN_DEVICE}", wanted.vxlan, have.vxlan, 2)
    return found + _device_differences(f"device {WIREGUARD_DEVICE}", wanted.wireguard, have.wireguard, 1)


def _ways(found: Links) -> dict[str, str]:
    return {route.subnet: route.device or route.via for route in found.routes}


def _device_differences(
    what: str, wanted: Vxlan | WireGuard | None, have: Vxlan | WireGuard | None, address: int
) -> list[Difference]:
    """Deviations of one tunnel device. `address`: the index of the node's address in a peer tuple."""
    if wanted is None or have is None:
        if wanted is have:
            return []
        return [Difference(what, *(("missing", "will be made") if wanted else ("not wanted", "will be removed")))]
    found = []
    if replace(have, mtu=wanted.mtu, peers=wanted.peers) != wanted:
        found.append(Difference(what, "down, or not as it was made", "will be made anew"))
    if have.mtu != wanted.mtu:
        found.append(Difference(what, f"has the MTU {have.mtu}", f"will have the MTU {wanted.mtu}"))
    lost, strange = set(wanted.peers) - set(have.peers), set(have.peers) - set(wanted.peers)
    if lost:
        nodes = _listed({peer[address] for peer in lost})
        found.append(Difference(what, f"does not know {nodes} as it should", "will be told"))
    elif strange:
        found.append(Difference(what, f"knows {_listed({peer[address] for peer in strange})}", "will forget it"))
    return found
