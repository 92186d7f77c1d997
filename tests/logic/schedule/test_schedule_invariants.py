"""The scheduler against a plain reading of the documentation: every placement is allowed at its moment, and a pod is
left waiting only where no node is allowed. The reading below is slow and has no caches, so the two share no mistakes
of bookkeeping."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ktool.logic.schedule import place
from tests.logic.schedule.schedule_objects import HOST, ZONE, apart, near, node, pod, spread, term

Obj = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
APPS = ["web", "db"]


def _millis(text: str) -> int:
    return int(text[:-1]) if text.endswith("m") else int(text) * 1000


def _cpu(entry: Obj) -> int:
    return _millis(entry["spec"]["containers"][0].get("resources", {}).get("requests", {}).get("cpu", "0"))


def _labels(entry: Obj) -> Obj:
    return entry["metadata"].get("labels", {})


def _picks(rule: Obj, entry: Obj) -> bool:
    wanted = rule["labelSelector"]["matchLabels"]
    return all(_labels(entry).get(key) == value for key, value in wanted.items())


def _rules(entry: Obj, kind: str) -> list[Obj]:
    return entry["spec"].get("affinity", {}).get(kind, {}).get(REQUIRED, [])


def permits(incoming: Obj, target: Obj, nodes: list[Obj], running: list[tuple[Obj, str]]) -> bool:
    """Whether `target` may take the pod now; `running` are the pods there are with their nodes."""
    by_name = {entry["metadata"]["name"]: entry for entry in nodes}
    here = target["metadata"]["name"]
    on_it = [entry for entry, where in running if where == here]

    def same(topology: str, where: str) -> bool:
        value = _labels(target).get(topology)
        return value is not None and _labels(by_name[where]).get(topology) == value

    free = _millis(target["status"]["allocatable"]["cpu"]) - sum(map(_cpu, on_it))
    if (_cpu(incoming) and _cpu(incoming) > free) or len(on_it) >= int(target["status"]["allocatable"]["pods"]):
        return False
    if target["spec"].get("unschedulable") or target["status"]["conditions"][0]["status"] != "True":
        return False
    tolerated = {entry["key"] for entry in incoming["spec"].get("tolerations", [])}
    if any(taint["key"] not in tolerated for taint in target["spec"].get("taints", [])):
        return False
    if any(_labels(target).get(key) != value for key, value in incoming["spec"].get("nodeSelector", {}).items()):
        return False
    for rule in incoming["spec"].get("topologySpreadConstraints", []):
        if not _spread_permits(rule, incoming, target, nodes, running):
            return False
    attracting = _rules(incoming, "podAffinity")
    companions = [where for entry, where in running if all(_picks(rule, entry) for rule in attracting)]
    nobody = not any(rule["topologyKey"] in _labels(by_name[where]) for rule in attracting for where in companions)
    for rule in attracting:
        if rule["topologyKey"] not in _labels(target):
            return False
        first = nobody and all(_picks(rule, incoming) for rule in attracting)
        if not first and not any(same(rule["topologyKey"], where) for where in companions):
            return False
    repelled = [
        (rule, where) for rule in _rules(incoming, "podAntiAffinity") for entry, where in running if _picks(rule, entry)
    ]
    repelled += [
        (rule, where) for entry, where in running for rule in _rules(entry, "podAntiAffinity") if _picks(rule, incoming)
    ]
    return not any(same(rule["topologyKey"], where) for rule, where in repelled)


def _spread_permits(rule: Obj, incoming: Obj, target: Obj, nodes: list[Obj], running: list[tuple[Obj, str]]) -> bool:
    keys = {other["topologyKey"] for other in incoming["spec"]["topologySpreadConstraints"]}
    selector = incoming["spec"].get("nodeSelector", {})
    eligible = {
        entry["metadata"]["name"]: _labels(entry)[rule["topologyKey"]]
        for entry in nodes
        if keys <= set(_labels(entry)) and all(_labels(entry).get(key) == value for key, value in selector.items())
    }
    value = _labels(target).get(rule["topologyKey"])
    if value is None:
        return False
    counts = dict.fromkeys(eligible.values(), 0)
    for entry, where in running:
        if where in eligible and _picks(rule, entry):
            counts[eligible[where]] += 1
    least = min(counts.values(), default=0)
    return counts.get(value, 0) + int(_picks(rule, incoming)) - least <= rule["maxSkew"]


NODES = st.lists(
    st.builds(
        lambda cpu, pods, zone, taints, disk, down: {
            "cpu": cpu, "pods": pods, "zone": zone, "taints": taints, "labels": disk, **down
        },
        st.sampled_from(["1", "2", "4"]),
        st.sampled_from(["2", "5", "110"]),
        st.sampled_from(["", "x", "y"]),
        st.sampled_from([[], [], ["k:NoSchedule"]]),
        st.sampled_from([{}, {"disk": "ssd"}]),
        st.sampled_from([{}, {}, {}, {"unschedulable": True}, {"ready": "False"}]),
    ),
    min_size=1,
    max_size=6,
)  # fmt: skip
TOPOLOGY, APP = st.sampled_from([HOST, ZONE]), st.sampled_from(APPS)
RULES = st.one_of(
    st.just({}),
    st.builds(lambda t, a: {"affinity": apart(term(t, a))}, TOPOLOGY, APP),
    st.builds(lambda t, a: {"affinity": near(term(t, a))}, TOPOLOGY, APP),
    st.builds(lambda t, a, u, b: {"affinity": {**near(term(t, a)), **apart(term(u, b))}}, TOPOLOGY, APP, TOPOLOGY, APP),
    st.builds(lambda t, s, a: {"topologySpreadConstraints": [spread(t, s, app=a)]}, TOPOLOGY, st.integers(1, 2), APP),
    st.builds(lambda a: {"topologySpreadConstraints": [spread(HOST, 1, app=a), spread(ZONE, 1, app=a)]}, APP),
)
TEMPLATES = st.builds(
    lambda app, cpu, rules, selector, tolerations, priority: {
        "labels": {"app": app}, "cpu": cpu, "owner": app, "priority": priority, **rules, **selector, **tolerations
    },
    APP,
    st.sampled_from(["", "300m", "1"]),
    RULES,
    st.sampled_from([{}, {}, {"nodeSelector": {"disk": "ssd"}}]),
    st.sampled_from([{}, {"tolerations": [{"key": "k", "operator": "Exists"}]}]),
    st.sampled_from([None, 10]),
)  # fmt: skip


@st.composite
def clusters(draw: Any) -> tuple[list[Obj], list[Obj], list[Obj]]:
    """Nodes, bound pods and pending pods, of a few templates with several pods each."""
    nodes = [node(f"n{number}", **entry) for number, entry in enumerate(draw(NODES))]
    names = [entry["metadata"]["name"] for entry in nodes]
    templates = draw(st.lists(TEMPLATES, min_size=1, max_size=4))
    bound = [
        pod(f"b{number}", on=name, **draw(st.sampled_from(templates)))
        for number, name in enumerate(draw(st.lists(st.sampled_from(names), max_size=5)))
    ]
    pending = [pod(f"p{number}", **draw(st.sampled_from(templates))) for number in range(draw(st.integers(1, 10)))]
    return nodes, bound, pending


@settings(max_examples=400, deadline=None)
@given(clusters())
def test_every_placement_is_allowed_at_its_moment_and_nobody_waits_for_nothing(
    cluster: tuple[list[Obj], list[Obj], list[Obj]],
) -> None:
    nodes, bound, pending = cluster
    running = [(entry, entry["spec"]["nodeName"]) for entry in bound]
    by_name = {entry["metadata"]["name"]: entry for entry in pending}
    decisions = place(pending, nodes, bound, {})
    assert len(decisions) == len(pending)
    for decision in decisions:
        body = by_name[decision.ref.name]
        possible = [entry["metadata"]["name"] for entry in nodes if permits(body, entry, nodes, running)]
        if decision.node:
            assert decision.node in possible
            running.append((body, decision.node))
        else:
            assert possible == [], decision.message


@settings(max_examples=100, deadline=None)
@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_the_arguments_changes_nothing(
    cluster: tuple[list[Obj], list[Obj], list[Obj]], dice: random.Random
) -> None:
    before = place(cluster[2], cluster[0], cluster[1], {})
    shuffled = [list(part) for part in cluster]
    for part in shuffled:
        dice.shuffle(part)
    nodes, bound, pending = shuffled
    assert place(pending, nodes, bound, {}) == before


@settings(max_examples=100, deadline=None)
@given(clusters())
def test_placing_one_by_one_gives_what_placing_together_gives(cluster: tuple[list[Obj], list[Obj], list[Obj]]) -> None:
    nodes, bound, pending = cluster
    together = place(pending, nodes, bound, {})
    by_name = {entry["metadata"]["name"]: entry for entry in pending}
    for expected in together:
        body = by_name[expected.ref.name]
        assert place([body], nodes, bound, {}) == [expected]
        if expected.node:
            bound = [*bound, {**body, "spec": {**body["spec"], "nodeName": expected.node}}]


@settings(max_examples=50, deadline=None)
@given(clusters())
def test_arguments_are_left_as_they_were(cluster: tuple[list[Obj], list[Obj], list[Obj]]) -> None:
    nodes, bound, pending = cluster
    before = repr(cluster)
    place(pending, nodes, bound, {})
    assert repr(cluster) == before
