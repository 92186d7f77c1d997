"""What a kind's schema and rules have against an object, before it is sent. The loader and `secret edit` ask."""

from __future__ import annotations

import re

from ktool.api.errors import Cause
from ktool.api.kind import Kind
from ktool.api.obj import Obj, meta
from ktool.api.rules.names import meta_causes
from ktool.api.schema import REQUIRED, check, default


def without_echoes(causes: list[Cause]) -> list[Cause]:
    """A misspelt required field is one mistake and not two: unknown, and missing."""
    meant = {
        ".".join(filter(None, (cause.field.rpartition(".")[0], match[1])))
        for cause in causes
        if (match := _DID_YOU_MEAN.search(cause.message))
    }
    return [cause for cause in causes if not (cause.reason == REQUIRED and cause.field in meant)]


_DID_YOU_MEAN = re.compile(r'^unknown field; did you mean "([^"]+)"')


def field_causes(kind: Kind, obj: Obj) -> list[Cause]:
    """What the kind's schema and its own rules have against an object."""
    causes = check(kind.schema, obj)
    if causes:
        return causes
    whole: Obj = default(kind.schema, obj)
    if kind.rules.default is not None:
        whole = kind.rules.default(whole)
    metadata = meta(whole)
    if not metadata.get("name"):
        metadata = {**metadata, "name": f"{metadata['generateName']}x"}
    causes = meta_causes(metadata, namespaced=kind.namespaced)
    if kind.rules.validate is not None:
        causes += [cause for cause in kind.rules.validate(whole, None) if cause not in causes]
    return causes
