"""The row of a reboot: how long after it a node's pods are Ready again, beside starting as many by bare calls."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ktool import lab
from tests.bench import floor
from tests.bench.realnodes import CONCURRENCIES, OWN, SERVER
from tests.bench.side import IMAGE, Side, deployment
from tests.bench.table import Runs, Sample

PODS = 6


def reboots(life: str, side: Side) -> Runs:
    """From the moment the node answers again; a command has to be given where there is no server. The floor starts
    pods that a reboot has stopped, by the best of several concurrencies."""
    home, node = side.cluster(), side.lab.nodes[0]
    manifest = deployment("many", PODS, node=node.name)
    side.ktool(home, "apply", "--wait", "-f", "-", stdin=manifest)
    with ExitStack() as stack:
        stack.callback(side.ktool, home, "delete", "deployment", "many", "--cascade=foreground")
        if life == SERVER:
            stack.enter_context(side.server(home))
        while True:
            bare = _bare(node.pid)
            before = _restarts(side, home)
            node = lab.reboot(side.lab.name, node.name, side.root / "labs")
            begun = time.monotonic()
            if life == OWN:
                side.ktool(home, "apply", "--wait", "-f", "-", stdin=manifest)
            _until_ready(side, home, {pod: count + 1 for pod, count in before.items()})
            yield [Sample(f"{PODS} pods of a node that reboots, {life}", time.monotonic() - begun, bare)]


def _bare(pid: int) -> float:
    """Seconds to start as many pods of this node that have ended."""
    sockets = [floor.node_socket(pid)]
    _, ids = floor.create(sockets, [floor.pods(PODS, IMAGE, floor.subnet(sockets[0]))], CONCURRENCIES[0])
    best = min(floor.restart(sockets, ids, concurrency) for concurrency in CONCURRENCIES)
    floor.remove(sockets, ids, CONCURRENCIES[0])
    return best


def _restarts(side: Side, home: Path) -> dict[str, int]:
    """By pod, of those that are Ready."""
    return {
        pod["metadata"]["name"]: int(pod["status"]["containerStatuses"][0]["restartCount"])
        for pod in _listed(side, home)
        if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
    }


def _listed(side: Side, home: Path) -> list[dict[str, Any]]:
    return list(json.loads(side.say(home, "get", "pods", "-o", "json")[1])["items"])


def _until_ready(side: Side, home: Path, wanted: dict[str, int]) -> None:
    end = time.monotonic() + 300
    while (found := _restarts(side, home)) != wanted:
        if time.monotonic() > end:
            raise SystemExit(f"the pods are not back: {found}, and not {wanted}")
        time.sleep(0.1)


ROWS = {"reboot": partial(reboots, SERVER), "reboot-own": partial(reboots, OWN)}
