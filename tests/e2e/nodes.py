"""What the nodes of the lab have, seen past the program: from the host, through each node's Podman socket and root."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ktool.lab
from ktool.lab import Lab

NAMESPACE, UID, POD, CONTAINER = (f"ktool.dev/{word}" for word in ("namespace", "uid", "pod", "container"))


@dataclass(frozen=True)
class Seen:
    """Everything of ours on all nodes. `pods` and `containers` (without Podman's own infra containers) are Podman's
    entries, each with its "Node"; `volumes` the uids of the pods that have a directory there."""

    pods: tuple[Any, ...]
    containers: tuple[Any, ...]
    volumes: frozenset[str]

    def of(self, namespaces: Iterable[str]) -> Seen:
        """Only what belongs to these namespaces. Directories do not say whose they are and stay."""
        wanted = set(namespaces)
        return Seen(
            tuple(pod for pod in self.pods if pod["Labels"][NAMESPACE] in wanted),
            tuple(one for one in self.containers if one["Labels"][NAMESPACE] in wanted),
            self.volumes,
        )

    def ids(self) -> dict[str, str]:
        """Container id by pod and container."""
        return {f"{one['Labels'][POD]}/{one['Labels'][CONTAINER]}": one["Id"] for one in self.containers}


def root_of(lab: Lab) -> Path:
    """The directory the lab is in, as ktool.lab's functions want it."""
    return Path(lab.nodes[0].identity).parent.parent


def look(lab: Lab) -> Seen:
    """All nodes as they are now; a stopped one has nothing."""
    pods: list[Any] = []
    containers: list[Any] = []
    volumes: set[str] = set()
    now = ktool.lab.load(lab.name, root_of(lab))
    assert now is not None
    for node in now.nodes:
        if not node.pid:
            continue
        root = Path(f"/proc/{node.pid}/root")
        mine = quote(json.dumps({"label": ["ktool.dev/cluster"]}))
        for path, into in (("pods/json", pods), ("containers/json", containers)):
            found = _podman(root, f"{path}?all=true&filters={mine}")
            into += [{**one, "Node": node.name} for one in found or () if not one.get("IsInfra")]
        for directory in ("var/lib/ktool/pods", "run/ktool/pods"):
            if (root / directory).is_dir():
                volumes |= {entry.name for entry in (root / directory).iterdir()}
    return Seen(tuple(pods), tuple(containers), frozenset(volumes))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("podman", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _podman(root: Path, path: str) -> Any:
    connection = _Connection(root / "run/podman/podman.sock")
    try:
        connection.request("GET", f"/v4.0.0/libpod/{path}")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return json.loads(answer.read())
    finally:
        connection.close()


def settled(seen: Seen, pods: Iterable[Any], every: Iterable[Any]) -> None:
    """Assert that the nodes have these pods of the store and nothing else of their namespaces: each Ready pod once, on
    its node, with each of its containers once; and volume directories of no other pods than `every` one there is."""
    pods = list(pods)
    wanted = {pod["metadata"]["uid"]: pod for pod in pods}
    names = [pod["metadata"]["name"] for pod in pods]
    unready = [pod["metadata"]["name"] for pod in pods if not _is_ready(pod)]
    assert not unready, f"not Ready: {unready}"
    here = seen.of({pod["metadata"]["namespace"] for pod in pods})
    assert sorted(pod["Labels"][POD] for pod in here.pods) == sorted(names)
    for pod in here.pods:
        assert pod["Node"].endswith(wanted[pod["Labels"][UID]]["spec"]["nodeName"]), pod
    running = [(one["Labels"][UID], one["Labels"][CONTAINER]) for one in here.containers if one["State"] == "running"]
    expected = [(uid, one["name"]) for uid, pod in wanted.items() for one in pod["spec"]["containers"]]
    assert sorted(running) == sorted(expected)
    made = [(one["Labels"][UID], one["Labels"][CONTAINER]) for one in here.containers]
    assert len(made) == len(set(made)), f"twins: {sorted(made)}"
    assert {one["Pod"] for one in here.containers} <= {pod["Id"] for pod in here.pods}, "a container without its pod"
    assert not seen.volumes - {pod["metadata"]["uid"] for pod in every}, "volume directories of pods that are gone"


def _is_ready(pod: Any) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))
