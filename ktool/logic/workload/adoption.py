"""Adoption: a controller keeps the objects it owns while its selector matches them, releases the others, and adopts
matching orphans.

The Deployment and ReplicaSet controllers call it. An object whose labels no longer match is released alive: this is how
a pod is taken out of service for inspection. Source: kubernetes.io/docs/concepts/workloads/controllers/replicaset,
"Isolating Pods from a ReplicaSet" and "Non-Template Pod acquisitions".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ktool.api.action import Action, Patch
from ktool.api.kind import Watch
from ktool.api.obj import (
    Obj,
    controller_of,
    deleting,
    get,
    labels,
    meta,
    namespace,
    owner_reference,
    uid,
)
from ktool.api.ref import GroupKind, Ref
from ktool.api.selector import from_label_selector
from ktool.api.world import World


def claim(owner: Obj, gk: GroupKind, world: World) -> tuple[list[Obj], list[Action]]:
    """The objects of `gk` that `owner` controls now, and the actions for this: adoptions and releases."""
    selector = from_label_selector(get(owner, "spec", "selector", default={}))
    claimed: list[Obj] = []
    actions: list[Action] = []
    for obj in world.controlled(uid(owner), gk):
        if selector.matches(labels(obj)):
            claimed.append(obj)
        elif not deleting(obj):
            actions.append(_let_go(owner, obj))
    for obj in world.ownerless(gk, namespace(owner)):
        if not deleting(obj) and selector.matches(labels(obj)):
            claimed.append(obj)
            actions.append(_adopt(owner, obj))
    return claimed, actions


def _adopt(owner: Obj, obj: Obj) -> Patch:
    others = meta(obj).get("ownerReferences") or []
    return _patch(obj, [*others, owner_reference(owner)])


def _let_go(owner: Obj, obj: Obj) -> Patch:
    return _patch(obj, [entry for entry in meta(obj)["ownerReferences"] if entry.get("uid") != uid(owner)])


def _patch(obj: Obj, references: list[Obj]) -> Patch:
    return Patch(Ref.of(obj), {"metadata": {"ownerReferences": references or None}}, uid(obj))


def ownerless(gk: GroupKind, by: GroupKind) -> Watch:
    """A Watch for orphans: an object of `gk` without a controller enqueues every `by` that could adopt it."""
    return Watch(gk, _candidates(by))


def _candidates(by: GroupKind) -> Callable[[Obj, World], Iterable[Ref]]:
    def wakes(obj: Obj, world: World) -> Iterable[Ref]:
        if controller_of(obj) is not None:
            return ()
        return [
            Ref.of(owner)
            for owner in world.list(by, namespace(obj))
            if from_label_selector(get(owner, "spec", "selector", default={})).matches(labels(obj))
        ]

    return wakes
