"""Requests lost while pods come and go: wrk against a node port, a service's address on a node, and from a pod, with
connections that are kept and with new ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import floor
from tests.bench.rows import ENVIRONMENT, KTOOL, Bench, Result

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


@dataclass
class Client:
    """One wrk; `kept` says whether its connections are kept for many requests."""

    process: subprocess.Popen[str]
    kept: bool


@dataclass
class Tally:
    requests: int = 0
    lost: int = 0

    def __str__(self) -> str:
        return f"{self.lost} of {self.requests} lost"


def lost_requests(bench: Bench, runs: int) -> Iterator[Result]:
    """The steps under load against the same steps without it, with an application that ends well and with one that
    exits at once on SIGTERM. A lost request fails the row; only where the application exits at once and a client never
    closes its connection, nobody below HTTP can help, and it is told and not counted."""
    if not shutil.which("wrk"):
        raise SystemExit("this row needs wrk: apt-get install -y wrk")
    home = bench.cluster()
    server = bench.serve(home)
    for what, env in (("ends well", {}), ("exits at once", {"EXIT_AT_ONCE": "1"})):
        bench.ktool(home, "apply", "--wait", "-f", "-", stdin="\n---\n".join(map(json.dumps, _objects(env))))
        idle = _steps(bench, home)
        result = Result(f"rolling {REPLICAS} under load, {what}", None, [])
        for _ in range(runs):
            took, tallies = _round(bench, home)
            result.pairs.append((took, idle))
            total = sum(tally.requests for tally in tallies.values())
            result.notes.append(f"kept connections: {tallies[True]}; new connections: {tallies[False]}")
            counted = [tallies[False]] if env else list(tallies.values())
            if total < FEWEST or any(tally.lost for tally in counted):
                result.goal = 0.0
        yield result
    bench.end(server)


def _steps(bench: Bench, home: Path) -> float:
    begun = time.monotonic()
    for words in STEPS:
        bench.ktool(home, *words)
    return time.monotonic() - begun


def _round(bench: Bench, home: Path) -> tuple[float, dict[bool, Tally]]:
    service = _get(home, "service", "web")
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    inside = _inside_client(bench, home)
    first, second = bench.lab.nodes[:2]
    clients = []
    for kept in (True, False):
        clients.append(_wrk([], f"http://{first.address}:{port}/", kept))
        clients.append(_wrk(["nsenter", "-t", str(second.pid), "-n"], f"http://{address}/", kept))
        clients.append(_wrk(inside, f"http://{address}/", kept))
    time.sleep(1)
    took = _steps(bench, home)
    time.sleep(1)
    tallies = {True: Tally(), False: Tally()}
    for client in clients:
        os.killpg(client.process.pid, signal.SIGINT)
        requests, lost = _told(client.process.communicate(timeout=30)[0])
        tallies[client.kept].requests += requests
        tallies[client.kept].lost += lost
    return took, tallies


def _wrk(within: list[str], url: str, kept: bool) -> Client:
    header = [] if kept else ["-H", "Connection: close"]
    # A group of its own: nsenter hands no signal on to what it started.
    words = [*within, "wrk", "-t1", "-c4", "-d300", "--timeout", "10", *header, url]
    return Client(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True), kept)


def _told(text: str) -> tuple[int, int]:
    """Requests answered, and those that were not or not well, from wrk's report."""
    requests = re.search(r"(\d+) requests in", text)
    if requests is None:
        raise SystemExit(f"wrk said: {text}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    lost = sum(map(int, errors.groups())) if errors else 0
    return int(requests[1]), lost + (int(refused[1]) if refused else 0)


def _inside_client(bench: Bench, home: Path) -> list[str]:
    """What runs a command in the network of the client's pod."""
    pod = _get(home, "pod", "client")
    node = next(node for node in bench.lab.nodes if node.name == pod["spec"]["nodeName"])
    own = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    state = floor.Podman(floor.node_socket(node.pid)).call("GET", f"/containers/{own}/json")["State"]
    return ["nsenter", "-t", str(node.pid), "-a", "nsenter", "-t", str(state["Pid"]), "-n"]


def _get(home: Path, kind: str, name: str) -> Any:
    env = {**ENVIRONMENT, "KTOOL_HOME": str(home)}
    words = [*KTOOL, "get", kind, name, "-o", "json"]
    return json.loads(subprocess.run(words, env=env, capture_output=True, timeout=60, check=True).stdout)


def _objects(env: dict[str, str]) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": "registry.lab/web:v1",
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }
    if env:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 0}}}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {"replicas": REPLICAS, "selector": {"matchLabels": labels}, "template": template}
    service = {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    client = {"containers": [{"name": "main", "image": "registry.lab/web:v1"}], "terminationGracePeriodSeconds": 1}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": client},
    ]
