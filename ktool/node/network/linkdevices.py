"""Link devices: the tunnels (VXLAN, WireGuard) and routes of a node, set to what logic/network/links wants, and read
back.

node/podman/performer sets them, node/podman/facts reads them. Order of changes: devices, then their peers, then routes,
and only then removals, so that packets on their way have a route at every moment. The WireGuard key is made on the node
and read there by `wg` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from ktool.api.marks import WIREGUARD_KEY_FILE
from ktool.logic.network.links import (
    VXLAN_DEVICE,
    VXLAN_PORT,
    WIREGUARD_DEVICE,
    WIREGUARD_PORT,
    Links,
    Route,
    Vxlan,
    WireGuard,
)
from ktool.node.base import NodeError, Transport

ROUTE_PROTOCOL = "76"
"""Marks our routes in the kernel's table (ip-route(8), "protocol"); iproute2 leaves this number to us."""
_VNI = 76
KEEPALIVE = 25
"""Seconds, as its makers advise. With it a node greets another as soon as it knows it, and not with the first packet
of a pod, so that both can talk before anything is sent by this way."""
_STEP = "SetLinks"

SEEN = f"""
ip -4 route show proto {ROUTE_PROTOCOL} | sed 's/^/route /'
for device in {VXLAN_DEVICE} {WIREGUARD_DEVICE}; do
    ip -d -o link show dev "$device" 2>/dev/null | sed 's/^/link /'
    ip -4 -o address show dev "$device" 2>/dev/null | sed 's/^[0-9]*: /address /'
done
if [ -e /sys/class/net/{VXLAN_DEVICE} ]; then
    bridge fdb show dev {VXLAN_DEVICE} | sed 's/^/fdb /'
    ip -4 neigh show dev {VXLAN_DEVICE} nud permanent | sed 's/^/neigh /'
fi
if [ -e /sys/class/net/{WIREGUARD_DEVICE} ]; then
    wg show {WIREGUARD_DEVICE} allowed-ips | sed 's/^/peer /'
    wg show {WIREGUARD_DEVICE} endpoints | sed 's/^/endpoint /'
    wg show {WIREGUARD_DEVICE} latest-handshakes | sed 's/^/met /'
    echo "port $(wg show {WIREGUARD_DEVICE} listen-port)"
    echo "key $(wg show {WIREGUARD_DEVICE} public-key)"
fi
"""

_LOOSE = 'echo 2 >"/proc/sys/net/ipv4/conf/$device/rp_filter"\n'
"""While a mode is being changed, answers may come by another device than questions went (Linux' ip-sysctl)."""

_MAKE_VXLAN = (
    f"""
set -eu
device={VXLAN_DEVICE} local=$1 mac=$2 mtu=$3 address=$4
case $(ip -d -o link show dev "$device" 2>/dev/null) in
*"link/ether $mac "*" vxlan id {_VNI} local $local "*" dstport {VXLAN_PORT} nolearning "*) ;;
*)
    ip link delete dev "$device" 2>/dev/null || :
    ip link add "$device" address "$mac" type vxlan id {_VNI} local "$local" dstport {VXLAN_PORT} nolearning
    ;;
esac
"""
    + _LOOSE
    + """
ip link set dev "$device" mtu "$mtu" up
ip address replace "$address/32" dev "$device"
"""
)

