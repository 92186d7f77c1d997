"""The Pod kind: rules of create and update, columns as kubectl prints them, progress."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api import schema
from ktool.api.obj import put
from ktool.api.ref import NODE, POD, Ref
from ktool.api.world import World
from ktool.kinds.pod import KIND

NOW = 1_700_000_000.0


def pod(status: dict[str, Any] | None = None, *, deleting: bool = False, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "default", "uid": "u1", "creationTimestamp": "2023-11-14T22:12:35Z"}
    if deleting:
        metadata["deletionTimestamp"] = "2023-11-14T22:13:25Z"
    containers = [{"name": "web", "image": "registry.test/web:v1"}, {"name": "side", "image": "registry.test/side:v1"}]
    base = {"containers": containers, "nodeName": "node1"}
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**base, **spec}}
    return {**found, "status": status} if status is not None else found


def waiting(reason: str, **more: Any) -> dict[str, Any]:
    return {"name": "web", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}, **more}


def ended(reason: str, code: int, **more: Any) -> dict[str, Any]:
    state = {"terminated": {"reason": reason, "exitCode": code}}
    return {"name": "web", "ready": False, "restartCount": 0, "state": state, **more}


RUNS = {"name": "side", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": "2023-11-14T22:13:00Z"}}}
READY = [{"type": "Ready", "status": "True"}]
INIT = {"initContainers": [{"name": "one", "image": "i"}, {"name": "two", "image": "i"}]}
LAST = {"terminated": {"exitCode": 1, "finishedAt": "2023-11-14T22:13:08Z"}}


def row(obj: dict[str, Any]) -> dict[str, str]:
    return {column.name: column.cell(obj, NOW) for column in KIND.looks.columns}


@pytest.mark.parametrize(
    "obj, ready, shown, restarts",
    [
        (pod({"phase": "Pending"}), "0/2", "Pending", "0"),
        (pod({"phase": "Running", "containerStatuses": [RUNS, RUNS], "conditions": READY}), "2/2", "Running", "0"),
        (pod({"phase": "Pending", "containerStatuses": [waiting("ErrImagePull"), RUNS]}), "1/2", "ErrImagePull", "0"),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [waiting("CrashLoopBackOff", restartCount=3, lastState=LAST), RUNS],
                }
            ),
            "1/2",
            "CrashLoopBackOff",
            "3 (12s ago)",
        ),
        (pod({"phase": "Succeeded", "containerStatuses": [ended("Completed", 0)]}), "0/2", "Completed", "0"),
        (pod({"phase": "Running", "containerStatuses": [ended("Completed", 0), RUNS]}), "1/2", "NotReady", "0"),
        (
            pod({"phase": "Running", "containerStatuses": [ended("Completed", 0), RUNS], "conditions": READY}),
            "1/2",
            "Running",
            "0",
        ),
        (pod({"phase": "Failed", "containerStatuses": [ended("OOMKilled", 137)]}), "0/2", "OOMKilled", "0"),
        (pod({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted", "0"),
        (pod({"phase": "Running", "containerStatuses": [RUNS, RUNS]}, deleting=True), "2/2", "Terminating", "0"),
        (
            pod({"phase": "Succeeded", "containerStatuses": [ended("Completed", 0)]}, deleting=True),
            "0/2",
            "Completed",
            "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [waiting("PodInitializing")] * 2}, **INIT),
            "0/2",
            "Init:0/2",
            "0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [ended("Completed", 0), RUNS]}, **INIT),
            "0/2",
            "Init:1/2",
            "0",
        ),
        (
            pod(
                {"phase": "Pending", "initContainerStatuses": [ended("Error", 1, restartCount=1, lastState=LAST)]},
                **INIT,
            ),
            "0/2",
            "Init:Error",
            "1 (12s ago)",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [waiting("CrashLoopBackOff", restartCount=2)]}, **INIT),
            "0/2",
            "Init:CrashLoopBackOff",
            "2",
        ),
        (
            pod(
                {
                    "phase": "Pending",
                    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
                }
            ),
            "0/2",
            "SchedulingGated",
            "0",
        ),
    ],
)
def test_columns(obj, ready, shown, restarts):
    cells = row(obj)
    assert (cells["READY"], cells["STATUS"], cells["RESTARTS"], cells["AGE"]) == (ready, shown, restarts, "45s")


def test_wide_columns():
    cells = row(pod({"phase": "Running", "podIP": "10.244.1.5"}))
    assert [(c.name, cells[c.name]) for c in KIND.looks.columns if c.wide] == [
        ("IP", "10.244.1.5"),
        ("NODE", "node1"),
        ("NOMINATED NODE", "<none>"),
        ("READINESS GATES", "<none>"),
    ]


@pytest.mark.parametrize(
    "change, refused",
    [
        (lambda spec: {**spec, "activeDeadlineSeconds": 5}, ""),
        (
            lambda spec: put(spec, "containers", [{**c, "image": "registry.test/web:v2"} for c in spec["containers"]]),
            "",
        ),
        (
            lambda spec: {
                **spec,
                "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}],
            },
            "",
        ),
        (lambda spec: {**spec, "tolerations": []}, "spec.tolerations"),
        (lambda spec: {**spec, "hostNetwork": True}, "spec"),
        (lambda spec: put(spec, "containers", [{**c, "args": ["x"]} for c in spec["containers"]]), "spec"),
        (lambda spec: put(spec, "containers", spec["containers"][:1]), "spec"),
    ],
)
def test_updates(change, refused):
    old = pod(tolerations=[{"key": "a", "operator": "Exists"}])
    causes = KIND.rules.validate(put(old, "spec", change(old["spec"])), old)
    assert [cause.field for cause in causes] == ([refused] if refused else [])


def test_what_changed_is_named():
    old = pod()
    (cause,) = KIND.rules.validate(put(old, "spec", {**old["spec"], "hostNetwork": True}), old)
    assert "may not change hostNetwork;" in cause.message


@pytest.mark.parametrize(
    "obj, seconds",
    [
        (pod({"phase": "Running"}, terminationGracePeriodSeconds=7), 7),
        (pod({"phase": "Running"}), 30),
        (pod({"phase": "Succeeded"}), None),
        (pod({"phase": "Pending"}, nodeName=""), None),
    ],
)
def test_graceful(obj, seconds):
    assert KIND.rules.graceful(obj) == seconds


@pytest.mark.parametrize(
    "obj, done, failed, words",
    [
        (pod({"phase": "Running", "conditions": READY}), True, False, "is ready"),
        (pod({"phase": "Succeeded"}), True, False, "has succeeded"),
        (pod({"phase": "Failed", "containerStatuses": [ended("Error", 3)]}), False, True, "exited with code 3"),
        (
            pod({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}),
            False,
            True,
            "ImagePullBackOff",
        ),
        (
            pod({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}),
            False,
            False,
            "ContainerCreating",
        ),
        (
            pod(
                {
                    "conditions": [
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                    ]
                },
                nodeName="",
            ),
            False,
            False,
            "0/3 nodes",
        ),
    ],
)
def test_progress(obj, done, failed, words):
    found = KIND.controller.progress(obj, World([obj]))
    assert (found.done, bool(found.failed)) == (done, failed)
    assert words in found.message


def test_a_new_pod_has_its_defaults_and_its_class():
    found = KIND.rules.default(schema.default(KIND.schema, pod()))
    assert found["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert found["spec"]["restartPolicy"] == "Always"
    assert [container["imagePullPolicy"] for container in found["spec"]["containers"]] == ["IfNotPresent"] * 2
    assert schema.check(KIND.schema, found) == []


def test_a_node_that_goes_wakes_its_pods_and_its_heartbeats_do_not():
    (watch,) = KIND.controller.watches
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}
    world = World([pod(), node])
    assert list(watch.wakes(node, world)) == []
    world.remove(Ref(NODE, "", "node1"))
    assert list(watch.wakes(node, world)) == [Ref(POD, "default", "web")]


@pytest.mark.parametrize(("text", "refused"), [("0", 0), ("30", 0), ("-1", 1), ("soon", 1), ("1.5", 1), ("86400", 1)])
def test_the_time_that_open_connections_get_is_a_number_of_seconds(text: str, refused: int) -> None:
    obj = put(pod(), "metadata", "annotations", {"ktool.dev/drain-seconds": text})
    assert KIND.rules.validate is not None
    causes = [str(cause) for cause in KIND.rules.validate(obj, None) if "drain-seconds" in str(cause)]
    assert len(causes) == refused
    assert not causes or "whole number of seconds from 0 to 3600" in causes[0]
