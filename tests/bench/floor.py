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

from ktool.api.obj import Obj
from ktool.kinds.pod import KIND as POD
from ktool.logic.podspec import render


class Podman(http.client.HTTPConnection):
    """Podman's REST API on a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("podman", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

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


def pods(count: int, image: str, subnet: str, cluster: str) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The payloads ktool itself would send for so many pods of one container."""
    prefix = subnet.rsplit(".", 1)[0]
    result = []
    for index in range(count):
        pod: Obj = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"floor-{index}", "namespace": "default", "uid": f"{index:08d}-{'0' * 4}-floor"},
            "spec": {"containers": [{"name": "web", "image": image}]},
        }
        assert POD.default is not None
        pod = POD.default(pod)
        rendered = render(pod, node={}, cluster=cluster, ip=f"{prefix}.{100 + index}", lookup=lambda ref: None)
        result.append((dict(rendered.pod), [dict(payload) for payload in rendered.containers.values()]))
    return result


def _each(sockets: Sequence[str], concurrency: int, work: Sequence[tuple[int, Callable[[Podman], None]]]) -> float:
    """Do all work, `concurrency` calls at a time on each node; the seconds it took."""
    connections: list[SimpleQueue[Podman]] = [SimpleQueue() for _ in sockets]
    for queue, path in zip(connections, sockets, strict=True):
        for _ in range(concurrency):
            connection = Podman(path)
            connection.call("GET", "/version")
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


def create(sockets: Sequence[str], per_node: list[list[Any]], concurrency: int) -> tuple[float, list[list[str]]]:
    """Create and start the pods of every node; the seconds, and the ids by node."""
    ids: list[list[str]] = [[] for _ in sockets]

    def job(node: int, pod: dict[str, Any], containers: list[dict[str, Any]]) -> Callable[[Podman], None]:
        def run(podman: Podman) -> None:
            made = podman.call("POST", "/pods/create", pod)["Id"]
            for container in containers:
                podman.call("POST", "/containers/create", container)
            podman.call("POST", f"/pods/{made}/start")
            ids[node].append(made)

        return run

    work = [(node, job(node, *pod)) for node, batch in enumerate(per_node) for pod in batch]
    return _each(sockets, concurrency, work), ids


def remove(sockets: Sequence[str], ids: list[list[str]], concurrency: int, grace: int = 30) -> float:
    """Stop every pod's containers with their grace, then remove the pods; the seconds."""

    def job(pod: str) -> Callable[[Podman], None]:
        def run(podman: Podman) -> None:
            for container in podman.call("GET", f"/pods/{pod}/json")["Containers"]:
                if not container["Name"].endswith("-infra"):
                    podman.call("POST", f"/containers/{container['Id']}/stop?timeout={grace}")
            podman.call("DELETE", f"/pods/{pod}?force=true&timeout=0")

        return run

    return _each(sockets, concurrency, [(node, job(pod)) for node, batch in enumerate(ids) for pod in batch])
