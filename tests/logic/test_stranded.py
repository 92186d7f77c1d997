"""Pods on nodes that went dark before they ran: which are given up, and which are kept because they might be the one
writer of their volumes."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api.obj import Obj
from ktool.api.world import World
from ktool.logic.workload import stranded

SILENT = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1", "uid": "u-n1"},
    "status": {
        "conditions": [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2023-11-14T22:00:00Z"}],
    },
}
NOW = 1_700_000_000.0


def owned(kind: str, version: str, name: str, by: tuple[str, str, str] | None = None, **metadata: Any) -> Obj:
    references = []
    if by is not None:
        references = [{"apiVersion": by[1], "kind": by[0], "name": by[2], "uid": f"u-{by[2]}", "controller": True}]
    metadata = {"name": name, "namespace": "default", "uid": f"u-{name}", "ownerReferences": references, **metadata}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": {}}


@pytest.mark.parametrize("writer", [False, True], ids=["many-writers", "single-writer"])
def test_a_pod_that_may_be_the_only_writer_is_kept(writer: bool) -> None:
    notes = {"ktool.dev/single-writer": "true"} if writer else {}
    deployment = owned("Deployment", "apps/v1", "web", annotations=notes)
    replica_set = owned("ReplicaSet", "apps/v1", "web-1", ("Deployment", "apps/v1", "web"))
    pod = owned("Pod", "v1", "web-1-a", ("ReplicaSet", "apps/v1", "web-1"), creationTimestamp="2023-11-14T22:00:00Z")
    pod["spec"] = {"nodeName": "n1"}
    found, _ = stranded.find([pod], World([deployment, replica_set, pod, SILENT]), NOW)
    assert found == ([] if writer else [pod])
