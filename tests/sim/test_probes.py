"""Probes and hooks in whole runs: rollouts that wait for readiness, restarts, and the end of pods that serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ktool.api.obj import Obj, condition, deleting, get, is_true, put
from ktool.api.ref import ENDPOINT_SLICE, Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT
from ktool.node.simulated.simmachine import Fault

from .world import Cluster, deployment

WEB = Ref(DEPLOYMENT, "default", "web")
EXEC = {"exec": {"command": ["true"]}}


def probed(image: str = "nginx:1", replicas: int = 3, **container: Any) -> Obj:
    made = deployment(image=image, replicas=replicas)
    path = ("spec", "template", "spec", "containers")
    return put(made, *path, [{**get(made, *path)[0], **container}])


def readiness(**knobs: Any) -> Obj:
    return {"readinessProbe": {**EXEC, **knobs}}


def ready(cluster: Cluster) -> int:
    return sum(is_true(pod, "Ready") and not deleting(pod) for pod in cluster.pods())


def fault(cluster: Cluster, *faults: Fault) -> None:
    """What goes wrong from now on. Pods that were well may become unavailable by it."""
    cluster.promises.calm = False
    for node in ("n1", "n2"):
        cluster.machine(node).set_faults(*faults)


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    found = Cluster(tmp_path)
    found.add_node("n1")
    found.add_node("n2")
    yield found
    found.close()


def test_a_rollout_waits_for_pods_that_never_become_ready_and_goes_on_when_they_do(cluster: Cluster) -> None:
    cluster.apply(probed(**readiness()))
    cluster.settle()
    cluster.assert_as_wanted()
    fault(cluster, Fault("ReadinessProbe", "nginx:2"))
    cluster.apply(probed("nginx:2", **readiness()))
    cluster.wait(120)
    assert ready(cluster) == 3, "nothing is given up for pods that are not ready"
    images = [pod["spec"]["containers"][0]["image"] for pod in cluster.pods()]
    assert sorted(images) == ["nginx:1"] * 3 + ["nginx:2"]
    said = {event["message"] for event in cluster.events("Unhealthy")}
    assert said == {"Readiness probe failed: the simulated fault ReadinessProbe holds"}
    fault(cluster)
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.assert_at_rest()


def test_a_pod_that_stops_being_ready_is_taken_out_and_comes_back(cluster: Cluster) -> None:
    cluster.apply(probed(**readiness(periodSeconds=2)), service())
    cluster.settle()
    assert addresses(cluster) == {True: 3}
    fault(cluster, Fault("ReadinessProbe", "web-*"))
    cluster.wait(4)
    assert ready(cluster) == 3, "the third failure counts"
    cluster.wait(4)
    assert ready(cluster) == 0 and addresses(cluster) == {False: 3}
    pods = cluster.pods()
    assert all((condition(pod, "Ready") or {}).get("reason") == "ContainersNotReady" for pod in pods)
    fault(cluster)
    cluster.wait(3)
    assert addresses(cluster) == {True: 3}
    assert [get(pod, "status", "containerStatuses")[0]["restartCount"] for pod in pods] == [0, 0, 0]


def test_a_new_control_plane_believes_what_was_ready_until_it_has_asked(cluster: Cluster) -> None:
    cluster.apply(probed(**readiness(), startupProbe=EXEC))
    cluster.settle()
    cluster.restart()
    for _ in range(60):
        cluster.clock.sleep(0.5)
        cluster.rest()
        assert ready(cluster) == 3
    fault(cluster, Fault("ReadinessProbe", "*"))
    cluster.restart()
    cluster.wait(45)
    assert ready(cluster) == 0


def test_a_container_that_fails_its_liveness_probe_is_started_again_ever_more_slowly(cluster: Cluster) -> None:
    cluster.apply(probed(replicas=1, livenessProbe={**EXEC, "periodSeconds": 1, "failureThreshold": 2}))
    cluster.settle()
    fault(cluster, Fault("LivenessProbe", "web-*"))
    cluster.wait(30)
    first = restarts(cluster)
    assert first >= 3
    cluster.wait(120)
    assert restarts(cluster) - first <= 5, "the back-off holds"
    assert "Container main failed liveness probe, will be restarted" in {
        event["message"] for event in cluster.events("Killing")
    }
    assert cluster.events("BackOff")
    fault(cluster)
    cluster.until(lambda: ready(cluster) == 1, 400)
    count = restarts(cluster)
    cluster.wait(60)
    assert restarts(cluster) == count


def test_a_container_that_never_starts_is_started_again_and_not_asked_more(cluster: Cluster) -> None:
    fault_all = (Fault("StartupProbe", "nginx:9"), Fault("ReadinessProbe", "nginx:9"))
    cluster.apply(probed(replicas=1))
    cluster.settle()
    fault(cluster, *fault_all)
    cluster.apply(probed("nginx:9", 1, startupProbe={**EXEC, "periodSeconds": 1, "failureThreshold": 4}, **readiness()))
    cluster.wait(20)
    said = {event["message"] for event in cluster.events("Unhealthy")}
    assert said == {"Startup probe failed: the simulated fault StartupProbe holds"}
    killed = {event["message"] for event in cluster.events("Killing")}
    assert "Container main failed startup probe, will be restarted" in killed
    assert ready(cluster) == 1, "the old pod serves on"


def test_a_post_start_hook_that_fails_ends_the_container(cluster: Cluster) -> None:
    cluster.apply(probed(replicas=1))
    cluster.settle()
    fault(cluster, Fault("PostStart", "nginx:2"))
    cluster.apply(probed("nginx:2", 1, lifecycle={"postStart": EXEC}))
    cluster.wait(30)
    assert cluster.events("FailedPostStartHook")
    assert [pod["spec"]["containers"][0]["image"] for pod in cluster.pods() if is_true(pod, "Ready")] == ["nginx:1"]
    fault(cluster)
    cluster.until(lambda: len(cluster.pods()) == 1 and ready(cluster) == 1, 400)
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.assert_at_rest()


def restarts(cluster: Cluster) -> int:
    return sum(get(pod, "status", "containerStatuses")[0]["restartCount"] for pod in cluster.pods())


# --- the order in which pods end -----------------------------------------------------------------------------------


def service() -> Obj:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def endpoints(cluster: Cluster) -> list[Obj]:
    return [one for slice_ in cluster.world().list(ENDPOINT_SLICE) for one in slice_.get("endpoints") or ()]


def addresses(cluster: Cluster) -> dict[bool, int]:
    found: dict[bool, int] = {}
    for one in endpoints(cluster):
        if not one["conditions"]["terminating"]:
            found[one["conditions"]["ready"]] = found.get(one["conditions"]["ready"], 0) + 1
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_pod_is_told_to_end_while_a_service_sends_to_it(tmp_path: Path, seed: int) -> None:
    cluster = Cluster(tmp_path, seed=seed, start_delay=0.5)
    cluster.add_node("n1")
    cluster.add_node("n2")
    cluster.apply(probed(replicas=4, **readiness(periodSeconds=1)), service())
    cluster.settle()
    for turn in range(3):
        cluster.apply(probed(f"nginx:{turn + 2}", 4 - turn, **readiness(periodSeconds=1)))
        for _ in range(200):
            if not cluster.step():
                cluster.clock.sleep(0.25)
        if turn == 1:
            cluster.restart()
    cluster.settle()
    cluster.assert_as_wanted()
    assert cluster.ended.count(False) >= 9, "pods have ended"
    assert True not in cluster.ended
    cluster.close()
