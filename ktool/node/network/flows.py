"""Stale UDP flows: removes connection-tracking entries towards endpoints that are gone (conntrack(8)).

A TCP connection ends with its endpoint. A UDP flow stays in the kernel for as long as its client goes on sending,
always towards the endpoint it began with, so it has to be deleted here. TCP is left alone: a terminating pod may still
finish its connections. node/podman/performer calls it after new service rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from ipaddress import ip_address, ip_network

from ktool.api.marks import POD_CIDR, SERVICE_CIDR
from ktool.api.shapes.service import NODE_PORTS
from ktool.node.base import NodeError, Transport

_LIST = "command -v conntrack >/dev/null || exit 127; conntrack -L -p udp --dst-nat 2>/dev/null; exit 0"

_FORGET = """
while read -r address port endpoint number; do
    conntrack -D -p udp --orig-dst "$address" --orig-port-dst "$port" --reply-src "$endpoint" \
        --reply-port-src "$number" >/dev/null 2>&1 || :
done
"""

_FLOW = re.compile(r"^udp .*? dst=(\S+) sport=\d+ dport=(\d+) .*?src=(\S+) dst=\S+ sport=(\d+) dport=\d+", re.MULTILINE)
"""Destination (address, port) and replying endpoint (address, port) in each line of `conntrack -L`."""

Flow = tuple[str, str, str, str]


def flush(transport: Transport, allowed: Mapping[str, frozenset[str]]) -> None:
    """Delete the flows to services that lead to none of their endpoints any more. `allowed` as in SetRules. Raises
    NodeError where that is needed and fails."""
    done = transport.run(["sh", "-c", _LIST], timeout=15)
    if done.status == 127:
        if allowed:
            message = f"datagrams to endpoints that are gone cannot be cut off on {transport.node}: install conntrack"
            raise NodeError(transport.node, "SetRules", message)
        return
    found = stale(done.stdout.decode("utf-8", "replace"), allowed)
    if found:
        lines = "".join(f"{' '.join(flow)}\n" for flow in sorted(found))
        transport.run(["sh", "-c", _FORGET], stdin=lines.encode(), timeout=60)


def stale(listed: str, allowed: Mapping[str, frozenset[str]]) -> Set[Flow]:
    """The flows whose endpoint no service has any more. Flows of a hostPort, made by Podman, are not touched."""
    return {flow for flow in _FLOW.findall(listed) if _is_stale(flow, allowed)}


def _is_stale(flow: Flow, allowed: Mapping[str, frozenset[str]]) -> bool:
    address, port, endpoint, number = flow
    known = allowed.get(f"{address}:{port}", allowed.get(f":{port}"))
    if known is not None:
        return f"{endpoint}:{number}" not in known
    # Of a service that is gone only its address, or the range of its port, tells that it was one.
    at_service = ip_address(address) in SERVICE_CIDR
    return at_service or (int(port) in NODE_PORTS and ip_address(endpoint) in ip_network(POD_CIDR))
