"""Scheduling: places all pending pods in one call, one after the other, with kube-scheduler's filters and scores.

control/scheduler calls it through logic/schedule. Not done: preemption (a pod of high priority waits like others, it
only goes first), image locality, volume binding.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from math import inf

from ktool.api.obj import Obj, deleting, get, meta, name, namespace, uid
from ktool.api.pod import finished
from ktool.api.pod import node_of as bound_to
from ktool.api.ref import Ref
from ktool.logic.schedule.filters import Rule, domain_rules, refusal, shortage
from ktool.logic.schedule.model import Decision, Demand, Namespaces, Placement, Shape, Term
from ktool.logic.schedule.project import node_of, shape_of
from ktool.logic.schedule.scores import Preference, domain_preferences, preference_scores, resource_score
from ktool.logic.schedule.state import State

NEVER = -inf
GATED = "Scheduling is blocked due to non-empty scheduling gates"


def place(pending: Sequence[Obj], nodes: Sequence[Obj], pods: Iterable[Obj], namespaces: Namespaces) -> list[Decision]:
    """Choose a node for each pending pod, or say why there is none.

    `pods` are all pods of the cluster (those without a node are ignored, so they may contain the pending ones);
    `namespaces` gives the labels of each namespace, for namespaceSelector. Terminating pods hold their place until they
    are gone; Succeeded and Failed ones hold none. A node whose deletion was requested is not used.

    Pods of `pending` that are bound, terminating or finished get no Decision. Decisions come in the order of placing:
    higher spec.priority first, then the older pod, then by name; every decision counts for those behind it. The result
    depends on nothing else, not even on the order of the arguments: equal scores go to the first node by name.
    """
    state = State([node_of(node) for node in nodes if not deleting(node)], namespaces)
    for pod in pods:
        node = state.index.get(bound_to(pod), -1)
        if node >= 0 and not finished(pod):
            state.occupy(node, shape_of(pod), ending=deleting(pod))
    waiting = sorted((pod for pod in pending if _waits(pod)), key=_turn)
    searches = Searches(state, [shape_of(pod) for pod in waiting])
    decisions = []
    for pod in waiting:
        shape = shape_of(pod)
        where, message = searches.of(shape).take() if not shape.gated else ("", GATED)
        if where:
            message = f"Successfully assigned {namespace(pod)}/{name(pod)} to {where}"
        decisions.append(Decision(Ref.of(pod), uid(pod), where, message))
    return decisions


def _waits(pod: Obj) -> bool:
    return not bound_to(pod) and not deleting(pod) and not finished(pod)


def _turn(pod: Obj) -> tuple[int, str, str, str]:
    priority = int(get(pod, "spec", "priority", default=0))
    return (-priority, str(meta(pod).get("creationTimestamp") or ""), namespace(pod), name(pod))


class Fit:
    """Node-local filters and scores, for all pods with the same placement and demand: the score of each node, or NEVER
    and the reason. Only nodes that were given a pod since the last call are judged again."""

    def __init__(self, state: State, placement: Placement, demand: Demand) -> None:
        self._state, self._demand = state, demand
        refusals = [refusal(placement, node) for node in state.nodes]
        self.usable = [not why for why in refusals]
        self._wishes = preference_scores(placement, state.nodes, self.usable)
        self._scores = [NEVER] * len(state.nodes)
        self._why: list[tuple[str, ...]] = [(why,) if why else () for why in refusals]
        self._seen = len(state.touched)
        self._judge([number for number, use in enumerate(self.usable) if use])

    def now(self) -> list[float]:
        touched = self._state.touched
        if self._seen < len(touched):
            news = set(touched[self._seen :])
            self._seen = len(touched)
            self._judge([number for number in news if self.usable[number]])
        return self._scores

    def why(self, number: int) -> tuple[str, ...]:
        return self._why[number]

    def _judge(self, numbers: Iterable[int]) -> None:
        state, demand = self._state, self._demand
        for number in numbers:
            node, load = state.nodes[number], state.loads[number]
            lacking = shortage(demand, node, load)
            self._why[number] = lacking
            self._scores[number] = NEVER if lacking else self._wishes[number] + resource_score(demand, node, load)


class Search:
    """The search for the next pod of one Shape."""

    def __init__(
        self, shape: Shape, state: State, fit: Fit, rules: Sequence[Rule], preferences: Sequence[Preference]
    ) -> None:
        self._shape, self._state, self._fit = shape, state, fit
        self._rules, self._preferences = rules, preferences
        self._failed_at = -1
        self._failure = ""

    def take(self) -> tuple[str, str]:
        """The best node for one more such pod, which is then occupied; or "" and the reason. Where nothing was placed
        since the last failure, the answer is the same."""
        if self._failed_at == len(self._state.touched):
            return "", self._failure
        best = self._best()
        if best < 0:
            self._failed_at, self._failure = len(self._state.touched), self._explain()
            return "", self._failure
        self._state.occupy(best, self._shape)
        return self._state.nodes[best].name, ""

    def _best(self) -> int:
        scores = self._fit.now()
        for rule in self._rules:
            allowed = rule.open()
            scores = [score if allowed[domain] else NEVER for score, domain in zip(scores, rule.domain, strict=True)]
        live = [number for number, score in enumerate(scores) if score > NEVER]
        if not live:
            return -1
        totals = [scores[number] for number in live]
        for preference in self._preferences:
            totals = [total + gain for total, gain in zip(totals, preference.gains(live), strict=True)]
        return live[totals.index(max(totals))]

    def _explain(self) -> str:
        """kube-scheduler's FitError: each reason with its number of nodes, sorted by text."""
        nodes = self._state.nodes
        if not nodes:
            return "no nodes available to schedule pods"
        closed = [(rule, rule.open()) for rule in self._rules]
        reasons: Tally[str] = Tally()
        for number in range(len(nodes)):
            first = (rule.why(number) for rule, allowed in closed if not allowed[rule.domain[number]])
            reasons.update(self._fit.why(number) or [next(first)])
        said = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        return f"0/{len(nodes)} nodes are available: {said}."


class Searches:
    """One Search per Shape, made for its first pod. The terms of all pods, running or pending, are known from the
    start: a pod placed later keeps others away as well."""

    def __init__(self, state: State, waiting: Sequence[Shape]) -> None:
        self._state = state
        self._fits: dict[tuple[Placement, Demand], Fit] = {}
        self._searches: dict[Shape, Search] = {}
        shapes = list(dict.fromkeys([*state.shapes(), *waiting]))
        self._repelling = _distinct(shapes, lambda shape: shape.anti_affinity)
        self._wishing = _distinct(shapes, lambda shape: (*(term for _, term in shape.preferred), *shape.affinity))

    def of(self, shape: Shape) -> Search:
        found = self._searches.get(shape)
        if found is None:
            key = (shape.placement, shape.demand)
            fit = self._fits.get(key)
            if fit is None:
                fit = self._fits[key] = Fit(self._state, *key)
            rules = domain_rules(shape, self._state, self._repelling)
            preferences = domain_preferences(shape, self._state, fit.usable, self._wishing)
            found = self._searches[shape] = Search(shape, self._state, fit, rules, preferences)
        return found


def _distinct(shapes: Iterable[Shape], terms: Callable[[Shape], Iterable[Term]]) -> list[Term]:
    return list(dict.fromkeys(term for shape in shapes for term in terms(shape)))
