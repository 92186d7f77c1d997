"""Sightings: when an Event was seen last, and the order of Events.

The Event kind, `events` and `describe` sort by it."""

from __future__ import annotations

from ktool.api.obj import Obj, get, meta


def last_seen(event: Obj) -> str:
    """The RFC 3339 time of its last sighting."""
    times = (
        get(event, "series", "lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("firstTimestamp"),
        event.get("eventTime"),
        meta(event).get("creationTimestamp"),
    )
    return next((str(found) for found in times if found), "")


def order(event: Obj) -> tuple[str, int]:
    """Sorts Events by when they were seen last; those of one second as they were written."""
    version = str(meta(event).get("resourceVersion") or "")
    return last_seen(event), int(version) if version.isdecimal() else 0
