"""How an object goes: finalizers, grace periods and what happens to what it owns.

Source: kubernetes.io/docs/concepts/architecture/garbage-collection and .../overview/working-with-objects/finalizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ktool.api.errors import bad_request, conflict, forbidden
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, deleting, epoch, get, meta, name, namespace, put, timestamp, uid
from ktool.api.ref import EVENT, NAMESPACE, Ref
from ktool.registry.admission import uid_conflict
from ktool.store.store import Transaction

FOREGROUND = "foregroundDeletion"
"""The finalizer of an owner that waits for its dependents to go first."""

PROPAGATIONS = ("", "Background", "Foreground", "Orphan")

_KEPT_NAMESPACES = ("default", "kube-system", "kube-public")


@dataclass(frozen=True)
class DeleteOptions:
    """meta/v1 DeleteOptions. `grace` in seconds, None for the kind's own. `propagation` "" keeps what the object's
    finalizers say; it is Background where they say nothing. `uid`: only that very object."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""


def delete(tx: Transaction, kinds: Kinds, kind: Kind, old: Obj, options: DeleteOptions, now: float) -> Obj:
    """Remove `old`, or mark it as being deleted where finalizers or a grace period stand before its end. Returns it as
    it was last, or as it is now.

    Raises ApiError 409 for another uid, 400 for options that make no sense, 403 for what must stay."""
    _check(kind, old, options)
    finalizers = _finalizers(old, options.propagation)
    if options.propagation == "Orphan":
        _orphan(tx, kinds, old)
    pending = int(meta(old).get("deletionGracePeriodSeconds") or 0) if deleting(old) else None
    seconds = _seconds(kind, old, options.grace, pending)
    new = _marked(old, finalizers, seconds, pending, now)
    if kind.gk == NAMESPACE:
        new = _terminating(new, first=pending is None)
    if gone(kind, new):
        return remove(tx, kinds, kind, old)
    return old if new == old else tx.put(Ref.of(old).key, new)


def gone(kind: Kind, obj: Obj) -> bool:
    """Whether nothing stands before the end of an object that is being deleted."""
    return deleting(obj) and not meta(obj).get("deletionGracePeriodSeconds") and not holders(kind, obj)


def holders(kind: Kind, obj: Obj) -> list[str]:
    """The finalizers that must be taken away before the object can go. A Namespace has some in its spec as well."""
    found = list(meta(obj).get("finalizers") or ())
    return found + list(get(obj, "spec", "finalizers", default=())) if kind.gk == NAMESPACE else found


def remove(tx: Transaction, kinds: Kinds, kind: Kind, old: Obj) -> Obj:
    """Take the object out of the store. With a Namespace go the Events in it, which nothing else waits for; ApiError
    409 where anything else is still in it."""
    if kind.gk == NAMESPACE:
        content = {k.gk: tx.list(k.gk.in_namespace(name(old))) for k in kinds if k.namespaced}
        events = content.pop(EVENT, [])
        for left, objects in content.items():
            if objects:
                raise conflict(kind.resource, name(old), f"the namespace still has a {left.kind} in it")
        for event in events:
            tx.remove(Ref.of(event).key)
    return tx.remove(Ref.of(old).key) or old


def _terminating(namespace_: Obj, first: bool) -> Obj:
    """A Namespace on its way: it is kept by spec.finalizers until the garbage collector has emptied it."""
    if first and not get(namespace_, "spec", "finalizers"):
        namespace_ = put(namespace_, "spec", "finalizers", ["kubernetes"])
    return put(namespace_, "status", "phase", "Terminating")


def _check(kind: Kind, old: Obj, options: DeleteOptions) -> None:
    if options.propagation not in PROPAGATIONS:
        allowed = ", ".join(word for word in PROPAGATIONS if word)
        raise bad_request(f'propagationPolicy "{options.propagation}" is not one of {allowed}')
    if options.grace is not None and options.grace < 0:
        raise bad_request(f"gracePeriodSeconds must not be negative: {options.grace}")
    if options.uid and options.uid != uid(old):
        raise uid_conflict(kind, old, options.uid)
    if kind.gk == NAMESPACE and name(old) in _KEPT_NAMESPACES:
        raise forbidden(f'namespaces "{name(old)}" is forbidden: this namespace may not be deleted')


def _finalizers(old: Obj, propagation: str) -> list[str]:
    found = list(meta(old).get("finalizers") or ())
    if propagation == "Foreground":
        return found if FOREGROUND in found else [*found, FOREGROUND]
    return [word for word in found if word != FOREGROUND] if propagation else found


def _seconds(kind: Kind, old: Obj, asked: int | None, pending: int | None) -> int:
    """The grace period that the object gets. One that runs already can only be made shorter."""
    own = kind.rules.graceful(old) if kind.rules.graceful is not None else None
    if not own:
        return 0
    if pending is None:
        return own if asked is None else asked
    return pending if asked is None else min(asked, pending)


def _marked(old: Obj, finalizers: list[str], seconds: int, pending: int | None, now: float) -> Obj:
    metadata = {key: value for key, value in meta(old).items() if key != "finalizers"}
    if finalizers:
        metadata["finalizers"] = finalizers
    if pending is None:
        metadata["deletionTimestamp"] = timestamp(now + seconds)
        metadata["deletionGracePeriodSeconds"] = seconds
    elif seconds < pending:
        metadata["deletionTimestamp"] = timestamp(epoch(metadata["deletionTimestamp"]) - pending + seconds)
        metadata["deletionGracePeriodSeconds"] = seconds
    return {**old, "metadata": metadata}


def _orphan(tx: Transaction, kinds: Kinds, owner: Obj) -> None:
    for kind, dependent in _dependents(tx, kinds, owner):
        left = [ref for ref in meta(dependent)["ownerReferences"] if ref.get("uid") != uid(owner)]
        metadata = {key: value for key, value in meta(dependent).items() if key != "ownerReferences"}
        if left:
            metadata["ownerReferences"] = left
        tx.put(Ref(kind.gk, namespace(dependent), name(dependent)).key, {**dependent, "metadata": metadata})


def _dependents(tx: Transaction, kinds: Kinds, owner: Obj) -> Iterator[tuple[Kind, Obj]]:
    for kind in kinds:
        within = namespace(owner) or None
        if kind.gk == EVENT or (within and not kind.namespaced):
            continue
        for obj in tx.list(kind.gk.in_namespace(within)):
            if any(ref.get("uid") == uid(owner) for ref in meta(obj).get("ownerReferences") or ()):
                yield kind, obj