_MAKE_WIREGUARD = (
    f"""
set -eu
device={WIREGUARD_DEVICE} key={WIREGUARD_KEY_FILE} mtu=$1 address=$2
command -v wg >/dev/null || {{ echo "wg cannot be found: install wireguard-tools" >&2; exit 1; }}
if [ ! -s "$key" ]; then
    mkdir -p "${{key%/*}}"
    (umask 077; wg genkey >"$key.new")
    mv "$key.new" "$key"
fi
if ! ip link show dev "$device" >/dev/null 2>&1; then
    if ! said=$(ip link add dev "$device" type wireguard 2>&1); then
        command -v wireguard-go >/dev/null ||
            {{ echo "this kernel has no WireGuard ($said): install wireguard-go" >&2; exit 1; }}
        wireguard-go "$device" </dev/null >/dev/null 2>&1 || {{ echo "wireguard-go does not start" >&2; exit 1; }}
    fi
fi
wg set "$device" listen-port {WIREGUARD_PORT} private-key "$key"
"""
    + _LOOSE
    + """
ip link set dev "$device" mtu "$mtu" up
ip address replace "$address/32" dev "$device"
"""
)
"""The program takes the kernel's place where that has no WireGuard: it owns the device and ends with it."""

_REMOVE_VXLAN = f"ip link delete dev {VXLAN_DEVICE} 2>/dev/null\n"
_REMOVE_WIREGUARD = f"""
ip link delete dev {WIREGUARD_DEVICE} 2>/dev/null
rm -f {WIREGUARD_KEY_FILE} {WIREGUARD_KEY_FILE}.new /run/wireguard/{WIREGUARD_DEVICE}.sock
"""

_BEYOND = """
for address; do
    case $(ip -4 route get "$address" 2>&1) in *" via "*|*nreachable*) echo "$address" ;; esac
done
"""
"""Prints those of the addresses that are not on a link of this machine."""


def set_links(transport: Transport, now: Links, wanted: Links) -> None:
    """Set the tunnels and routes that ktool manages to exactly these. Does all that can be done, then raises NodeError
    with what the node refused."""
    _check(wanted)
    problems: list[str] = []
    if wanted.vxlan:
        one = wanted.vxlan
        problems += _shell(transport, _MAKE_VXLAN, one.local, one.mac, str(one.mtu), one.address)
        problems += _know_vxlan(transport, now.vxlan, one)
    if wanted.wireguard:
        made = _shell(transport, _MAKE_WIREGUARD, str(wanted.wireguard.mtu), wanted.wireguard.address)
        problems += made or _know_wireguard(transport, now.wireguard, wanted.wireguard)
    problems += _set_routes(transport, now.routes, wanted.routes)
    if not wanted.vxlan and now.vxlan:
        problems += _shell(transport, _REMOVE_VXLAN + "exit 0")
    if not wanted.wireguard and now.wireguard:
        problems += _shell(transport, _REMOVE_WIREGUARD + "exit 0")
    if problems:
        raise NodeError(transport.node, _STEP, f"links of {transport.node}: {'; '.join(problems)}")


def remove(transport: Transport, now: Links) -> None:
    """Remove all tunnels and routes that ktool manages. Idempotent."""
    set_links(transport, now, Links())
    _shell(transport, _REMOVE_VXLAN + _REMOVE_WIREGUARD + "exit 0")


def beyond(transport: Transport, addresses: Iterable[str]) -> list[str]:
    """The addresses that the node reaches through a router or not at all. Raises NodeError."""
    checked = [str(ip_address(address)) for address in addresses]
    done = transport.run(["sh", "-c", _BEYOND, "ktool", *checked], timeout=15)
    return done.stdout.decode("utf-8", "replace").split()


def _check(wanted: Links) -> None:
    """Validate every value before it reaches the node. ValueError for an invalid address, subnet or hardware
    address."""
    for route in wanted.routes:
        ip_network(route.subnet)
        if route.via:
            ip_address(route.via)
    for device in (wanted.vxlan, wanted.wireguard):
        if device:
            ip_address(device.address)
    if wanted.vxlan:
        for address, mac, node in (*wanted.vxlan.peers, (wanted.vxlan.address, wanted.vxlan.mac, wanted.vxlan.local)):
            ip_address(address), ip_address(node)
            if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac):
                raise ValueError(f"{mac!r} is no hardware address")
    for key, node, subnet in wanted.wireguard.peers if wanted.wireguard else ():
        ip_address(node), ip_network(subnet)
        if not re.fullmatch(r"[A-Za-z0-9+/]{43}=", key):
            raise ValueError(f"{key!r} is no WireGuard key")


