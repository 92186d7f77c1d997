"""End gate: a deleted pod is told to end when no node sends it new connections any more.

Node loops ask it in every pass; Nodes has it look again when slices change or a node confirms rules.

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
    """`serves`: services led to it when it was asked for first. `change`: the number of a change by which the pod was
    out of them; None until it is."""

    node: str
    since: float
    serves: bool
    change: int | None = None
    opened: bool = False


class EndGate:
    """`clock` gives seconds that only go forward. Thread-safe; never called under the cache's lock."""

    def __init__(self, net: NetView, events: NodeEvents, clock: Callable[[], float]) -> None:
        self._net, self._events, self._clock = net, events, clock
        self._lock = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}

    @property
    def shut(self) -> bool:
        """Whether any pod waits."""
        return any(not one.opened for one in list(self._waiting.values()))

    def held(self, node: str, pods: Iterable[Obj]) -> dict[str, float]:
        """The pods of `node` that serve and are being deleted, by uid: for how many seconds at most they must not be
        told to end; 0 where they may be."""
        ending = {uid(pod) for pod in pods if deleting(pod) and meta(pod).get("deletionGracePeriodSeconds")}
        with self._lock:
            gone = [own for own, one in self._waiting.items() if one.node == node and own not in ending]
            for own in gone:
                del self._waiting[own]
            fresh = ending - set(self._waiting)
        if not ending:
            return {}
        if fresh:
            served = self._net.terminating()[1]
            if any(own in served for own in fresh):
                self._events.reach_all()
            now = self._clock()
            with self._lock:
                for own in fresh:
                    self._waiting[own] = _Waiting(node, now, own in served)
        for other in self._recheck() - {node}:
            self._events.may_end(other)
        with self._lock:
            now = self._clock()
            serving = {own: one for own in ending if (one := self._waiting.get(own)) and one.serves}
            return {own: 0.0 if one.opened else max(0.05, one.since + LONGEST - now) for own, one in serving.items()}

    def recheck(self) -> None:
        """Something has changed, in the slices or in what nodes have confirmed."""
        for node in self._recheck():
            self._events.may_end(node)

    def _recheck(self) -> set[str]:
        if not self.shut:
            return set()
        change, terminating = self._net.terminating()
        confirmed = self._events.confirmations()
        opened: set[str] = set()
        with self._lock:
            for own, one in self._waiting.items():
                if one.opened:
                    continue
                if one.change is None and terminating.get(own, True):
                    one.change = change
                if self._is_open(one, confirmed):
                    one.opened = True
                    opened.add(one.node)
        return opened

    def _is_open(self, one: _Waiting, confirmed: list[float]) -> bool:
        if not one.serves or self._clock() - one.since >= LONGEST:
            return True
        change = one.change
        return change is not None and all(number >= change for number in confirmed)
