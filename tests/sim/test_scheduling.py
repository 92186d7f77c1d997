"""Pods that wait for a place, and what nodes that come, go and break do to those that have one."""

from __future__ import annotations

import pytest

from ktool.api.obj import Obj, condition, get, is_true, name, uid
from ktool.api.ref import NODE, Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT
from ktool.node.simulated.runtime import RUNTIMES
from ktool.node.simulated.simmachine import Fault

from .world import Cluster, deployment, rolling

WEB = Ref(DEPLOYMENT, "default", "web")


def waiting(cluster: Cluster) -> list[Obj]:
    return [pod for pod in cluster.pods() if not get(pod, "spec", "nodeName")]


def test_a_pod_without_a_place_says_why_once_and_is_placed_when_there_is_one(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=4, cpu="6"))
    cluster.settle()
    (pod,) = waiting(cluster)
    why = condition(pod, "PodScheduled") or {}
    assert (why["status"], why["reason"]) == ("False", "Unschedulable")
    assert why["message"] == "0/3 nodes are available: 3 Insufficient cpu."
    (event,) = cluster.events("FailedScheduling")
    assert (event["message"], event["count"], event["involvedObject"]["name"]) == (why["message"], 1, name(pod))
    cluster.assert_at_rest()

    cluster.apply(deployment("small", replicas=3, cpu="1"))
    cluster.settle()
    assert [event["count"] for event in cluster.events("FailedScheduling")] == [1], "asked again, and nothing is new"

    cluster.add_node("n4")
    cluster.settle()
    assert waiting(cluster) == []
    assert cluster.running()[uid(pod)] == "n4"
    cluster.assert_as_wanted()


def test_a_pod_without_a_place_gets_one_that_another_leaves(cluster: Cluster) -> None:
    cluster.apply(deployment("big", replicas=3, cpu="6"), deployment(replicas=1, cpu="6"))
    cluster.settle()
    assert len(waiting(cluster)) == 1
    cluster.scale(Ref(DEPLOYMENT, "default", "big"), 2)
    if waiting(cluster)[0]["metadata"]["labels"]["app"] == "big":
        cluster.scale(Ref(DEPLOYMENT, "default", "big"), 1)
    cluster.settle()
    assert waiting(cluster) == []
    cluster.assert_as_wanted()


def test_without_any_node_pods_wait(tmp_path) -> None:
    cluster = Cluster(tmp_path)
    cluster.apply(deployment(replicas=2))
    cluster.settle()
    assert {(condition(pod, "PodScheduled") or {})["message"] for pod in waiting(cluster)} == {
        "no nodes available to schedule pods"
    }
    cluster.assert_at_rest()
    cluster.add_node("n1")
    cluster.settle()
    cluster.assert_as_wanted()
    cluster.close()


def test_a_gated_pod_waits_without_complaint(cluster: Cluster) -> None:
    spec = {"containers": [{"name": "main", "image": "nginx:1"}], "schedulingGates": [{"name": "shop.dev/quota"}]}
    metadata = {"name": "gated", "namespace": "default"}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    cluster.settle()
    (pod,) = waiting(cluster)
    assert (condition(pod, "PodScheduled") or {})["reason"] == "SchedulingGated"
    assert cluster.events("FailedScheduling") == []
    cluster.registry.patch(Ref.of(pod), {"spec": {"schedulingGates": None}})
    cluster.settle()
    assert waiting(cluster) == []


def test_a_cordoned_node_keeps_its_pods_and_takes_no_more(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=3))
    cluster.settle()
    before = cluster.running()
    cluster.registry.patch(Ref(NODE, "", "n1"), {"spec": {"unschedulable": True}})
    cluster.scale(WEB, 9)
    cluster.settle()
    after = cluster.running()
    assert before.items() <= after.items()
    assert [node for own, node in after.items() if own not in before].count("n1") == 0


def test_a_rollout_on_full_nodes_needs_no_more_room_than_it_may_leave_unavailable(cluster: Cluster) -> None:
    """Four cores of three times eight are free at no moment, so that each new pod waits for an old one's end."""
    strategy = rolling(0, 1)
    cluster.apply(deployment(replicas=6, cpu="4", strategy=strategy))
    cluster.settle()
    assert waiting(cluster) == []
    cluster.apply(deployment(replicas=6, cpu="4", image="nginx:2", strategy=strategy))
    cluster.settle()
    cluster.assert_as_wanted()


def test_a_node_that_does_not_answer_gets_no_new_pods_and_keeps_those_it_has(cluster: Cluster) -> None:
    cluster.apply(deployment(replicas=3))
    cluster.settle()
    before = cluster.running()
    RUNTIMES["n1"].unplug()
    cluster.wait(40)
    node = cluster.get(Ref(NODE, "", "n1"))
    assert node is not None and not is_true(node, "Ready")
    assert len(cluster.events("NodeNotReady")) == 1
    cluster.scale(WEB, 9)
    cluster.settle()
    after = cluster.running()
    assert before.items() <= after.items()
    assert [where for own, where in after.items() if own not in before].count("n1") == 0
    RUNTIMES["n1"].plug()
    cluster.settle()
    node = cluster.get(Ref(NODE, "", "n1"))
    assert node is not None and is_true(node, "Ready")
    cluster.assert_as_wanted()


def test_a_rebooted_node_starts_its_pods_again(cluster: Cluster) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment(replicas=6))
    cluster.settle()
    before = cluster.running()
    RUNTIMES["n1"].reboot()
    cluster.settle()
    cluster.assert_as_wanted()
    assert cluster.running() == before
    restarted = {
        get(p, "spec", "nodeName") for p in cluster.pods() if p["status"]["containerStatuses"][0]["restartCount"]
    }
    assert restarted == {"n1"}
    assert [event["involvedObject"]["name"] for event in cluster.events("Rebooted")] == ["n1"]
    cluster.assert_at_rest()


@pytest.mark.parametrize("reason", ["ErrImagePull", "CreateContainerError", "RunContainerError"])
def test_a_pod_that_cannot_start_does_once_it_can(cluster: Cluster, reason: str) -> None:
    for machine in RUNTIMES.values():
        machine.set_faults(Fault(reason, "nginx:1"))
    cluster.apply(deployment(replicas=2))
    cluster.wait(120)
    states = [pod["status"]["containerStatuses"][0]["state"] for pod in cluster.pods()]
    shown = "ImagePullBackOff" if reason == "ErrImagePull" else reason
    assert [state["waiting"]["reason"] for state in states] == [shown] * 2
    for machine in RUNTIMES.values():
        machine.set_faults()
    cluster.until(lambda: all(is_true(pod, "Ready") for pod in cluster.pods()), longest=330)
    cluster.settle()
    cluster.assert_as_wanted()
