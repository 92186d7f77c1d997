"""Network state for the nodes (service rules, policies, DNS zone, links): rendered once per change, shared by all node
loops.

`nodes.Nodes` has one and feeds it the cache's changes; `drift` renders it once, from a snapshot."""

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
"""Batching period in seconds: changes gather for it before they are sent to nodes."""
KINDS = (SERVICE, ENDPOINT_SLICE)
"""Kinds that rules and names are rendered from."""


SSH_PORT = 22


@dataclass(frozen=True)
class Snapshot:
    """A World that does not change, in place of a Cache."""

    world: World
    lock: threading.RLock = field(default_factory=threading.RLock)


class NetView:
    """Desired network settings of all nodes. Thread-safe."""

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
        """Invalidate rules and names: an object of KINDS has changed. Called under the cache's lock."""
        self._changes += 1

    @property
    def change(self) -> int:
        """The number of the newest change. What `settings` gives afterwards is of this one or a newer one."""
        return self._changes

    def terminating(self) -> tuple[int, dict[str, bool]]:
        """Termination of each endpoint: whether every slice that a pod is in has it as terminating; and the number of
        the change that this is of."""
        with self._lock:
            with self._cache.lock:
                changes = self._changes
                if self._terminating is not None and self._terminating[0] == changes:
                    return self._terminating
                slices = self._cache.world.list(ENDPOINT_SLICE)
            self._terminating = (changes, endpoints.terminating(slices))
            return self._terminating

    def moved(self, type_: str, obj: Obj, before: Obj | None) -> bool:
        """Invalidate policies where an object's change concerns them; whether it does. Called under the cache's lock.
        Pods change all the time: they count only where there is a policy, and with what rules depend on."""
        relevant = obj.get("kind") == "NetworkPolicy" or (self._any_policy and self._concerns(type_, obj, before))
        if GroupKind.of(obj) == POD and type_ == "DELETED":
            self._held.pop(uid(obj), None)
        self._moves += relevant
        return relevant

    def hold(self, node: str, addresses: Mapping[str, str]) -> bool:
        """Reserve addresses (by uid) for pods of a node, whatever their status says by now: policies have to be in
        force before the pods start. Whether policies change by it."""
        with self._cache.lock:
            here = {uid(pod) for pod in self._cache.world.on_node(node)}
            new = {key: ip for key, ip in addresses.items() if key in here and self._held.get(key) != ip}
            self._held |= new
            relevant = bool(new) and self._any_policy
            self._moves += relevant
            return relevant

    def settings(self, node: Obj) -> tuple[Setting, ...]:
        """Desired settings of `node`: none where it has no network of its own, or is being deleted."""
        if _without_network(node):
            return ()
        rules = balance.render(self._frontends_now(), name(node), kept_ports(node))
        service_rules = SetRules(rules.text, rules.hash, rules.flows)
        return self._links(node), service_rules, self.policies(node), self._zone_now()

    def _links(self, node: Obj) -> SetLinks:
        """Routes and tunnels from a node to the others."""
        with self._cache.lock:
            world = self._cache.world
            return SetLinks(links.links(node, world.list(NODE), links.mode_of(world.get(links.SETTINGS))))

    def policies(self, node: Obj) -> SetPolicies:
        """The network policies of a node."""
        if _without_network(node):
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


def _without_network(node: Obj) -> bool:
    return is_simulated(node) or deleting(node)


def kept_ports(node: Obj) -> set[tuple[str, int]]:
    """Reserved node ports: a service at the port of sshd would lock us out."""
    try:
        port = urlsplit(annotations_of(node).get(CONNECTION, "")).port
    except ValueError:
        port = None
    return {("tcp", port or SSH_PORT)}
