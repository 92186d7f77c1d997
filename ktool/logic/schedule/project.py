"""Projection of Kubernetes objects to the scheduler's model. `place` calls it. Objects that passed validation are
assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ktool.api.marks import HOSTNAME, NOT_READY, UNREACHABLE, UNSCHEDULABLE
from ktool.api.obj import Obj, canonical, condition, controller_of, get, labels, meta, name, namespace, uid
from ktool.api.pod import is_sidecar
from ktool.api.units.quantity import bytes_, milli
from ktool.logic.schedule.model import (
    Demand,
    HostPort,
    Node,
    NodeTerm,
    Placement,
    Requirement,
    Selector,
    Shape,
    Spread,
    Taint,
    Term,
    Toleration,
)

DEFAULT_CPU, DEFAULT_MEMORY = 100, 200 * 1024 * 1024
"""The request assumed in scores for a container without one (kube-scheduler's DefaultMilliCPURequest and
DefaultMemoryRequest), so that such pods spread as well."""

ANY_ADDRESS = "0.0.0.0"

_MEMO_LIMIT = 20_000
_versions: dict[tuple[str, str], Shape] = {}
_shapes: dict[str, Shape] = {}


def shape_of(pod: Obj) -> Shape:
    """The Shape of a pod. It depends on nothing but the object, so it is cached by uid and resourceVersion, and equal
    pods get the same one: 2,000 replicas are read once."""
    version = (uid(pod), str(meta(pod).get("resourceVersion", "")))
    found = _versions.get(version) if all(version) else None
    if found is None:
        key = canonical(_relevant(pod))
        found = _shapes.get(key)
        if found is None:
            found = _remember(_shapes, key, _shape(pod))
        if all(version):
            _remember(_versions, version, found)
    return found


def _remember(memo: dict[Any, Shape], key: Any, shape: Shape) -> Shape:
    if len(memo) >= _MEMO_LIMIT:
        memo.clear()
    memo[key] = shape
    return shape


_SPEC_PARTS = (
    "affinity", "hostNetwork", "nodeSelector", "overhead", "schedulingGates", "tolerations", "topologySpreadConstraints"
)  # fmt: skip


def _relevant(pod: Obj) -> list[Any]:
    """The fields a Shape is made from. spec.nodeName is not among them: it changes when the pod is bound."""
    spec = pod.get("spec") or {}
    owner = controller_of(pod) or {}
    groups = [spec.get("containers") or (), spec.get("initContainers") or ()]
    containers = [[(c.get("resources"), c.get("ports"), c.get("restartPolicy")) for c in group] for group in groups]
    return [
        namespace(pod), meta(pod).get("labels"), owner.get("uid"), containers, [spec.get(part) for part in _SPEC_PARTS]
    ]  # fmt: skip


def _shape(pod: Obj) -> Shape:
    spec: Obj = pod.get("spec") or {}
    affinity: Obj = spec.get("affinity") or {}
    ours, own = namespace(pod), labels(pod)
    attract: Obj = affinity.get("podAffinity") or {}
    repel: Obj = affinity.get("podAntiAffinity") or {}
    preferred = [(sign * weight, term) for sign, part in ((1, attract), (-1, repel)) for weight, term in _soft(part)]
    return Shape(
        namespace=ours,
        labels=own,
        owner=str((controller_of(pod) or {}).get("uid", "")),
        placement=_placement(spec, affinity.get("nodeAffinity") or {}),
        demand=_demand(spec),
        affinity=tuple(_term(term, ours, own) for term in _hard(attract)),
        anti_affinity=tuple(_term(term, ours, own) for term in _hard(repel)),
        preferred=tuple((weight, _term(term, ours, own)) for weight, term in preferred),
        spreads=tuple(_spread(entry, own) for entry in spec.get("topologySpreadConstraints") or ()),
        gated=bool(spec.get("schedulingGates")),
    )


def _hard(part: Obj) -> list[Obj]:
    return list(part.get("requiredDuringSchedulingIgnoredDuringExecution") or ())


def _soft(part: Obj) -> list[tuple[int, Obj]]:
    entries = part.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [(int(entry["weight"]), entry["podAffinityTerm"]) for entry in entries]


# --- selectors ---------------------------------------------------------------------------------------------------


def _requirements(entries: Iterable[Obj] | None) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(entry["key"], entry["operator"], tuple(str(value) for value in entry.get("values") or ()))
        for entry in entries or ()
    )


def _selector(selector: Obj | None, extra: Iterable[Requirement] = ()) -> Selector:
    """A meta/v1 LabelSelector; null selects nothing, an empty one everything."""
    if selector is None:
        return None
    equal = tuple(
        Requirement(key, "In", (value,)) for key, value in sorted((selector.get("matchLabels") or {}).items())
    )
    return (*equal, *_requirements(selector.get("matchExpressions")), *extra)


def _own_values(keys: Iterable[str] | None, own: Mapping[str, str], operator: str) -> list[Requirement]:
    """matchLabelKeys and mismatchLabelKeys: the incoming pod's own value of each label that it has."""
    return [Requirement(key, operator, (own[key],)) for key in keys or () if key in own]


