"""Validation of whole objects: schema, metadata and the kind's own rules, in one place for server and client.

registry/ validates objects before they are written; manifests/load, `create secret` and `secret edit` validate what
they read, before anything is sent.
"""

from __future__ import annotations

import re

from ktool.api import schema
from ktool.api.errors import Cause
from ktool.api.kind import Kind
from ktool.api.obj import Obj, meta
from ktool.api.rules import names
from ktool.api.schema import REQUIRED

_NOT_YET = {"uid": "00000000-0000-0000-0000-000000000000", "creationTimestamp": "1970-01-01T00:00:00Z"}
"""Stand for what a new object gets when it is written."""


def shape_causes(kind: Kind, obj: Obj) -> list[Cause]:
    """Validate an object as sent by a client against the schema: unknown fields, wrong types and values."""
    return schema.check(kind.schema, obj)


def defaulted(kind: Kind, obj: Obj) -> Obj:
    """The object with the defaults of its schema and kind. It must have passed `shape_causes`."""
    obj = schema.default(kind.schema, obj)
    return kind.rules.default(obj) if kind.rules.default is not None else obj


def identified(kind: Kind, obj: Obj) -> Obj:
    """A new object with the fields that derive from its uid and creation time (Rules.identify)."""
    return kind.rules.identify(obj) if kind.rules.identify is not None else obj


def meta_causes(kind: Kind, obj: Obj) -> list[Cause]:
    """Validate the metadata. Of a generateName the prefix is validated."""
    metadata = meta(obj)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata = {**metadata, "name": f"{metadata['generateName']}x"}
    causes = names.meta_causes(metadata, namespaced=kind.namespaced)
    owners = metadata.get("ownerReferences") or ()
    if sum(1 for owner in owners if owner.get("controller")) > 1:
        causes.append(Cause("metadata.ownerReferences", "only one of them may have controller: true"))
    return causes


def causes(kind: Kind, obj: Obj, old: Obj | None = None) -> list[Cause]:
    """Validate an object that has its defaults and, if it is new (no `old`), its identity."""
    found = meta_causes(kind, obj)
    if kind.rules.validate is not None:
        known = set(found)
        found += [cause for cause in kind.rules.validate(obj, old) if cause not in known]
    return found


def manifest_causes(kind: Kind, manifest: Obj) -> list[Cause]:
    """The errors that the registry would report for creating this manifest."""
    if found := shape_causes(kind, manifest):
        return found
    whole = defaulted(kind, manifest)
    whole = {**whole, "metadata": {**_NOT_YET, **meta(whole)}} if kind.rules.identify is not None else whole
    return causes(kind, identified(kind, whole))


def without_echoes(causes: list[Cause]) -> list[Cause]:
    """The causes without the "missing" that repeats an "unknown": a misspelt required field is one mistake."""
    meant = {
        ".".join(filter(None, (cause.field.rpartition(".")[0], match[1])))
        for cause in causes
        if (match := _DID_YOU_MEAN.search(cause.message))
    }
    return [cause for cause in causes if not (cause.reason == REQUIRED and cause.field in meant)]


_DID_YOU_MEAN = re.compile(r'^unknown field; did you mean "([^"]+)"')
