"""Pod network of a node: Podman's bridge, forwarding, the rules that keep pods' source addresses, and routes to other
nodes.

node/podman/performer sets it up, node/podman/runtime removes it.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ktool.api.marks import POD_CIDR, POD_CLUSTER
from ktool.node.base import NodeError, Transport
from ktool.node.network import linkdevices
from ktool.node.podman.facts import Settled
from ktool.node.podman.podmanapi import PodmanApi, Refused

NAME, INTERFACE = "ktool", "ktool0"

_FORWARD = r"""
set -eu
[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f -
"""


def ensure(api: PodmanApi, transport: Transport, cluster: str, subnet: str) -> None:
    """Create or repair the network with this subnet. Raises Refused or NodeError with what is in the way."""
    network = ipaddress.ip_network(subnet)
    existing = find(api)
    if existing is not None:
        have = (existing.get("subnets") or [{}])[0].get("subnet", "")
        if have == str(network) and (existing.get("labels") or {}).get(POD_CLUSTER) == cluster:
            return keep_addresses(transport, str(network))
        owner = (existing.get("labels") or {}).get(POD_CLUSTER)
        if owner is None:
            raise NodeError(
                transport.node, "EnsureNetwork", f"Podman network {NAME} is there and not ours; rename or remove it"
            )
        # Podman refuses to remove a network that containers use, ours or anybody's.
        api.delete(f"networks/{NAME}")
    body = {
        "name": NAME,
        "driver": "bridge",
        "network_interface": INTERFACE,
        "subnets": [{"subnet": str(network), "gateway": str(network.network_address + 1)}],
        "dns_enabled": False,
        "labels": {POD_CLUSTER: cluster},
    }
    try:
        api.post("networks/create", body)
    except Refused as refused:
        if "already" not in refused.message or find(api) is None:
            raise
    keep_addresses(transport, str(network))


def find(api: PodmanApi) -> dict[str, Any] | None:
    """Podman's description of the network; None where there is none."""
    try:
        answer = api.get(f"networks/{NAME}/json")
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    return dict(answer)


def rules(subnet: str) -> str:
    """The nftables text that keeps pods' source addresses. netavark masquerades traffic that leaves a pod subnet, at
    priority 100. A NAT mapping made at 90 wins, and this one maps a pod's address to itself, so that pods of other
    nodes see the caller's address. The masquerade itself is repeated here: netavark does not restore its own when a
    firewall reload has dropped it.

    A tunnel takes smaller packets than pods send: the MSS of new TCP connections is lowered, and the kernel answers
    every other too large packet with ICMP, so that pods need not know of a change of the mode. One transaction of nft
    -f (nft(8)).
    """
    return (
        "add table ip ktool\n"
        "add chain ip ktool postrouting { type nat hook postrouting priority 90; policy accept; }\n"
        "flush chain ip ktool postrouting\n"
        f"add rule ip ktool postrouting ip saddr {subnet} ip daddr {POD_CIDR} snat to ip saddr\n"
        f'add rule ip ktool postrouting ip saddr {subnet} ip daddr != 224.0.0.0/4 oifname != "{INTERFACE}" masquerade\n'
        "add chain ip ktool forward { type filter hook forward priority -150; policy accept; }\n"
        "flush chain ip ktool forward\n"
        'add rule ip ktool forward oifname "ktool-*" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu\n'
    )


def keep_addresses(transport: Transport, subnet: str) -> None:
    done = transport.run(["sh", "-c", _FORWARD], stdin=rules(subnet).encode(), timeout=15)
    if done.status != 0:
        message = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise NodeError(transport.node, "EnsureNetwork", f"nft on {transport.node}: {message}")


def remove(api: PodmanApi, transport: Transport, cluster: str, settled: Settled) -> None:
    """Remove the network, rules, tunnels and routes of this cluster; a network of another cluster stays. Raises Refused
    while pods use it."""
    linkdevices.remove(transport, settled.links)
    existing = find(api)
    if existing is not None and (existing.get("labels") or {}).get(POD_CLUSTER) == cluster:
        api.delete(f"networks/{NAME}")
        transport.run(["nft", "-f", "-"], stdin=b"add table ip ktool\ndelete table ip ktool\n", timeout=15)
