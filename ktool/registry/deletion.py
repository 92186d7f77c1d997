"""Deletion: finalizers, grace periods and what becomes of an object's dependents. Pure functions, called by the verbs.

Source: kubernetes.io/docs/concepts/architecture/garbage-collection and .../overview/working-with-objects/finalizers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ktool.api.errors import bad_request
from ktool.api.kind import Kind
from ktool.api.obj import Obj, deleting, epoch, get, meta, namespace, put, timestamp, uid
from ktool.api.ref import EVENT, NAMESPACE
from ktool.registry.admission import Reader
from ktool.registry.shaping import check_uid

FOREGROUND = "foregroundDeletion"
"""The finalizer of an owner that waits for its dependents to go first."""

PROPAGATIONS = ("", "Background", "Foreground", "Orphan")


@dataclass(frozen=True)
class DeleteOptions:
    """meta/v1 DeleteOptions. `grace` in seconds, None for the kind's own. `propagation` "" keeps what the object's
    finalizers say; it is Background where they say nothing. `uid`: only that very object."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""


def marked(kind: Kind, old: Obj, options: DeleteOptions, now: float) -> Obj:
    """`old` as it is once its deletion was asked for: with what stands before its end, a finalizer or a grace period.
    `old` itself where that was so already.

    Raises ApiError 409 for another uid and 400 for options that make no sense."""
    _check(kind, old, options)
    finalizers = _finalizers(old, options.propagation)
    pending = int(meta(old).get("deletionGracePeriodSeconds") or 0) if deleting(old) else None
    seconds = _seconds(kind, old, options.grace, pending)
    new = _marked(old, finalizers, seconds, pending, now)
    if kind.gk == NAMESPACE:
        new = _terminating(new, first=pending is None)
    return old if new == old else new


def gone(kind: Kind, obj: Obj) -> bool:
    """Whether nothing stands before the end of an object that is being deleted."""
    return deleting(obj) and not meta(obj).get("deletionGracePeriodSeconds") and not holders(kind, obj)


def holders(kind: Kind, obj: Obj) -> list[str]:
    """The finalizers that must be taken away before the object can go. A Namespace has some in its spec as well."""
    found = list(meta(obj).get("finalizers") or ())
    return found + list(get(obj, "spec", "finalizers", default=())) if kind.gk == NAMESPACE else found


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
    check_uid(kind, old, options.uid)


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


def orphaned(dependent: Obj, owner: Obj) -> Obj:
    """A dependent without its reference to `owner`."""
    left = [ref for ref in meta(dependent)["ownerReferences"] if ref.get("uid") != uid(owner)]
    metadata = {key: value for key, value in meta(dependent).items() if key != "ownerReferences"}
    if left:
        metadata["ownerReferences"] = left
    return {**dependent, "metadata": metadata}


def dependents(reader: Reader, owner: Obj) -> Iterator[tuple[Kind, Obj]]:
    """The objects with an ownerReference to `owner`, in its namespace or, for one of the cluster, anywhere."""
    for kind in reader.kinds:
        within = namespace(owner) or None
        if kind.gk == EVENT or (within and not kind.namespaced):
            continue
        for obj in reader.list(kind.gk, within):
            if any(ref.get("uid") == uid(owner) for ref in meta(obj).get("ownerReferences") or ()):
                yield kind, obj
