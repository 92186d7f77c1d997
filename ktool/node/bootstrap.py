"""Preflight checks: everything a machine needs before it can be a node, checked in one go, so that one round of fixing
is enough.

`node add` and `network` (the mode of the pod network) call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_network

from ktool.api.marks import POD_CIDR, SERVICE_CIDR
from ktool.logic.network.links import HOSTGW, VXLAN_DEVICE, WIREGUARD_DEVICE, WIREGUARD_PORT
from ktool.logic.node.nodeaction import NodeInfo
from ktool.node.base import NodeError, Transport, Unreachable
from ktool.node.network.linkdevices import beyond
from ktool.node.podman.podmanapi import SOCKET, PodmanApi, Refused

OLDEST_PODMAN = (4, 3)
CLOCK_SKEW = 2.0
"""Seconds by which a node's clock may be off before we say so."""

_TOOLS = {
    "nft": "nftables",
    "ip": "iproute2",
    "tar": "tar",
    "flock": "util-linux",
    "pkill": "procps",
    "dnsmasq": "dnsmasq-base",
    "conntrack": "conntrack",
}

_LOOK = r"""
LC_ALL=C; export LC_ALL
echo "uid=$(id -u)"
echo "distribution=$(. /etc/os-release 2>/dev/null; echo "$ID $ID_LIKE")"
echo "podman=$(podman --version 2>/dev/null)"
if command -v podman >/dev/null; then
    podman info --format 'backend={{.Host.NetworkBackend}}
runtime={{.Host.OCIRuntime.Name}}
rootless={{.Host.Security.Rootless}}' 2>&1 | sed 's/^Error:/podmanerror=/'
fi
for tool in nft ip tar flock pkill dnsmasq conntrack; do command -v "$tool" >/dev/null || echo "missing=$tool"; done
{ echo 1 >/proc/sys/net/ipv4/ip_forward; } 2>/dev/null
echo "forward=$(cat /proc/sys/net/ipv4/ip_forward)"
if [ -d /sys/fs/cgroup/unified ] && mount | grep -q '^cgroup2\? on /sys/fs/cgroup/unified '; then echo "hybrid=1"; fi
[ -d /run/systemd/system ] && echo "systemd=1"
exit 0
"""


def check(transport: Transport) -> list[str]:
    """All unmet requirements of a machine, each a sentence with its fix; empty where it can be a node. Starts Podman's
    API socket where systemd runs and it is not up. Raises Unreachable where there is no connection."""
    try:
        done = transport.run(["sh", "-c", _LOOK], timeout=60)
    except Unreachable:
        raise
    except NodeError as error:
        return [error.message]
    if done.status != 0:
        return [_no_root(done.stderr.decode("utf-8", "replace").strip())]
    values, missing = _values(done.stdout.decode("utf-8", "replace"))
    needs = unmet(values, missing)
    if not any("Podman" in need for need in needs):
        needs += _api_needs(transport, systemd="systemd" in values)
    return needs


def unmet(values: dict[str, str], missing: list[str]) -> list[str]:
    """The unmet requirements according to the values that _LOOK printed."""
    needs: list[str] = []
    install = _install(values.get("distribution", ""))
    if values.get("uid") != "0":
        needs.append("the login is neither root nor may it become root: use root, or give it passwordless sudo")
    version = tuple(int(part) for part in re.findall(r"\d+", values.get("podman", ""))[:2])
    if not version:
        needs.append(f"Podman is not installed: {install} podman netavark")
    elif version < OLDEST_PODMAN:
        found = ".".join(map(str, version))
        needs.append(f"Podman {found} is too old: 4.3 is the oldest that works; upgrade the distribution's package")
    elif "podmanerror" in values:
        needs.append(f"Podman does not work on it: {values['podmanerror']}")
    elif values.get("backend") != "netavark":
        needs.append(
            f"Podman's network backend is {values.get('backend') or 'not known'}: {install} netavark, then podman "
            "system reset (it removes all containers of that machine) or network_backend = netavark in containers.conf"
        )
    # Debian has the program without a service of its own; elsewhere there is one package, whose service stays off.
    names = _TOOLS if "apt-get" in install else {**_TOOLS, "dnsmasq": "dnsmasq", "conntrack": "conntrack-tools"}
    packages = " ".join(names[tool] for tool in missing)
    if missing:
        needs.append(f"{', '.join(missing)} cannot be found: {install} {packages}")
    if values.get("forward") != "1":
        needs.append("IP forwarding cannot be switched on: set net.ipv4.ip_forward = 1 in /etc/sysctl.conf")
    if values.get("hybrid") and values.get("runtime") == "crun":
        needs.append("its cgroups are in hybrid mode, which crun refuses: boot with systemd.unified_cgroup_hierarchy=1")
    return needs


def clock_warning(info: NodeInfo, before: float, after: float) -> str:
    """A warning where the node's clock, read between these two local times, is off by more than CLOCK_SKEW seconds."""
    skew = info.clock - after if info.clock > after else min(0.0, info.clock - before)
    if abs(skew) <= CLOCK_SKEW:
        return ""
    way = "ahead of" if skew > 0 else "behind"
    return f"its clock is {abs(skew):.1f} s {way} ours; synchronise it (timedatectl set-ntp true)"