def _term(term: Obj, ours: str, own: Mapping[str, str]) -> Term:
    named = frozenset(term.get("namespaces") or ())
    selector = term.get("namespaceSelector")
    if not named and selector is None:
        named = frozenset({ours})
    extra = [
        *_own_values(term.get("matchLabelKeys"), own, "In"),
        *_own_values(term.get("mismatchLabelKeys"), own, "NotIn"),
    ]
    return Term(term["topologyKey"], _selector(term.get("labelSelector"), extra), named, _selector(selector))


def _spread(entry: Obj, own: Mapping[str, str]) -> Spread:
    return Spread(
        topology=entry["topologyKey"],
        max_skew=int(entry.get("maxSkew") or 1),
        selector=_selector(entry.get("labelSelector"), _own_values(entry.get("matchLabelKeys"), own, "In")),
        hard=entry.get("whenUnsatisfiable", "DoNotSchedule") != "ScheduleAnyway",
        min_domains=int(entry.get("minDomains") or 1),
        honor_affinity=entry.get("nodeAffinityPolicy", "Honor") != "Ignore",
        honor_taints=entry.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _node_term(term: Obj) -> NodeTerm:
    return NodeTerm(_requirements(term.get("matchExpressions")), _requirements(term.get("matchFields")))


def _placement(spec: Obj, affinity: Obj) -> Placement:
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return Placement(
        selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        required=None if required is None else tuple(map(_node_term, required.get("nodeSelectorTerms") or ())),
        preferred=tuple((int(entry["weight"]), _node_term(entry["preference"])) for entry in preferred),
        tolerations=tuple(
            Toleration(t.get("key") or "", t.get("operator") or "", t.get("value") or "", t.get("effect") or "")
            for t in spec.get("tolerations") or ()
        ),
    )


# --- resources ---------------------------------------------------------------------------------------------------


def amount(resource: str, quantity: str | int | float) -> int:
    """A quantity in the scheduler's unit: millicores for cpu, whole units otherwise; rounded up."""
    return milli(quantity) if resource == "cpu" else bytes_(quantity)


def _requests(container: Obj) -> dict[str, int]:
    """The requests of a container; a limit without a request is the request (as the API server defaults it)."""
    resources = container.get("resources") or {}
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {resource: amount(resource, quantity) for resource, quantity in wanted.items()}


def _scored(container: Obj) -> dict[str, int]:
    return {"cpu": DEFAULT_CPU, "memory": DEFAULT_MEMORY, **_requests(container)}


def _demand(spec: Obj) -> Demand:
    """Containers side by side are summed, init containers run one at a time and count with their largest; a sidecar
    (an init container with restartPolicy Always) runs beside all that come after it. Source:
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers"""
    overhead = {resource: amount(resource, quantity) for resource, quantity in (spec.get("overhead") or {}).items()}
    scored = _peak(spec, _scored, overhead)
    return Demand(
        requests=tuple(sorted(item for item in _peak(spec, _requests, overhead).items() if item[1] > 0)),
        cpu=scored.get("cpu", 0),
        memory=scored.get("memory", 0),
        ports=tuple(_ports(spec)),
    )


def _peak(spec: Obj, of: Any, overhead: Mapping[str, int]) -> dict[str, int]:
    running: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        together = _sum(running, of(container))
        if is_sidecar(container):
            running = together
        peak = _larger(peak, together)
    for container in spec.get("containers") or ():
        running = _sum(running, of(container))
    return _sum(_larger(peak, running), overhead)


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in {**one, **other}}


def _ports(spec: Obj) -> list[HostPort]:
    """The host ports of a pod; on the host network every containerPort is one (as the API server defaults it)."""
    sidecars = [c for c in spec.get("initContainers") or () if is_sidecar(c)]
    found = []
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else 0)
            if number:
                found.append(HostPort(port.get("protocol") or "TCP", int(number), port.get("hostIP") or ANY_ADDRESS))
    return found


# --- nodes -------------------------------------------------------------------------------------------------------


def node_of(node: Obj) -> Node:
    """A Node. Its name stands in for an absent hostname label (a kubelet always sets it)."""
    allocatable: Obj = get(node, "status", "allocatable", default={})
    return Node(
        name=name(node),
        labels={HOSTNAME: name(node), **labels(node)},
        taints=_taints(node),
        allocatable={resource: amount(resource, quantity) for resource, quantity in allocatable.items()},
    )


def _taints(node: Obj) -> tuple[Taint, ...]:
    """The taints of a node, led by its states: in Kubernetes a controller turns those into taints of these names, so a
    toleration of one has the same effect here (core/v1 well-known taints)."""
    states = []
    if get(node, "spec", "unschedulable", default=False):
        states.append(Taint(UNSCHEDULABLE, "", "NoSchedule", "node(s) were unschedulable"))
    ready = (condition(node, "Ready") or {}).get("status", "False")
    if ready == "Unknown":
        states.append(Taint(UNREACHABLE, "", "NoSchedule", "node(s) were unreachable"))
    elif ready != "True":
        states.append(Taint(NOT_READY, "", "NoSchedule", "node(s) were not ready"))
    declared = get(node, "spec", "taints", default=())
    return (*states, *(Taint(taint["key"], taint.get("value") or "", taint["effect"]) for taint in declared))
