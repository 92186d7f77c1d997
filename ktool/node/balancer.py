"""The service rules of a node: one nftables table of ours, brought to the text of logic/balance in one transaction.

The table is not removed and made anew: that would forget which client stays with which endpoint. Its rules are flushed,
the chains and sets that the new text does not have go, and the text is added, all or nothing (nft(8), -f)."""

from __future__ import annotations

import re

from ktool.logic.balance import BRIDGE, FACT, FORMAT, TABLE
from ktool.logic.nodeaction import SetRules
from ktool.node.base import NodeError, Transport

_BRIDGED = """
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter 2>/dev/null || :
cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null
"""
"""Answers between two pods of one bridge have to pass the same rules as the questions, as Kubernetes asks for too."""

_LOOK = (
    _BRIDGED
    + f"""
nft list chains ip 2>/dev/null
nft -t list sets ip 2>/dev/null
nft -t list maps ip 2>/dev/null
nft list chain ip {TABLE} {FORMAT} >/dev/null 2>&1 && echo ours
exit 0
"""
)

SEEN = f"""
if [ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)" = 1 ]; then
    nft list chain ip {TABLE} {FACT} 2>/dev/null |
        sed -n 's/^[[:space:]]*return comment "\\([0-9a-f]*\\)".*/rules \\1/p'
fi
"""
"""Prints the hash of the rules that are in force."""

_SET = (
    """
set -eu
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
else
    echo "answers between pods of one node cannot be followed: load the module br_netfilter (modprobe br_netfilter)" >&2
    exit 1
fi
nft -f -
for port in $(ip -o link show master "$1" 2>/dev/null | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); do
    ip link set dev "$port" type bridge_slave hairpin on
done
"""
    + SEEN
)
"""With br_netfilter a packet whose address was changed is bridged, not routed: to come back to the pod that sent it, it
has to leave by the port it came in. A pod has that before it is an endpoint, for then the rules change."""

_DECLARED = re.compile(r"^(?:    |\t)(chain|set|map) (\S+) \{", re.MULTILINE)


def set_rules(transport: Transport, action: SetRules) -> None:
    """Make the table exactly this, and read back that it is. Raises NodeError with what nft said."""
    if not re.fullmatch(r"[0-9a-f]+", action.hash):
        raise ValueError(f"{action.hash!r} is not a hash")
    looked = transport.run(["sh", "-c", _LOOK], timeout=30).stdout.decode("utf-8", "replace")
    text = transaction(looked, action.text)
    done = transport.run(["sh", "-c", _SET, "ktool", BRIDGE], stdin=text.encode(), timeout=60)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise NodeError(transport.node, "SetRules", f"nft on {transport.node}: {said[:500]}")
    if done.stdout.decode("utf-8", "replace").split() != ["rules", action.hash]:
        raise NodeError(transport.node, "SetRules", f"the service rules on {transport.node} are not what was set")


def transaction(looked: str, text: str) -> str:
    """What `nft -f` is given, from what _LOOK printed. A table that is not of this FORMAT is replaced."""
    here = _present(looked)
    if "ours" not in looked.splitlines():
        return f"add table ip {TABLE}\ndelete table ip {TABLE}\n{text}"
    kept = set(_DECLARED.findall(text))
    # Clients of sticky services are kept; everything else that holds elements gets them from the text.
    lines = [f"flush table ip {TABLE}"]
    lines += [
        f"flush {kind} ip {TABLE} {name}" for kind, name in here if kind != "chain" and not name.startswith("aff-")
    ]
    lines += [f"delete {kind} ip {TABLE} {name}" for kind, name in here if (kind, name) not in kept]
    return "\n".join([*lines, text])


def _present(looked: str) -> list[tuple[str, str]]:
    """The (kind, name) of everything our table has."""
    found: dict[tuple[str, str], None] = {}
    inside = False
    for line in looked.splitlines():
        if line.startswith("table "):
            inside = line.split()[1:3] == ["ip", TABLE]
        elif inside and (match := _DECLARED.match(line)):
            found[match[1], match[2]] = None
    return list(found)


def remove(transport: Transport) -> None:
    """Remove the table; nothing to do is fine."""
    transport.run(["nft", "-f", "-"], stdin=f"add table ip {TABLE}\ndelete table ip {TABLE}\n".encode(), timeout=15)
