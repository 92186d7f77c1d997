"""Rollouts that fail and go back by themselves, that follow their configuration, that stop an old pod first, and that
lose a node on the way. Every promise is checked after every step."""

from __future__ import annotations

import pytest

from ktool.api.marks import FAILED_CONFIG_HASH, RESTART_ON_CONFIG_CHANGE, ROLLBACK_ON_FAILURE, SINGLE_WRITER
from ktool.api.obj import Obj, annotations_of, condition, get, name, put, uid
from ktool.api.ref import CONFIG_MAP, Ref
from ktool.logic.workload import rollback
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET
from ktool.node.simulated.runtime import RUNTIMES
from ktool.node.simulated.simmachine import Fault

from .test_rollouts import images, said, web
from .world import Cluster, deployment, rolling

WEB = Ref(DEPLOYMENT, "default", "web")


def noted(obj: Obj, **notes: str) -> Obj:
    return put(obj, "metadata", "annotations", notes)


def cautious(**spec: object) -> Obj:
    return put(deployment(**spec), "metadata", "annotations", {ROLLBACK_ON_FAILURE: "true"})  # type: ignore[arg-type]


def break_images(*faults: Fault) -> None:
    for machine in RUNTIMES.values():
        machine.set_faults(*faults)


# --- going back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["ErrImagePull", "Crash:3", "CreateContainerError", "RunContainerError"])
def test_a_rollout_that_certainly_fails_goes_back(cluster: Cluster, reason: str) -> None:
    cluster.apply(cautious(minReadySeconds=5))
    cluster.settle()
    old = {name(pod) for pod in cluster.pods()}
    break_images(Fault(reason, "nginx:2"))
    began = cluster.clock.now
    cluster.apply(cautious(image="nginx:2", minReadySeconds=5))
    cluster.until(lambda: bool(rollback.has_happened(web(cluster))))
    assert cluster.clock.now - began < 60
    cluster.settle()
    assert images(cluster) == ["nginx:1"] * 3
    assert {name(pod) for pod in cluster.pods()} == old, "the pods that served all the time are the same"
    found = condition(web(cluster), rollback.CONDITION) or {}
    assert found["message"].startswith("revision 1 is back: pod web-")
    (event,) = cluster.events("DeploymentRollback")
    assert event["type"] == "Warning"
    assert said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable")
    cluster.assert_at_rest()

    break_images()
    cluster.apply(cautious(image="nginx:3", minReadySeconds=5))
    cluster.settle()
    assert images(cluster) == ["nginx:3"] * 3
    assert condition(web(cluster), rollback.CONDITION) is None, "something else was asked for"


def test_a_rollout_that_is_never_ready_goes_back_after_its_deadline(cluster: Cluster) -> None:
    cluster.apply(cautious(cpu="1", progressDeadlineSeconds=60))
    cluster.settle()
    cluster.apply(cautious(cpu="9", progressDeadlineSeconds=60))
    cluster.wait(50)
    assert not rollback.has_happened(web(cluster))
    cluster.until(lambda: bool(rollback.has_happened(web(cluster))), 60)
    assert "progress deadline exceeded: pod web-" in rollback.has_happened(web(cluster))
    cluster.settle()
    cluster.assert_as_wanted()


def test_without_a_good_revision_it_stays(cluster: Cluster) -> None:
    break_images(Fault("ErrImagePull", "nginx:1"))
    cluster.apply(cautious())
    cluster.wait(60)
    assert condition(web(cluster), rollback.CONDITION) is None
    cluster.apply(cautious(image="nginx:2"))
    break_images()
    cluster.settle()
    cluster.assert_as_wanted()


def test_what_breaks_later_is_no_failed_rollout(cluster: Cluster) -> None:
    cluster.promises.calm = False
    for image in ("nginx:1", "nginx:2"):
        cluster.apply(cautious(image=image))
        cluster.settle()
    break_images(Fault("Crash", "nginx:2"))
    for machine in RUNTIMES.values():
        machine.reboot()
    cluster.wait(120)
    assert images(cluster) == ["nginx:2"] * 3


def test_a_failure_that_mends_itself_at_once_is_none(cluster: Cluster) -> None:
    cluster.apply(cautious())
    cluster.settle()
    break_images(Fault("ErrImagePull", "nginx:2"))
    cluster.apply(cautious(image="nginx:2"))
    cluster.until(lambda: bool(rollback.is_coming(web(cluster))))
    break_images()
    for pod in [pod for pod in cluster.pods() if pod["spec"]["containers"][0]["image"] == "nginx:2"]:
        cluster.delete(Ref.of(pod))  # the next one has no back-off
    cluster.settle()
    assert images(cluster) == ["nginx:2"] * 3
    assert condition(web(cluster), rollback.CONDITION) is None


# --- configuration -----------------------------------------------------------------------------------------------


def config(**data: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "default"},
        "data": data,
    }


def reading(**notes: str) -> Obj:
    obj = noted(deployment(), **{RESTART_ON_CONFIG_CHANGE: "true", **notes})
    container = get(obj, "spec", "template", "spec", "containers")[0]
    reference = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
    return put(
        obj,
        "spec",
        "template",
        "spec",
        {"containers": [{**container, "env": [{"name": "COLOUR", "valueFrom": reference}]}]},
    )


