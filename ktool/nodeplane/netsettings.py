"""Network settings of one node: remembers which hash of each setting the node has, and sends what differs.

Its node loop has one; what every node should have comes from netview."""

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
"""Seconds after a change of links for which is looked closely whether nodes have met by WireGuard: others hear of it
before they send that way."""


class Record(Protocol):
    """How actions on the node went (lanes.Lanes)."""

    @property
    def failures(self) -> Failures: ...

    def note(self, pod_uid: str, outcome: Outcome, pod: Obj | None) -> bool:
        """Take an outcome down, and say whether it is a failure."""


class NetSettings:
    """Links, rules, policies and names of one node. Safe for several threads."""

    def __init__(self, net: NetView, record: Record, events: NodeEvents, clock: Callable[[], float]) -> None:
        self._net, self._record, self._events, self._clock = net, record, events, clock
        self._have: dict[str, str] | None = None
        self._told_at: dict[str, float] = {}
        self._in_force = SetPolicies("", "")
        self._telling, self._lock = threading.Lock(), threading.Lock()
        self._unheard = self._unmet = False
        self._linked_at = -GREETING
        self.confirmed = -1
        """The number of the last change of services (NetView.change) by which the node has the rules for certain."""

    @property
    def ready(self) -> bool:
        """Whether it is known what the node has."""
        return self._have is not None

    def saw(self, facts: NodeFacts, since: float) -> None:
        """What an observation found that began at `since` (time.monotonic). What it was told meanwhile is newer."""
        with self._lock:
            meanwhile = {name for name, at in self._told_at.items() if at >= since}
            told = {name: hash for name, hash in (self._have or {}).items() if name in meanwhile}
            self._have = {name: hash for name, hash in netplan.seen(facts).items() if name not in meanwhile} | told
        if SetLinks.__name__ not in meanwhile:
            self._unheard = False
        peers = facts.links.wireguard.peers if facts.links.wireguard else ()
        self._unmet = len(met_peers(facts.links, facts.met)) < len(peers)

    def _note(self, setting: str, hash: str | None) -> None:
        """The node has this now, or (None) it is not known what it has."""
        with self._lock:
            self._told_at[setting] = time.monotonic()
            if self._have is not None:
                others = {name: own for name, own in self._have.items() if name != setting}
                self._have = others if hash is None else {**others, setting: hash}

    def forget(self) -> None:
        """Another connection, perhaps another boot."""
        self._have = None

    def told(self, node: Obj) -> bool:
        """Whether nothing is left to be told now."""
        have = self._have
        if have is None or self._unheard:
            return False
        return not netplan.refresh(self._net.settings(node), have, self._record.failures, self._clock()).settings

    def tell(self, runtime: Runtime, node: Obj) -> float | None:
        """Tell the node what it does not know yet; the seconds to the next try of what failed. Raises NodeError."""
        with self._telling:
            have = self._have
            if have is None:
                return None
            change, wanted = self._net.change, self._net.settings(node)
            plan = netplan.refresh(wanted, have, self._record.failures, self._clock())
            again = 0.5 if self._unmet and time.monotonic() - self._linked_at < GREETING else plan.after
            for setting in plan.settings:
                if self._record.note("", runtime.perform(setting), None):
                    self._note(type(setting).__name__, None)
                    again = 1.0
                    continue
                self._note(type(setting).__name__, setting.hash)
                if isinstance(setting, SetPolicies):
                    self._in_force = setting
                elif isinstance(setting, SetLinks):  # others hear of it once it was seen
                    self._unheard, self._linked_at, again = True, time.monotonic(), 0.0
            rules = [setting.hash for setting in wanted if isinstance(setting, SetRules)]
            has = (self._have or {}).get(SetRules.__name__)
            if change > self.confirmed and all(has == own for own in rules):
                self.confirmed = change
                self._events.rules_confirmed()
            return again

    def standing(self, node: Obj, failures: Failures) -> Failures:
        """The failures without those of settings that the node has by now."""
        return netplan.standing(self._net.settings(node), self._have or {}, failures)

    def unguarded(self, node: Obj) -> frozenset[str]:
        """The uids of pods that policies isolate and the node does not isolate yet."""
        have = (self._have or {}).get(SetPolicies.__name__, "")
        return netplan.unguarded(self._net.policies(node), have, self._in_force)
