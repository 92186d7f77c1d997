"""Deployments from their first pod to their last, with every promise checked after every step."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktool.api.obj import Obj, condition, get, labels, name
from ktool.api.ref import Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET
from ktool.node.simulated.runtime import RUNTIMES
from ktool.node.simulated.simmachine import Fault

from .world import Cluster, deployment, rolling

WEB = Ref(DEPLOYMENT, "default", "web")


def web(cluster: Cluster) -> Obj:
    found = cluster.get(WEB)
    assert found is not None
    return found


def images(cluster: Cluster) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in cluster.pods())


def said(cluster: Cluster, kind: str) -> tuple[str, str]:
    found = condition(web(cluster), kind) or {}
    return found.get("status", ""), found.get("reason", "")


def test_a_deployment_comes_up_and_stays(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=4))
    cluster.settle()
    cluster.assert_as_wanted()
    assert len(cluster.pods()) == 4
    cluster.assert_at_rest()
    cluster.assert_as_wanted()


def test_applying_the_same_again_writes_nothing(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    head = cluster.store.head()
    cluster.apply(deployment())
    cluster.settle()
    assert cluster.store.head() == head


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("strategy", [(1, 0), (0, 1), ("25%", "25%"), ("100%", 0), (2, 2), (0, "50%")], ids=str)
def test_a_changed_image_rolls_through_and_back(tmp_path: Path, seed: int, strategy: tuple[int | str, int | str]):
    cluster = Cluster(tmp_path, seed=seed, start_delay=1.5)
    cluster.add_node("n1")
    cluster.add_node("n2")
    for image in ("nginx:1", "nginx:2", "nginx:1"):
        cluster.apply(deployment(replicas=5, image=image, strategy=rolling(*strategy)))
        cluster.settle()
        cluster.assert_as_wanted()
        assert images(cluster) == [image] * 5
    assert len(cluster.registry.list(REPLICA_SET)[0]) == 2
    assert web(cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    cluster.assert_at_rest()
    cluster.close()


@pytest.mark.parametrize("after", [1, 5, 12, 25])
@pytest.mark.parametrize("replicas", [2, 9])
def test_scaled_in_the_middle_of_a_rollout(cluster: Cluster, replicas: int, after: int) -> None:
    cluster.apply(deployment(replicas=5))
    cluster.settle()
    cluster.apply(deployment(replicas=5, image="nginx:2"))
    cluster.steps(after)
    cluster.scale(WEB, replicas)
    cluster.settle()
    cluster.assert_as_wanted()
    assert images(cluster) == ["nginx:2"] * replicas


def test_scaled_to_nothing_and_back(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.scale(WEB, 0)
    cluster.settle()
    assert (cluster.pods(), cluster.running()) == ([], {})
    cluster.scale(WEB, 2)
    cluster.settle()
    cluster.assert_as_wanted()
    assert len(cluster.pods()) == 2


def test_old_revisions_beyond_the_limit_go(cluster: Cluster) -> None:
    for version in range(5):
        cluster.apply(deployment(image=f"nginx:{version}", revisionHistoryLimit=2))
        cluster.settle()
    left = cluster.registry.list(REPLICA_SET)[0]
    assert sorted(rs["spec"]["template"]["spec"]["containers"][0]["image"] for rs in left) == [
        "nginx:2",
        "nginx:3",
        "nginx:4",
    ]


@pytest.mark.parametrize("seed", range(3))
def test_recreate_has_no_two_revisions_at_once(tmp_path: Path, seed: int) -> None:
    """Neither in the store nor on the machines, not even while the old pods end."""
    cluster = Cluster(tmp_path, seed=seed, start_delay=1.5)
    cluster.add_node("n1")
    cluster.apply(deployment(strategy={"type": "Recreate"}))
    cluster.settle()
    cluster.apply(deployment(image="nginx:2", strategy={"type": "Recreate"}))
    for _ in range(400):
        if not cluster.step():
            cluster.clock.sleep(1.0)
        assert len(set(images(cluster))) <= 1
        on_machine = {c.image for pod in RUNTIMES["n1"].pods.values() for c in pod.containers.values()}
        assert len(on_machine) <= 1
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.close()


def test_rolling_update_becomes_recreate_by_apply(cluster: Cluster) -> None:
    """The rollingUpdate that defaulting put there goes with the type it belongs to."""
    cluster.apply(deployment())
    assert "rollingUpdate" in web(cluster)["spec"]["strategy"]
    cluster.apply(deployment(strategy={"type": "Recreate"}))
    assert web(cluster)["spec"]["strategy"] == {"type": "Recreate"}
    cluster.apply(deployment(image="nginx:2"))
    assert web(cluster)["spec"]["strategy"]["type"] == "RollingUpdate"
    cluster.settle()
    cluster.assert_as_wanted()


def test_paused_scales_and_does_not_roll(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.apply(deployment(replicas=5, image="nginx:2", paused=True))
    cluster.settle()
    assert images(cluster) == ["nginx:1"] * 5
    assert said(cluster, "Progressing") == ("Unknown", "DeploymentPaused")
    cluster.assert_at_rest()
    cluster.apply(deployment(replicas=5, image="nginx:2"))
    cluster.settle()
    cluster.assert_as_wanted()
    assert said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable")


def test_paused_in_the_middle_stays_there(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=6))
    cluster.settle()
    cluster.apply(deployment(replicas=6, image="nginx:2"))
    cluster.until(lambda: len(set(images(cluster))) == 2)
    cluster.apply(deployment(replicas=6, image="nginx:2", paused=True))
    cluster.settle()
    there = images(cluster)
    assert set(there) == {"nginx:1", "nginx:2"}
    cluster.wait(1_000, tick=10.0)
    assert images(cluster) == there
    assert said(cluster, "Progressing") == ("Unknown", "DeploymentPaused")
    cluster.assert_at_rest()


def test_a_new_pod_counts_after_min_ready_seconds(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=2, minReadySeconds=30, strategy=rolling(1, 0)))
    cluster.until(lambda: get(web(cluster), "status", "readyReplicas", default=0) == 2)
    assert get(web(cluster), "status", "availableReplicas") == 0
    assert said(cluster, "Available") == ("False", "MinimumReplicasUnavailable")
    cluster.wait(27)
    assert get(web(cluster), "status", "availableReplicas") == 0
    cluster.wait(4)
    assert get(web(cluster), "status", "availableReplicas") == 2
    assert said(cluster, "Available") == ("True", "MinimumReplicasAvailable")

    began = cluster.clock.now
    cluster.apply(deployment(replicas=2, image="nginx:2", minReadySeconds=30, strategy=rolling(1, 0)))
    cluster.until(lambda: said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable"))
    assert cluster.clock.now - began > 60, "one after the other, each 30 seconds"
    cluster.settle()
    cluster.assert_as_wanted()


def test_more_min_ready_seconds_make_pods_of_a_paused_deployment_count_later(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.until(lambda: get(web(cluster), "status", "availableReplicas") == 3)
    cluster.apply(deployment(minReadySeconds=40, paused=True))
    cluster.wait(5)
    assert get(web(cluster), "status", "availableReplicas") == 0
    cluster.wait(40)
    assert get(web(cluster), "status", "availableReplicas") == 3


def test_a_rollout_that_does_not_move_is_said_to_have_failed(cluster: Cluster) -> None:
    cluster.apply(deployment(progressDeadlineSeconds=60))
    cluster.settle()
    for machine in RUNTIMES.values():
        machine.set_faults(Fault("ErrImagePull", "nginx:2"))
    began = cluster.clock.now
    cluster.apply(deployment(image="nginx:2", progressDeadlineSeconds=60))
    cluster.until(lambda: said(cluster, "Progressing") == ("False", "ProgressDeadlineExceeded"))
    assert 60 <= cluster.clock.now - began < 75
    assert images(cluster).count("nginx:1") == 3, "the old pods serve on"
    assert said(cluster, "Available") == ("True", "MinimumReplicasAvailable")

    for machine in RUNTIMES.values():
        machine.set_faults()
    cluster.until(lambda: said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable"))
    cluster.settle()
    cluster.assert_as_wanted()


def test_a_slow_rollout_that_moves_does_not_fail(cluster: Cluster) -> None:
    """The deadline runs from the last step forward, not from the beginning."""
    slow = {"minReadySeconds": 40, "progressDeadlineSeconds": 60, "strategy": rolling(1, 0)}
    cluster.apply(deployment(replicas=4, **slow))
    cluster.settle()
    began = cluster.clock.now
    cluster.apply(deployment(replicas=4, image="nginx:2", **slow))
    while images(cluster) != ["nginx:2"] * 4 or said(cluster, "Progressing")[1] != "NewReplicaSetAvailable":
        assert said(cluster, "Progressing")[0] == "True"
        cluster.wait(5)
    assert cluster.clock.now - began > 160


def test_what_pods_do_after_a_rollout_is_no_rollout(cluster: Cluster) -> None:
    """A pod that breaks later makes the Deployment unavailable, and does not make a finished rollout fail."""
    cluster.promises.calm = False
    cluster.apply(deployment(progressDeadlineSeconds=30))
    cluster.settle()
    for node, machine in RUNTIMES.items():
        machine.set_faults(Fault("RunContainerError", "*"))
        if node in cluster.running().values():
            machine.reboot()
    cluster.wait(120)
    assert said(cluster, "Available") == ("False", "MinimumReplicasUnavailable")
    assert said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_replica_set_of_somebody_else_with_the_name_is_no_obstacle(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    (taken,) = cluster.registry.list(REPLICA_SET)[0]
    cluster.delete(WEB)
    cluster.settle()
    other = deployment("other", replicas=0)
    del other["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    other["kind"], other["metadata"]["name"] = "ReplicaSet", name(taken)
    cluster.apply(other)
    cluster.apply(deployment())
    cluster.settle()
    cluster.assert_as_wanted()
    assert len(cluster.pods()) == 3


def test_a_rollback_out_of_a_failed_rollout(cluster: Cluster) -> None:
    cluster.apply(deployment(minReadySeconds=5))
    cluster.settle()
    old = {name(pod) for pod in cluster.pods()}
    for machine in RUNTIMES.values():
        machine.set_faults(Fault("Crash", "nginx:2"))
    cluster.apply(deployment(image="nginx:2", minReadySeconds=5))
    cluster.wait(60)
    assert images(cluster) == ["nginx:1"] * 3 + ["nginx:2"]
    cluster.apply(deployment(minReadySeconds=5))
    cluster.settle()
    cluster.assert_as_wanted()
    assert {name(pod) for pod in cluster.pods()} == old, "the pods that served all the time are the same"


def test_scaled_in_the_middle_of_a_bad_rollout_all_revisions_get_their_share(cluster: Cluster) -> None:
    """The example of the documentation, "Proportional scaling"."""
    strategy = rolling(3, 2)
    cluster.apply(deployment(replicas=10, strategy=strategy))
    cluster.settle()
    for machine in RUNTIMES.values():
        machine.set_faults(Fault("ErrImagePull", "nginx:2"))
    cluster.apply(deployment(replicas=10, image="nginx:2", strategy=strategy))
    cluster.wait(60)
    assert (images(cluster).count("nginx:1"), images(cluster).count("nginx:2")) == (8, 5)
    cluster.scale(WEB, 15)
    cluster.wait(60)
    assert (images(cluster).count("nginx:1"), images(cluster).count("nginx:2")) == (11, 7)
    for machine in RUNTIMES.values():
        machine.set_faults()
    cluster.until(lambda: said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable"))
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.assert_at_rest()


def test_a_pod_whose_labels_are_changed_is_let_go_alive_and_replaced(cluster: Cluster) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment())
    cluster.settle()
    pod = cluster.pods()[0]
    cluster.registry.patch(Ref.of(pod), {"metadata": {"labels": {"app": "looked-at"}}})
    cluster.settle()
    found = cluster.get(Ref.of(pod))
    assert found is not None and "ownerReferences" not in found["metadata"]
    assert found["metadata"]["uid"] in cluster.running()
    assert [labels(pod)["app"] for pod in cluster.pods()].count("web") == 3
    cluster.assert_at_rest()


def test_two_deployments_with_one_template_do_not_take_each_others_pods(cluster: Cluster) -> None:
    cluster.apply(deployment("a", replicas=2), deployment("b", replicas=3))
    cluster.settle()
    assert sorted(labels(pod)["app"] for pod in cluster.pods()) == ["a", "a", "b", "b", "b"]
    cluster.scale(Ref(DEPLOYMENT, "default", "a"), 0)
    cluster.settle()
    assert [labels(pod)["app"] for pod in cluster.pods()] == ["b", "b", "b"]
