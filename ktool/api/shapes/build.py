"""Constructors for field trees, short so that a shape reads like the type it describes. The other shapes and kinds/ use
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktool.api.schema import Field

INT32_MAX = 2**31 - 1


def obj(doc: str, fields: Mapping[str, Field], **options: Any) -> Field:
    return Field("object", doc, fields=fields, **options)


def string(doc: str, **options: Any) -> Field:
    return Field("string", doc, **options)


def choice(doc: str, *values: str, **options: Any) -> Field:
    """An enum: a string with fixed values."""
    return Field("string", doc, enum=values, **options)


def integer(doc: str, **options: Any) -> Field:
    """An int32, or an int64 with `format="int64"`."""
    return Field("integer", doc, **{"format": "int32", **options})


def long(doc: str, **options: Any) -> Field:
    return Field("integer", doc, format="int64", **options)


def boolean(doc: str, **options: Any) -> Field:
    return Field("boolean", doc, **options)


def time(doc: str, **options: Any) -> Field:
    return Field("time", doc, **options)


def quantity(doc: str, **options: Any) -> Field:
    return Field("quantity", doc, **options)


def int_or_string(doc: str, **options: Any) -> Field:
    return Field("int-or-string", doc, format="int32", **options)


def array(doc: str, items: Field, key: str = "", **options: Any) -> Field:
    """A list; `key` is its merge key."""
    return Field("array", doc, items=items, merge_key=key, **options)


def strings(doc: str, **options: Any) -> Field:
    return Field("array", doc, items=Field("string"), **options)


def string_map(doc: str, **options: Any) -> Field:
    return Field("map", doc, items=Field("string"), **options)


def quantities(doc: str, **options: Any) -> Field:
    return Field("map", doc, items=Field("quantity"), **options)


def name_ref(doc: str, **options: Any) -> Field:
    """core/v1 LocalObjectReference."""
    return obj(doc, {"name": string("Name of the object in the same namespace.")}, **options)
