"""Pods and nodes for the scheduler's tests, as short as they can be said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ktool.logic.schedule import place

Obj = dict[str, Any]

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    zone: str = "",
    labels: dict[str, str] | None = None,
    taints: Sequence[str] = (),
    ready: str | None = "True",
    unschedulable: bool = False,
    extra: dict[str, str] | None = None,
) -> Obj:
    """`taints` as kubectl writes them: key=value:Effect or key:Effect. `ready` None: the condition is missing."""
    own = {HOST: name, **({ZONE: zone} if zone else {}), **(labels or {})}
    spec: Obj = {"taints": [_taint(text) for text in taints]} if taints else {}
    if unschedulable:
        spec["unschedulable"] = True
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": own},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **(extra or {})},
            "conditions": [{"type": "Ready", "status": ready}] if ready else [],
        },
    }


def _taint(text: str) -> Obj:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "effect": effect, **({"value": value} if value else {})}


def pod(
    name: str = "p",
    *,
    on: str = "",
    namespace: str = "default",
    labels: dict[str, str] | None = None,
    cpu: str = "",
    memory: str = "",
    owner: str = "",
    priority: int | None = None,
    created: str = "2024-01-01T00:00:00Z",
    ending: bool = False,
    phase: str = "",
    **spec: Any,
) -> Obj:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    container: Obj = {"name": "main", "image": "x", **({"resources": {"requests": requests}} if requests else {})}
    meta: Obj = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "creationTimestamp": created}
    if labels:
        meta["labels"] = labels
    if owner:
        meta["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}]
    if ending:
        meta["deletionTimestamp"] = created
    body: Obj = {"containers": [container], **spec}
    if on:
        body["nodeName"] = on
    if priority is not None:
        body["priority"] = priority
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": body,
        "status": {"phase": phase} if phase else {},
    }


def require_nodes(*terms: Obj) -> Obj:
    """Required nodeAffinity with these terms."""
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def prefer_nodes(*weighted: tuple[int, Obj]) -> Obj:
    entries = [{"weight": weight, "preference": term} for weight, term in weighted]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": entries}}


def expression(key: str, operator: str, *values: str) -> Obj:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def term(topology: str = HOST, app: str = "web", **more: Any) -> Obj:
    """A pod affinity term that selects app=`app`."""
    return {"topologyKey": topology, "labelSelector": {"matchLabels": {"app": app}}, **more}


def near(*terms: Obj) -> Obj:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def apart(*terms: Obj) -> Obj:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def prefer(kind: str, weight: int, one: Obj) -> Obj:
    """`kind` podAffinity or podAntiAffinity."""
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": one}]}}


def spread(topology: str = HOST, skew: int = 1, when: str = "DoNotSchedule", app: str = "web", **more: Any) -> Obj:
    return {
        "topologyKey": topology,
        "maxSkew": skew,
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": app}},
        **more,
    }


def where(
    incoming: Obj | Sequence[Obj],
    nodes: Sequence[Obj],
    pods: Sequence[Obj] = (),
    namespaces: dict[str, dict[str, str]] | None = None,
) -> list[str]:
    """The node (or, where there is none, the message) for each pod in the order of placing."""
    pending = [incoming] if isinstance(incoming, dict) else incoming
    return [decision.node or decision.message for decision in place(pending, nodes, pods, namespaces or {})]


def allowed(incoming: Obj, nodes: Sequence[Obj], pods: Sequence[Obj] = (), **more: Any) -> str:
    """The names of all nodes that may take the pod, joined: found by offering the pod each node with the others
    full, so that it does not depend on scores."""
    names = [entry["metadata"]["name"] for entry in nodes]
    found = []
    for name in names:
        others = [_full(entry) if entry["metadata"]["name"] != name else entry for entry in nodes]
        if where(incoming, others, pods, **more) == [name]:
            found.append(name)
    return " ".join(found)


def _full(entry: Obj) -> Obj:
    """The same node without room for any pod: domains are counted as before."""
    status = {**entry["status"], "allocatable": {**entry["status"]["allocatable"], "pods": "0"}}
    return {**entry, "status": status}
