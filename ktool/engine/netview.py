"""What every node is to know of the cluster: how to reach the others, and its services, rendered once for each change
however many nodes ask."""

from __future__ import annotations

import logging
import threading
from urllib.parse import urlsplit

from ktool.api.obj import Obj, annotations_of, deleting, name
from ktool.engine.cache import Cache
from ktool.logic import balance, links, zone
from ktool.logic.netplan import Setting
from ktool.logic.nodeaction import SetLinks, SetRules, SetZone
from ktool.logic.routes import is_simulated

log = logging.getLogger(__name__)

BATCH = 0.05
"""Seconds for which changes gather before nodes are told of them."""
KINDS = ("Service", "EndpointSlice")
"""What the settings of nodes are made from."""


SSH_PORT = 22


class NetView:
    """The settings that nodes should have now. Safe for any number of threads."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._changes = 0
        self._zone: tuple[int, SetZone] | None = None
        self._frontends: tuple[int, list[balance.Frontend]] | None = None

    def changed(self) -> None:
        """One of KINDS is not what it was. Called under the cache's lock."""
        self._changes += 1

    def settings(self, node: Obj) -> tuple[Setting, ...]:
        """What `node` should have: nothing where it has no network of its own, or is to go."""
        if is_simulated(node) or deleting(node):
            return ()
        rules = balance.render(self._frontends_now(), name(node), kept_ports(node))
        return self._links_of(node), SetRules(rules.text, rules.hash), self._zone_now()

    def _links_of(self, node: Obj) -> SetLinks:
        with self._cache.lock:
            world = self._cache.world
            return SetLinks(links.links(node, world.list("Node"), links.mode_of(world.get(links.SETTINGS))))

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
            self._zone = (changes, SetZone(made.hosts, made.config, made.hash))
            return self._zone[1]


def kept_ports(node: Obj) -> set[tuple[str, int]]:
    """Where we log in to a node: a service at this port of the nodes would lock us out."""
    try:
        port = urlsplit(annotations_of(node).get("ktool.dev/connection", "")).port
    except ValueError:
        port = None
    return {("tcp", port or SSH_PORT)}
