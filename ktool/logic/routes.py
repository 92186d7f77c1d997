"""Routes between nodes that share a link (host gateway): each pod subnet is reached over its node's own address."""

from __future__ import annotations

from collections.abc import Iterable

from ktool.api.obj import Obj, get, labels, name

SIMULATED = "ktool.dev/simulated"


def routes_for(node: Obj, nodes: Iterable[Obj]) -> tuple[tuple[str, str], ...]:
    """What `node` must route: (pod subnet, address of the node that owns it) for every other real node that has both
    a spec.podCIDR and an InternalIP, in the order of the text. A simulated node has no network: it is never a
    target and has no routes. A node with an address of `node` itself is the same machine and needs none."""
    if is_simulated(node):
        return ()
    own = set(_addresses(node))
    found: set[tuple[str, str]] = set()
    for other in nodes:
        if name(other) == name(node) or is_simulated(other):
            continue
        subnet = get(other, "spec", "podCIDR", default="")
        address = next(iter(_addresses(other)), "")
        if subnet and address and address not in own:
            found.add((subnet, address))
    return tuple(sorted(found))


def is_simulated(node: Obj) -> bool:
    return labels(node).get(SIMULATED) == "true"


def _addresses(node: Obj) -> list[str]:
    """The InternalIPs of a node, the first being the one other nodes use (core/v1 NodeAddress)."""
    entries = get(node, "status", "addresses", default=())
    return [entry["address"] for entry in entries if entry.get("type") == "InternalIP" and entry.get("address")]