def _know_vxlan(transport: Transport, now: Vxlan | None, wanted: Vxlan) -> list[str]:
    """Static forwarding and neighbour entries for the peers: the device neither learns nor asks (bridge(8),
    ip-neighbour(8))."""
    old = now.peers if now and (now.local, now.mac) == (wanted.local, wanted.mac) else ()
    gone = [peer for peer in old if peer not in wanted.peers]
    keys, addresses = {mac for _, mac, _ in wanted.peers}, {address for address, _, _ in wanted.peers}
    fdb = [f"fdb delete {mac} dev {VXLAN_DEVICE} dst {node} self" for _, mac, node in gone if node and mac not in keys]
    fdb += [f"fdb replace {mac} dev {VXLAN_DEVICE} dst {node} self permanent" for _, mac, node in wanted.peers]
    neigh = [
        f"neigh delete {address} dev {VXLAN_DEVICE}" for address, _, _ in gone if address and address not in addresses
    ]
    neigh += [
        f"neigh replace {address} lladdr {mac} dev {VXLAN_DEVICE} nud permanent" for address, mac, _ in wanted.peers
    ]
    return _batch(transport, ["bridge"], fdb) + _batch(transport, ["ip", "-4"], neigh)


def _know_wireguard(transport: Transport, now: WireGuard | None, wanted: WireGuard) -> list[str]:
    keys = {key for key, _, _ in wanted.peers}
    words: list[str] = []
    for key, _, _ in now.peers if now else ():
        if key not in keys:
            words += ["peer", key, "remove"]
    for key, node, subnet in wanted.peers:
        words += ["peer", key, "endpoint", f"{node}:{WIREGUARD_PORT}", "allowed-ips", subnet]
        words += ["persistent-keepalive", str(KEEPALIVE)]
    if not words:
        return []
    done = transport.run(["wg", "set", WIREGUARD_DEVICE, *words], timeout=15)
    return [done.stderr.decode("utf-8", "replace").strip() or "wg failed"] if done.status else []


def _set_routes(transport: Transport, now: Sequence[Route], wanted: Sequence[Route]) -> list[str]:
    replace, delete = routes_to_change(now, wanted)
    lines = [f"route replace {route.subnet} {_way(route)} proto {ROUTE_PROTOCOL}" for route in replace]
    lines += [f"route delete {route.subnet} proto {ROUTE_PROTOCOL}" for route in delete]
    problems = _batch(transport, ["ip", "-4"], lines)
    if not problems:
        return []
    far = beyond(transport, [route.via for route in replace if not route.device])
    if far:
        problems.append(
            f"hostgw needs nodes that share a link, and {', '.join(far)} {'is' if len(far) == 1 else 'are'} on no link "
            "of this node: use `ktool network set vxlan` or wireguard"
        )
    return problems


def _way(route: Route) -> str:
    if not route.device:
        return f"via {route.via}"
    return f"via {route.via} dev {route.device} onlink" if route.via else f"dev {route.device} scope link"


def routes_to_change(now: Sequence[Route], wanted: Sequence[Route]) -> tuple[list[Route], list[Route]]:
    """(to replace, to delete): the changes that turn the present routes into `wanted`."""
    subnets = {route.subnet for route in wanted}
    return [route for route in wanted if route not in now], [route for route in now if route.subnet not in subnets]


