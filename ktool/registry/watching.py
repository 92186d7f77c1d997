"""Watching one kind through selectors, as the Kubernetes API does it.

Source: kubernetes.io/docs/reference/using-api/api-concepts, "Efficient detection of changes".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable

from ktool.api.kind import Kind
from ktool.api.obj import Obj, meta
from ktool.registry import shaping
from ktool.store.store import Change, Subscription

Matches = Callable[[Obj], bool]


def seen_through(change: Change, matches: Matches) -> tuple[str, Obj] | None:
    """What a watcher sees of a change whose selector is `matches`: an object that begins to match is ADDED, one that
    ceases to is DELETED; None where it matches neither before nor after."""
    did = change.before is not None and matches(change.before)
    does = change.type != "DELETED" and matches(change.obj)
    if does:
        return ("MODIFIED" if did else "ADDED"), change.obj
    if not did or change.before is None:
        return None
    last = {**change.before, "metadata": {**meta(change.before), "resourceVersion": str(change.rv)}}
    return "DELETED", last


def stream(
    subscription: Subscription,
    kind: Kind,
    matches: Matches,
    existing: Iterable[Obj],
    timeout: float | None,
    bookmark_every: float | None,
    served: Callable[[], bool],
) -> Generator[tuple[str, Obj], None, None]:
    """ADDED for each of `existing`, then the changes as they come, until `timeout` seconds have passed, the
    subscription is closed or the kind is no longer `served` (seen at the next bookmark). ApiError 410 where the reader
    is too slow, 500 where something cannot be decrypted."""
    started = bookmarked = time.monotonic()
    with subscription:
        for obj in existing:
            yield "ADDED", obj
        while not subscription.closed and served():
            now = time.monotonic()
            if bookmark_every is not None and now - bookmarked >= bookmark_every:
                bookmarked = now
                yield "BOOKMARK", _bookmark(kind, subscription.reached)
            left = None if timeout is None else max(0.0, timeout - (now - started))
            until = None if bookmark_every is None else bookmark_every - (now - bookmarked)
            if subscription.wait(min((t for t in (left, until) if t is not None), default=None)):
                for change in subscription.poll():
                    seen = seen_through(change, matches)
                    if seen is not None and served():
                        yield (seen if seen[0] == "DELETED" else (seen[0], shaping.readable(seen[1])))
            if left == 0.0:
                return


def _bookmark(kind: Kind, rv: int) -> Obj:
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"resourceVersion": str(rv)}}