def _values(text: str) -> tuple[dict[str, str], list[str]]:
    pairs = [line.partition("=")[::2] for line in text.splitlines() if "=" in line]
    values = {key: value.strip() for key, value in pairs if key != "missing"}
    return values, [value for key, value in pairs if key == "missing"]


def _no_root(said: str) -> str:
    if "sudo" in said:
        return f"commands cannot run as root ({said}): log in as root, or add NOPASSWD: ALL for this user to sudoers"
    return f"commands cannot run there: {said or 'the shell ended at once'}"


def _install(distribution: str) -> str:
    words = distribution.split()
    if {"debian", "ubuntu"} & set(words):
        return "apt-get install -y"
    if {"rhel", "fedora", "centos"} & set(words):
        return "dnf install -y"
    if "suse" in distribution:
        return "zypper install -y"
    return "install the packages"


def _api_needs(transport: Transport, *, systemd: bool) -> list[str]:
    problem = _api_problem(transport)
    if problem and systemd:
        transport.run(["systemctl", "enable", "--now", "podman.socket", "podman-restart.service"], timeout=60)
        problem = _api_problem(transport)
    if not problem:
        return []
    fix = (
        "systemctl enable --now podman.socket podman-restart.service"
        if systemd
        else f"keep `podman system service --time=0 unix://{SOCKET}` running as root"
    )
    return [f"Podman's API does not answer at {SOCKET} ({problem}): {fix}"]


def _api_problem(transport: Transport) -> str:
    api = PodmanApi(transport)
    try:
        api.get("_ping", deadline=20.0)
        return ""
    except Unreachable:
        raise
    except NodeError as error:
        return error.message
    except Refused as refused:
        return refused.message
    finally:
        api.close()


# --- the mode of the pod network ---------------------------------------------------------------------------------

_MODE = f"""
LC_ALL=C; export LC_ALL
echo "distribution=$(. /etc/os-release 2>/dev/null; echo "$ID $ID_LIKE")"
need() {{ command -v "$1" >/dev/null || echo "missing=$1"; }}
made() {{ # made KIND OPTION...: whether the kernel makes such a device; what it said is in $said
    said=$(ip link add ktool-try type "$@" 2>&1) && ip link delete ktool-try
}}
case $1 in
vxlan)
    need bridge
    [ -e /sys/class/net/{VXLAN_DEVICE} ] || made vxlan id 1 dstport 0 || echo "refused=$said"
    ;;
wireguard)
    need wg
    [ -e /sys/class/net/{WIREGUARD_DEVICE} ] || {{
        made wireguard || {{ need wireguard-go; [ -c /dev/net/tun ] || echo "notun=1"; }}
        if ss -Hlun "sport = :{WIREGUARD_PORT}" 2>/dev/null | grep -q .; then echo "taken=1"; fi
    }}
    ;;
esac
exit 0
"""
_MODE_TOOLS = {"bridge": "iproute2", "wg": "wireguard-tools", "wireguard-go": "wireguard-go"}


def mode_needs(transport: Transport, mode: str, others: Iterable[str]) -> list[str]:
    """All unmet requirements of a node for this mode of the pod network, each a sentence with its fix. `others`:
    addresses of the nodes it must reach. Raises NodeError where it cannot be asked."""
    done = transport.run(["sh", "-c", _MODE, "ktool", mode], timeout=30)
    values, missing = _values(done.stdout.decode("utf-8", "replace"))
    install = _install(values.get("distribution", ""))
    needs = []
    for tool in missing:
        why = "its kernel has no WireGuard and wireguard-go" if tool == "wireguard-go" else tool
        needs.append(f"{why} cannot be found: {install} {_MODE_TOOLS[tool]}")
    if "refused" in values:
        needs.append(f"its kernel makes no vxlan device ({values['refused']}): load the module vxlan (modprobe vxlan)")
    if "notun" in values:
        needs.append("there is no /dev/net/tun, which wireguard-go needs: load the module tun (modprobe tun)")
    if "taken" in values:
        needs.append(f"UDP port {WIREGUARD_PORT} is in use by something else; wireguard needs it")
    far = beyond(transport, others) if mode == HOSTGW else []
    if far:
        which = f"{', '.join(far)} {'is' if len(far) == 1 else 'are'}"
        needs.append(f"hostgw needs nodes that share a link, and {which} on no link of it: use vxlan or wireguard")
    return needs


_OWN = "ip -4 -o route show scope link 2>/dev/null | sed -n 's/^\\([0-9./]*\\) dev \\([^ ]*\\) .*/\\2 \\1/p'"
"""Prints the networks that the machine is part of, each behind its device."""


def overlaps(transport: Transport) -> list[str]:
    """A sentence for each network of the machine that overlaps the cluster's address ranges. Raises NodeError."""
    done = transport.run(["sh", "-c", _OWN], timeout=15)
    needs = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        device, _, text = line.partition(" ")
        if device.startswith("ktool") or "/" not in text:
            continue
        for what, theirs in (("pods", POD_CIDR), ("services", SERVICE_CIDR)):
            if ip_network(text, strict=False).overlaps(ip_network(theirs)):
                needs.append(
                    f"its own network {text} ({device}) overlaps {theirs}, the addresses of the cluster's {what}: give "
                    "that network other addresses"
                )
    return needs
