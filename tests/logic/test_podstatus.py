"""The status of a Pod: phase, conditions and container states, as the kubelet would report them."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api.obj import condition, get, put
from ktool.logic.node.nodeaction import ContainerFact, Failure, PodFact
from ktool.logic.pod.podstatus import status
from tests.logic.nodemodel import NODE, pod

NOW = 1_700_000_000.0
RUNS = {"state": "running", "started_at": NOW - 60}
CREATED = {"state": "created"}


def ended(code: int = 0, **more: Any) -> dict[str, Any]:
    return {"state": "exited", "exit_code": code, "started_at": NOW - 60, "finished_at": NOW - 30, **more}


def fact(**containers: dict[str, Any]) -> PodFact:
    made = tuple(ContainerFact(name.replace("_", "-"), f"id-{name}", **values) for name, values in containers.items())
    return PodFact("uid-web", "default", "web", "p1", "h", "10.244.1.5", "running", made)


def report(wanted: dict[str, Any], seen: PodFact | None, failures: Any = None, now: float = NOW) -> dict[str, Any]:
    found = status(wanted, seen, node=NODE, failures=failures or {}, now=now)
    again = status(put(wanted, "status", found), seen, node=NODE, failures=failures or {}, now=now + 100)
    assert again is found, "equal input gives the equal old status"
    return found


def state(found: dict[str, Any], index: int = 0, group: str = "containerStatuses") -> str:
    """`waiting ContainerCreating`, `running`, `terminated Error 1`."""
    entry = found[group][index]["state"]
    ((word, rest),) = entry.items()
    return " ".join(str(part) for part in (word, rest.get("reason", ""), rest.get("exitCode", "")) if part != "")


@pytest.mark.parametrize(
    "policy, containers, phase, states",
    [
        ("Always", {}, "Pending", ["waiting ContainerCreating"] * 2),
        ("Always", {"web": CREATED}, "Pending", ["waiting ContainerCreating"] * 2),
        ("Always", {"web": RUNS}, "Pending", ["running", "waiting ContainerCreating"]),
        ("Always", {"web": RUNS, "side": RUNS}, "Running", ["running", "running"]),
        ("Always", {"web": RUNS, "side": ended(1)}, "Running", ["running", "terminated Error 1"]),
        ("OnFailure", {"web": RUNS, "side": ended()}, "Running", ["running", "terminated Completed 0"]),
        ("OnFailure", {"web": ended(), "side": ended()}, "Succeeded", ["terminated Completed 0"] * 2),
        ("OnFailure", {"web": ended(2), "side": ended()}, "Running", ["terminated Error 2", "terminated Completed 0"]),
        ("Never", {"web": ended(2), "side": ended()}, "Failed", ["terminated Error 2", "terminated Completed 0"]),
        ("Never", {"web": ended(), "side": ended()}, "Succeeded", ["terminated Completed 0"] * 2),
        (
            "Never",
            {"web": ended(137, oom_killed=True), "side": RUNS},
            "Running",
            ["terminated OOMKilled 137", "running"],
        ),
    ],
)
def test_phase_and_states(policy, containers, phase, states):
    wanted = pod("web", containers=("web", "side"), restartPolicy=policy)
    found = report(wanted, fact(**containers))
    assert (found["phase"], [state(found, 0), state(found, 1)]) == (phase, states)
    ready = phase == "Running" and states == ["running", "running"]
    assert condition({"status": found}, "Ready")["status"] == ("True" if ready else "False")


def test_the_whole_of_a_running_pod():
    found = report(pod("web"), fact(web={**RUNS, "image": "registry.test/web:v1", "image_id": "sha256:1"}))
    assert found == {
        "phase": "Running",
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"},
        ],
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
        "podIP": "10.244.1.5",
        "podIPs": [{"ip": "10.244.1.5"}],
        "startTime": "2023-11-14T22:13:20Z",
        "qosClass": "BestEffort",
        "containerStatuses": [
            {
                "name": "web",
                "state": {"running": {"startedAt": "2023-11-14T22:12:20Z"}},
                "lastState": {},
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "registry.test/web:v1",
                "imageID": "sha256:1",
                "containerID": "podman://id-web",
            }
        ],
    }


@pytest.mark.parametrize(
    "containers, phase, init, app, initialized",
    [
        ({}, "Pending", ["waiting PodInitializing"] * 2, "waiting PodInitializing", "False"),
        ({"one": RUNS}, "Pending", ["running", "waiting PodInitializing"], "waiting PodInitializing", "False"),
        (
            {"one": ended(1)},
            "Pending",
            ["terminated Error 1", "waiting PodInitializing"],
            "waiting PodInitializing",
            "False",
        ),
        (
            {"one": ended(), "two": ended()},
            "Pending",
            ["terminated Completed 0"] * 2,
            "waiting PodInitializing",
            "True",
        ),
        ({"one": ended(), "two": ended(), "web": RUNS}, "Running", ["terminated Completed 0"] * 2, "running", "True"),
    ],
)
def test_init_containers(containers, phase, init, app, initialized):
    found = report(pod("web", init=("one", "two")), fact(**containers))
    assert found["phase"] == phase
    assert [state(found, index, "initContainerStatuses") for index in (0, 1)] == init
    assert state(found) == app
    assert condition({"status": found}, "Initialized")["status"] == initialized


def test_a_failed_init_container_under_never_fails_the_pod():
    found = report(pod("web", init=("one",), restartPolicy="Never"), fact(one=ended(4)))
    assert found["phase"] == "Failed"
    assert condition({"status": found}, "Ready")["reason"] == "PodFailed"


PULL = Failure("ErrImagePull", "manifest unknown", "EnsureImage", image="registry.test/web:v1", at=NOW)


@pytest.mark.parametrize(
    "key, failure, expected, message",
    [
        ("", PULL, "ErrImagePull", "manifest unknown"),
        (
            "",
            Failure("ErrImagePull", "no", "EnsureImage", image="registry.test/web:v1", count=2),
            "ImagePullBackOff",
            'Back-off pulling image "registry.test/web:v1": ErrImagePull: no',
        ),
        (
            "",
            Failure("ErrImageNeverPull", "no", "EnsureImage", image="registry.test/web:v1"),
            "ErrImageNeverPull",
            "no",
        ),
        ("", Failure("ErrImagePull", "no", "EnsureImage", image="registry.test/other:v1"), "ContainerCreating", ""),
        (
            "web",
            Failure("CreateContainerConfigError", "no map", "CreateContainer"),
            "CreateContainerConfigError",
            "no map",
        ),
        ("web", Failure("RunContainerError", "no file", "StartContainer"), "RunContainerError", "no file"),
        ("", Failure("RunContainerError", "port in use", "StartPod"), "RunContainerError", "port in use"),
        ("", Failure("FailedMount", "no map", "WriteVolumes"), "ContainerCreating", "no map"),
        ("", Failure("FailedCreatePodSandBox", "no network", "CreatePod"), "ContainerCreating", "no network"),
    ],
)
def test_what_keeps_a_container_from_running(key, failure, expected, message):
    found = report(pod("web"), None, {("uid-web", key): failure})
    waiting = found["containerStatuses"][0]["state"]["waiting"]
    assert (waiting["reason"], waiting.get("message", "")) == (expected, message)
    assert found["phase"] == "Pending"


def test_a_failure_does_not_hide_a_container_that_runs():
    failures = {("uid-web", ""): Failure("FailedMount", "no map", "WriteVolumes")}
    assert state(report(pod("web"), fact(web=RUNS), failures)) == "running"


def test_a_crash_loop_says_how_long_it_waits_and_how_it_crashed():
    wanted = pod("web")
    first = status(wanted, fact(web=RUNS), node=NODE, failures={}, now=NOW)
    wanted = put(wanted, "status", first)
    seen = fact(web={"state": "running", "started_at": NOW, "finished_at": NOW - 1, "exit_code": 3, "restarts": 3})
    found = status(wanted, seen, node=NODE, failures={}, now=NOW)
    entry = found["containerStatuses"][0]
    assert get(entry, "state", "waiting") == {
        "reason": "CrashLoopBackOff",
        "message": "back-off 10s restarting failed container=web pod=web_default(uid-web)",
    }
    assert entry["restartCount"] == 3 and not entry["ready"]
    assert get(entry, "lastState", "terminated", "exitCode") == 3
    assert found["phase"] == "Running"


def test_what_has_ended_stays_ended():
    wanted = pod("web", restartPolicy="Never")
    over = report(wanted, fact(web=ended(1)))
    gone = status(put(wanted, "status", over), None, node=NODE, failures={}, now=NOW + 50)
    assert gone["phase"] == "Failed" and state(gone) == "terminated Error 1"


def test_a_container_that_vanished_under_never_has_failed():
    wanted = pod("web", restartPolicy="Never")
    ran = report(wanted, fact(web=RUNS))
    found = report(put(wanted, "status", ran), None)
    assert found["phase"] == "Failed" and state(found) == "terminated ContainerStatusUnknown 137"


def test_host_network_has_the_address_of_the_node():
    seen = PodFact("uid-web", "default", "web", "p1", "h", "", "running", fact(web=RUNS).containers)
    assert report(pod("web", hostNetwork=True), seen)["podIP"] == "192.0.2.1"


@pytest.mark.parametrize(
    "resources, expected",
    [
        ([{}], "BestEffort"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
    ],
)
def test_qos_class(resources, expected):
    wanted = pod("web", containers=tuple(f"c{index}" for index in range(len(resources))))
    for container, amounts in zip(wanted["spec"]["containers"], resources, strict=True):
        container["resources"] = amounts
    assert report(wanted, None)["qosClass"] == expected
