"""Network settings of one node: remembers which hash of each setting the node has, and sends what differs.

`nodeloop.NodeLoop` has one; the desired settings come from `netview`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from ktool.api.obj import Obj
from ktool.logic.network.links import met_peers
from ktool.logic.node.nodeaction import Failures, NodeFacts, Outcome, SetLinks, SetPolicies, SetRules
from ktool.logic.plan import netplan
from ktool.node.base import Runtime
from ktool.nodeplane.netview import NetView
from ktool.nodeplane.workitems import NodeEvents

GREETING = 20.0
"""Seconds after a change of links for which the node is asked often whether its WireGuard peers have met: others are
told of that before they send that way."""


class Record(Protocol):
    """Recorder of outcomes on the node (lanes.Lanes)."""

    @property
    def failures(self) -> Failures: ...

    def note(self, pod_uid: str, outcome: Outcome, pod: Obj | None) -> bool:
        """Record an outcome; whether it was a failure."""


class NetSettings:
    """Reconciler of a node's links, rules, policies and names. Thread-safe."""

    def __init__(self, net: NetView, record: Record, events: NodeEvents, clock: Callable[[], float]) -> None:
        self._net, self._record, self._events, self._clock = net, record, events, clock
        self._have: dict[str, str] | None = None
        self._sent_at: dict[str, float] = {}
        self._in_force = SetPolicies("", "")
        self._updating, self._lock = threading.Lock(), threading.Lock()
        self._links_unseen = self._peers_unmet = False
        self._linked_at = -GREETING
        self.confirmed = -1
        """The number of the last change of services (NetView.change) by which the node has the rules for certain."""

    @property
    def ready(self) -> bool:
        """Whether the settings of the node are known."""
        return self._have is not None

    def observed(self, facts: NodeFacts, since: float) -> None:
        """Take in an observation that began at `since` (time.monotonic). What was sent meanwhile is newer."""
        with self._lock:
            meanwhile = {name for name, at in self._sent_at.items() if at >= since}
            sent = {name: hash for name, hash in (self._have or {}).items() if name in meanwhile}
            self._have = {name: hash for name, hash in netplan.seen(facts).items() if name not in meanwhile} | sent
        if SetLinks.__name__ not in meanwhile:
            self._links_unseen = False
        peers = facts.links.wireguard.peers if facts.links.wireguard else ()
        self._peers_unmet = len(met_peers(facts.links, facts.met)) < len(peers)

    def _note(self, setting: str, hash: str | None) -> None:
        """Note what a setting of the node is now; None for unknown."""
        with self._lock:
            self._sent_at[setting] = time.monotonic()
            if self._have is not None:
                others = {name: known for name, known in self._have.items() if name != setting}
                self._have = others if hash is None else {**others, setting: hash}

    def forget(self) -> None:
        """Forget the node's settings: this is another connection, perhaps another boot."""
        self._have = None

    def up_to_date(self, node: Obj) -> bool:
        """Whether the node has every desired setting, as far as it can be sent now."""
        have = self._have
        if have is None or self._links_unseen:
            return False
        return not netplan.refresh(self._net.settings(node), have, self._record.failures, self._clock()).settings

    def update(self, runtime: Runtime, node: Obj) -> float | None:
        """Send the settings that differ; the seconds to the next try of what failed. Raises NodeError."""
        with self._updating:
            have = self._have
            if have is None:
                return None
            change, wanted = self._net.change, self._net.settings(node)
            plan = netplan.refresh(wanted, have, self._record.failures, self._clock())
            again = 0.5 if self._peers_unmet and time.monotonic() - self._linked_at < GREETING else plan.after
            for setting in plan.settings:
                if self._record.note("", runtime.perform(setting), None):
                    self._note(type(setting).__name__, None)
                    again = 1.0
                    continue
                self._note(type(setting).__name__, setting.hash)
                if isinstance(setting, SetPolicies):
                    self._in_force = setting
                elif isinstance(setting, SetLinks):  # others hear of it once it was seen
                    self._links_unseen, self._linked_at, again = True, time.monotonic(), 0.0
            rules = [setting.hash for setting in wanted if isinstance(setting, SetRules)]
            has = (self._have or {}).get(SetRules.__name__)
            if change > self.confirmed and all(has == hash for hash in rules):
                self.confirmed = change
                self._events.rules_confirmed()
            return again

    def standing(self, node: Obj, failures: Failures) -> Failures:
        """Failures that still stand: without those of settings that the node has by now."""
        return netplan.standing(self._net.settings(node), self._have or {}, failures)

    def unguarded(self, node: Obj) -> frozenset[str]:
        """Pods, by uid, whose network policies are not in force on the node yet."""
        have = (self._have or {}).get(SetPolicies.__name__, "")
        return netplan.unguarded(self._net.policies(node), have, self._in_force)
