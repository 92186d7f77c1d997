"""What goes with what, and in which order: Deployments, namespaces and nodes that are deleted while all is running."""

from __future__ import annotations

import pytest

from ktool.api.obj import Obj, deleting, get, meta, name, uid
from ktool.api.ref import CONFIG_MAP, EVENT, NAMESPACE, NODE, POD, Ref
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET

from .world import RUNTIMES, Cluster, deployment

WEB = Ref(DEPLOYMENT, "default", "web")


def kinds(cluster: Cluster) -> tuple[bool, int, int]:
    """Whether the Deployment is there, and how many ReplicaSets and pods."""
    return (
        cluster.get(WEB) is not None,
        len(cluster.registry.list(REPLICA_SET)[0]),
        len(cluster.pods()),
    )


@pytest.mark.parametrize("way", ["Background", "Foreground"])
@pytest.mark.parametrize("after", [0, 4, 15, 60])
def test_a_deleted_deployment_leaves_nothing(cluster: Cluster, way: str, after: int) -> None:
    """Deleted at any moment of its coming up."""
    cluster.apply(deployment())
    cluster.steps(after)
    cluster.delete(WEB, way)
    cluster.settle()
    assert kinds(cluster) == (False, 0, 0)
    assert cluster.running() == {}
    cluster.assert_at_rest()


def test_in_the_foreground_the_owner_goes_last(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.delete(WEB, "Foreground")
    seen = [kinds(cluster)]
    for _ in range(200):
        cluster.steps(1)
        if kinds(cluster) != seen[-1]:
            seen.append(kinds(cluster))
    assert seen[-1] == (False, 0, 0)
    for there, sets, pods in seen:
        assert there or (sets, pods) == (0, 0)
        assert sets or pods == 0


def test_in_the_background_the_owner_goes_first(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.delete(WEB, "Background")
    assert kinds(cluster) == (False, 1, 3)


def test_orphans_run_on_and_are_taken_up_again(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    before = {uid(pod) for pod in cluster.pods()}
    cluster.delete(WEB, "Orphan")
    cluster.settle()
    assert kinds(cluster) == (False, 1, 3)
    (replica_set,) = cluster.registry.list(REPLICA_SET)[0]
    assert "ownerReferences" not in meta(replica_set)
    cluster.delete(Ref.of(replica_set), "Orphan")
    cluster.settle()
    assert kinds(cluster) == (False, 0, 3)
    assert set(cluster.running()) == before
    cluster.assert_at_rest()

    cluster.apply(deployment())
    cluster.settle()
    assert kinds(cluster) == (True, 1, 3)
    cluster.assert_as_wanted()
    assert set(cluster.running()) == before, "the pods that ran all the time are those of the new Deployment"


def test_a_deployment_made_anew_at_once(cluster: Cluster) -> None:
    cluster.apply(deployment())
    cluster.settle()
    cluster.delete(WEB)
    cluster.apply(deployment())
    cluster.settle()
    cluster.assert_as_wanted()
    assert kinds(cluster) == (True, 1, 3)


def test_a_deleted_pod_is_replaced_once(cluster: Cluster) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment())
    cluster.settle()
    lost, *kept = cluster.pods()
    cluster.delete(Ref.of(lost))
    cluster.settle()
    cluster.assert_as_wanted()
    now = {uid(pod) for pod in cluster.pods()}
    assert {uid(pod) for pod in kept} < now and uid(lost) not in now and len(now) == 3


def test_a_deleted_namespace_takes_everything_in_it(cluster: Cluster) -> None:
    space: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    settings: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}}
    cluster.apply(space, settings, deployment(namespace="shop"), deployment("kept"))
    cluster.settle()
    cluster.delete(Ref(NAMESPACE, "", "shop"))
    cluster.settle()
    assert cluster.get(Ref(NAMESPACE, "", "shop")) is None
    assert [key for kind in (DEPLOYMENT, REPLICA_SET, POD, CONFIG_MAP, EVENT) for key in _in(cluster, kind)] == []
    cluster.assert_as_wanted()
    assert len(cluster.running()) == 3
    cluster.assert_at_rest()


def _in(cluster: Cluster, kind: str) -> list[str]:
    return [name(obj) for obj in cluster.registry.list(kind, "shop")[0]]


@pytest.mark.parametrize("every", [True, False], ids=["rest", "at once"])
def test_a_deleted_node_is_emptied_and_its_pods_move(cluster: Cluster, every: bool) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment(replicas=6))
    cluster.settle()
    assert "n2" in cluster.running().values()
    cluster.delete(Ref(NODE, "", "n2"))
    if every:
        cluster.settle()
    cluster.until(lambda: cluster.get(Ref(NODE, "", "n2")) is None)
    machine = RUNTIMES["n2"]
    assert (machine.pods, machine.volumes, machine.network, machine.owner) == ({}, {}, "", ("", -1))
    cluster.settle()
    cluster.assert_as_wanted()
    assert set(cluster.running().values()) == {"n1", "n3"}
    cluster.assert_at_rest()


def test_a_deleted_node_that_does_not_answer_stays_until_it_is_clean(cluster: Cluster) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment(replicas=6))
    cluster.settle()
    RUNTIMES["n2"].unplug()
    cluster.delete(Ref(NODE, "", "n2"))
    cluster.settle()
    node = cluster.get(Ref(NODE, "", "n2"))
    assert node is not None and deleting(node)
    assert {get(pod, "spec", "nodeName") for pod in cluster.pods()} == {"n1", "n3"}
    RUNTIMES["n2"].plug()
    cluster.until(lambda: cluster.get(Ref(NODE, "", "n2")) is None)
    assert RUNTIMES["n2"].pods == {}
    cluster.assert_as_wanted()


def test_a_node_added_again_at_once_is_a_new_one(cluster: Cluster) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment(replicas=6))
    cluster.settle()
    first = cluster.get(Ref(NODE, "", "n2"))
    cluster.delete(Ref(NODE, "", "n2"))
    for _ in range(1_000):
        if cluster.get(Ref(NODE, "", "n2")) is None:
            break
        cluster.steps(1)
    cluster.add_node("n2")
    cluster.settle()
    again = cluster.get(Ref(NODE, "", "n2"))
    assert first is not None and again is not None and uid(again) != uid(first)
    assert get(again, "status", "nodeInfo") is not None
    assert RUNTIMES["n2"].owner[0] == cluster.store.cluster_id
    cluster.scale(WEB, 12)
    cluster.settle()
    assert "n2" in cluster.running().values()
    cluster.assert_as_wanted()
