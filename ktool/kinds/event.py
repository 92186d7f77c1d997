"""Event (v1): something that happened to an object, and how often."""

from __future__ import annotations

from dataclasses import replace

from ktool.api.errors import Cause
from ktool.api.kind import Column, Kind, Looks, Names, Rules, Version
from ktool.api.obj import Obj, get, name, namespace
from ktool.api.shapes.build import integer, obj, string, time
from ktool.api.shapes.meta import OBJECT_REFERENCE, resource
from ktool.api.units.duration import UNKNOWN, since
from ktool.logic.sightings import last_seen

SCHEMA = resource(
    involvedObject=replace(OBJECT_REFERENCE, doc="The object it happened to.", required=True),
    reason=string("One word for what happened."),
    message=string("A sentence for people."),
    type=string("Normal or Warning."),
    source=obj("Who says so.", {"component": string("Part of the system."), "host": string("Node.")}),
    firstTimestamp=time("When it was seen first."),
    lastTimestamp=time("When it was seen last."),
    count=integer("How often it was seen."),
    eventTime=time("When it was seen first, with microseconds."),
    series=obj("Repetitions.", {"count": integer("How often."), "lastObservedTime": time("When it was seen last.")}),
    action=string("What was done."),
    related=replace(OBJECT_REFERENCE, doc="A second object it is about."),
    reportingComponent=string("Controller that says so."),
    reportingInstance=string("Which one of it."),
)


def validate(event: Obj, old: Obj | None) -> list[Cause]:
    """An Event is in the namespace of what it is about; about objects of the cluster it is in default."""
    about = get(event, "involvedObject", "namespace", default="")
    if about and about != namespace(event):
        return [Cause("involvedObject.namespace", f'must be the namespace of the Event, not "{about}"')]
    return []


def _target(event: Obj, now: float) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _source(event: Obj, now: float) -> str:
    source = event.get("source") or {}
    parts = [source.get("component") or event.get("reportingComponent") or "", source.get("host") or ""]
    return ", ".join(part for part in parts if part)


def _first_seen(event: Obj, now: float) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"), now) or UNKNOWN


def _count(event: Obj, now: float) -> str:
    return str(get(event, "series", "count") or event.get("count") or 1)


KIND = Kind(
    Names("", "Event", "events", short=("ev",)),
    (Version("v1", SCHEMA),),
    rules=Rules(validate=validate),
    looks=Looks(
        columns=(
            Column("LAST SEEN", lambda obj, now: since(last_seen(obj), now)),
            Column("TYPE", lambda obj, now: obj.get("type") or ""),
            Column("REASON", lambda obj, now: obj.get("reason") or ""),
            Column("OBJECT", _target),
            Column("SUBOBJECT", lambda obj, now: get(obj, "involvedObject", "fieldPath", default=""), wide=True),
            Column("SOURCE", _source, wide=True),
            Column("MESSAGE", lambda obj, now: (obj.get("message") or "").strip()),
            Column("FIRST SEEN", _first_seen, wide=True),
            Column("COUNT", _count, wide=True, type="integer"),
            Column("NAME", lambda obj, now: name(obj), wide=True),
        ),
        events=False,
    ),
    apply_order=90,
)
