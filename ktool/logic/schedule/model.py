"""Scheduler model: the values of pods and nodes that scheduling depends on, frozen and hashable, so that equal ones are
shared.

All of logic/schedule uses them. Sources: core/v1 PodSpec and NodeSpec,
https://kubernetes.io/docs/concepts/scheduling-eviction/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ktool.api.ref import Ref

Labels = Mapping[str, str]
Namespaces = Mapping[str, Labels]
"""The labels of each namespace by its name."""


@dataclass(frozen=True)
class Requirement:
    """One expression of a label or node selector (meta/v1 LabelSelectorRequirement, core/v1 NodeSelectorRequirement).
    In and NotIn, Exists and DoesNotExist, Gt and Lt (whole numbers, node selectors only)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value)
        return False

    def _compares(self, value: str | None) -> bool:
        """A label or bound that is not a whole number does not match."""
        if value is None or len(self.values) != 1:
            return False
        try:
            number, bound = int(value), int(self.values[0])
        except ValueError:
            return False
        return number > bound if self.operator == "Gt" else number < bound


Selector = tuple[Requirement, ...] | None
"""All of the requirements; the empty tuple matches everything and None nothing, as a null selector does."""


def selects(selector: Selector, labels: Labels) -> bool:
    return selector is not None and all(requirement.matches(labels) for requirement in selector)


@dataclass(frozen=True)
class Taint:
    """core/v1 Taint. `said`: the phrase that replaces the taint in messages, for node states that count as taints
    (cordoned, not ready)."""

    key: str
    value: str
    effect: str
    said: str = ""

    @property
    def blocks(self) -> bool:
        return self.effect in ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class Toleration:
    """core/v1 Toleration; an empty key with Exists tolerates everything, an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.operator in ("", "Equal") and self.value == taint.value


@dataclass(frozen=True)
class NodeTerm:
    """core/v1 NodeSelectorTerm: labels and fields (metadata.name only) that must all match; an empty one matches
    no node."""

    expressions: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]

    def matches(self, node: Node) -> bool:
        if not self.expressions and not self.fields:
            return False
        return selects(self.expressions, node.labels) and selects(self.fields, {"metadata.name": node.name})


@dataclass(frozen=True)
class Placement:
    """A pod's requirements on the node itself. `required`: alternative terms, None without such an affinity."""

    selector: tuple[tuple[str, str], ...] = ()
    required: tuple[NodeTerm, ...] | None = None
    preferred: tuple[tuple[int, NodeTerm], ...] = ()
    tolerations: tuple[Toleration, ...] = ()


@dataclass(frozen=True)
class HostPort:
    """A port taken on the node; `ip` is 0.0.0.0 for all of its addresses."""

    protocol: str
    port: int
    ip: str


@dataclass(frozen=True)
class Demand:
    """The resources a pod takes on its node: cpu in millicores, everything else in whole units (bytes, counts). `cpu`
    and `memory` are those for the score, where a container without requests counts as a small one."""

    requests: tuple[tuple[str, int], ...] = ()
    cpu: int = 0
    memory: int = 0
    ports: tuple[HostPort, ...] = ()

    def of(self, resource: str) -> int:
        return next((amount for name, amount in self.requests if name == resource), 0)


@dataclass(frozen=True)
class Term:
    """core/v1 PodAffinityTerm: pods that `selector` selects in some namespaces, per value of the label `topology`.
    `namespaces` are the named ones (the pod's own by default), `namespace_selector` adds others by label."""

    topology: str
    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector = None

    def picks(self, pod: Shape, namespaces: Namespaces) -> bool:
        if pod.namespace not in self.namespaces and not selects(
            self.namespace_selector, namespaces.get(pod.namespace, {})
        ):
            return False
        return selects(self.selector, pod.labels)


@dataclass(frozen=True)
class Spread:
    """core/v1 TopologySpreadConstraint with matchLabelKeys already merged into the selector. `hard`: DoNotSchedule."""

    topology: str
    max_skew: int
    selector: Selector
    hard: bool = True
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(frozen=True, eq=False)
class Shape:
    """All scheduling-relevant properties of a pod. Pods of one template share one Shape, so results for one of them
    hold for all: it is compared by identity."""

    namespace: str
    labels: Labels
    owner: str = ""
    """uid of the pod's controller."""
    placement: Placement = field(default_factory=Placement)
    demand: Demand = field(default_factory=Demand)
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[tuple[int, Term], ...] = ()
    """Weights 1 to 100 of podAffinity; negative for podAntiAffinity."""
    spreads: tuple[Spread, ...] = ()
    gated: bool = False


@dataclass(frozen=True)
class Node:
    """One node. `taints` begin with the node states that count as taints; `allocatable` has the units of Demand."""

    name: str
    labels: Labels
    taints: tuple[Taint, ...]
    allocatable: Mapping[str, int]


class Decision(NamedTuple):
    """The scheduler's decision for a pod: `node` is "" where no node is feasible now, and `message` says why in
    kube-scheduler's words."""

    ref: Ref
    uid: str
    node: str
    message: str
