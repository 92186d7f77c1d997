"""The garbage collector: what goes because its owners are gone, and who waits for whom. Pure functions over a World.

An owner that was deleted in the background is gone at once, and its dependents follow. One that is deleted in the
foreground stays, with a finalizer, until no dependent with `blockOwnerDeletion` is left. A Namespace that is being
deleted stays until it is empty.

Source: kubernetes.io/docs/concepts/architecture/garbage-collection.
"""

from __future__ import annotations

from ktool.api.action import Action, Delete, Patch
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, deleting, meta, name, namespace, uid
from ktool.api.ref import EVENT, NAMESPACE, GroupKind, Ref
from ktool.api.world import World
from ktool.registry.deletion import FOREGROUND

_SOLID, _WAITING, _GONE = "solid", "waiting", "gone"


_READ = ("ownerReferences", "deletionTimestamp", "finalizers")


def concerns(obj: Obj, before: Obj | None = None) -> bool:
    """Whether `plan` may have something to say about an object that was just seen, or has just changed from `before`.
    What it says of a dependent changes with its metadata or with its owner, who is asked about itself then."""
    if before is not None and all(meta(obj).get(key) == meta(before).get(key) for key in _READ):
        return deleting(obj) and GroupKind.of(obj) == NAMESPACE
    if meta(obj).get("ownerReferences"):
        return True
    return deleting(obj) and (GroupKind.of(obj) == NAMESPACE or _in_foreground(obj))


def orphaned_by(gone: Obj, world: World) -> list[Ref]:
    """Whom to look at (with `plan`) once an object has been removed: its dependents, the owners that waited for it,
    and its Namespace where that is being emptied."""
    found = [Ref.of(dependent) for dependent in world.owned(uid(gone))]
    for reference in meta(gone).get("ownerReferences") or ():
        owner = _owner(reference, gone, world)
        if owner is not None and _in_foreground(owner):
            found.append(Ref.of(owner))
    within = world.get(Ref(NAMESPACE, "", namespace(gone))) if namespace(gone) else None
    if within is not None and deleting(within):
        found.append(Ref.of(within))
    return found


def plan(obj: Obj, world: World, kinds: Kinds) -> tuple[Action, ...]:
    """What the garbage collector does for one object as it is now; nothing, for nearly all of them. `kinds` are
    those that `world` would hold: an owner of any other kind is taken to exist."""
    if not deleting(obj):
        return _by_owners(obj, world, kinds)
    if GroupKind.of(obj) == NAMESPACE:
        return empty(obj, world, kinds)
    return _foreground(obj, world, kinds) if _in_foreground(obj) else ()


def empty(within: Obj, world: World, kinds: Kinds) -> tuple[Action, ...]:
    """Delete everything in a Namespace that is being deleted, and let it go when nothing is left. The Events in it go
    with it; objects of a kind that is no longer served cannot be deleted, and nothing waits for them."""
    present = [gk for gk in sorted(world.kinds(), key=str) if gk != EVENT and gk in kinds]
    content = [obj for gk in present for obj in world.list(gk, name(within))]
    if content:
        return tuple(Delete(Ref.of(obj), uid(obj)) for obj in content if not deleting(obj))
    return (Patch(Ref.of(within), {"spec": {"finalizers": []}}, uid(within)),)


def _by_owners(obj: Obj, world: World, kinds: Kinds) -> tuple[Action, ...]:
    """Delete what has no owner left; where some are left, forget the others."""
    references = meta(obj).get("ownerReferences")
    if not references:
        return ()
    states = [_state(reference, obj, world, kinds) for reference in references]
    if _SOLID in states:
        kept = [reference for reference, state in zip(references, states, strict=True) if state == _SOLID]
        if len(kept) == len(references):
            return ()
        return (Patch(Ref.of(obj), {"metadata": {"ownerReferences": kept}}, uid(obj)),)
    delete = Delete(Ref.of(obj), uid(obj))
    if _WAITING in states and world.owned(uid(obj)) and not _in_foreground(obj):
        # Its own dependents have to go before it, or the owner above would not wait for them.
        finalizers = [*(meta(obj).get("finalizers") or ()), FOREGROUND]
        return (Patch(Ref.of(obj), {"metadata": {"finalizers": finalizers}}, uid(obj)), delete)
    return (delete,)


def _foreground(owner: Obj, world: World, kinds: Kinds) -> tuple[Action, ...]:
    dependents = world.owned(uid(owner))
    if not any(_blocks(dependent, owner) for dependent in dependents):
        left = [word for word in meta(owner)["finalizers"] if word != FOREGROUND]
        return (Patch(Ref.of(owner), {"metadata": {"finalizers": left}}, uid(owner)),)
    return tuple(
        action for dependent in dependents if not deleting(dependent) for action in _by_owners(dependent, world, kinds)
    )


def _blocks(dependent: Obj, owner: Obj) -> bool:
    references = meta(dependent).get("ownerReferences") or ()
    return any(r.get("uid") == uid(owner) and r.get("blockOwnerDeletion") for r in references)


def _state(reference: Obj, dependent: Obj, world: World, kinds: Kinds) -> str:
    if GroupKind.of(reference) not in kinds:
        return _SOLID
    owner = _owner(reference, dependent, world)
    if owner is None:
        return _GONE
    return _WAITING if _in_foreground(owner) and reference.get("blockOwnerDeletion") else _SOLID


def _owner(reference: Obj, dependent: Obj, world: World) -> Obj | None:
    """An owner is in the namespace of its dependent, or an object of the cluster."""
    gk, owner_name = GroupKind.of(reference), str(reference.get("name", ""))
    for within in dict.fromkeys((namespace(dependent), "")):
        found = world.get(Ref(gk, within, owner_name))
        if found is not None and uid(found) == reference.get("uid"):
            return found
    return None


def _in_foreground(obj: Obj) -> bool:
    return deleting(obj) and FOREGROUND in (meta(obj).get("finalizers") or ())
