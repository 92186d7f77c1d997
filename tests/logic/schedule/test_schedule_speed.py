"""How long placing takes, as a ratio to a plain loop measured in the same run, so that a slow machine does not matter.

The bounds are several times what was measured; a scheduler that looks at every node anew for each pod in Python
objects is an order of magnitude above them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ktool.logic.schedule import place
from tests.logic.schedule.schedule_objects import apart, node, pod, prefer, spread, term

Obj = dict[str, Any]
PODS, NODES = 2000, 100


def _loop() -> None:
    """200,000 times (each pod with each node) the least that could be done: a comparison of two dict values."""
    rows = [{"free": number} for number in range(NODES)]
    found = 0
    for _ in range(PODS):
        for row in rows:
            if row["free"] > found:
                found = 0


def _best_of(times: int, do: Callable[[], Any]) -> float:
    """Seconds of processor time: what other programs on the machine take does not count."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        do()
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize(
    ("spec", "placed", "bound"),
    [
        pytest.param({"owner": "rs"}, PODS, 130, id="replicas"),
        pytest.param({}, PODS, 60, id="unowned"),
        pytest.param({"topologySpreadConstraints": [spread()]}, PODS, 90, id="hostname-spread"),
        pytest.param({"affinity": apart(term())}, NODES, 50, id="one-per-node"),
        pytest.param({"affinity": prefer("podAntiAffinity", 100, term())}, PODS, 130, id="preferred-apart"),
    ],
)
def test_two_thousand_pods_on_a_hundred_nodes(spec: Obj, placed: int, bound: float) -> None:
    nodes = [
        node(f"n{number:03}", cpu="32", memory="256Gi", pods="1000", zone="xyz"[number % 3]) for number in range(NODES)
    ]
    crowd = [pod(f"w{number:04}", labels={"app": "web"}, cpu="100m", memory="64Mi", **spec) for number in range(PODS)]
    floor = _best_of(5, _loop)
    spent = _best_of(2, lambda: place(crowd, nodes, [], {}))
    assert sum(bool(decision.node) for decision in place(crowd, nodes, [], {})) == placed
    assert spent / floor < bound, f"{spent:.3f} s, {spent / floor:.0f} times the loop"


def test_one_pod_into_a_full_cluster() -> None:
    """What each new pod costs where 2,000 run: reading them once must not mean understanding them every time."""
    nodes = [node(f"n{number:03}", cpu="32", memory="256Gi", pods="1000") for number in range(NODES)]
    running = [pod(f"w{number:04}", on=f"n{number % NODES:03}", labels={"app": "web"}) for number in range(PODS)]
    for number, entry in enumerate(running):
        entry["metadata"]["resourceVersion"] = str(number + 1)
    floor = _best_of(5, _loop)
    spent = _best_of(3, lambda: place([pod("new", labels={"app": "web"})], nodes, running, {}))
    assert spent / floor < 6, f"{spent:.4f} s, {spent / floor:.1f} times the loop"
