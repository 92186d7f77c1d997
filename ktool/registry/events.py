"""Events (core/v1): one for each thing that happened to an object, counted when it happens again, and their ageing.

Called by the verbs for Emit, and by the registry, which lets old ones go.

Source: kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ktool.api.action import Emit
from ktool.api.obj import Obj, content_hash, get, meta, timestamp
from ktool.api.ref import EVENT, Ref

if TYPE_CHECKING:
    from ktool.store.store import Transaction

RETENTION = 3600
"""Seconds for which an Event is kept after it was last seen, as in Kubernetes."""

_NAME_LIMIT = 253


@lru_cache(maxsize=4096)
def event_ref(about: Ref, reason: str, message: str, component: str, uid: str) -> Ref:
    """The Event that counts these words about this object. Events about objects of the cluster are in `default`."""
    digest = content_hash([about.kind, reason, message, component, uid])
    return Ref(EVENT, about.namespace or "default", f"{about.name[: _NAME_LIMIT - len(digest) - 1]}.{digest}")


def recorded(before: Obj | None, ref: Ref, emit: Emit, *, api_version: str, component: str, now: float) -> Obj:
    """The Event `ref` after one more sighting at `now`; `before` is the Event as it stands, if it does.
    `api_version` is that of the object the Event is about."""
    seen = timestamp(now)
    if before is not None:
        return {**before, "count": int(before.get("count") or 1) + 1, "lastTimestamp": seen, "type": emit.type}
    about = {
        "apiVersion": api_version,
        "kind": emit.ref.kind,
        "namespace": emit.ref.namespace,
        "name": emit.ref.name,
        "uid": emit.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "involvedObject": {key: value for key, value in about.items() if value},
        "reason": emit.reason,
        "message": emit.message,
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": seen,
        "lastTimestamp": seen,
        "count": 1,
        "type": emit.type,
    }


class Ageing:
    """The ageing of Events: the one thing that removes objects past admission, at most once in EVERY seconds."""

    EVERY = 60.0

    def __init__(self) -> None:
        self._next = 0.0

    def let_go(self, tx: Transaction, now: float) -> None:
        """Remove what is too old, if that was not done a short while ago."""
        if now >= self._next:
            self._next = now + (0.0 if _prune(tx, now) else self.EVERY)


def _prune(tx: Transaction, now: float, limit: int = 500) -> bool:
    """Remove Events that nobody has repeated for RETENTION seconds, at most `limit` of them. True where there may be
    more. It looks at those that were written longest ago, so it costs little where there is nothing to remove."""
    keys = tx.oldest(EVENT.prefix, limit)
    tx.prefetch(keys)
    oldest_kept = timestamp(now - RETENTION)
    removed = 0
    for key in keys:
        event = tx.get(key)
        if event is not None and _last_seen(event) < oldest_kept:
            tx.remove(key)
            removed += 1
    return removed == limit


def _last_seen(event: Obj) -> str:
    """RFC 3339 texts in UTC with whole seconds sort as the times they name."""
    series = get(event, "series", "lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(series or meta(event).get("creationTimestamp") or "")
