"""Which pods a ReplicaSet deletes first."""

from __future__ import annotations

from ktool.api.obj import Obj, name, timestamp
from ktool.logic.workload.scaledown import first_to_go

NOW = 1_700_000_000.0


def pod(pod_name: str, node: str, ready_for: float) -> Obj:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp(NOW - ready_for)}
    return {
        "metadata": {"name": pod_name, "creationTimestamp": timestamp(NOW - 60)},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "conditions": [ready]},
    }


def test_a_pod_that_is_not_available_yet_goes_before_one_that_is() -> None:
    """Although the available ones share a node, which by Kubernetes' order alone would send one of them first."""
    pods = [pod("a", "n1", 30), pod("b", "n1", 30), pod("c", "n2", 1), pod("d", "n3", 1)]
    assert {name(one) for one in first_to_go(pods, 2, 3, NOW)} == {"c", "d"}
    assert name(first_to_go(pods, 1, 0, NOW)[0]) in ("a", "b"), "without minReadySeconds all of them are available"
