"""Requests lost while pods come and go: wrk against a node port, a service's address on a node, and from a pod, with
connections that are kept and with new ones; and urllib3, which keeps its connections as well and asks again where one
turns out to be closed before any answer came, as RFC 9112 (section 9.3.1) has it and wrk does not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import floor
from tests.bench.side import Side, documents
from tests.bench.table import Runs, Sample

REPLICAS = 6
FEWEST = 50_000
"""Requests that a round must have seen."""
STEPS = (
    ("set", "image", "deploy/web", "web=registry.lab/web:v2", "--wait"),
    ("rollout", "undo", "deploy/web", "--wait"),
    ("rollout", "restart", "deploy/web", "--wait"),
    ("scale", "deploy/web", "--replicas=2", "--wait"),
    ("scale", "deploy/web", f"--replicas={REPLICAS + 2}", "--wait"),
    ("scale", "deploy/web", f"--replicas={REPLICAS}", "--wait"),
)


KEPT, NEW, RETRIED = "kept connections", "new connections", "kept connections of urllib3"


@dataclass
class Client:
    """One program that asks, and what becomes of its connections."""

    process: subprocess.Popen[str]
    manner: str


@dataclass
class Tally:
    requests: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return f"{self.lost} of {self.requests} lost"


CASES: tuple[tuple[str, bool, dict[str, str]], ...] = (
    ("ends well", False, {}),
    ("exits at once", True, {}),
    ("exits at once, drained", True, {"ktool.dev/drain-seconds": "300"}),
)


def lost_requests(side: Side) -> Runs:
    """The steps under load, with an application that ends well, with one that exits at once on SIGTERM, and with one
    that does but whose connections get their time. The floor is the same steps without load. A lost request fails the
    row; only where the application exits at once, has no such time and wrk never closes its connection, nobody below
    HTTP can help, and it is told and not counted."""
    if not shutil.which("wrk"):
        raise SystemExit("this row needs wrk: apt-get install -y wrk")
    home = side.cluster()
    with side.server(home):
        while True:
            yield [_case(side, home, *case) for case in CASES]


def _case(side: Side, home: Path, what: str, at_once: bool, notes: dict[str, str]) -> Sample:
    counted = {NEW, RETRIED} if at_once and not notes else {KEPT, NEW, RETRIED}
    with side.applied(home, documents(_objects(at_once, notes))):
        idle = _steps(side, home)
        took, tallies = _round(side, home)
    few = sum(tally.requests for tally in tallies.values()) < FEWEST
    lost = few or any(tallies[manner].lost for manner in counted)
    note = "; ".join(f"{manner}: {tally}" for manner, tally in tallies.items())
    return Sample(f"rolling {REPLICAS} under load, {what}", took, idle, note=note, failed=lost)


def _steps(side: Side, home: Path) -> float:
    begun = time.monotonic()
    for words in STEPS:
        side.ktool(home, *words)
    return time.monotonic() - begun


def _round(side: Side, home: Path) -> tuple[float, dict[str, Tally]]:
    service = side.get(home, "service", "web")
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    first, second = side.lab.nodes[:2]
    places: list[tuple[list[str], str]] = [
        ([], f"http://{first.address}:{port}/"),
        (["nsenter", "-t", str(second.pid), "-n"], f"http://{address}/"),
        (_inside_client(side, home), f"http://{address}/"),
    ]
    clients = [_client(manner, *place) for manner in (KEPT, NEW, RETRIED) for place in places]
    try:
        time.sleep(1)
        took = _steps(side, home)
        time.sleep(1)
    finally:
        for client in clients:
            os.killpg(client.process.pid, signal.SIGINT)
    tallies = {KEPT: Tally(), NEW: Tally(), RETRIED: Tally()}
    for client in clients:
        requests, lost = _told(client.process.communicate(timeout=30)[0])
        tallies[client.manner].requests += requests
        tallies[client.manner].lost += lost
    return took, tallies


def _client(manner: str, within: list[str], url: str) -> Client:
    wrk = ["wrk", "-t1", "-c4", "-d300", "--timeout", "10", *(["-H", "Connection: close"] if manner == NEW else [])]
    asking = [sys.executable, str(Path(__file__).with_name("asking.py"))]
    words = [*within, *(asking if manner == RETRIED else wrk), url]
    # A group of its own: nsenter hands no signal on to what it started.
    return Client(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True), manner)


def _told(text: str) -> tuple[int, int]:
    """Requests answered, and those that were not or not well, from wrk's report."""
    requests = re.search(r"(\d+) requests in", text)
    if requests is None:
        raise SystemExit(f"wrk said: {text}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    lost = sum(map(int, errors.groups())) if errors else 0
    return int(requests[1]), lost + (int(refused[1]) if refused else 0)


def _inside_client(side: Side, home: Path) -> list[str]:
    """What runs a command in the network of the client's pod."""
    pod = side.get(home, "pod", "client")
    node = next(node for node in side.lab.nodes if node.name == pod["spec"]["nodeName"])
    own = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    state = floor.Podman(floor.node_socket(node.pid)).call("GET", f"/containers/{own}/json")["State"]
    return ["nsenter", f"--net=/proc/{node.pid}/root/proc/{state['Pid']}/ns/net"]


def _objects(at_once: bool, notes: dict[str, str]) -> list[dict[str, Any]]:
    container: dict[str, Any] = {
        "name": "web",
        "image": "registry.lab/web:v1",
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }
    if at_once:
        container["env"] = [{"name": "EXIT_AT_ONCE", "value": "1"}]
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 0}}}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels, "annotations": notes}, "spec": {"containers": [container]}}
    deployment = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    service = {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    client = {"containers": [{"name": "main", "image": "registry.lab/web:v1"}], "terminationGracePeriodSeconds": 1}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": client},
    ]


ROWS = {"load": lost_requests}
