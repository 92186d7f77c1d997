"""Sidecars, hooks and restarts in the plans of a node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ktool.api.obj import Obj, get, put
from ktool.logic.node.nodeaction import (
    ContainerFact,
    CreateContainer,
    DrainPod,
    Failure,
    Failures,
    NodeAction,
    NodeFacts,
    PodFact,
    RemovePod,
    RunHook,
    StartContainer,
    StopContainer,
    StopPod,
)
from ktool.logic.node.probecalls import Call, Exec, Sleep
from ktool.logic.plan.nodeplan import NodePlan, Underway, plan
from ktool.logic.pod import podstatus, probes
from ktool.logic.pod.context import Context
from ktool.logic.pod.probes import UNKNOWN, Health, Vitals
from tests.logic.nodemodel import NODE, Model, pod

NOW = 1_700_000_100.0
EXEC = {"exec": {"command": ["true"]}}
RUNNING = ContainerFact("web", "c1", "running", started_at=NOW - 50)


def lane(result: NodePlan) -> list[NodeAction]:
    return [action for one in result.lanes for action in one.actions]


def planned(obj: Obj, *containers: ContainerFact, **more: Any) -> list[NodeAction]:
    """The plan for one pod that is on the node with these containers."""
    fact = PodFact("uid-web", "default", "web", "p1", "h", "10.244.1.5", "running", containers)
    facts = NodeFacts(pods=(fact,), network="10.244.1.0/24")
    underway = Underway(held=more.pop("held", {}))
    return lane(plan([obj], facts, context(**more), underway))


def context(failures: Failures | None = None, vitals: Vitals = UNKNOWN) -> Context:
    return Context(NODE, "c", failures or {}, lambda ref: None, NOW, vitals=vitals)


def web(**container: Any) -> Obj:
    return put(pod("web"), "spec", "containers", [{"name": "web", "image": "registry.test/web:v1", **container}])


def sick(**health: Any) -> dict[str, Any]:
    return {"vitals": Vitals({("uid-web", "web"): Health(probes.run_of(RUNNING), **health)})}


# --- probes ------------------------------------------------------------------------------------------------------

KILLING = "Container web failed liveness probe, will be restarted"


def test_a_container_that_failed_its_liveness_probe_is_stopped_and_started() -> None:
    assert planned(web(), RUNNING, **sick(failed="liveness")) == [
        StopContainer("uid-web", "web", "c1", 30, None, KILLING),
        StartContainer("uid-web", "web", "c1"),
    ]


def test_the_probe_may_have_a_grace_of_its_own_and_the_hook_is_done() -> None:
    obj = web(lifecycle={"preStop": {"sleep": {"seconds": 2}}})
    [stop, _] = planned(obj, RUNNING, **sick(failed="startup", started=False, grace=3))
    text = "Container web failed startup probe, will be restarted"
    assert stop == StopContainer("uid-web", "web", "c1", 3, Sleep(2), text)


def test_what_was_said_of_another_run_counts_no_more() -> None:
    assert planned(web(), replace(RUNNING, started_at=NOW - 1), **sick(failed="liveness")) == []


@pytest.mark.parametrize(
    ("policy", "restarts", "again"),
    [
        pytest.param("Always", 2, True, id="at-first-at-once"),
        pytest.param("OnFailure", 0, True, id="on-failure"),
        pytest.param("Always", 3, False, id="later-it-waits-out-its-back-off"),
        pytest.param("Never", 0, False, id="never"),
    ],
)
def test_whether_it_is_started_again_at_once(policy: str, restarts: int, again: bool) -> None:
    status = {"name": "web", "containerID": "podman://c1", "restartCount": restarts}
    obj = put(put(web(), "spec", "restartPolicy", policy), "status", {"containerStatuses": [status]})
    actions = planned(obj, RUNNING, **sick(failed="liveness"))
    assert [type(action).__name__ for action in actions] == ["StopContainer", *(["StartContainer"] if again else [])]


# --- hooks -------------------------------------------------------------------------------------------------------


def test_a_post_start_hook_is_done_once_in_each_run() -> None:
    obj = web(lifecycle={"postStart": {"exec": {"command": ["warm", "up"]}}})
    run = probes.run_of(RUNNING)
    hook = RunHook("uid-web", "web", run, Call("postStart", "c1", Exec(("warm", "up")), 600.0))
    assert planned(obj, RUNNING) == [hook]
    assert planned(obj, RUNNING, vitals=Vitals(hooked=frozenset({run}))) == []
    begun = {"name": "web", "containerID": "podman://c1", "started": True}
    begun["state"] = {"running": {"startedAt": "2023-11-14T22:14:10Z"}}
    known = put(obj, "status", {"containerStatuses": [begun]})
    assert planned(known, RUNNING) == [], "another control plane has done it"
    [again] = planned(known, replace(RUNNING, started_at=NOW))
    assert isinstance(again, RunHook)


def test_a_container_whose_post_start_hook_failed_is_ended_at_once() -> None:
    obj = web(lifecycle={"postStart": EXEC})
    failure = Failure("FailedPostStartHook", "no", "RunHook", at=NOW)
    actions = planned(obj, RUNNING, failures={("uid-web", "web"): failure})
    assert actions == [
        StopContainer("uid-web", "web", "c1", 30, None, "FailedPostStartHook"),
        StartContainer("uid-web", "web", "c1"),
    ]


def deleted(obj: Obj, grace: int = 30) -> Obj:
    metadata = {"deletionTimestamp": "2023-11-14T22:15:00Z", "deletionGracePeriodSeconds": grace}
    return put(obj, "metadata", {**obj["metadata"], **metadata})


def test_pre_stop_hooks_come_before_the_end() -> None:
    obj = deleted(web(lifecycle={"preStop": {"httpGet": {"port": 80, "path": "/bye"}}}), 12)
    [stop, remove] = planned(obj, RUNNING)
    assert isinstance(stop, StopPod) and (stop.containers, stop.grace) == (("c1",), 12)
    [(container, handler)] = stop.hooks
    assert container == "c1" and handler.url == "http://10.244.1.5:80/bye"  # type: ignore[union-attr]
    assert remove == RemovePod("uid-web", "p1")
    [killed, _] = planned(deleted(obj, 0), RUNNING)
    assert isinstance(killed, StopPod) and not killed.hooks, "no time, no hook"


# --- the gate ----------------------------------------------------------------------------------------------------


def test_a_pod_that_may_be_sent_to_is_not_ended_and_gets_a_moment_then() -> None:
    obj = deleted(web())
    assert planned(obj, RUNNING, held={"uid-web": 4.5}) == []
    assert [type(one) for one in planned(obj, RUNNING, held={"uid-web": 0.0})] == [DrainPod, StopPod, RemovePod]
    assert [type(one) for one in planned(obj, RUNNING)] == [StopPod, RemovePod], "it served nobody"
    ended = replace(RUNNING, state="exited", finished_at=NOW)
    assert [type(one) for one in planned(obj, ended, held={"uid-web": 4.5})] == [RemovePod], "there is nobody to end"


@pytest.mark.parametrize(
    ("notes", "grace", "seconds"),
    [
        ({}, 30, 1.0),
        ({"ktool.dev/drain-seconds": "60"}, 30, 60.0),
        ({"ktool.dev/drain-seconds": "0"}, 30, 0.0),
        ({"ktool.dev/drain-seconds": "60"}, 5, 5.0),
    ],
    ids=["default", "asked", "none", "hurried"],
)
def test_how_long_open_connections_get(notes: dict[str, str], grace: int, seconds: float) -> None:
    obj = deleted(put(web(), "metadata", "annotations", notes), grace)
    [drain, *_] = planned(obj, RUNNING, held={"uid-web": 0.0})
    assert drain == DrainPod("uid-web", "p1", seconds)


def test_waiting_at_the_gate_has_an_end() -> None:
    fact = PodFact("uid-web", "default", "web", "p1", "h", "10.244.1.5", "running", (RUNNING,))
    facts = NodeFacts(pods=(fact,), network="10.244.1.0/24")
    result = plan([deleted(web())], facts, context(), Underway(held={"uid-web": 4.5}))
    assert result.after == pytest.approx(4.5)
    assert result.because == "pod web ends when no node sends to it any more"


# --- sidecars ----------------------------------------------------------------------------------------------------


def with_sidecars(**spec: Any) -> Obj:
    def made(own: str, **more: Any) -> Obj:
        return {"name": own, "image": f"registry.test/{own}:v1", **more}

    init = [
        made("proxy", restartPolicy="Always", startupProbe=EXEC),
        made("init", lifecycle=None),
        made("logs", restartPolicy="Always"),
    ]
    return put(pod("web", **spec), "spec", "initContainers", init)


class Sided(Model):
    """The model with a startup probe of the sidecar that succeeds when a test says so."""

    started = False

    def vitals(self) -> Vitals:
        seen = {one.name: one for fact in self.facts.pods for one in fact.containers}
        if "proxy" not in seen:
            return probes.UNKNOWN
        return Vitals({("uid-web", "proxy"): Health(probes.run_of(seen["proxy"]), self.started, self.started)})

    def names(self) -> list[str]:
        return [found.name for fact in self.facts.pods for found in fact.containers if found.state == "running"]


def test_sidecars_start_in_order_and_run_beside_the_others() -> None:
    model = Sided([with_sidecars()])
    model.step()
    assert model.names() == ["proxy"]
    before = model.step()
    assert not before.lanes, "the next one waits for its startup probe"
    model.started = True
    status = {}
    for _ in range(4):
        model.step()
        status = model.wanted["uid-web"]["status"]
    assert model.names() == ["proxy", "logs", "web"]
    assert status["phase"] == "Running"
    assert {entry["type"]: entry["status"] for entry in status["conditions"]}["Ready"] == "True"
    assert [entry["ready"] for entry in status["initContainerStatuses"]] == [True, True, True]


def test_sidecars_are_started_again_and_keep_nobody_from_completing() -> None:
    model = Sided([with_sidecars(restartPolicy="Never")])
    model.started = True
    for _ in range(6):
        model.step()
    assert model.names() == ["proxy", "logs", "web"]
    model._change("uid-web", "logs", lambda one: replace(one, state="exited", exit_code=1, finished_at=model.now))
    model.now += 10
    model.step()
    assert "logs" in model.names()
    model._change("uid-web", "web", lambda one: replace(one, state="exited", exit_code=0, finished_at=model.now))
    model.observe()
    assert get(model.wanted["uid-web"], "status", "phase") == "Succeeded"
    [stop] = lane(model.step())
    assert isinstance(stop, StopPod) and not stop.containers and len(stop.last) == 2
    assert model.names() == []
    assert model.step().because


def test_sidecars_end_last_and_in_reverse_order() -> None:
    model = Sided([with_sidecars()])
    model.started = True
    for _ in range(6):
        model.step()
    ids = {found.name: found.id for fact in model.facts.pods for found in fact.containers}
    model.wanted["uid-web"] = deleted(model.wanted["uid-web"])
    stop = lane(model.plan())[0]
    assert isinstance(stop, StopPod)
    assert stop.containers == (ids["web"],) and stop.last == (ids["logs"], ids["proxy"])


def test_sidecars_are_restarted_by_podman_too() -> None:
    created = [
        action
        for action in lane(Sided([with_sidecars(restartPolicy="Never")]).plan())
        if isinstance(action, CreateContainer)
    ]
    assert [action.payload["restart_policy"] for action in created] == ["always"]


def test_an_unready_sidecar_keeps_the_pod_from_being_ready() -> None:
    obj = with_sidecars()
    facts = [ContainerFact(own, own, "running", started_at=NOW - 9) for own in ("proxy", "logs", "web")]
    facts.append(ContainerFact("init", "init", "exited", started_at=NOW - 9, finished_at=NOW - 8))
    fact = PodFact("uid-web", "default", "web", "p1", "h", "10.244.1.5", "running", tuple(facts))
    status = podstatus.status(obj, fact, node=NODE, failures={}, now=NOW)
    ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["message"]) == ("False", "containers with unready status: [proxy]")
