"""The floor: the same pods by bare Podman API calls on the node's own socket, nothing of ktool in between."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any


class Unix(http.client.HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Podman(Unix):
    """Podman's REST API on a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__(path, 120)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        payload = None if body is None else json.dumps(body)
        self.request(method, f"/v4.0.0/libpod{path}", payload, {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:300]}")
        return json.loads(text) if text else None


def node_socket(pid: int) -> str:
    """The API socket of a lab node, seen from outside its namespaces."""
    return f"/proc/{pid}/root/run/podman/podman.sock"


def subnet(path: str) -> str:
    """The subnet of the pods of a node that a cluster has, by its API socket."""
    return str(Podman(path).call("GET", "/networks/ktool/json")["subnets"][0]["subnet"])


def pods(count: int, image: str, subnet: str, first: int = 0) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The payloads that ktool itself sends for so many pods of one container."""
    prefix = subnet.rsplit(".", 1)[0]
    return [_pod(index, image, f"{prefix}.{100 + index}") for index in range(first, first + count)]


def _pod(index: int, image: str, address: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    name = f"floor-{index}_default_{index:08d}"
    labels = {
        "ktool.dev/cluster": "floor",
        "ktool.dev/namespace": "default",
        "ktool.dev/pod": f"floor-{index}",
        "ktool.dev/uid": f"{index:08d}-0000-floor",
        "ktool.dev/ip": address,
    }
    shares = {"cpu": {"shares": 2}}
    card = "0a:58:" + ":".join(f"{int(part):02x}" for part in address.split("."))
    pod = {
        "name": name,
        "infra_name": f"infra_{name}",
        "shared_namespaces": ["net", "uts", "ipc"],
        "exit_policy": "continue",
        "resource_limits": shares,
        "netns": {"nsmode": "bridge"},
        "hostname": f"floor-{index}",
        "dns_server": ["10.96.0.10"],
        "dns_search": ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "dns_option": ["ndots:5"],
        "labels": labels,
        "Networks": {"ktool": {"static_ips": [address], "static_mac": card}},
    }
    container = {
        "name": f"web_{name}",
        "pod": name,
        "image": image,
        "env": {},
        "restart_policy": "always",
        "stop_timeout": 30,
        "log_configuration": {"driver": "k8s-file", "size": 10485760},
        "systemd": "false",
        "resource_limits": shares,
        "labels": {**labels, "ktool.dev/container": "web"},
    }
    return pod, [container]


def _each(sockets: Sequence[str], concurrency: int, work: Sequence[tuple[int, Callable[[Podman], None]]]) -> float:
    """Do all work, `concurrency` calls at a time on each node; the seconds it took."""
    connections: list[SimpleQueue[Podman]] = [SimpleQueue() for _ in sockets]
    for queue, path in zip(connections, sockets, strict=True):
        for _ in range(concurrency):
            connection = Podman(path)
            connection.call("GET", "/networks/ktool/exists")  # opens it, and costs next to nothing
            queue.put(connection)

    def one(job: tuple[int, Callable[[Podman], None]]) -> None:
        connection = connections[job[0]].get()
        try:
            job[1](connection)
        finally:
            connections[job[0]].put(connection)

    begun = time.monotonic()
    with ThreadPoolExecutor(concurrency * len(sockets)) as pool:
        list(pool.map(one, work))
    return time.monotonic() - begun


def _creating(pod: dict[str, Any], containers: list[dict[str, Any]], ids: list[str]) -> Callable[[Podman], None]:
    def run(podman: Podman) -> None:
        made = podman.call("POST", "/pods/create", pod)["Id"]
        for container in containers:
            podman.call("POST", "/containers/create", container)
        podman.call("POST", f"/pods/{made}/start")
        ids.append(made)

    return run


def _removing(pod: str, grace: int) -> Callable[[Podman], None]:
    """Stop its containers with their grace, then remove the pod."""

    def run(podman: Podman) -> None:
        for container in podman.call("GET", f"/pods/{pod}/json")["Containers"]:
            if not container["Name"].endswith("-infra"):
                podman.call("POST", f"/containers/{container['Id']}/stop?timeout={grace}")
        podman.call("DELETE", f"/pods/{pod}?force=true&timeout=0")

    return run


def create(sockets: Sequence[str], per_node: list[list[Any]], concurrency: int) -> tuple[float, list[list[str]]]:
    """Create and start the pods of every node; the seconds, and the ids by node."""
    ids: list[list[str]] = [[] for _ in sockets]
    work = [(node, _creating(*pod, ids[node])) for node, batch in enumerate(per_node) for pod in batch]
    return _each(sockets, concurrency, work), ids


def restart(sockets: Sequence[str], ids: list[list[str]], concurrency: int) -> float:
    """Start pods that have ended all at once, as a reboot leaves them; the seconds."""

    def killing(pod: str) -> Callable[[Podman], None]:
        return lambda podman: podman.call("POST", f"/pods/{pod}/kill")

    def starting(pod: str) -> Callable[[Podman], None]:
        return lambda podman: podman.call("POST", f"/pods/{pod}/start")

    _each(sockets, concurrency, [(node, killing(pod)) for node, batch in enumerate(ids) for pod in batch])
    return _each(sockets, concurrency, [(node, starting(pod)) for node, batch in enumerate(ids) for pod in batch])


def remove(sockets: Sequence[str], ids: list[list[str]], concurrency: int, grace: int = 30) -> float:
    """End every pod; the seconds."""
    work = [(node, _removing(pod, grace)) for node, batch in enumerate(ids) for pod in batch]
    return _each(sockets, concurrency, work)


def roll(
    sockets: Sequence[str], old: list[list[str]], new: list[list[Any]], concurrency: int, grace: int = 30
) -> float:
    """On each node one pod starts while another one ends, and when that has come about on all of them the next ones,
    until all are replaced; the seconds. `old` are ids and become those of the new pods, `new` are payloads, as many on
    each node."""
    seconds = 0.0
    for turn in range(len(new[0])):
        work = []
        for node, ids in enumerate(old):
            work.append((node, _creating(*new[node][turn], ids)))
            work.append((node, _removing(ids.pop(0), grace)))
        seconds += _each(sockets, concurrency, work)
    return seconds
