"""Probes: which handler a spec means, what becomes of a probe answer by answer, and what follows for the container."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api.obj import put, timestamp
from ktool.api.ref import POD, Ref
from ktool.logic.node import probecalls
from ktool.logic.node.nodeaction import ContainerFact, NodeFacts, PodFact
from ktool.logic.pod import podstatus, probes
from ktool.logic.pod.probes import LIVENESS, READINESS, STARTUP, Health, Probe, Record, Vitals
from tests.logic.nodemodel import NODE, pod

NOW = 1_700_000_000.0


def probe(kind: str, **knobs: Any) -> Probe:
    base = Probe(Ref(POD, "default", "web"), "u", "web", kind, "c@1", "c", NOW, probecalls.Exec(("true",)))
    return replace(base, **knobs)


# --- handlers ----------------------------------------------------------------------------------------------------

CONTAINER = {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"exec": {"command": ["cat", "/x"]}}, probecalls.Exec(("cat", "/x")), id="exec"),
        pytest.param(
            {"httpGet": {"port": 80}}, probecalls.HttpGet("HTTP", "10.0.0.1", 80, "/"), id="http-defaults-to-the-pod"
        ),
        pytest.param(
            {"httpGet": {"port": "http", "path": "/z?a=1", "scheme": "HTTPS", "host": "example.test",
                         "httpHeaders": [{"name": "X", "value": "1"}]}},
            probecalls.HttpGet("HTTPS", "example.test", 8080, "/z?a=1", (("X", "1"),)),
            id="http-in-full",
        ),
        pytest.param(
            {"httpGet": {"port": 80, "path": "z"}}, probecalls.HttpGet("HTTP", "10.0.0.1", 80, "/z"), id="slash"
        ),
        pytest.param({"tcpSocket": {"port": "http"}}, probecalls.TcpSocket("10.0.0.1", 8080), id="tcp-by-name"),
        pytest.param({"tcpSocket": {"port": 1, "host": "h"}}, probecalls.TcpSocket("h", 1), id="tcp-host"),
        pytest.param({"grpc": {"port": 9, "service": "s"}}, probecalls.Grpc("10.0.0.1", 9, "s"), id="grpc"),
        pytest.param({"sleep": {"seconds": 3}}, probecalls.Sleep(3), id="sleep"),
        pytest.param(
            {"tcpSocket": {"port": "nope"}},
            probecalls.Impossible('the container has no port named "nope"'),
            id="no-port",
        ),
    ],
)  # fmt: skip
def test_handlers(spec: dict[str, Any], expected: probecalls.Handler) -> None:
    assert probecalls.of(spec, CONTAINER, "10.0.0.1") == expected


# --- answer by answer --------------------------------------------------------------------------------------------


def verdicts(one: Probe, answers: str, record: Record | None = None) -> str:
    """+ and - of the answers become + (success), - (failure) or ? (nothing yet) of the verdict after each."""
    record, result, now = record or Record(NOW), "", NOW
    for answer in answers:
        record = probes.after(one, record, answer == "+", now, now + 0.1)
        result += {True: "+", False: "-", None: "?"}[record.verdict] + ("!" if record.over else "")
        now = record.due
    return result


@pytest.mark.parametrize(
    ("kind", "knobs", "answers", "expected"),
    [
        pytest.param(READINESS, {}, "+", "+", id="ready-by-one-success"),
        pytest.param(READINESS, {}, "+---", "+++-", id="unready-by-three-failures-in-a-row"),
        pytest.param(READINESS, {}, "+--+--+", "+++++++", id="a-success-between-begins-anew"),
        pytest.param(READINESS, {"successes": 2}, "+-++", "???+", id="two-successes-in-a-row"),
        pytest.param(READINESS, {"failures": 1}, "+-+", "+-+", id="every-answer-counts"),
        pytest.param(LIVENESS, {}, "---", "??-!", id="dead-by-three-failures"),
        pytest.param(LIVENESS, {"failures": 1}, "+-", "+-!", id="dead-at-once"),
        pytest.param(STARTUP, {"failures": 5}, "----+", "????+!", id="started-at-the-last-moment"),
        pytest.param(STARTUP, {"failures": 2}, "--", "?-!", id="never-started"),
    ],
)
def test_verdicts(kind: str, knobs: dict[str, Any], answers: str, expected: str) -> None:
    assert verdicts(probe(kind, **knobs), answers) == expected


def test_a_readiness_probe_is_asked_again_soon_until_it_has_succeeded_and_then_every_period() -> None:
    one, record, pauses, asked = probe(READINESS, period=10.0), Record(NOW), [], NOW
    for ok in (False, False, False, False, False, False, False, True, False, True):
        record = probes.after(one, record, ok, asked, asked)
        pauses.append(record.due - asked)
        asked = record.due
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10, 10]


def test_other_probes_keep_to_their_period() -> None:
    record = probes.after(probe(STARTUP, period=3.0), Record(NOW), False, NOW, NOW + 0.5)
    assert record.due == NOW + 3
    late = probes.after(probe(LIVENESS, period=3.0), Record(NOW), True, NOW, NOW + 5)
    assert late.due == NOW + 5, "what was missed is not made up for"


@given(
    kind=st.sampled_from(probes.KINDS),
    successes=st.integers(1, 4),
    failures=st.integers(1, 4),
    answers=st.lists(st.booleans(), max_size=40),
)
def test_a_verdict_moves_only_after_enough_equal_answers(
    kind: str, successes: int, failures: int, answers: list[bool]
) -> None:
    one = probe(kind, successes=successes if kind == READINESS else 1, failures=failures)
    record, now, seen = Record(NOW), NOW, []
    for ok in answers:
        before = record
        record = probes.after(one, record, ok, now, now)
        seen.append(ok)
        assert now < record.due <= now + one.period
        if record.verdict != before.verdict:
            assert record.verdict is ok
            threshold = one.successes if ok else one.failures
            assert seen[-threshold:] == [ok] * threshold
        if len(seen) >= one.failures and not any(seen[-one.failures :]):
            assert record.verdict is False
        if record.over:
            assert kind == STARTUP or (kind == LIVENESS and record.verdict is False)
            return
        now = record.due


# --- where one begins --------------------------------------------------------------------------------------------


def entry(fact: ContainerFact, **state: Any) -> dict[str, Any]:
    running = {"running": {"startedAt": timestamp(fact.started_at)}}
    return {"name": "web", "containerID": f"podman://{fact.id}", "state": running, **state}


FACT = ContainerFact("web", "c", "running", started_at=NOW + 0.4)


@pytest.mark.parametrize(
    ("kind", "known", "knobs", "verdict", "over", "wait"),
    [
        pytest.param(READINESS, None, {}, None, False, 0, id="a-new-one-is-asked-at-once"),
        pytest.param(READINESS, None, {"delay": 7}, None, False, 5, id="after-the-rest-of-its-delay"),
        pytest.param(READINESS, {"ready": True}, {}, True, False, 0, id="what-was-ready-is-believed"),
        pytest.param(READINESS, {"ready": False}, {}, None, False, 0, id="what-was-not-is-asked-at-once"),
        pytest.param(STARTUP, {"started": True}, {}, True, True, 0, id="what-had-started-is-not-asked-again"),
        pytest.param(STARTUP, {"started": False}, {}, None, False, 0, id="what-had-not-is"),
        pytest.param(LIVENESS, {"started": True}, {}, None, False, 0, id="liveness"),
    ],
)
def test_beginning(kind: str, known: Any, knobs: dict[str, Any], verdict: bool | None, over: bool, wait: float) -> None:
    status = {"containerStatuses": [entry(FACT, **known)]} if known else {}
    record = probes.begin(probe(kind, **knobs), put(pod("web"), "status", status), FACT, 100.0, 2.0, spread=False)
    assert (record.verdict, record.over, record.due) == (verdict, over, 100.0 + wait)


def test_what_is_well_is_asked_at_some_moment_of_its_period() -> None:
    well = put(pod("web"), "status", {"containerStatuses": [entry(FACT, ready=True)]})
    many = [replace(probe(READINESS), uid=f"u{number}") for number in range(200)]
    dues = sorted(probes.begin(one, well, FACT, 0.0, 60.0, spread=True).due for one in many)
    assert 0 <= dues[0] < 1 and 9 < dues[-1] < 10
    assert max(after - before for before, after in pairwise(dues)) < 1


def test_another_run_of_the_container_begins_anew() -> None:
    well = put(pod("web"), "status", {"containerStatuses": [entry(FACT, ready=True)]})
    again = replace(FACT, started_at=NOW + 60)
    assert probes.begin(probe(READINESS), well, again, 0.0, 0.0, spread=True) == Record(0.0)


# --- what follows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param({READINESS: None}, Health("c@1", True, False), id="not-ready-before-the-first-answer"),
        pytest.param({READINESS: True}, Health("c@1", True, True), id="ready"),
        pytest.param({STARTUP: None, READINESS: True}, Health("c@1", False, False), id="not-before-it-has-started"),
        pytest.param({STARTUP: True, LIVENESS: None}, Health("c@1", True, True), id="alive-until-proved-otherwise"),
        pytest.param({LIVENESS: False}, Health("c@1", True, True, LIVENESS, 3), id="to-be-restarted"),
        pytest.param({STARTUP: False}, Health("c@1", False, False, STARTUP, 3), id="never-started"),
        pytest.param({READINESS: False}, Health("c@1", True, False), id="readiness-restarts-nothing"),
    ],
)
def test_health(records: dict[str, bool | None], expected: Health) -> None:
    pairs = [(probe(kind, grace=3), Record(NOW, verdict)) for kind, verdict in records.items()]
    assert probes.health(pairs) == expected


def probed(**kinds: Any) -> dict[str, Any]:
    return put(pod("web"), "spec", "containers", [{"name": "web", "image": "web:1", **kinds}])


def seen(*containers: ContainerFact) -> NodeFacts:
    fact = PodFact("uid-web", "default", "web", "p", "h", "10.244.1.5", "running", containers)
    return NodeFacts(pods=(fact,))


PROBES = {f"{kind}Probe": {"exec": {"command": ["true"]}} for kind in probes.KINDS}


def kinds(obj: dict[str, Any], facts: NodeFacts, hooked: frozenset[str] = frozenset()) -> set[str]:
    return {key[2] for key in probes.found([obj], facts, "192.0.2.1", hooked)}


def test_only_what_runs_is_asked() -> None:
    obj = probed(**PROBES)
    assert kinds(obj, seen(FACT)) == set(probes.KINDS)
    assert kinds(obj, seen(replace(FACT, state="exited"))) == set()
    assert kinds(obj, NodeFacts()) == set()
    assert kinds(put(obj, "metadata", "deletionTimestamp", "2023-01-01T00:00:00Z"), seen(FACT)) == {READINESS}


def test_a_container_is_asked_after_its_hook() -> None:
    obj = probed(**PROBES, lifecycle={"postStart": {"exec": {"command": ["true"]}}})
    assert kinds(obj, seen(FACT)) == set()
    assert kinds(obj, seen(FACT), frozenset({probes.run_of(FACT)})) == set(probes.KINDS)
    begun = put(obj, "status", {"containerStatuses": [entry(FACT, started=True)]})
    assert kinds(begun, seen(FACT)) == set(probes.KINDS), "another control plane has done it"


# --- the status of the pod ---------------------------------------------------------------------------------------


def ready_of(obj: dict[str, Any], facts: NodeFacts, vitals: Vitals) -> tuple[bool, bool, str]:
    status = podstatus.status(obj, facts.pods[0], node=NODE, failures={}, now=NOW, vitals=vitals)
    one = status["containerStatuses"][0]
    return one["started"], one["ready"], next(c["status"] for c in status["conditions"] if c["type"] == "Ready")


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        pytest.param(None, (True, False, "False"), id="unknown"),
        pytest.param(Health(probes.run_of(FACT), ready=False), (True, False, "False"), id="not-yet"),
        pytest.param(Health(probes.run_of(FACT)), (True, True, "True"), id="ready"),
        pytest.param(Health("another-run"), (True, False, "False"), id="of-the-run-before"),
    ],
)
def test_ready_only_after_the_readiness_probe(health: Health | None, expected: tuple[bool, bool, str]) -> None:
    vitals = Vitals({("uid-web", "web"): health} if health else {})
    obj = probed(readinessProbe=PROBES["readinessProbe"])
    assert ready_of(obj, seen(FACT), vitals) == expected


def test_a_new_control_plane_believes_the_status_until_it_has_asked() -> None:
    obj = probed(readinessProbe=PROBES["readinessProbe"], startupProbe=PROBES["startupProbe"])
    known = put(obj, "status", {"containerStatuses": [entry(FACT, started=True, ready=True)]})
    assert ready_of(known, seen(FACT), probes.UNKNOWN) == (True, True, "True")
    restarted = seen(replace(FACT, started_at=NOW + 90))
    assert ready_of(known, restarted, probes.UNKNOWN) == (False, False, "False")
