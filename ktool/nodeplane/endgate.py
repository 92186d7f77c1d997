"""The gate before the end of a pod: it is told to end when no node sends it new connections any more.

Kubernetes takes a pod out of its services and ends it side by side, and its users add a sleep. Here one planner sees
all nodes, so it can wait until each of them has confirmed rules without the pod.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ktool.api.obj import Obj, deleting, meta, uid
from ktool.nodeplane.netview import NetView

LONGEST = 5.0
"""Seconds after which a pod ends anyway: a node that does not answer must not hold up the others."""


class Told(Protocol):
    """What the gate asks of a node loop: the number of the last change of services that its node has for certain; inf
    where it cannot be told any."""

    @property
    def confirmed(self) -> float: ...


@dataclass
class _Waiting:
    """`serves`: services led to it when it was asked for first. `change`: the number of a change by which the pod was
    out of them; None until it is."""

    node: str
    since: float
    serves: bool
    change: int | None = None
    opened: bool = False


class Gate:
    """`loops` gives the loops of the nodes that are to be waited for, `summon` has every node reached and told, and
    `opened` is called with each node where a pod may end now. `clock` gives seconds that only go forward. Thread-safe;
    never called under the cache's lock."""

    def __init__(
        self,
        net: NetView,
        loops: Callable[[], Iterable[Told]],
        summon: Callable[[], None],
        opened: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._net, self._loops, self._summon, self._opened, self._clock = net, loops, summon, opened, clock
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
                self._summon()
            now = self._clock()
            with self._lock:
                for own in fresh:
                    self._waiting[own] = _Waiting(node, now, own in served)
        for other in self._recheck() - {node}:
            self._opened(other)
        with self._lock:
            now = self._clock()
            serving = {own: one for own in ending if (one := self._waiting.get(own)) and one.serves}
            return {own: 0.0 if one.opened else max(0.05, one.since + LONGEST - now) for own, one in serving.items()}

    def recheck(self) -> None:
        """Something has changed, in the slices or in what nodes have confirmed."""
        for node in self._recheck():
            self._opened(node)

    def _recheck(self) -> set[str]:
        if not self.shut:
            return set()
        change, terminating = self._net.terminating()
        loops = list(self._loops())
        opened: set[str] = set()
        with self._lock:
            for own, one in self._waiting.items():
                if one.opened:
                    continue
                if one.change is None and terminating.get(own, True):
                    one.change = change
                if self._is_open(one, loops):
                    one.opened = True
                    opened.add(one.node)
        return opened

    def _is_open(self, one: _Waiting, loops: list[Told]) -> bool:
        if not one.serves or self._clock() - one.since >= LONGEST:
            return True
        change = one.change
        return change is not None and all(loop.confirmed >= change for loop in loops)
