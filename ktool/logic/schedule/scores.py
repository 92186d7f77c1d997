"""Scheduler scores: ranks the feasible nodes with kube-scheduler's default plugins and weights. `place` applies them.

Each score runs from 0 to 100. Weights: taints 3, node affinity 2, spreading 2, affinity between pods 2, resources 1
(least allocated) and 1 (balanced). Two differences: resource scores keep their fractions, so that nodes that are nearly
equally full do not tie, and taints and node affinity are scaled over the nodes a pod may ever use instead of those that
are free at the moment. Image locality is not scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

from ktool.api.marks import HOSTNAME, ZONE
from ktool.logic.schedule.filters import picked_counter, spread_counter
from ktool.logic.schedule.model import Demand, Node, Placement, Shape, Spread, Term
from ktool.logic.schedule.state import Counter, Load, State

TAINTS, NODE_AFFINITY, SPREADING, POD_AFFINITY = 3, 2, 2, 2

REQUIRED_WEIGHT = 1
"""The weight of a running pod's required affinity for the pods it selects (kube-scheduler's hardPodAffinityWeight)."""

DEFAULT_SPREAD = ((HOSTNAME, 3), (ZONE, 5))
"""kube-scheduler's default constraints: topology and maxSkew, both ScheduleAnyway."""

# --- a node by itself --------------------------------------------------------------------------------------------


def preference_scores(placement: Placement, nodes: Sequence[Node], usable: Sequence[bool]) -> list[float]:
    """Preferred node affinity and PreferNoSchedule taints, weighted, per node."""
    soft = [_intolerable(placement, node) for node in nodes]
    likes = [sum(weight for weight, term in placement.preferred if term.matches(node)) for node in nodes]
    worst = max((count for count, use in zip(soft, usable, strict=True) if use), default=0)
    best = max((like for like, use in zip(likes, usable, strict=True) if use), default=0)
    return [
        TAINTS * (100 - 100 * count / worst if worst else 100) + NODE_AFFINITY * (100 * like / best if best else 0)
        for count, like in zip(soft, likes, strict=True)
    ]


def _intolerable(placement: Placement, node: Node) -> int:
    return sum(
        taint.effect == "PreferNoSchedule" and not any(t.tolerates(taint) for t in placement.tolerations)
        for taint in node.taints
    )


def resource_score(demand: Demand, node: Node, load: Load) -> float:
    """Least allocated plus balanced allocation of cpu and memory, with the pod on the node. A pod that requests
    neither has no balance to judge."""
    cpu, memory = node.allocatable.get("cpu", 0), node.allocatable.get("memory", 0)
    least = (_free(cpu, load.cpu + demand.cpu) + _free(memory, load.memory + demand.memory)) / 2
    wanted_cpu, wanted_memory = demand.of("cpu"), demand.of("memory")
    if not wanted_cpu and not wanted_memory:
        return least
    used_cpu = _fraction(load.requests.get("cpu", 0) + wanted_cpu, cpu)
    used_memory = _fraction(load.requests.get("memory", 0) + wanted_memory, memory)
    return least + 100 - 50 * abs(used_cpu - used_memory)


def _free(there: int, used: int) -> float:
    return 100 * (there - used) / there if there > 0 and used <= there else 0.0


def _fraction(used: int, there: int) -> float:
    return min(1.0, used / there) if there > 0 else 1.0


# --- domains -----------------------------------------------------------------------------------------------------


class Preference(Protocol):
    def gains(self, live: Sequence[int]) -> list[float]:
        """The weighted score of each of these nodes, relative to one another."""


