"""Which of several possible nodes is chosen, and in which order pods have their turn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ktool.logic.schedule import place
from tests.logic.schedule.schedule_objects import (
    ZONE,
    apart,
    expression,
    near,
    node,
    pod,
    prefer,
    prefer_nodes,
    spread,
    term,
    where,
)

Obj = dict[str, Any]
WEB = {"app": "web"}
TWO = [node("a"), node("b")]
SSD = {"matchExpressions": [expression("disk", "In", "ssd")]}
GPU = {"matchExpressions": [expression("gpu", "Exists")]}


@pytest.mark.parametrize(
    ("incoming", "nodes", "there", "expected"),
    [
        pytest.param(pod(), TWO, [], "a", id="a-tie-goes-by-name"),
        pytest.param(pod(cpu="1"), TWO, [pod("o", on="a", cpu="1")], "b", id="least-cpu"),
        pytest.param(pod(memory="1Gi"), TWO, [pod("o", on="a", memory="1Gi")], "b", id="least-memory"),
        pytest.param(pod(), TWO, [pod("o", on="a")], "b", id="pods-without-requests-count-as-small-ones"),
        pytest.param(pod(), [node("a"), node("b", cpu="64", memory="128Gi")], [], "b", id="least-is-relative"),
        pytest.param(
            pod(cpu="1", memory="1Gi"),
            [node("a", cpu="8", memory="8Gi"), node("b", cpu="8", memory="8Gi")],
            [pod("o", on="a", cpu="4", memory="1Mi"), pod("q", on="b", cpu="2", memory="2200Mi")], "b", id="balanced",
        ),
        pytest.param(pod(), [node("a", taints=["k:PreferNoSchedule"]), node("b")], [], "b", id="prefer-no-schedule"),
        pytest.param(
            pod(tolerations=[{"key": "k", "operator": "Exists"}]),
            [node("a", taints=["k:PreferNoSchedule"]), node("b")], [], "a", id="prefer-no-schedule-tolerated",
        ),
        pytest.param(
            pod(),
            [node("a", taints=["k:PreferNoSchedule", "j:PreferNoSchedule"]), node("b", taints=["k:PreferNoSchedule"])],
            [], "b", id="fewer-soft-taints",
        ),
        pytest.param(
            pod(), [node("a", taints=["k:PreferNoSchedule"]), node("b", taints=["j:NoSchedule"])], [], "a",
            id="a-soft-taint-never-blocks",
        ),
        pytest.param(
            pod(affinity=prefer_nodes((1, SSD))), [node("a"), node("b", labels={"disk": "ssd"})], [], "b",
            id="preferred-node",
        ),
        pytest.param(
            pod(affinity=prefer_nodes((1, SSD), (100, GPU))),
            [node("a", labels={"disk": "ssd"}), node("b", labels={"gpu": "1"})], [], "b", id="preferred-node-by-weight",
        ),
        pytest.param(
            pod(affinity=prefer_nodes((50, SSD), (60, GPU))),
            [node("a", labels={"gpu": "1"}), node("b", labels={"gpu": "1", "disk": "ssd"})], [], "b",
            id="preferred-node-weights-add-up",
        ),
        pytest.param(
            pod(cpu="1", affinity=prefer_nodes((100, SSD))),
            [node("a"), node("b", labels={"disk": "ssd"}, cpu="0")], [], "a", id="a-preferred-node-that-is-full",
        ),
        pytest.param(
            pod(affinity=prefer("podAffinity", 1, term(ZONE, "db"))), [node("a", zone="x"), node("b", zone="y")],
            [pod("d", on="b", labels={"app": "db"})], "b", id="preferred-pod",
        ),
        pytest.param(
            pod(affinity=prefer("podAntiAffinity", 1, term(app="db"))), TWO,
            [pod("d", on="a", labels={"app": "db"}), pod("o", on="b"), pod("q", on="b")], "b", id="preferred-apart",
        ),
        pytest.param(
            pod(labels=WEB), TWO, [pod("o", on="a"), pod("d", on="b", affinity=prefer("podAffinity", 10, term()))], "b",
            id="a-running-pod-wishes-for-company",
        ),
        pytest.param(
            pod(labels=WEB), TWO, [pod("d", on="a", affinity=prefer("podAntiAffinity", 10, term())), pod("o", on="b")],
            "b", id="a-running-pod-wishes-to-be-alone",
        ),
        pytest.param(
            pod(labels=WEB), TWO, [pod("o", on="a"), pod("d", on="b", affinity=near(term()))], "b",
            id="a-running-pod-that-needed-company",
        ),
        pytest.param(
            pod(owner="rs"), [node("a"), node("b", cpu="2")],
            [pod("o", on="a", owner="rs", cpu="1m", memory="1Mi")], "b", id="replicas-spread-by-default",
        ),
        pytest.param(
            pod(owner="rs"), [node("a", zone="x"), node("b", zone="x"), node("c", zone="y")],
            [pod("o", on="a", owner="rs")], "c", id="replicas-spread-over-zones-first",
        ),
        pytest.param(
            pod(owner="rs"), [node("a"), node("b", cpu="2")],
            [pod("o", on="a", owner="rs", cpu="1m", memory="1Mi", ending=True)], "a",
            id="terminating-replicas-do-not-count",
        ),
        pytest.param(
            pod(labels=WEB, topologySpreadConstraints=[spread(ZONE, when="ScheduleAnyway")]),
            [node("a", zone="x"), node("b", zone="y", cpu="2")],
            [pod("w", on="a", labels=WEB, cpu="1m", memory="1Mi")], "b", id="schedule-anyway",
        ),
        pytest.param(
            pod(labels=WEB, topologySpreadConstraints=[spread(ZONE, when="ScheduleAnyway")]),
            [node("a"), node("b", zone="y"), node("c", zone="z")], [pod("o", on="b"), pod("q", on="c")], "b",
            id="schedule-anyway-puts-nodes-without-the-label-last",
        ),
        pytest.param(
            pod(labels=WEB, topologySpreadConstraints=[spread(ZONE, when="ScheduleAnyway")]),
            [node("a"), node("b", zone="y"), node("c", zone="z")],
            [pod("w", on="b", labels=WEB), *(pod(f"w{number}", on="c", labels=WEB) for number in range(3))], "b",
            id="schedule-anyway-prefers-a-fuller-domain-to-none",
        ),
    ],
)  # fmt: skip
def test_the_best_node(incoming: Obj, nodes: list[Obj], there: list[Obj], expected: str) -> None:
    assert where(incoming, nodes, there) == [expected]


def test_priority_goes_first_then_age_then_name() -> None:
    waiting = [
        pod("new", created="2024-01-03T00:00:00Z"),
        pod("b-old", created="2024-01-01T00:00:00Z"),
        pod("a-old", created="2024-01-01T00:00:00Z"),
        pod("vip", created="2024-01-09T00:00:00Z", priority=1000),
        pod("low", created="2020-01-01T00:00:00Z", priority=-5),
    ]
    decisions = place(waiting, [node("n", pods="3")], [], {})
    assert [decision.ref.name for decision in decisions] == ["vip", "a-old", "b-old", "new", "low"]
    assert [bool(decision.node) for decision in decisions] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"owner": "rs"}, id="replicas"),
        pytest.param({}, id="unowned"),
        pytest.param({"owner": "rs", "cpu": "100m", "memory": "64Mi"}, id="with-requests"),
        pytest.param({"affinity": prefer("podAntiAffinity", 100, term())}, id="preferred-apart"),
        pytest.param({"topologySpreadConstraints": [spread(when="ScheduleAnyway")]}, id="schedule-anyway"),
        pytest.param({"topologySpreadConstraints": [spread()]}, id="do-not-schedule"),
    ],
)
def test_replicas_on_equal_nodes_come_out_even(spec: Obj) -> None:
    crowd = [pod(f"w{number:02}", labels=WEB, **spec) for number in range(40)]
    placed = where(crowd, [node(f"n{number}", cpu="32", memory="64Gi") for number in range(8)])
    assert set(Counter(placed).values()) == {5}


def test_single_replicas_of_many_owners_come_out_even_too() -> None:
    crowd = [pod(f"w{number:02}", labels={"app": f"a{number}"}, owner=f"rs{number}") for number in range(40)]
    assert set(Counter(where(crowd, [node(f"n{number}") for number in range(8)])).values()) == {5}


def test_one_replica_per_node_and_the_rest_waits() -> None:
    crowd = [pod(f"w{number}", labels=WEB, affinity=apart(term())) for number in range(4)]
    placed = where(crowd, [node("a"), node("b"), node("c")])
    assert sorted(placed[:3]) == ["a", "b", "c"]
    assert placed[3] == "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