def _shell(transport: Transport, script: str, *words: str) -> list[str]:
    done = transport.run(["sh", "-c", script, "ktool", *words], timeout=20)
    return [done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"] if done.status else []


def _batch(transport: Transport, command: list[str], lines: list[str]) -> list[str]:
    """Run all commands. A failed deletion is ignored (it may be gone already); other failures are returned."""
    if not lines:
        return []
    argv = [*command, "-force", "-batch", "-"]
    done = transport.run(argv, stdin="\n".join([*lines, ""]).encode(), timeout=20)
    said = done.stderr.decode("utf-8", "replace").splitlines()
    errors = [line for line in said if line and not line.startswith("Command failed")]
    return list(dict.fromkeys(line for line in errors if not re.search("No such (process|file)", line)))


# --- what a node says --------------------------------------------------------------------------------------------


def seen(lines: Iterable[str]) -> tuple[Links, str, frozenset[str]]:
    """The output of SEEN, parsed: the links of the node, its public key, and the keys of nodes it has talked to. A
    device that is down or misconfigured shows as an empty field, so that it is made anew."""
    told: dict[str, list[list[str]]] = {}
    for line in lines:
        word, *rest = line.split() or [""]
        told.setdefault(word, []).append(rest)
    links = {_device(words): words for words in told.get("link", ())}
    addresses = {words[0]: words[2].partition("/")[0] for words in told.get("address", ()) if len(words) > 2}
    routes = sorted((_route(words) for words in told.get("route", ())), key=lambda route: route.subnet)
    found = Links(
        tuple(routes),
        _vxlan(links[VXLAN_DEVICE], addresses, told) if VXLAN_DEVICE in links else None,
        _wireguard(links[WIREGUARD_DEVICE], addresses, told) if WIREGUARD_DEVICE in links else None,
    )
    met = frozenset(words[0] for words in told.get("met", ()) if words[-1] != "0")
    return found, next((words[0] for words in told.get("key", ()) if words), ""), met


def _device(words: list[str]) -> str:
    """The device name in `7: ktool-wg: <...>` or `7: ktool-wg@NONE: <...>`."""
    return words[1].rstrip(":").partition("@")[0] if len(words) > 1 else ""


def _after(words: list[str], key: str) -> str:
    """The word that follows another one."""
    return words[words.index(key) + 1] if key in words[:-1] else ""


def _up(words: list[str]) -> bool:
    return "UP" in words[2].strip("<>").split(",")


def _route(words: list[str]) -> Route:
    subnet, device = words[0], _after(words, "dev")
    return Route(
        subnet if "/" in subnet else f"{subnet}/32",
        _after(words, "via"),
        device if device in (VXLAN_DEVICE, WIREGUARD_DEVICE) else "",
    )


def _vxlan(words: list[str], addresses: dict[str, str], told: dict[str, list[list[str]]]) -> Vxlan:
    ours = _up(words) and _after(words, "dstport") == str(VXLAN_PORT) and "nolearning" in words
    nodes = {entry[0]: _after(entry, "dst") for entry in told.get("fdb", ()) if entry and "dst" in entry}
    peers = [(entry[0], mac, nodes.pop(mac, "")) for entry in told.get("neigh", ()) if (mac := _after(entry, "lladdr"))]
    peers += [("", mac, node) for mac, node in nodes.items()]
    return Vxlan(
        addresses.get(VXLAN_DEVICE, ""),
        _after(words, "local") if ours and _after(words, "id") == str(_VNI) else "",
        _after(words, "link/ether"),
        int(_after(words, "mtu") or 0),
        tuple(sorted(peers)),
    )


def _wireguard(words: list[str], addresses: dict[str, str], told: dict[str, list[list[str]]]) -> WireGuard:
    ours = _up(words) and told.get("port") == [[str(WIREGUARD_PORT)]]
    nodes = {entry[0]: entry[1].rpartition(":")[0] for entry in told.get("endpoint", ()) if len(entry) > 1}
    peers = [(entry[0], nodes.get(entry[0], ""), " ".join(entry[1:])) for entry in told.get("peer", ()) if entry]
    return WireGuard(
        addresses.get(WIREGUARD_DEVICE, "") if ours else "",
        int(_after(words, "mtu") or 0),
        tuple(sorted(peers)),
    )
