"""Fencing: the right to act on a node. One small file there holds the cluster's id and the highest fencing token the
node has seen.

node/podman/runtime claims and releases a node; `node add` evicts a cluster that is gone.
"""

from __future__ import annotations

import re

from ktool.api.marks import OWNER_FILE
from ktool.node.base import NodeError, Transport

_CLAIM = r"""
set -eu
file=$1 cluster=$2 token=$3
mkdir -p "${file%/*}"
exec 9>>"$file.lock"
flock -w 10 9 || { echo "busy"; exit 75; }
started() { # started PID: when that process began, in clock ticks since boot; a pid and this name one process (proc(5))
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- ${line##*) }
    echo "${20}"
}
session=0 began=0 pid=$$
while [ "$pid" -gt 1 ]; do # up through sudo and shells to the sshd process of this connection
    case $(cat "/proc/$pid/comm" 2>/dev/null) in
    sshd*) session=$pid began=$(started "$pid"); break ;;
    esac
    line=$(cat "/proc/$pid/stat" 2>/dev/null) || break
    set -- ${line##*) }
    pid=$2
done
if [ -s "$file" ]; then
    read -r old_cluster old_token old_pid old_began <"$file"
    if [ "$old_cluster" != "$cluster" ]; then echo "cluster $old_cluster"; exit 3; fi
    if [ "$old_token" -gt "$token" ]; then echo "token $old_token"; exit 4; fi
fi
if [ -s "$file" ]; then
    read -r old_cluster old_token old_pid old_began <"$file"
    if [ "$old_pid" != 0 ] && [ "$old_pid" != "$session" ] && [ "$(started "$old_pid" || :)" = "$old_began" ]; then
        case $(cat "/proc/$old_pid/comm" 2>/dev/null) in sshd*) kill "$old_pid" ;; esac
    fi
fi
echo "$cluster $token $session $began" >"$file.new"
mv "$file.new" "$file"
"""


def claim(transport: Transport, cluster: str, token: int) -> None:
    """Claim the node with a fencing token and end the SSH connection of the previous claimant, so that it cannot act
    any more. Raises NodeError where the node belongs to another cluster or has seen a higher token."""
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]*", cluster):
        raise ValueError(f"{cluster!r} is not a cluster id")
    argv = ["sh", "-c", _CLAIM, "ktool", OWNER_FILE, cluster, str(int(token))]
    done = transport.run(argv, timeout=20)
    if done.status == 0:
        return
    word, _, value = done.stdout.decode("utf-8", "replace").strip().partition(" ")
    node = transport.node
    if done.status == 3 and word == "cluster":
        message = f"node {node} {foreign(value)}"
    elif done.status == 4 and word == "token":
        message = f"another control plane of this cluster has taken over (it holds token {value}, we hold {token})"
    elif word == "busy":
        message = f"another control plane is claiming node {node} right now"
    else:
        message = f"cannot claim node {node}: {done.stderr.decode('utf-8', 'replace').strip() or done.status}"
    raise NodeError(node, "claim", message)


def foreign(cluster: str) -> str:
    """The error message for a node that another cluster owns."""
    return (
        f"belongs to cluster {cluster}; remove it there first (ktool node remove), "
        f"or, where that cluster is gone, add it with --take-over"
    )


def owner(transport: Transport) -> str:
    """The id of the cluster that owns the node; "" for none."""
    done = transport.run(["cat", OWNER_FILE], timeout=15)
    return done.stdout.decode("utf-8", "replace").partition(" ")[0]


_EVICT = r"""
set -eu
file=$1
[ -s "$file" ] || exit 0
read -r _ _ old_pid old_began <"$file"
rm -f "$file"
line=$(cat "/proc/$old_pid/stat" 2>/dev/null) || exit 0
set -- ${line##*) }
[ "${20}" = "$old_began" ] || exit 0
case $(cat "/proc/$old_pid/comm" 2>/dev/null) in sshd*) kill "$old_pid" ;; esac
"""


def evict(transport: Transport) -> None:
    """End the owner's connection and remove the ownership: for a cluster that is gone."""
    done = transport.run(["sh", "-c", _EVICT, "ktool", OWNER_FILE], timeout=15)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or str(done.status)
        raise NodeError(transport.node, "evict", f"cannot take over node {transport.node}: {said}")


def release(transport: Transport, cluster: str) -> None:
    """Remove this cluster's ownership, for a node that leaves it."""
    script = 'read -r owner _ <"$1" && [ "$owner" = "$2" ] && rm -f "$1"; exit 0'
    transport.run(["sh", "-c", script, "ktool", OWNER_FILE, cluster], timeout=15)
