"""OpenAPI v3 documents from field trees, with the extensions that Kubernetes' clients read.

Only its tests use it today; serve/ has no /openapi endpoint yet. Sources: the OpenAPI Specification 3.0, and
kubernetes.io/docs/concepts/overview/kubernetes-api (x-kubernetes-*).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ktool.api.kind import Kind
from ktool.api.schema import Field

_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "int-or-string": {"x-kubernetes-int-or-string": True, "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"x-kubernetes-preserve-unknown-fields": True},
}


def json_schema(field: Field) -> dict[str, Any]:
    """The schema object of a field and everything below it."""
    schema: dict[str, Any] = {"description": field.doc} if field.doc else {}
    if field.type == "object":
        schema["type"] = "object"
        schema["properties"] = {name: json_schema(member) for name, member in field.fields.items()}
        if field.required_names:
            schema["required"] = list(field.required_names)
    elif field.type in ("array", "map"):
        inner = json_schema(field.items) if field.items is not None else {}
        array = field.type == "array"
        schema |= {"type": "array", "items": inner} if array else {"type": "object", "additionalProperties": inner}
        schema |= _merging(field)
    else:
        schema |= _SCALARS[field.type]
        if field.format and field.type == "integer":
            schema["format"] = field.format
    for name, value in (("minimum", field.minimum), ("maximum", field.maximum), ("default", field.default)):
        if value is not None:
            schema[name] = value
    if field.enum:
        schema["enum"] = list(field.enum)
    if field.read_only:
        schema["readOnly"] = True
    return schema


def _merging(field: Field) -> dict[str, Any]:
    if field.format == "set":
        return {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}
    if not field.merge_key:
        return {}
    keys = field.merge_key.split(",")
    return {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": keys,
        "x-kubernetes-patch-merge-key": keys[0],
        "x-kubernetes-patch-strategy": "merge",
    }


def document(kinds: Iterable[Kind], version: str) -> dict[str, Any]:
    """The OpenAPI document of several kinds: their schemas by group, version and kind."""
    schemas = {}
    for kind in kinds:
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.name}
        group = kind.group.split(".")[0] or "core"
        name = f"io.k8s.api.{group}.{kind.version}.{kind.name}"
        schemas[name] = {**json_schema(kind.schema), "x-kubernetes-group-version-kind": [gvk]}
    return {
        "openapi": "3.0.0",
        "info": {"title": "ktool", "version": version},
        "paths": {},
        "components": {"schemas": schemas},
    }
