"""Workloads that roll because a ConfigMap or Secret was changed which they read (annotation
ktool.dev/restart-on-config-change): a command that changed one waits for them like for what it named."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ktool.api.kinds import Kinds
from ktool.api.marks import RESTART_ON_CONFIG_CHANGE
from ktool.api.obj import Obj, namespace
from ktool.api.ref import CONFIG_MAP, SECRET, GroupKind, Ref
from ktool.api.world import World
from ktool.logic.workload import configuse

if TYPE_CHECKING:
    from ktool.registry.client import Client

CONFIGS = (CONFIG_MAP, SECRET)
LONGEST = 5.0
"""Seconds to wait for the controller to take notice; it takes a few milliseconds."""


def following(kinds: Kinds) -> list[GroupKind]:
    """The kinds of workloads that may carry the annotation."""
    return [kind.gk for kind in kinds if kind.workload is not None and kind.workload.follows_config]


def followers(client: Client, changed: Iterable[Obj]) -> list[Ref]:
    """The workloads that follow these objects, once their controller knows of the change: from then on their own
    progress tells how far they are."""
    configs = [obj for obj in changed if GroupKind.of(obj) in CONFIGS]
    if not configs:
        return []
    spaces = {namespace(obj) for obj in configs}
    end = time.monotonic() + LONGEST
    while True:
        world = _world(client, spaces)
        found = {
            ref: None for obj in configs for gk in following(client.kinds) for ref in configuse.readers(gk, obj, world)
        }
        waiting = any(configuse.follow(obj, world) for ref in found if (obj := world.get(ref)) is not None)
        if not waiting or time.monotonic() >= end:
            return list(found)
        time.sleep(0.05)


def _world(client: Client, spaces: Iterable[str]) -> World:
    """What the decision depends on; configuration only where somebody follows any."""
    spaces = list(spaces)
    workloads = _listed(client, following(client.kinds), spaces)
    if not any(RESTART_ON_CONFIG_CHANGE in (obj["metadata"].get("annotations") or {}) for obj in workloads):
        return World()
    return World([*workloads, *_listed(client, CONFIGS, spaces)])


def _listed(client: Client, kinds: Sequence[GroupKind], spaces: Sequence[str]) -> list[Obj]:
    return [obj for kind in kinds if kind in client.kinds for space in spaces for obj in client.list(kind, space).items]
