"""Validation: what a kind's schema, the rules for metadata and the kind's own rules have against an object.

The one copy of it. The registry judges objects before they are written (registry/admission), and manifests are judged
where they are read (manifests/load, `create secret`), before anything is sent.
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
    """What is wrong with the fields of an object as a client sent it: unknown ones, and wrong types and values."""
    return schema.check(kind.schema, obj)


def defaulted(kind: Kind, obj: Obj) -> Obj:
    """An object of the right shape with the defaults of the schema and of the kind."""
    obj = schema.default(kind.schema, obj)
    return kind.rules.default(obj) if kind.rules.default is not None else obj


def identified(kind: Kind, obj: Obj) -> Obj:
    """A new object with what follows from its uid and creation time (Rules.identify)."""
    return kind.rules.identify(obj) if kind.rules.identify is not None else obj


def meta_causes(kind: Kind, obj: Obj) -> list[Cause]:
    """What is wrong with the metadata. A name that is still to be generated is judged as it will begin."""
    metadata = meta(obj)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata = {**metadata, "name": f"{metadata['generateName']}x"}
    causes = names.meta_causes(metadata, namespaced=kind.namespaced)
    owners = metadata.get("ownerReferences") or ()
    if sum(1 for owner in owners if owner.get("controller")) > 1:
        causes.append(Cause("metadata.ownerReferences", "only one of them may have controller: true"))
    return causes


def causes(kind: Kind, obj: Obj, old: Obj | None = None) -> list[Cause]:
    """What is wrong with an object that has its defaults and, where it is new (no `old`), its identity."""
    found = meta_causes(kind, obj)
    if kind.rules.validate is not None:
        known = set(found)
        found += [cause for cause in kind.rules.validate(obj, old) if cause not in known]
    return found


def manifest_causes(kind: Kind, manifest: Obj) -> list[Cause]:
    """What the registry would have against a manifest if it made a new object of it."""
    if found := shape_causes(kind, manifest):
        return found
    whole = defaulted(kind, manifest)
    whole = {**whole, "metadata": {**_NOT_YET, **meta(whole)}} if kind.rules.identify is not None else whole
    return causes(kind, identified(kind, whole))


def without_echoes(causes: list[Cause]) -> list[Cause]:
    """A misspelt required field is one mistake and not two: unknown, and missing."""
    meant = {
        ".".join(filter(None, (cause.field.rpartition(".")[0], match[1])))
        for cause in causes
        if (match := _DID_YOU_MEAN.search(cause.message))
    }
    return [cause for cause in causes if not (cause.reason == REQUIRED and cause.field in meant)]


_DID_YOU_MEAN = re.compile(r'^unknown field; did you mean "([^"]+)"')
