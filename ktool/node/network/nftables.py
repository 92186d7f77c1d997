"""nftables tables of a node: each table ktool manages is replaced by its rendered text in one transaction.

node/podman/performer sets them, facts and runtime read and remove them. A table is not deleted and made anew: its hooks
stay in force meanwhile, and the sets that remember clients keep them. Its rules are flushed, the chains and sets that
the new text does not have are deleted, and the text is added, all or nothing (nft(8), -f).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ktool.logic.network import balance, policy
from ktool.logic.node.nodeaction import SetPolicies, SetRules
from ktool.node.base import NodeError, Transport


@dataclass(frozen=True)
class Table:
    """A table that ktool manages. `format`: an empty chain whose name is the version of its layout. `word`: the key of
    its hash in SEEN. `what`: its content, for messages. `then`: a shell script to run after an update."""

    name: str
    format: str
    word: str
    what: str
    then: str = ""


_REFLECT = f"""
for port in $(ip -o link show master {balance.BRIDGE} 2>/dev/null | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); do
    ip link set dev "$port" type bridge_slave hairpin on
done
"""
"""With br_netfilter a packet whose address was changed is bridged, not routed: to come back to the pod that sent it, it
has to leave by the port it came in. A pod has that before it is an endpoint, for then the rules change."""

RULES = Table(balance.TABLE, balance.FORMAT, "rules", "service rules", _REFLECT)
POLICIES = Table(policy.TABLE, policy.FORMAT, "policies", "network policies")

_LOOK = """
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || modprobe br_netfilter 2>/dev/null || :
nft list chains ip 2>/dev/null
nft -t list sets ip 2>/dev/null
nft -t list maps ip 2>/dev/null
nft list chain ip "$1" "$2" >/dev/null 2>&1 && echo ours
exit 0
"""

_SET = """
set -eu
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
else
    echo "packets between pods of one node cannot be followed: load the module br_netfilter (modprobe br_netfilter)" >&2
    exit 1
fi
nft -f -
"""
"""Packets between two pods of one bridge must pass the rules too, as Kubernetes requires."""

_DECLARED = re.compile(r"^(?:    |\t)(chain|set|map) (\S+) \{", re.MULTILINE)


def seen(*tables: Table) -> str:
    """A shell script that prints the word and the hash of each of these tables that is in force."""
    lines = [
        f"    nft list chain ip {table.name} {balance.FACT} 2>/dev/null |\n"
        f"        sed -n 's/^[[:space:]]*return comment \"\\([0-9a-f]*\\)\".*/{table.word} \\1/p'\n"
        for table in tables
    ]
    bridged = '[ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)" = 1 ]'
    return f"if {bridged}; then\n{''.join(lines)}fi\n"


SEEN = seen(RULES, POLICIES)


def set_table(transport: Transport, table: Table, action: SetRules | SetPolicies) -> None:
    """Replace the table's content, verify it by reading back, and run `table.then`; an empty text deletes the table.
    Raises NodeError with nft's message."""
    step = type(action).__name__
    if not action.text:
        remove(transport, table)
        return
    if not re.fullmatch(r"[0-9a-f]+", action.hash):
        raise ValueError(f"{action.hash!r} is not a hash")
    looked = transport.run(["sh", "-c", _LOOK, "ktool", table.name, table.format], timeout=30)
    text = transaction(table, looked.stdout.decode("utf-8", "replace"), action.text)
    done = transport.run(["sh", "-c", _SET + table.then + seen(table)], stdin=text.encode(), timeout=60)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise NodeError(transport.node, step, f"nft on {transport.node}: {said[:500]}")
    if done.stdout.decode("utf-8", "replace").split() != [table.word, action.hash]:
        raise NodeError(transport.node, step, f"the {table.what} on {transport.node} are not what was set")


def transaction(table: Table, looked: str, text: str) -> str:
    """The input for `nft -f`, given the output of _LOOK. A table of another format is replaced as a whole."""
    own = table.name
    here = _present(own, looked)
    if "ours" not in looked.splitlines():
        return f"add table ip {own}\ndelete table ip {own}\n{text}"
    kept = set(_DECLARED.findall(text))
    # Clients of sticky services are kept; everything else that holds elements gets them from the text.
    lines = [f"flush table ip {own}"]
    lines += [f"flush {kind} ip {own} {name}" for kind, name in here if kind != "chain" and not name.startswith("aff-")]
    lines += [f"delete {kind} ip {own} {name}" for kind, name in here if (kind, name) not in kept]
    return "\n".join([*lines, text])


def _present(own: str, looked: str) -> list[tuple[str, str]]:
    """The (kind, name) of everything in the table."""
    found: dict[tuple[str, str], None] = {}
    inside = False
    for line in looked.splitlines():
        if line.startswith("table "):
            inside = line.split()[1:3] == ["ip", own]
        elif inside and (match := _DECLARED.match(line)):
            found[match[1], match[2]] = None
    return list(found)


def remove(transport: Transport, *tables: Table) -> None:
    """Delete these tables. Idempotent. Raises NodeError with nft's message."""
    text = "".join(f"add table ip {table.name}\ndelete table ip {table.name}\n" for table in tables)
    done = transport.run(["nft", "-f", "-"], stdin=text.encode(), timeout=15)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise NodeError(transport.node, "remove", f"nft on {transport.node}: {said[:500]}")
