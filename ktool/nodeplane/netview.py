"""Network state for the nodes (service rules, policies, DNS zone, links): rendered once per change, shared by all node
loops. Drift renders it from a World that stands still."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ktool.api.marks import CONNECTION
from ktool.api.obj import Obj, annotations_of, deleting, labels, name, uid
from ktool.api.ref import ENDPOINT_SLICE, NAMESPACE, NETWORK_POLICY, NODE, POD, SERVICE, GroupKind
from ktool.api.world import World
from ktool.logic.network import balance, endpoints, isolation, links, policy, zone
from ktool.logic.network.nodefields import is_simulated
from ktool.logic.node.nodeaction import SetLinks, SetPolicies, SetRules, SetZone
from ktool.logic.plan.netplan import Setting
from ktool.registry.cache import Cache

log = logging.getLogger(__name__)

BATCH = 0.05
"""Seconds for which changes gather before nodes are told of them."""
KINDS = (SERVICE, ENDPOINT_SLICE)
"""What rules and names are made from."""


SSH_PORT = 22


@dataclass(frozen=True)
class Snapshot:
    """A World that does not change, where a Cache would do."""

    world: World
    lock: threading.RLock = field(default_factory=threading.RLock)


class NetView:
    """The settings that nodes should have now. Safe for any number of threads."""

    def __init__(self, cache: Cache | Snapshot) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._changes = 0
        self._zone: tuple[int, SetZone] | None = None
        self._frontends: tuple[int, list[balance.Frontend]] | None = None
        self._terminating: tuple[int, dict[str, bool]] | None = None
        self._moves = 0
        self._held: dict[str, str] = {}
        self._isolated: tuple[int, dict[str, list[policy.Isolated]]] | None = None
        self._policies: dict[str, tuple[int, SetPolicies]] = {}

    def changed(self) -> None:
        """One of KINDS is not what it was. Called under the cache's lock."""
        self._changes += 1

    @property
    def change(self) -> int:
        """The number of the newest change. What `settings` gives afterwards is of this one or a newer one."""
        return self._changes

    def terminating(self) -> tuple[int, dict[str, bool]]:
        """For each pod that serves: whether every slice it is in says that it is ending; and by which change that is
        so."""
        with self._lock:
            with self._cache.lock:
                changes = self._changes
                if self._terminating is not None and self._terminating[0] == changes:
                    return self._terminating
                slices = self._cache.world.list(ENDPOINT_SLICE)
            self._terminating = (changes, endpoints.terminating(slices))
            return self._terminating

    def moved(self, type_: str, obj: Obj, before: Obj | None) -> bool:
        """Whether a change may be one of policies too. Called under the cache's lock. Pods change all the time: they
        count only where there is a policy, and with what rules depend on."""
        relevant = obj.get("kind") == "NetworkPolicy" or (self._any_policy and self._concerns(type_, obj, before))
        if GroupKind.of(obj) == POD and type_ == "DELETED":
            self._held.pop(uid(obj), None)
        self._moves += relevant
        return relevant

    def hold(self, node: str, addresses: Mapping[str, str]) -> bool:
        """These addresses (by uid) are given to pods of a node, whatever their status says by now: their rules have to
        be there before they start. Whether that is news for nodes."""
        with self._cache.lock:
            here = {uid(pod) for pod in self._cache.world.on_node(node)}
            new = {own: address for own, address in addresses.items() if own in here and self._held.get(own) != address}
            self._held |= new
            relevant = bool(new) and self._any_policy
            self._moves += relevant
            return relevant

    def settings(self, node: Obj) -> tuple[Setting, ...]:
        """What `node` should have: nothing where it has no network of its own, or is to go."""
        if _needs_nothing(node):
            return ()
        rules = balance.render(self._frontends_now(), name(node), kept_ports(node))
        told = SetRules(rules.text, rules.hash, rules.flows)
        return self._links(node), told, self.policies(node), self._zone_now()

    def _links(self, node: Obj) -> SetLinks:
        """How a node reaches the others."""
        with self._cache.lock:
            world = self._cache.world
            return SetLinks(links.links(node, world.list(NODE), links.mode_of(world.get(links.SETTINGS))))

    def policies(self, node: Obj) -> SetPolicies:
        """The network policies of a node."""
        if _needs_nothing(node):
            return SetPolicies("", "")
        with self._lock:
            moves, isolated = self._isolated_now()
            known = self._policies.get(name(node))
            if known is None or known[0] != moves:
                made = policy.render(isolated.get(name(node), ()))
                known = self._policies[name(node)] = (moves, SetPolicies(made.text, made.hash, made.pods))
            return known[1]

    @property
    def _any_policy(self) -> bool:
        return self._cache.world.count(NETWORK_POLICY) > 0

    def _concerns(self, type_: str, obj: Obj, before: Obj | None) -> bool:
        """Whether this change of a pod or a namespace may change what policies mean."""
        match obj.get("kind"):
            case "Pod":
                was = isolation.concern(before, self._held) if before is not None else None
                return was != (None if type_ == "DELETED" else isolation.concern(obj, self._held))
            case "Namespace":
                return type_ != "MODIFIED" or before is None or labels(obj) != labels(before)
        return False

    def _isolated_now(self) -> tuple[int, dict[str, list[policy.Isolated]]]:
        with self._cache.lock:
            moves = self._moves
            if self._isolated is not None and self._isolated[0] == moves:
                return self._isolated
            policies = self._cache.world.list(NETWORK_POLICY)
            pods = self._cache.world.list(POD) if policies else []
            namespaces = self._cache.world.list(NAMESPACE)
            held = dict(self._held)
        self._isolated = (moves, isolation.isolated(policies, pods, namespaces, held))
        return self._isolated

    def _frontends_now(self) -> list[balance.Frontend]:
        with self._lock:
            with self._cache.lock:
                changes = self._changes
                if self._frontends is not None and self._frontends[0] == changes:
                    return self._frontends[1]
                services, slices = (self._cache.world.list(kind) for kind in KINDS)
            self._frontends = (changes, balance.frontends(services, slices))
            return self._frontends[1]

    def _zone_now(self) -> SetZone:
        with self._lock:
            with self._cache.lock:
                changes = self._changes
                if self._zone is not None and self._zone[0] == changes:
                    return self._zone[1]
                services, slices = (self._cache.world.list(kind) for kind in KINDS)
            made = zone.zone(services, slices)
            for line in made.refused:
                log.warning("not in the DNS: %s", line)
            self._zone = (changes, SetZone(made.hosts, made.config, made.hash, made.away))
            return self._zone[1]


def _needs_nothing(node: Obj) -> bool:
    return is_simulated(node) or deleting(node)


def kept_ports(node: Obj) -> set[tuple[str, int]]:
    """Where we log in to a node: a service at this port of the nodes would lock us out."""
    try:
        port = urlsplit(annotations_of(node).get(CONNECTION, "")).port
    except ValueError:
        port = None
    return {("tcp", port or SSH_PORT)}
