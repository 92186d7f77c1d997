"""Vital signs of one node's containers: results of probes, and completed postStart hooks.

`nodeloop.NodeLoop` plans and reports with them; `lanes` adds hooks, `prober` results."""

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
    """Health of the containers of one node. Thread-safe: hooks end in lanes, and results come from the prober's
    threads."""

    def __init__(self, node: str, prober: Prober) -> None:
        self._node, self._prober = node, prober
        self._lock = threading.Lock()
        self._hooked: frozenset[str] = frozenset()
        self.concerned: frozenset[str] = frozenset()
        """The uids of the pods that have probes or hooks."""

    def look(self, runtime: Runtime, node: Obj, pods: Sequence[Obj], facts: NodeFacts, now: float) -> None:
        """Take in an observation: the probes of the node follow from it."""
        runs = {probes.run_of(container) for fact in facts.pods for container in fact.containers}
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
        """Note an action that was done on the node: a hook completes."""
        if isinstance(action, RunHook):
            with self._lock:
                self._hooked |= {action.run}

    def forget(self) -> None:
        """Drop the results of a node that cannot be asked."""
        self._prober.forget(self._node)
