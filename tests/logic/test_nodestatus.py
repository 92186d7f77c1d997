"""What is written of a node that does not answer, and of its pods."""

from __future__ import annotations

from typing import Any

from ktool.api.action import Emit, Status
from ktool.api.obj import timestamp
from ktool.logic.node import nodestatus
from ktool.logic.node.nodestatus import SILENCE

NOW = 1_700_000_000.0


def node(status: str, since: float) -> Any:
    ready = {"type": "Ready", "status": status, "lastTransitionTime": timestamp(since)}
    return {"kind": "Node", "metadata": {"name": "n1", "uid": "n"}, "status": {"conditions": [ready]}}


def pod(name: str, ready: str) -> Any:
    conditions = [{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": ready}]
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"kind": "Pod", "metadata": metadata, "status": {"phase": "Running", "conditions": conditions}}


def test_pods_of_a_node_that_is_silent_for_long_are_not_ready():
    pods = [pod("web", "True"), pod("starting", "False")]
    status, event = nodestatus.out_of_service(node("Unknown", NOW - SILENCE), pods, NOW)
    assert isinstance(status, Status) and status.ref.name == "web"
    ready, containers = status.status["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "NodeNotReady") and containers["status"] == "True"
    assert isinstance(event, Emit) and event.reason == "NodeNotReady"


def test_they_are_left_as_they_are_for_a_while_and_where_the_node_answers():
    pods = [pod("web", "True")]
    assert not nodestatus.out_of_service(node("Unknown", NOW - SILENCE + 1), pods, NOW)
    assert not nodestatus.out_of_service(node("True", NOW - 1000), pods, NOW)
    assert not nodestatus.out_of_service(node("False", NOW - 1000), pods, NOW)
