"""Event ordering: the time an Event was last seen, and the sort key of `events`, `describe` and the Event kind."""

from __future__ import annotations

from ktool.api.obj import Obj, get, meta


def last_seen(event: Obj) -> str:
    """The RFC 3339 time of the Event's last occurrence."""
    times = (
        get(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("firstTimestamp"),
        event.get("eventTime"),
        meta(event).get("creationTimestamp"),
    )
    return next((str(found) for found in times if found), "")


def order(event: Obj) -> tuple[str, int]:
    """Sort key by last occurrence; Events of one second in the order of writing."""
    version = str(meta(event).get("resourceVersion") or "")
    return last_seen(event), int(version) if version.isdecimal() else 0
