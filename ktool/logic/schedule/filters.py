"""Scheduler filters: the nodes that are feasible for a pod. `place` applies them.

Order and messages are those of kube-scheduler's filter plugins, so that a message found on the web is the message seen
here. There are two kinds of filter: on a node by itself (taints, affinity, ports, resources), and on the domains that
nodes form (topology spread, affinity and anti-affinity between pods), which answer once per domain and not once per
node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ktool.logic.schedule.model import Demand, Node, NodeTerm, Placement, Shape, Spread, Term, Toleration, selects
from ktool.logic.schedule.state import Counter, Load, State

# --- a node by itself --------------------------------------------------------------------------------------------


def refusal(placement: Placement, node: Node) -> str:
    """Why a node refuses a pod regardless of what runs on it; "" where it does not."""
    for taint in node.taints:
        if taint.blocks and not any(toleration.tolerates(taint) for toleration in placement.tolerations):
            return taint.said or f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    if not attracted(placement, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def attracted(placement: Placement, node: Node) -> bool:
    """nodeSelector and required nodeAffinity match the node. Terms are alternatives; an empty list of terms matches no
    node."""
    if any(node.labels.get(key) != value for key, value in placement.selector):
        return False
    return placement.required is None or matches_any(placement.required, node)


def matches_any(terms: Iterable[NodeTerm], node: Node) -> bool:
    return any(term.matches(node) for term in terms)


def tolerated(tolerations: Sequence[Toleration], node: Node) -> bool:
    """Every taint of the node is tolerated."""
    return all(not taint.blocks or any(t.tolerates(taint) for t in tolerations) for taint in node.taints)


def shortage(demand: Demand, node: Node, load: Load) -> tuple[str, ...]:
    """The resources the node lacks for one more such pod; empty where it fits. A resource the node does not report is
    missing, except local storage: a node that does not report it does not measure it, and then it is no limit (as in
    Kubernetes without LocalStorageCapacityIsolation)."""
    if demand.ports and any(load.port_taken(port) for port in demand.ports):
        return ("node(s) didn't have free ports for the requested pod ports",)
    lacking = ["Too many pods"] if load.pods + 1 > node.allocatable.get("pods", 0) else []
    for resource, amount in demand.requests:
        there = node.allocatable.get(resource)
        if there is None and resource == "ephemeral-storage":
            continue
        if amount > (there or 0) - load.requests.get(resource, 0):
            lacking.append(f"Insufficient {resource}")
    return tuple(lacking)


# --- domains -----------------------------------------------------------------------------------------------------


class Rule(Protocol):
    """A filter on domains: which are open to one more pod now. `open()` answers per domain, with one more entry (index
    -1) for nodes without the label. `why` is the reason for closed nodes."""

    @property
    def domain(self) -> Sequence[int]: ...
    def open(self) -> list[bool]: ...
    def why(self, node: int) -> str: ...


@dataclass(frozen=True)
class SpreadRule:
    """maxSkew: by how many matching pods a domain may exceed the emptiest one (0 where fewer than minDomains exist).
    `own` is 1 where the pod itself matches."""

    counter: Counter
    spread: Spread
    own: int

    @property
    def domain(self) -> Sequence[int]:
        return self.counter.domain

    def open(self) -> list[bool]:
        counts, present = self.counter.counts, self.counter.present
        enough = len(present) >= self.spread.min_domains
        least = min([counts[domain] for domain in present], default=0) if enough else 0
        most = self.spread.max_skew + least - self.own
        result = [count <= most for count in counts]
        result[-1] = False
        return result

    def why(self, node: int) -> str:
        missing = " (missing required label)" if self.domain[node] < 0 else ""
        return f"node(s) didn't match pod topology spread constraints{missing}"


@dataclass(frozen=True)
class AffinityRule:
    """A required podAffinity term: the domain has a pod that all of the terms select. If no pod anywhere does, a pod
    that its own terms select is the first of its group and may go wherever the label exists."""

    counter: Counter
    group: tuple[Counter, ...]
    own: bool

    @property
    def domain(self) -> Sequence[int]:
        return self.counter.domain

    def open(self) -> list[bool]:
        if self.own and not any(counter.total for counter in self.group):
            return [True] * (len(self.counter.counts) - 1) + [False]
        return [count > 0 for count in self.counter.counts]

    def why(self, node: int) -> str:
        return "node(s) didn't match pod affinity rules"


@dataclass(frozen=True)
class EmptyRule:
    """A required podAntiAffinity term, of this pod or of a running one: the domain has no pod that it concerns."""

    counter: Counter
    message: str

    @property
    def domain(self) -> Sequence[int]:
        return self.counter.domain

    def open(self) -> list[bool]:
        return [count == 0 for count in self.counter.counts]

    def why(self, node: int) -> str:
        return self.message


def domain_rules(shape: Shape, state: State, repelling: Iterable[Term]) -> list[Rule]:
    """The domain rules of a pod, in the order of reporting. `repelling`: the required anti-affinity terms of all pods
    present or placed in this call; those that select this pod keep it away from their holders."""
    hard = [spread for spread in shape.spreads if spread.hard]
    rules: list[Rule] = [
        SpreadRule(spread_counter(shape, spread, hard, state), spread, int(selects(spread.selector, shape.labels)))
        for spread in hard
    ]
    rules += _affinity_rules(shape, state)
    rules += [
        EmptyRule(picked_counter(term, state), "node(s) didn't match pod anti-affinity rules")
        for term in shape.anti_affinity
    ]
    rules += [
        EmptyRule(_holders(term, state), "node(s) didn't satisfy existing pods anti-affinity rules")
        for term in repelling
        if term.picks(shape, state.namespaces)
    ]
    return rules


def _affinity_rules(shape: Shape, state: State) -> list[Rule]:
    terms = shape.affinity

    def weigh(pod: Shape) -> int:
        return int(all(term.picks(pod, state.namespaces) for term in terms))

    group = tuple(state.counter(("affinity", terms, term.topology), term.topology, weigh) for term in terms)
    return [AffinityRule(counter, group, bool(weigh(shape))) for counter in group]


def picked_counter(term: Term, state: State) -> Counter:
    """Counts the pods that a term selects, by its topology."""
    return state.counter(("picked", term), term.topology, lambda pod: int(term.picks(pod, state.namespaces)))


def _holders(term: Term, state: State) -> Counter:
    """Counts the pods that carry a required anti-affinity term."""
    return state.counter(("holders", term), term.topology, lambda pod: int(term in pod.anti_affinity))


def spread_counter(shape: Shape, spread: Spread, together: Sequence[Spread], state: State) -> Counter:
    """Counts the pods of the namespace that a constraint selects, on eligible nodes: those with the topology labels of
    all constraints taken `together`, and those that the node policies include. Terminating pods do not count."""
    topologies = tuple(sorted({other.topology for other in together}))
    affinity = (shape.placement.selector, shape.placement.required) if spread.honor_affinity else None
    tolerations = shape.placement.tolerations if spread.honor_taints else None
    counting = [
        all(topology in node.labels for topology in topologies)
        and (affinity is None or attracted(shape.placement, node))
        and (tolerations is None or tolerated(tolerations, node))
        for node in state.nodes
    ]
    namespace, selector = shape.namespace, spread.selector

    def weigh(pod: Shape) -> int:
        return int(pod.namespace == namespace and selects(selector, pod.labels))

    key = ("spread", namespace, selector, spread.topology, topologies, affinity, tolerations)
    return state.counter(key, spread.topology, weigh, counting=counting, ending=False)
