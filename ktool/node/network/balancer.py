"""The service rules of a node, and the bridge they need."""

from __future__ import annotations

from ktool.logic.network.balance import BRIDGE
from ktool.logic.node.nodeaction import SetRules
from ktool.node.base import Transport
from ktool.node.network.nftables import RULES, set_table

_REFLECT = f"""
for port in $(ip -o link show master {BRIDGE} 2>/dev/null | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); do
    ip link set dev "$port" type bridge_slave hairpin on
done
"""
"""With br_netfilter a packet whose address was changed is bridged, not routed: to come back to the pod that sent it, it
has to leave by the port it came in. A pod has that before it is an endpoint, for then the rules change."""


def set_rules(transport: Transport, action: SetRules) -> None:
    """Make the table exactly this, and read back that it is. Raises NodeError with what nft said."""
    set_table(transport, RULES, action, then=_REFLECT)
