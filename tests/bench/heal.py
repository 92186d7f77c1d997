"""The row of a reboot: how long after it a node's pods are Ready again, beside starting as many by bare calls."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import floor
from tests.bench.rows import CONCURRENCIES, ENVIRONMENT, IMAGE, KTOOL, Bench, Result, deployment, subnet

PODS = 6


def reboots(bench: Bench, runs: int) -> Iterator[Result]:
    """From the moment the node answers again; a command has to be given where there is no server. The floor starts
    pods that a reboot has stopped, by the best of several concurrencies."""
    home = bench.cluster()
    node = bench.lab.nodes[0].name
    manifest = deployment("many", PODS, node=node)
    bench.ktool(home, "apply", "--wait", "-f", "-", stdin=manifest)
    for life in ("server", "own"):
        server = bench.serve(home) if life == "server" else None
        result = Result(f"{PODS} pods of a node that reboots, {life}", None, [])
        for _ in range(runs):
            bare = _bare(bench)
            before = _restarts(home)
            bench.reboot(node)
            begun = time.monotonic()
            if server is None:
                bench.ktool(home, "apply", "--wait", "-f", "-", stdin=manifest)
            _until_ready(home, {pod: count + 1 for pod, count in before.items()})
            result.pairs.append((time.monotonic() - begun, bare))
        yield result
        if server:
            bench.end(server)
    bench.ktool(home, "delete", "deployment", "many", "--cascade=foreground")


def _bare(bench: Bench) -> float:
    """Seconds to start as many pods of this node that have ended."""
    sockets = [floor.node_socket(bench.lab.nodes[0].pid)]
    _, ids = floor.create(sockets, [floor.pods(PODS, IMAGE, subnet(sockets[0]), "floor")], CONCURRENCIES[0])
    best = min(floor.restart(sockets, ids, concurrency) for concurrency in CONCURRENCIES)
    floor.remove(sockets, ids, CONCURRENCIES[0])
    return best


def _pods(home: Path) -> list[Any]:
    env = {**ENVIRONMENT, "KTOOL_HOME": str(home)}
    words = [*KTOOL, "get", "pods", "-o", "json"]
    return list(json.loads(subprocess.run(words, env=env, capture_output=True, timeout=60, check=True).stdout)["items"])


def _restarts(home: Path) -> dict[str, int]:
    """By pod, of those that are Ready."""
    return {
        pod["metadata"]["name"]: int(pod["status"]["containerStatuses"][0]["restartCount"])
        for pod in _pods(home)
        if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
    }


def _until_ready(home: Path, wanted: dict[str, int]) -> None:
    end = time.monotonic() + 300
    while _restarts(home) != wanted:
        if time.monotonic() > end:
            raise SystemExit(f"the pods are not back: {_restarts(home)}, and not {wanted}")
        time.sleep(0.1)