@dataclass(frozen=True)
class SpreadPreference:
    """ScheduleAnyway constraints: the fewer matching pods in a node's domains, the better; a topology with many domains
    weighs more. Nodes not `counting` lack a label and come last."""

    parts: tuple[tuple[Counter, float, int], ...]
    counting: tuple[bool, ...]

    def gains(self, live: Sequence[int]) -> list[float]:
        raw = [0.0] * len(live)
        for counter, weight, extra in self.parts:
            counts, domain = counter.counts, counter.domain
            raw = [before + counts[domain[node]] * weight + extra for before, node in zip(raw, live, strict=True)]
        counting = self.counting
        judged = [value for value, node in zip(raw, live, strict=True) if counting[node]]
        high, low = max(judged, default=0.0), min(judged, default=0.0)
        if high <= 0:
            return [SPREADING * 100.0 if counting[node] else 0.0 for node in live]
        scale, span = SPREADING * 100 / high, high + low
        return [(span - value) * scale if counting[node] else 0.0 for value, node in zip(raw, live, strict=True)]


@dataclass(frozen=True)
class PodPreference:
    """Preferred affinity and anti-affinity between pods, in both directions: the weights of the pod's terms times the
    pods they select, and the weights of the terms of running pods that select this one."""

    parts: tuple[tuple[Counter, int], ...]

    def gains(self, live: Sequence[int]) -> list[float]:
        raw = [0] * len(live)
        for counter, weight in self.parts:
            counts, domain = counter.counts, counter.domain
            raw = [before + weight * counts[domain[node]] for before, node in zip(raw, live, strict=True)]
        low, high = min(raw), max(raw)
        if high == low:
            return [0.0] * len(live)
        scale = POD_AFFINITY * 100 / (high - low)
        return [(value - low) * scale for value in raw]


def domain_preferences(shape: Shape, state: State, usable: Sequence[bool], wishing: Iterable[Term]) -> list[Preference]:
    """The domain preferences of a pod. `wishing`: the preferred terms (and required affinity terms) of all pods."""
    return [*_spread_preference(shape, state, usable), *_pod_preference(shape, state, wishing)]


def _spread_preference(shape: Shape, state: State, usable: Sequence[bool]) -> list[Preference]:
    soft = [spread for spread in shape.spreads if not spread.hard]
    if soft:
        counting = [all(spread.topology in node.labels for spread in soft) for node in state.nodes]
        counters = [(spread_counter(shape, spread, soft, state), spread) for spread in soft]
    elif not shape.spreads and shape.owner:
        counting = [True] * len(state.nodes)
        counters = _default_counters(shape, state)
    else:
        return []
    parts = [
        (counter, _weight(counter, counting, usable), spread.max_skew - 1)
        for counter, spread in counters
        if len(counter.present) > 1
    ]
    return [SpreadPreference(tuple(parts), tuple(counting))] if parts else []


def _weight(counter: Counter, counting: Sequence[bool], usable: Sequence[bool]) -> float:
    """The weight of a topology: it grows with the number of domains the pod may use, as each of them then has fewer
    pods."""
    domains = {
        domain
        for domain, counts, use in zip(counter.domain, counting, usable, strict=True)
        if counts and use and domain >= 0
    }
    return log(len(domains) + 2)


def _default_counters(shape: Shape, state: State) -> list[tuple[Counter, Spread]]:
    """Counts pods of the same controller by node and zone: the default spreading of replicas without constraints."""
    owner, namespace = shape.owner, shape.namespace

    def weigh(pod: Shape) -> int:
        return int(pod.owner == owner and pod.namespace == namespace)

    return [
        (
            state.counter(("owner", owner, namespace, topology), topology, weigh, owner=owner, ending=False),
            Spread(topology, skew, (), hard=False),
        )
        for topology, skew in DEFAULT_SPREAD
    ]


def _pod_preference(shape: Shape, state: State, wishing: Iterable[Term]) -> list[Preference]:
    parts = [(picked_counter(term, state), weight) for weight, term in shape.preferred]
    parts += [(_wishes(term, state), 1) for term in wishing if term.picks(shape, state.namespaces)]
    return [PodPreference(tuple(parts))] if parts else []


def _wishes(term: Term, state: State) -> Counter:
    """Sums the weights of a term over the pods that carry it."""

    def weigh(pod: Shape) -> int:
        wished = sum(weight for weight, other in pod.preferred if other == term)
        return wished + REQUIRED_WEIGHT * sum(other == term for other in pod.affinity)

    return state.counter(("wishes", term), term.topology, weigh)
