"""What a Node says of itself to others: whose pods it has to reach (every other real node that has a pod subnet and an
address), whether it is simulated, and whether it answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ktool.api.marks import SIMULATED
from ktool.api.obj import Obj, condition, epoch, get, labels, name


@dataclass(frozen=True)
class Other:
    """Another node as seen from one: the subnet of its pods, and the address it is reached at."""

    subnet: str
    address: str
    node: Obj


def others(node: Obj, nodes: Iterable[Obj]) -> list[Other]:
    """Every other real node that has both a spec.podCIDR and an InternalIP, in the order of their subnets' text. A
    simulated node has no network: it reaches nobody and nobody reaches it. A node with an address of `node` itself is
    the same machine and needs nothing. A subnet that two nodes name belongs to the first by name."""
    if is_simulated(node):
        return []
    own = set(addresses(node))
    found: dict[str, Other] = {}
    for other in sorted(nodes, key=name):
        if name(other) == name(node) or is_simulated(other):
            continue
        subnet = get(other, "spec", "podCIDR", default="")
        address = address_of(other)
        if subnet and address and address not in own:
            found.setdefault(subnet, Other(subnet, address, other))
    return [found[subnet] for subnet in sorted(found)]


def answers(node: Obj) -> bool:
    """Whether a node answers: its Ready condition is Unknown where it does not."""
    return (condition(node, "Ready") or {}).get("status") != "Unknown"


def silent_since(node: Obj) -> float:
    """When a node stopped answering (epoch seconds); 0 where it does."""
    return 0.0 if answers(node) else epoch((condition(node, "Ready") or {}).get("lastTransitionTime"))


def is_simulated(node: Obj) -> bool:
    return labels(node).get(SIMULATED) == "true"


def address_of(node: Obj) -> str:
    """The address other nodes use; "" where it has none yet."""
    return next(iter(addresses(node)), "")


def addresses(node: Obj) -> list[str]:
    """The InternalIPs of a node, the first being the one other nodes use (core/v1 NodeAddress)."""
    entries = get(node, "status", "addresses", default=())
    return [entry["address"] for entry in entries if entry.get("type") == "InternalIP" and entry.get("address")]
