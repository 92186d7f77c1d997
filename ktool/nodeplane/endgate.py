"""Termination gate: a deleted pod is stopped only when no node sends it new connections any more.

Node loops ask it in every pass; `nodes.Nodes` has it check again when slices change or a node confirms rules.

Kubernetes takes a pod out of its services and ends it side by side, and its users add a sleep. Here one planner sees
all nodes, so it can wait until each of them has confirmed rules without the pod.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ktool.api.obj import Obj, deleting, meta, uid
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.workitems import NodeEvents

LONGEST = 5.0
"""Seconds after which a pod ends anyway: a node that does not answer must not hold up the others."""


@dataclass
class _Waiting:
    """A terminating pod. `serves`: it was an endpoint of services when it was asked for first. `change`: the number of
    a change by which it was out of them; None until it is."""

    node: str
    since: float
    serves: bool
    change: int | None = None
    opened: bool = False


class EndGate:
    """Gate between the deletion of a serving pod and its drain. `clock` gives seconds that only go forward.
    Thread-safe; never called under the cache's lock."""

    def __init__(self, net: NetView, events: NodeEvents, clock: Callable[[], float]) -> None:
        self._net, self._events, self._clock = net, events, clock
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    @property
    def shut(self) -> bool:
        """Whether any pod is held."""
        return any(not waiting.opened for waiting in list(self._waiting.values()))

    def held(self, node: str, pods: Iterable[Obj]) -> dict[str, float]:
        """Hold time of each terminating pod of `node` that serves, by uid: the seconds at most for which it must not be
        stopped; 0 where it may be."""
        ending = {uid(pod) for pod in pods if deleting(pod) and meta(pod).get("deletionGracePeriodSeconds")}
        with self._lock:
            known = [pod_uid for pod_uid, waiting in self._waiting.items() if waiting.node == node]
            for gone in set(known) - ending:
                del self._waiting[gone]
            fresh = ending - set(self._waiting)
        if not ending:
            return {}
        if fresh:
            served = self._net.terminating()[1]
            if any(pod_uid in served for pod_uid in fresh):
                self._events.reach_all()
            now = self._clock()
            with self._lock:
                for pod_uid in fresh:
                    self._waiting[pod_uid] = _Waiting(node, now, pod_uid in served)
        for other in self._recheck() - {node}:
            self._events.may_end(other)
        with self._lock:
            now = self._clock()
            serving = {pod_uid: held for pod_uid in ending if (held := self._waiting.get(pod_uid)) and held.serves}
            return {
                pod_uid: 0.0 if held.opened else max(0.05, held.since + LONGEST - now)
                for pod_uid, held in serving.items()
            }

    def recheck(self) -> None:
        """Check the held pods again: slices have changed, or a node has confirmed rules."""
        for node in self._recheck():
            self._events.may_end(node)

    def _recheck(self) -> set[str]:
        if not self.shut:
            return set()
        change, terminating = self._net.terminating()
        confirmed = self._events.confirmations()
        opened: set[str] = set()
        with self._lock:
            for pod_uid, waiting in self._waiting.items():
                if waiting.opened:
                    continue
                if waiting.change is None and terminating.get(pod_uid, True):
                    waiting.change = change
                if self._is_open(waiting, confirmed):
                    waiting.opened = True
                    opened.add(waiting.node)
        return opened

    def _is_open(self, waiting: _Waiting, confirmed: list[float]) -> bool:
        if not waiting.serves or self._clock() - waiting.since >= LONGEST:
            return True
        change = waiting.change
        return change is not None and all(number >= change for number in confirmed)
