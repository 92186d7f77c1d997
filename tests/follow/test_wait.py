"""What a command says of pods it waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktool.api.world import World
from ktool.cli.plumbing import converge
from ktool.follow.steps import unschedulable
from ktool.registry.client import Client


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        ("True", "", ""),
        ("False", "0/2 nodes are available: 2 Insufficient cpu", "0/2 nodes are available: 2 Insufficient cpu"),
        (
            "False",
            "no nodes available to schedule pods",
            "no nodes available to schedule pods; `ktool node add` makes a machine a node",
        ),
    ],
    ids=["it has a node", "it fits on none", "there is none"],
)
def test_why_a_pod_has_no_node(status, message, said):
    pod = {"status": {"conditions": [{"type": "PodScheduled", "status": status, "message": message}]}}
    assert unschedulable(pod) == said


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> converge._Complaints:
    """Of a control plane whose events say that one probe failed."""
    monkeypatch.setattr(converge, "SLOW", 0.0)
    event = {"involvedObject": {"uid": "u-slow"}, "message": "Readiness probe failed: 503"}
    client = SimpleNamespace(list=lambda kind, space, fields: SimpleNamespace(items=[event]))
    return converge._Complaints(cast(Client, client))


def waiting(name: str, message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    status = {"phase": "Pending", "conditions": [condition]}
    return {"metadata": {"name": name, "uid": f"u-{name}"}, "spec": {}, "status": status}


def test_a_pod_that_has_no_node_is_complained_of_once_for_all_that_wait_for_the_same(complaints) -> None:
    assert complaints.look(waiting("a", "0/1 nodes are available"), World()) == "is not placed: 0/1 nodes are available"
    assert complaints.look(waiting("b", "0/1 nodes are available"), World()) == ""
    assert complaints.look(waiting("c", "0/2 nodes are available"), World()) == "is not placed: 0/2 nodes are available"


def test_a_pod_that_runs_is_complained_of_in_the_words_of_its_probes(complaints) -> None:
    runs = {"spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    said = complaints.look({"metadata": {"uid": "u-slow"}, **runs}, World())
    assert said == "is not ready: Readiness probe failed: 503"
    assert complaints.look({"metadata": {"uid": "u-other"}, **runs}, World()) == ""


def test_nobody_complains_before_a_pod_is_slow(complaints, monkeypatch) -> None:
    monkeypatch.setattr(converge, "SLOW", 60.0)
    assert complaints.look(waiting("a", "0/1 nodes are available"), World()) == ""
