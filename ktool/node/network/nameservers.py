"""DNS servers of a node: a dnsmasq at the cluster's DNS address, and behind it one with the zone of logic/network/zone.

node/podman/performer sets the zone, node/podman/runtime removes the servers. They are daemons and keep running without
the control plane. Their address is on the loopback device with scope host: pods reach the server of their own node by
it, and it never shows up as an address of the machine.
"""

from __future__ import annotations

import io
import re
import tarfile

from ktool.api.marks import ZONE_DIRECTORY
from ktool.logic.network.zone import FRONT, SERVER, away_text, servers_text
from ktool.logic.node.nodeaction import SetZone
from ktool.node.base import NodeError, Transport

_PORTS = (5301, 5302)
"""Ports of the server with the cluster's names, used alternately."""

RUNNING = r"""
running() { # running FILE [OPTION]: the pids of our servers with this configuration, and their children that answer TCP
    for line in $(grep -lzxF -e "--conf-file=$dns/$1" -e "$dns/$1" /proc/[0-9]*/cmdline 2>/dev/null); do
        pid=${line#/proc/} pid=${pid%/cmdline}
        case $(cat "/proc/$pid/comm" 2>/dev/null) in dnsmasq | unbound) ;; *) continue ;; esac
        [ $# = 1 ] || grep -qzxF -e "$2" "$line" || continue
        [ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ] && echo "$pid"
    done
    :
}
ended() { # its sockets are closed when a process is a zombie or gone, and not before (proc(5), stat)
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    case ${line##*) } in [ZX]*) return 0 ;; esac
    return 1
}
end() { # end PID...: it has nothing to put down, and its children heed no SIGTERM
    for pid; do kill -KILL "$pid" 2>/dev/null || :; done
    tries=0
    for pid; do
        until ended "$pid" || [ "$tries" -ge 1000 ]; do sleep 0.005; tries=$((tries + 1)); done
    done
}
asked() { sed -n '1s/.*#//p' "$dns/servers" 2>/dev/null || :; } # the port of the one that is asked first
placed() { ip -4 -o address show dev lo | grep -qF " $1/32 "; }
"""
"""Shell functions that need $dns, the server's directory."""

SEEN = (
    RUNNING
    + r"""
if [ "$(running front)" ] && [ "$(running config "--port=$(asked)")" ] && placed "$at" &&
    { [ ! -s "$dns/away" ] || [ "$(running away)" ]; }; then
    echo "zone $(cat "$dns/hash" 2>/dev/null)"
fi
"""
)
"""Prints the hash of what the running servers were given. It needs $dns and $at, the server's address."""

_SET = (
    "set -eu\numask 022\ndns=$1 at=$2 hash=$3 first=$4 second=$5\n"
    + RUNNING
    + r"""
command -v dnsmasq >/dev/null || { echo "dnsmasq cannot be found: install dnsmasq-base (or dnsmasq)" >&2; exit 1; }
mkdir -p "$dns"
exec 9>"$dns/lock"
flock -w 10 9 || { echo "another command is changing $dns" >&2; exit 1; }
tar -C "$dns" -xf -
placed "$at" || ip address add "$at/32" dev lo scope host
lacking=
if [ ! -s "$dns/away.new" ]; then
    if [ -s "$dns/away" ] || [ ! -e "$dns/hash" ]; then end $(running away); fi
    mv "$dns/away.new" "$dns/away"
elif ! command -v unbound >/dev/null; then
    lacking="an ExternalName that leads out of the cluster needs unbound, which cannot be found: install unbound"
else
    pids=$(running away)
    if [ -z "$pids" ] || ! cmp -s "$dns/away.new" "$dns/away"; then
        mv "$dns/away.new" "$dns/away"
        if [ "$pids" ]; then kill -HUP $pids; else unbound -c "$dns/away" 9>&-; fi
    fi
fi
port=$first old=
if [ "$(asked)" = "$first" ]; then port=$second; fi
was=$((first + second - port))
pids=$(running config "--port=$was")
if [ "$pids" ] && cmp -s "$dns/config.new" "$dns/config" && [ "$(asked)" = "$was" ]; then
    mv "$dns/hosts.new" "$dns/hosts"
    kill -HUP $pids
    port=$was
else
    said=$(dnsmasq --test --conf-file="$dns/config.new" 2>&1) || { echo "$said" >&2; exit 1; }
    end $(running config "--port=$port")
    mv "$dns/hosts.new" "$dns/hosts"
    mv "$dns/config.new" "$dns/config"
    dnsmasq --conf-file="$dns/config" --port="$port" 9>&-
    old=$(running config "--port=$was")
fi
if ! cmp -s "$dns/servers-$port" "$dns/servers"; then
    mv "$dns/servers-$port" "$dns/servers"
    pids=$(running front)
    [ -z "$pids" ] || kill -HUP $pids
fi
# What it was asked already is still answered.
if [ "$old" ]; then { sleep 1; end $old; } </dev/null >/dev/null 2>&1 9>&- & fi
pids=$(running front)
if [ -z "$pids" ] || ! cmp -s "$dns/front.new" "$dns/front"; then
    mv "$dns/front.new" "$dns/front"
    end $pids
    dnsmasq --conf-file="$dns/front" 9>&-
fi
if [ "$lacking" ]; then echo "$lacking" >&2; exit 1; fi
echo "$hash" >"$dns/hash.new"
mv "$dns/hash.new" "$dns/hash"
"""
)

_REMOVE = (
    "dns=$1 at=$2\n"
    + RUNNING
    + r"""
end $(running front) $(running config) $(running away)
if placed "$at"; then ip address delete "$at/32" dev lo; fi
rm -rf "$dns"
"""
)


def set_zone(transport: Transport, action: SetZone) -> None:
    """Run servers with exactly this zone. A change of addresses alone is reloaded; any other change starts a second
    server that takes over, and no query is lost. Raises NodeError with dnsmasq's message."""
    if not re.fullmatch(r"[0-9a-z]+", action.hash):
        raise ValueError(f"{action.hash!r} is not a hash")
    argv = ["sh", "-c", _SET, "ktool", ZONE_DIRECTORY, SERVER, action.hash, *map(str, _PORTS)]
    files = {"hosts.new": action.hosts, "config.new": action.config, "front.new": FRONT}
    files |= {f"servers-{port}": servers_text(port, other, action.away) for port, other in (_PORTS, _PORTS[::-1])}
    files["away.new"] = away_text(action.away)
    _run(transport, "SetZone", argv, _archive(files))


def remove(transport: Transport) -> None:
    """Stop the servers and remove their address and files. Idempotent."""
    _run(transport, "release", ["sh", "-c", _REMOVE, "ktool", ZONE_DIRECTORY, SERVER], b"")


def _run(transport: Transport, step: str, argv: list[str], stdin: bytes) -> None:
    done = transport.run(argv, stdin=stdin, timeout=20)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit status {done.status}"
        raise NodeError(transport.node, step, f"the name server on {transport.node}: {said}")


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
