"""Vital signs of one node's containers: what probes say, and which postStart hooks are done.

The node loop plans and reports with them; lanes tell of hooks, the prober of answers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ktool.api.action import Emit
from ktool.api.obj import Obj
from ktool.logic.node.nodeaction import NodeAction, NodeFacts, RunHook
from ktool.logic.pod import probes
from ktool.logic.pod.podenv import Scope
from ktool.logic.pod.probes import Vitals
from ktool.node.base import Runtime
from ktool.nodeplane.prober import Prober


class VitalSigns:
    """Thread-safe: hooks end in lanes, and answers come from the prober's threads."""

    def __init__(self, node: str, prober: Prober) -> None:
        self._node, self._prober = node, prober
        self._lock = threading.Lock()
        self._hooked: frozenset[str] = frozenset()
        self.concerned: frozenset[str] = frozenset()
        """The uids of the pods that have probes or hooks."""

    def look(self, runtime: Runtime, node: Obj, pods: Sequence[Obj], facts: NodeFacts, now: float) -> None:
        """Take in what was observed: what to ask follows from it."""
        runs = {probes.run_of(one) for fact in facts.pods for one in fact.containers}
        with self._lock:
            hooked = self._hooked = self._hooked & runs
        host = Scope(node, node, "", lambda _: None).host_ip
        found = probes.found(pods, facts, host, hooked)
        self.concerned = frozenset(key[0] for key in found)
        self._prober.watch(self._node, runtime, found, pods, facts, now)

    def now(self) -> Vitals:
        return Vitals(self._prober.health(self._node), self._hooked)

    def events(self) -> list[Emit]:
        return self._prober.events(self._node)

    def done(self, action: NodeAction) -> None:
        """An action was done on the node."""
        if isinstance(action, RunHook):
            with self._lock:
                self._hooked |= {action.run}

    def forget(self) -> None:
        """The node cannot be asked."""
        self._prober.forget(self._node)
