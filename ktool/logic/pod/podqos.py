"""The quality-of-service class of a Pod. https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""

from __future__ import annotations

from ktool.api.obj import Obj, get
from ktool.api.units import quantity

_COUNTED = ("cpu", "memory")


def qos_class(pod: Obj) -> str:
    """Guaranteed (every container limits cpu and memory, requests equal), BestEffort (none set), or Burstable."""
    containers = [*get(pod, "spec", "containers", default=()), *get(pod, "spec", "initContainers", default=())]
    any_set, guaranteed = False, True
    for container in containers:
        limits = _amounts(container, "limits")
        requests = {**limits, **_amounts(container, "requests")}
        any_set = any_set or bool(limits or requests)
        guaranteed = guaranteed and set(limits) == set(_COUNTED) and requests == limits
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(container: Obj, group: str) -> dict[str, object]:
    """The cpu and memory of a group that are not zero."""
    entries = get(container, "resources", group, default={})
    amounts = {key: quantity.value(entries[key]) for key in _COUNTED if entries.get(key) is not None}
    return {key: amount for key, amount in amounts.items() if amount}
