"""Reading a Node object: addresses, peers with a pod subnet, simulated or not, answering or not.

Plans of kinds/, logic/network, nodeplane/ and the node commands call it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ktool.api.marks import SIMULATED
from ktool.api.obj import Obj, condition, epoch, get, labels, name


@dataclass(frozen=True)
class Other:
    """A peer node: its Node object, its pod subnet, and the address it is reached at."""

    subnet: str
    address: str
    node: Obj


def others(node: Obj, nodes: Iterable[Obj]) -> list[Other]:
    """The peers of `node`: every other real node with both a spec.podCIDR and an InternalIP, sorted by subnet as text.
    A simulated node has no network: it has no peers and is none. A node with an address of `node` itself is the same
    machine and no peer. A subnet that two nodes have belongs to the first by name."""
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
    """Whether a node answers: its Ready condition is not Unknown."""
    return (condition(node, "Ready") or {}).get("status") != "Unknown"


def silent_since(node: Obj) -> float:
    """When a node stopped answering (epoch seconds); 0 where it answers."""
    return 0.0 if answers(node) else epoch((condition(node, "Ready") or {}).get("lastTransitionTime"))


def is_simulated(node: Obj) -> bool:
    return labels(node).get(SIMULATED) == "true"


def address_of(node: Obj) -> str:
    """The address that other nodes use; "" where it has none yet."""
    return next(iter(addresses(node)), "")


def addresses(node: Obj) -> list[str]:
    """The InternalIPs of a node; other nodes use the first one (core/v1 NodeAddress)."""
    entries = get(node, "status", "addresses", default=())
    return [entry["address"] for entry in entries if entry.get("type") == "InternalIP" and entry.get("address")]
