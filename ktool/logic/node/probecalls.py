"""Probe and hook calls: frozen values made from core/v1 ProbeHandler and LifecycleHandler.

logic/pod makes them, runtimes (node/) and nodeplane/prober carry them out. Everything is resolved here (ports by name,
the pod's address), so that carrying one out needs no Pod.
"""

from __future__ import annotations

from dataclasses import dataclass

from ktool.api.obj import Obj

USER_AGENT = "kube-probe/ktool"


@dataclass(frozen=True)
class Exec:
    """Run a command in the container; exit status 0 is success."""

    command: tuple[str, ...]


@dataclass(frozen=True)
class HttpGet:
    """Request a URL; 200 to 399 is success. HTTPS certificates are not verified."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme.lower()}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class TcpSocket:
    """Open a TCP connection."""

    host: str
    port: int


@dataclass(frozen=True)
class Grpc:
    """Call grpc.health.v1.Health/Check for a service; SERVING is success."""

    host: str
    port: int
    service: str


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: int


@dataclass(frozen=True)
class Impossible:
    """A handler that cannot be carried out, and why."""

    message: str


Handler = Exec | HttpGet | TcpSocket | Grpc | Sleep | Impossible


@dataclass(frozen=True)
class Call:
    """One handler to be carried out for a container (Podman's id). `purpose` is startup, liveness, readiness, postStart
    or preStop."""

    purpose: str
    container: str
    handler: Handler
    timeout: float


@dataclass(frozen=True)
class Answer:
    """The result of a call: `message` is the failure in Kubernetes' words."""

    ok: bool
    message: str = ""


def of(spec: Obj, container: Obj, ip: str) -> Handler:
    """The handler of a probe or hook; `ip` is the address of the pod."""
    if command := spec.get("exec"):
        return Exec(tuple(str(word) for word in command.get("command") or ()))
    if (sleep := spec.get("sleep")) is not None:
        return Sleep(int(sleep.get("seconds") or 0))
    if (grpc := spec.get("grpc")) is not None:
        return Grpc(ip, int(grpc["port"]), str(grpc.get("service") or ""))
    if (http := spec.get("httpGet")) is not None:
        port = _port(http["port"], container)
        return port if isinstance(port, Impossible) else _http(http, port, ip)
    if (tcp := spec.get("tcpSocket")) is not None:
        port = _port(tcp["port"], container)
        return port if isinstance(port, Impossible) else TcpSocket(str(tcp.get("host") or ip), port)
    return Impossible("it has no handler")


def _http(spec: Obj, port: int, ip: str) -> HttpGet:
    path = str(spec.get("path") or "/")
    return HttpGet(
        scheme=str(spec.get("scheme") or "HTTP"),
        host=str(spec.get("host") or ip),
        port=port,
        path=path if path.startswith("/") else f"/{path}",
        headers=tuple((str(one["name"]), str(one.get("value") or "")) for one in spec.get("httpHeaders") or ()),
    )


def _port(wanted: int | str, container: Obj) -> int | Impossible:
    """A port by number or by its name in the container; a name made of digits is a number."""
    if isinstance(wanted, int) or wanted.isdecimal():
        return int(wanted)
    for port in container.get("ports") or ():
        if port.get("name") == wanted:
            return int(port["containerPort"])
    return Impossible(f'the container has no port named "{wanted}"')