def test_a_change_of_what_it_reads_restarts_it_by_a_rollout(cluster: Cluster) -> None:
    cluster.apply(config(colour="blue", other="1"), reading())
    cluster.settle()
    assert len(cluster.registry.list(REPLICA_SET)[0]) == 1, "one rollout, not two"
    before = {uid(pod) for pod in cluster.pods()}
    cluster.apply(config(colour="blue", other="2"))
    cluster.settle()
    assert {uid(pod) for pod in cluster.pods()} == before, "it does not read that key"
    cluster.apply(config(colour="red", other="2"))
    cluster.settle()
    after = {uid(pod) for pod in cluster.pods()}
    assert len(after) == 3
    assert not before & after
    cluster.assert_as_wanted()
    cluster.assert_at_rest()
    cluster.apply(reading())
    cluster.settle()
    assert {uid(pod) for pod in cluster.pods()} == after, "applying the manifest again takes nothing back"
    cluster.delete(Ref(CONFIG_MAP, "default", "settings"))
    cluster.settle()
    assert {uid(pod) for pod in cluster.pods()} == after, "nothing to restart with"


def test_without_the_annotation_nothing_restarts(cluster: Cluster) -> None:
    cluster.apply(config(colour="blue"), reading(**{RESTART_ON_CONFIG_CHANGE: "false"}))
    cluster.settle()
    before = {uid(pod) for pod in cluster.pods()}
    cluster.apply(config(colour="red"))
    cluster.settle()
    assert {uid(pod) for pod in cluster.pods()} == before


def test_configuration_that_fails_is_not_tried_again(cluster: Cluster) -> None:
    cautious = {ROLLBACK_ON_FAILURE: "true"}
    cluster.apply(config(colour="blue"), reading(**cautious))
    cluster.settle()
    break_images(Fault("CreateContainerError", "main"))
    cluster.apply(config(colour="wrong"))
    cluster.until(lambda: bool(rollback.has_happened(web(cluster))))
    cluster.settle()
    assert len(cluster.events("DeploymentRollback")) == 1
    assert len(cluster.registry.list(REPLICA_SET)[0]) == 2
    cluster.assert_at_rest()
    break_images()
    cluster.apply(config(colour="green"))
    cluster.settle()
    assert len(cluster.registry.list(REPLICA_SET)[0]) == 3
    assert FAILED_CONFIG_HASH not in annotations_of(web(cluster))
    cluster.assert_as_wanted()


# --- an old pod first --------------------------------------------------------------------------------------------


def with_port(obj: Obj) -> Obj:
    container = get(obj, "spec", "template", "spec", "containers")[0]
    ports = [{"containerPort": 80, "hostPort": 8080}]
    return put(obj, "spec", "template", "spec", "containers", [{**container, "ports": ports}])


def test_a_host_port_on_every_node_rolls_all_the_same(cluster: Cluster) -> None:
    """Kubernetes waits for ever: the surge pod finds no port, and no old one may go before it is there."""
    cluster.promises.calm = False
    cluster.apply(with_port(deployment(strategy=rolling(1, 0))))
    cluster.settle()
    least = 3
    cluster.apply(with_port(deployment(image="nginx:2", strategy=rolling(1, 0))))
    for _ in range(600):
        if not cluster.step():
            cluster.clock.sleep(1.0)
        running = [pod for pod in cluster.pods() if get(pod, "status", "phase") == "Running"]
        least = min(least, len(running))
    cluster.settle()
    cluster.assert_as_wanted()
    assert images(cluster) == ["nginx:2"] * 3
    assert least >= 2, "one at a time"
    assert "host port 8080" in cluster.events("StopFirst")[0]["message"]


def test_a_host_port_with_a_node_to_spare_loses_nothing(cluster: Cluster) -> None:
    cluster.apply(with_port(deployment(replicas=2, strategy=rolling(1, 0))))
    cluster.settle()
    cluster.apply(with_port(deployment(replicas=2, image="nginx:2", strategy=rolling(1, 0))))
    cluster.settle()
    cluster.assert_as_wanted()
    assert cluster.events("StopFirst") == []


def test_a_single_writer_is_alone_at_every_moment(cluster: Cluster) -> None:
    cluster.promises.calm = False
    alone = {SINGLE_WRITER: "true"}
    cluster.apply(noted(deployment(replicas=1), **alone))
    cluster.settle()
    cluster.apply(noted(deployment(replicas=1, image="nginx:2"), **alone))
    for _ in range(300):
        if not cluster.step():
            cluster.clock.sleep(0.5)
        assert len(cluster.running()) <= 1
    cluster.settle()
    cluster.assert_as_wanted()
    assert images(cluster) == ["nginx:2"]


# --- a node goes dark --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 4, 9, 15, 30])
def test_a_node_that_goes_dark_during_a_rollout_does_not_hold_it_up(cluster: Cluster, after: int) -> None:
    cluster.promises.calm = False
    cluster.apply(deployment(replicas=6, strategy=rolling(1, 0)))
    cluster.settle()
    cluster.apply(deployment(replicas=6, image="nginx:2", strategy=rolling(1, 0)))
    cluster.steps(after)
    RUNTIMES["n2"].unplug()
    cluster.until(lambda: said(cluster, "Progressing") == ("True", "NewReplicaSetAvailable"), 300)
    assert get(web(cluster), "status", "availableReplicas") == 6
    RUNTIMES["n2"].plug()
    cluster.settle()
    cluster.assert_as_wanted()
