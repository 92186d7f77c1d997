"""Waiting pods are placed again when what they wait for has happened."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api.obj import get
from ktool.api.ref import POD, Ref
from ktool.control.scheduler import Scheduler
from ktool.registry.cache import Cache
from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.everykind import KINDS
from tests.registry.conftest import Clock

NODE: Any = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


@pytest.fixture
def registry(store: Store, clock: Clock) -> Registry:
    registry = Registry(store, KINDS, clock=clock)
    node = registry.create({key: value for key, value in NODE.items() if key != "status"})
    registry.update({**node, "status": NODE["status"]}, subresource="status")
    return registry


def pod(name: str, beside: str = "") -> Any:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": beside}}}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **({"affinity": affinity} if beside else {})},
    }


def test_a_pod_that_wants_to_be_beside_one_placed_after_it(registry: Registry, store: Store, clock: Clock) -> None:
    binder = Scheduler(registry, Cache(store), clock=clock)
    registry.create(pod("first", beside="second"))
    registry.create(pod("second"))
    steps = 0
    while binder.dirty or not steps:
        binder.step()
        steps += 1
        assert steps < 5, "it never comes to rest"
    for name in ("first", "second"):
        assert get(registry.get(Ref(POD, "default", name)), "spec", "nodeName") == "n1"
