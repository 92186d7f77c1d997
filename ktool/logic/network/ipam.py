"""IPAM: the next free address of a node's pod subnet, and the next free pod subnet of the cluster's range.

logic/plan/nodeplan and kinds/node call it. Both are pure functions of what is taken now; there is no list of free
addresses that could go out of step. The first host address of a subnet is its gateway (the bridge on the node), as
Podman's and Docker's own IPAM choose it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network


class IpamError(ValueError):
    """No address or subnet is available: one plain sentence."""


def gateway(subnet: str) -> str:
    """The address of the bridge in a pod subnet: its first host address. Raises IpamError for an invalid subnet."""
    network = _network(subnet)
    return str(network[1])


def allocate(subnet: str, used: Container[str], after: str = "") -> str:
    """The first free pod address of `subnet` after `after`, wrapping around at its end.

    `used` is a predicate on addresses (as text). Pass the address allocated last as `after`, so that a freed address is
    reused as late as possible: peers that still have it in a cache do not reach another pod. Network address, gateway,
    broadcast address and that of `spare` are never allocated. Raises IpamError where the subnet is full.
    """
    network = _network(subnet)
    first = int(network.network_address) + 2
    count = network.num_addresses - 3 - _has_spare(network)
    if count <= 0:
        raise IpamError(f"subnet {subnet} is too small to hold a pod; give the node a /24")
    make = type(network.network_address)
    start = _offset(after, first, count)
    for step in range(count):
        address = str(make(first + (start + step) % count))
        if address not in used:
            return address
    raise IpamError(f"all {count} pod addresses of {subnet} are in use; remove pods from the node or add a node")


def spare(subnet: str) -> str:
    """The last host address of a pod subnet. It is never allocated: `network check` uses it. "" where the subnet is too
    small to spare it. Raises IpamError for an invalid subnet."""
    network = _network(subnet)
    return str(network[-2]) if _has_spare(network) else ""


def _has_spare(network: IPv4Network | IPv6Network) -> bool:
    return network.num_addresses >= 256


def carve(cluster_cidr: str, taken: Iterable[str], bits: int = 24) -> str:
    """The first subnet of prefix length `bits` in `cluster_cidr` that overlaps none of `taken` (subnets of any size;
    empty texts are ignored). Raises IpamError where none is left."""
    network = _network(cluster_cidr)
    if not network.prefixlen <= bits <= network.max_prefixlen:
        raise IpamError(f"the cluster's pod range {cluster_cidr} cannot hold a /{bits} subnet; use a larger range")
    size = 1 << (network.max_prefixlen - bits)
    here = int(network.network_address)
    end = here + network.num_addresses
    for low, high in _ranges(taken, network.version):
        if high <= here:
            continue
        if low >= here + size:
            break
        here += -(-(high - here) // size) * size  # the first boundary that is not below the taken subnet's end
    if here + size > end:
        count = network.num_addresses // size
        raise IpamError(
            f"all {count} /{bits} subnets of the cluster's pod range {cluster_cidr} are in use; remove a node or"
            " start the cluster with a larger range"
        )
    return f"{type(network.network_address)(here)}/{bits}"


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise IpamError(f"{text!r} is not a subnet like 10.244.1.0/24: {error}") from error


def _offset(after: str, first: int, count: int) -> int:
    """The offset to start at: right after `after` where that is in the subnet, else 0."""
    try:
        place = int(ip_address(after)) - first
    except ValueError:
        return 0
    return place + 1 if 0 <= place < count else 0


def _ranges(taken: Iterable[str], version: int) -> list[tuple[int, int]]:
    """The taken subnets as half-open ranges of numbers, sorted."""
    ranges: list[tuple[int, int]] = []
    for text in taken:
        if text and (network := _network(text)).version == version:
            low = int(network.network_address)
            ranges.append((low, low + network.num_addresses))
    return sorted(ranges)
