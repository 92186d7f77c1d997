"""Network probe: queries sent from inside the pod network of a node. `network check` uses it.

A node has no program that can be relied on to open a connection from a pod's network: pods may have no shell, and nc,
dig or Python may be missing. But it has ip and dnsmasq, and SSH. So for the time of a check each node gets a network
namespace beside those of its pods, with the one address that no pod is given (ipam.spare), and in it a dnsmasq that
answers for its own node and forwards queries for the others to them. We query it through an SSH channel; the query and
an answer of several kilobytes then cross from pod network to pod network, by the same routes, tunnels, rules and packet
sizes as the traffic of pods.

It ends by itself after LASTING seconds, in case this process is killed meanwhile.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ktool.logic.network import dnsquery
from ktool.node.base import NodeError, Transport

LASTING = 120
DOMAIN = "ktool-probe"
_SIZE = 4000
"""Bytes of the long answer: several packets of full size, whatever the links take."""

_END = """
end() {
    [ ! -s "$run/pid" ] || kill -KILL "$(cat "$run/pid")" 2>/dev/null
    ip netns delete ktool-probe 2>/dev/null
    ip link delete ktool-probe 2>/dev/null
    rm -rf "$run"
    :
}
run=/run/ktool-probe
"""
_BEGIN = (
    _END
    + r"""
at=$1 lasting=$2
exec 9>/run/ktool-probe.lock
flock -w 3 9 || { echo "another check is under way" >&2; exit 1; }
command -v dnsmasq >/dev/null || { echo "dnsmasq cannot be found" >&2; exit 1; }
end
set -e
trap '[ $? = 0 ] || end' EXIT
mkdir -p "$run"
cat >"$run/config"
ip netns add ktool-probe
ip link add ktool-probe address 0e:4c:00:00:00:01 type veth peer name eth0 address 0e:4c:00:00:00:02 netns ktool-probe
ip link set ktool-probe up
ip -n ktool-probe link set lo up
ip -n ktool-probe link set eth0 up
ip -n ktool-probe address add "$at/32" dev eth0
ip -n ktool-probe route add 169.254.76.1 dev eth0 scope link
ip -n ktool-probe neigh add 169.254.76.1 lladdr 0e:4c:00:00:00:01 dev eth0 nud permanent
ip -n ktool-probe route add default via 169.254.76.1 dev eth0
ip neigh add "$at" lladdr 0e:4c:00:00:00:02 dev ktool-probe nud permanent
ip route add "$at/32" dev ktool-probe
nsenter --net=/run/netns/ktool-probe dnsmasq --conf-file="$run/config" --pid-file="$run/pid" 9>&-
{
    i=0
    while [ $((i += 1)) -lt "$lasting" ] && [ -e "$run" ]; do sleep 1; done
    end
} </dev/null >/dev/null 2>&1 &
"""
)
"""The one that waits keeps the lock: two checks would take each other's network away."""


@dataclass(frozen=True)
class Heard:
    """The result of a query: its duration in seconds, or `problem`."""

    seconds: float
    problem: str = ""


def begin(transport: Transport, at: str, own: str, others: Sequence[tuple[str, str]], server: str) -> None:
    """Create the network namespace and start its server. `own` and the names in `others` are names of nodes within
    DOMAIN; `others` pairs them with their addresses of the same kind. All other queries go to `server`. Raises
    NodeError."""
    for address in (at, server, *(address for _, address in others)):
        ip_address(address)
    lines = ["no-resolv", "no-hosts", "bind-interfaces", "user=root", "cache-size=0", "no-negcache", "no-ident"]
    lines += [f"listen-address={at}", f"server={server}", f"local=/{own}.{DOMAIN}/", f"address=/{own}.{DOMAIN}/{at}"]
    text = ",".join(["x" * 250] * 3)  # a line may have a thousand characters
    lines += [f"txt-record=long.{own}.{DOMAIN},{number},{text}" for number in range(_SIZE // 750 + 1)]
    lines += [f"server=/{name}.{DOMAIN}/{address}" for name, address in others]
    argv = ["sh", "-c", _BEGIN, "ktool", at, str(LASTING)]
    done = transport.run(argv, stdin="\n".join([*lines, ""]).encode(), timeout=20)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise NodeError(transport.node, "check", f"cannot ask from the pod network of {transport.node}: {said}")


def end(transport: Transport) -> None:
    """Remove it again. Idempotent."""
    transport.run(["sh", "-c", _END + "end"], timeout=15)


def ask_node(transport: Transport, at: str, name: str, address: str, deadline: float) -> Heard:
    """Query the node of this name over the pod network, once for a short and once for a long answer."""
    began = time.monotonic()
    short = _ask(transport, at, f"{name}.{DOMAIN}", "A", deadline)
    took = time.monotonic() - began
    problem = _problem(short, address)
    if problem:
        return Heard(took, problem)
    long = _ask(transport, at, f"long.{name}.{DOMAIN}", "TXT", deadline)
    if isinstance(long, str) or long.size < _SIZE:
        said = long if isinstance(long, str) else long.code
        return Heard(took, f"small packets arrive and large ones do not ({said}): a link on the way takes less")
    return Heard(took)


def ask_name(transport: Transport, at: str, name: str, address: str, deadline: float) -> Heard:
    """Query the cluster's DNS server from the pod network: does this name have this address?"""
    began = time.monotonic()
    problem = _problem(_ask(transport, at, name, "A", deadline), address)
    return Heard(time.monotonic() - began, problem)


def connect(transport: Transport, address: str, port: int, deadline: float) -> Heard:
    """Open a TCP connection from the node itself."""
    began = time.monotonic()
    try:
        transport.connect_tcp(address, port, timeout=deadline).close()
    except NodeError as error:
        return Heard(time.monotonic() - began, error.message)
    return Heard(time.monotonic() - began)


def _problem(found: dnsquery.Answer | str, address: str) -> str:
    if isinstance(found, str):
        return found
    if found.code != "NOERROR":
        return f"no answer comes back ({found.code})" if found.code in ("SERVFAIL", "REFUSED") else found.code
    if address not in found.addresses:
        return f"the answer is {', '.join(found.addresses) or 'empty'}, not {address}"
    return ""


def _ask(transport: Transport, at: str, name: str, type_: str, deadline: float) -> dnsquery.Answer | str:
    """The answer, or what went wrong."""
    end = time.monotonic() + deadline
    try:
        stream = transport.connect_tcp(at, 53, timeout=deadline)
    except NodeError as error:
        return error.message
    try:
        stream.sendall(dnsquery.question(name, type_))
        size = int.from_bytes(_read(stream, 2, end), "big")
        return dnsquery.answer(_read(stream, size, end))
    except TimeoutError:
        return f"no answer within {deadline:g} s"
    except (OSError, EOFError, ValueError) as error:
        return f"no answer comes back ({error})"
    finally:
        stream.close()


def _read(stream: socket.socket, size: int, end: float) -> bytes:
    data = b""
    while len(data) < size:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        stream.settimeout(left)
        piece = stream.recv(size - len(data))
        if not piece:
            raise EOFError("the server hung up")
        data += piece
    return data
