"""Network checks: probes from every node to every other one, each service and the DNS, with their results.

`network check` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ktool.api.marks import SERVICE_NAME as OF_SERVICE
from ktool.api.obj import Obj, get, labels, name, namespace
from ktool.api.shapes.service import is_external_name, is_headless, ports_of
from ktool.logic.network.ipam import spare
from ktool.logic.network.zone import SERVER, SERVER_NAME

if TYPE_CHECKING:
    from ktool.node.base import Transport
    from ktool.node.network.netprobe import Heard

NODES_AT_A_TIME, PROBES_AT_A_TIME = 16, 4


@dataclass(frozen=True)
class Probe:
    """One question: `what` is pods, service or dns; `to` what is asked."""

    source: str
    what: str
    to: str
    address: str


@dataclass(frozen=True)
class Result:
    """`status` is ok, failed, or skipped where there was nothing to ask; `message` says why."""

    source: str
    what: str
    to: str
    address: str
    status: str
    seconds: float = 0.0
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {"from": found.pop("source"), **found}


def check(nodes: Sequence[Obj], services: Sequence[Obj], slices: Sequence[Obj], deadline: float) -> list[Result]:
    """Ask all of it, by the order of nodes."""
    with ExitStack() as stack:
        ends = {name(node): _End(node, f"n{number}") for number, node in enumerate(nodes)}
        for end in ends.values():
            stack.callback(end.close)
        with ThreadPoolExecutor(NODES_AT_A_TIME) as pool:
            everybody = list(ends.values())
            list(pool.map(lambda end: end.open(everybody), everybody))
            found = list(pool.map(lambda end: _from(end, everybody, services, slices, deadline), everybody))
    return [result for results in found for result in results]


class _End:
    """One node in a check: its connection and its place in the pod network. `problem`: why it takes no part."""

    def __init__(self, node: Obj, label: str) -> None:
        self.node, self.label = node, label
        subnet = get(node, "spec", "podCIDR", default="")
        self.at = spare(subnet) if subnet else ""
        self.problem = "" if self.at else f"its pod subnet {subnet} is too small" if subnet else "it has no podCIDR yet"
        self.transport: Transport | None = None

    def open(self, everybody: Sequence[_End]) -> None:
        from ktool.node import connect
        from ktool.node.base import NodeError
        from ktool.node.network import netprobe

        if self.problem:
            return
        others = [(end.label, end.at) for end in everybody if end is not self and end.at]
        try:
            self.transport = connect.transport_for(self.node)
            netprobe.begin(self.transport, self.at, self.label, others, SERVER)
        except NodeError as error:
            self.problem = error.message

    def close(self) -> None:
        from ktool.node.base import NodeError
        from ktool.node.network import netprobe

        if self.transport is None:
            return
        try:
            if not self.problem:
                netprobe.end(self.transport)
        except NodeError:
            pass  # it ends by itself
        finally:
            self.transport.close()


def _from(
    end: _End, everybody: Sequence[_End], services: Sequence[Obj], slices: Sequence[Obj], deadline: float
) -> list[Result]:
    """Everything asked from one node."""
    own, transport = name(end.node), end.transport
    probes: list[tuple[Probe, Callable[[], Heard] | str]] = []
    for other in everybody:
        if other is not end:
            probe = Probe(own, "pods", name(other.node), other.at)
            probes.append((probe, _node(end, other, deadline)))
    for service, port in _ports(services):
        probe = Probe(
            own, "service", f"{namespace(service)}/{name(service)}:{port['port']}", service["spec"]["clusterIP"]
        )
        probes.append((probe, _service(end, service, port, slices, deadline)))
    known = next(((name(one), namespace(one), one["spec"]["clusterIP"]) for one, _ in _ports(services)), None)
    asked, address = (f"{known[0]}.{known[1]}.svc.cluster.local", known[2]) if known else (SERVER_NAME, SERVER)
    probes.append((Probe(own, "dns", asked, SERVER), _name(end, asked, address, deadline)))
    if end.problem or transport is None:
        return [_result(probe, "failed", message=end.problem) for probe, _ in probes]
    with ThreadPoolExecutor(PROBES_AT_A_TIME) as pool:
        return list(pool.map(lambda pair: _done(*pair), probes))


def _done(probe: Probe, ask: Callable[[], Heard] | str) -> Result:
    if isinstance(ask, str):
        return _result(probe, "skipped" if probe.what == "service" else "failed", message=ask)
    heard = ask()
    return _result(probe, "failed" if heard.problem else "ok", heard.seconds, heard.problem)


def _result(probe: Probe, status: str, seconds: float = 0.0, message: str = "") -> Result:
    return Result(probe.source, probe.what, probe.to, probe.address, status, seconds, message)


def _node(end: _End, other: _End, deadline: float) -> Callable[[], Heard] | str:
    from ktool.node.network import netprobe

    if other.problem:
        return f"{name(other.node)}: {other.problem}"
    return lambda: netprobe.ask_node(_open(end), end.at, other.label, other.at, deadline)


def _name(end: _End, asked: str, address: str, deadline: float) -> Callable[[], Heard]:
    from ktool.node.network import netprobe

    return lambda: netprobe.ask_name(_open(end), end.at, asked, address, deadline)


def _service(end: _End, service: Obj, port: Obj, slices: Sequence[Obj], deadline: float) -> Callable[[], Heard] | str:
    """How to ask a port of a service, or why not."""
    from ktool.node.network import netprobe

    if port.get("protocol", "TCP") != "TCP":
        return f"{port['protocol']} has no connection to try"
    if not _has_endpoints(service, slices):
        return "it has no ready endpoints"
    return lambda: netprobe.connect(_open(end), service["spec"]["clusterIP"], port["port"], deadline)


def _open(end: _End) -> Transport:
    assert end.transport is not None
    return end.transport


def _ports(services: Sequence[Obj]) -> Iterator[tuple[Obj, Obj]]:
    """Every port of every service that has an address of its own."""
    for service in sorted(services, key=lambda one: (namespace(one), name(one))):
        if not is_external_name(service) and not is_headless(service) and get(service, "spec", "clusterIP"):
            for port in ports_of(service):
                yield service, port


def _has_endpoints(service: Obj, slices: Sequence[Obj]) -> bool:
    mine = (
        one for one in slices if (namespace(one), labels(one).get(OF_SERVICE)) == (namespace(service), name(service))
    )
    endpoints = (endpoint for one in mine for endpoint in one.get("endpoints") or ())
    return any(get(endpoint, "conditions", "ready", default=True) for endpoint in endpoints)
