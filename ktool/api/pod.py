"""Pod accessors: containers and their statuses, the node, whether the pod is finished, its QoS class.

Every layer uses them. "App containers" are Kubernetes' word for those of spec.containers; all containers are the init
containers and the app containers after them, in the order in which they start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktool.api.obj import Obj, get
from ktool.api.units import quantity

CONTAINER_GROUPS = ("initContainers", "containers")
"""The members of a PodSpec with containers that it may be created with."""

FINAL_PHASES = ("Succeeded", "Failed")

_COUNTED = ("cpu", "memory")


# --- containers --------------------------------------------------------------------------------------------------


def init_containers(pod: Mapping[str, Any]) -> Sequence[Obj]:
    """The init containers, sidecars included."""
    found: Sequence[Obj] = get(pod, "spec", "initContainers", default=())
    return found


def app_containers(pod: Mapping[str, Any]) -> Sequence[Obj]:
    found: Sequence[Obj] = get(pod, "spec", "containers", default=())
    return found


def containers_of(pod: Mapping[str, Any]) -> list[Obj]:
    """All containers of a Pod or of a pod template."""
    return [*init_containers(pod), *app_containers(pod)]


def containers_in(spec: Mapping[str, Any]) -> list[Obj]:
    """All containers of a PodSpec."""
    return [container for group in CONTAINER_GROUPS for container in spec.get(group) or ()]


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Whether an init container is a sidecar: it runs beside the others instead of before them."""
    return container.get("restartPolicy") == "Always"


def sidecars_of(pod: Mapping[str, Any]) -> list[Obj]:
    return [container for container in init_containers(pod) if is_sidecar(container)]


# --- status ------------------------------------------------------------------------------------------------------


def init_statuses(pod: Mapping[str, Any]) -> Sequence[Obj]:
    found: Sequence[Obj] = get(pod, "status", "initContainerStatuses", default=())
    return found


def app_statuses(pod: Mapping[str, Any]) -> Sequence[Obj]:
    found: Sequence[Obj] = get(pod, "status", "containerStatuses", default=())
    return found


def statuses_of(pod: Mapping[str, Any]) -> list[Obj]:
    """The statuses of all containers."""
    return [*init_statuses(pod), *app_statuses(pod)]


def statuses_by_name(pod: Mapping[str, Any]) -> dict[str, Obj]:
    """The statuses of all containers by container name."""
    return {entry["name"]: entry for entry in statuses_of(pod)}


def finished(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has ended for good: phase Succeeded or Failed."""
    return get(pod, "status", "phase") in FINAL_PHASES


def node_of(pod: Mapping[str, Any]) -> str:
    """The node the pod is bound to; "" for an unscheduled one."""
    return str(get(pod, "spec", "nodeName", default=""))


# --- quality of service ------------------------------------------------------------------------------------------


def qos_class(pod: Mapping[str, Any]) -> str:
    """Guaranteed (every container limits cpu and memory, requests equal), BestEffort (none set), or Burstable.
    https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    any_set, guaranteed = False, True
    for container in containers_of(pod):
        limits = _amounts(container, "limits")
        requests = {**limits, **_amounts(container, "requests")}
        any_set = any_set or bool(limits or requests)
        guaranteed = guaranteed and set(limits) == set(_COUNTED) and requests == limits
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(container: Obj, group: str) -> dict[str, object]:
    """The nonzero cpu and memory amounts of a group (requests or limits)."""
    entries = get(container, "resources", group, default={})
    amounts = {key: quantity.value(entries[key]) for key in _COUNTED if entries.get(key) is not None}
    return {key: amount for key, amount in amounts.items() if amount}
