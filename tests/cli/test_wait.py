"""What a command says of pods it waits for."""

from __future__ import annotations

import pytest

from ktool.cli.podsteps import unschedulable


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
