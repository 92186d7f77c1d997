"""Which objects are a controller's: its own that its selector still picks, and those of nobody that it picks.

An object whose labels were changed so that the selector does not pick it any more is let go, alive: this is how a pod
is taken out of service to be looked at.
Source: kubernetes.io/docs/concepts/workloads/controllers/replicaset, "Isolating Pods from a ReplicaSet" and
"Non-Template Pod acquisitions".
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
    """The objects of `gk` that are `owner`'s now, and what makes this so: adopting some and letting others go."""
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
    """Wake every `by` that could adopt an object of `gk` that nobody owns."""
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
