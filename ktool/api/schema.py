"""Field trees: the schema of a kind.

One tree serves type errors with their full path, unknown fields with a did-you-mean, defaults, the merge keys of a
strategic merge, `explain`, OpenAPI, and warnings for fields that are not acted on. api/shapes and kinds/ build trees;
registry/admission, manifests/ and api/patch use them.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ktool.api.errors import Cause
from ktool.api.units import quantity

REQUIRED, UNKNOWN = "FieldValueRequired", "FieldUnknown"
TYPE_INVALID, NOT_SUPPORTED, INVALID = "FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueInvalid"

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Field:
    """One field. `type` is one of object, array, map, string, integer, number, boolean, int-or-string, quantity
    (resource.Quantity), time (meta/v1 Time), bytes (base64) and any.

    `fields`: the members of an object. `items`: the element of an array, or the value of a map.
    `merge_key`: for an array whose elements are merged by that member (Kubernetes' patchMergeKey). Several members
    that are the key together are joined by commas: `containerPort,protocol`.
    `format`: int32, int64, or `set` for an array of strings that is merged as a set.
    `retain_keys`: members that a patch or apply does not name are dropped (Kubernetes' patchStrategy retainKeys).
    `acted`: False where the field is known to Kubernetes but ktool does not act on it: setting it is a warning that
    names the path, and an error under --strict. `moot`: values of such a field that ask for what happens anyway
    (without any: empty, false and zero).
    `read_only`: written by the system (status, uid).
    `masked`: confidential; no message about it holds a value, and it ends in the `hint` on how to mend it."""

    type: str
    doc: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    items: Field | None = None
    required: bool = False
    default: Any = None
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    format: str = ""
    merge_key: str = ""
    acted: bool = True
    read_only: bool = False
    retain_keys: bool = False
    moot: tuple[Any, ...] = ()
    masked: bool = False
    hint: str = ""

    # What the hot path asks for each object; computed once for each field, on first use.

    @cached_property
    def required_names(self) -> tuple[str, ...]:
        return tuple(name for name, child in self.fields.items() if child.required)

    @cached_property
    def defaults(self) -> tuple[tuple[str, Field], ...]:
        """The members that have a default of their own."""
        return tuple((name, child) for name, child in self.fields.items() if child.default is not None)

    @cached_property
    def plain(self) -> bool:
        """Whether `default` leaves every non-null value of this field unchanged."""
        return self.type not in ("object", "array", "map", "quantity")


# --- check -------------------------------------------------------------------------------------------------------


def check(schema: Field, value: Any, path: str = "") -> list[Cause]:
    """Validate `value` against the schema and return all errors, not only the first: wrong types, unknown and missing
    fields, values outside an enum or its bounds. Null counts as absent, as in Kubernetes. `path` is the position of
    `value` in the whole object."""
    causes: list[Cause] = []
    _check(schema, value, path, causes)
    return causes


def _check(schema: Field, value: Any, path: str, out: list[Cause]) -> None:
    kind = schema.type
    if kind == "object":
        if type(value) is dict:
            _check_object(schema, value, path, out)
        else:
            out.append(Cause(path, f"must be an object, not {show(value)}", TYPE_INVALID))
    elif kind == "array":
        if type(value) is list:
            items = schema.items
            if items is not None:
                for index, item in enumerate(value):
                    if items.type in _CONTAINERS:
                        _check(items, item, f"{path}[{index}]", out)
                    elif problem := _scalar(items, item):
                        out.append(Cause(f"{path}[{index}]", *problem))
        else:
            out.append(Cause(path, f"must be a list, not {show(value)}", TYPE_INVALID))
    elif kind == "map":
        _check_map(schema, value, path, out)
    elif problem := _scalar(schema, value):
        out.append(Cause(path, *problem))


def _check_object(schema: Field, value: dict[str, Any], path: str, out: list[Cause]) -> None:
    fields = schema.fields
    for name, child_value in value.items():
        child = fields.get(name)
        if child is None:
            out.append(_unknown(fields, name, path))
        elif child_value is None:
            continue
        elif child.masked:
            out += [_masked(cause, child) for cause in check(child, child_value, join(path, name))]
        elif child.type in _CONTAINERS:
            _check(child, child_value, f"{path}.{name}" if path else name, out)
        elif problem := _scalar(child, child_value):
            out.append(Cause(join(path, name), *problem))
    for name in schema.required_names:
        if value.get(name) is None:
            out.append(Cause(join(path, name), "is required", REQUIRED))


def _masked(cause: Cause, field: Field) -> Cause:
    """The message without the confidential value, which always stands at its end."""
    message = cause.message.partition(", not ")[0]
    return Cause(cause.field, f"{message}; {field.hint}" if field.hint else message, cause.reason)


def _check_map(schema: Field, value: Any, path: str, out: list[Cause]) -> None:
    if type(value) is not dict:
        out.append(Cause(path, f"must be a map, not {show(value)}", TYPE_INVALID))
        return
    items = schema.items
    for key, item in value.items():
        if type(key) is not str:
            out.append(Cause(path, f"keys must be strings, not {show(key)}; put quotes around it", TYPE_INVALID))
        elif items is None or (item is None and items.type == "string"):
            continue
        elif items.type in _CONTAINERS:
            _check(items, item, f"{path}[{key}]", out)
        elif problem := _scalar(items, item):
            out.append(Cause(f"{path}[{key}]", *problem))


def _unknown(fields: Mapping[str, Field], name: Any, path: str) -> Cause:
    text = str(name)
    by_lower = {known.lower(): known for known in fields}
    near = difflib.get_close_matches(text.lower(), by_lower, n=1)
    hint = f'; did you mean "{by_lower[near[0]]}"?' if near else ""
    return Cause(join(path, text), f"unknown field{hint}", UNKNOWN)


_CONTAINERS = frozenset({"object", "array", "map"})
_WORDS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "int-or-string": "an integer or a string",
    "quantity": 'a quantity such as 2, "500m" or "64Mi"',
    "time": 'a time such as "2025-01-31T12:00:00Z"',
    "bytes": "base64",
}


def _scalar(schema: Field, value: Any) -> tuple[str, str] | None:
    """Message and reason for an invalid scalar."""
    kind = schema.type
    if kind == "string":
        if type(value) is not str:
            hint = f'; put quotes around it: "{show(value)}"' if isinstance(value, (bool, int, float)) else ""
            return f"must be a string, not {show(value)}{hint}", TYPE_INVALID
        if schema.enum and value not in schema.enum:
            return _not_in(schema.enum, value), NOT_SUPPORTED
        return None
    if kind == "integer":
        if type(value) is not int:
            return f"must be an integer, not {show(value)}", TYPE_INVALID
        return _bounds(schema, value)
    if kind == "boolean":
        return None if type(value) is bool else (f"must be true or false, not {show(value)}", TYPE_INVALID)
    if kind == "int-or-string" and type(value) is int:
        return _bounds(schema, value)
    if kind == "any" or _is(kind, value):
        return None
    return f"must be {_WORDS.get(kind, kind)}, not {show(value)}", TYPE_INVALID


def _is(kind: str, value: Any) -> bool:
    if kind == "quantity":
        return quantity.is_quantity(value)
    if kind == "number":
        return type(value) in (int, float)
    if type(value) is not str:
        return False
    if kind == "time":
        return _TIME.fullmatch(value) is not None
    if kind == "bytes":
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            return False
    return True


def _bounds(schema: Field, value: int) -> tuple[str, str] | None:
    low, high = schema.minimum, schema.maximum
    if low is not None and high is not None and not low <= value <= high:
        return f"must be between {low} and {high}, not {show(value)}", INVALID
    if low is not None and value < low:
        return f"must be at least {low}, not {show(value)}", INVALID
    if high is not None and value > high:
        return f"must be at most {high}, not {show(value)}", INVALID
    bits = 31 if schema.format == "int32" else 63
    if not -(1 << bits) <= value < 1 << bits:
        return f"is too large for an {schema.format or 'int64'}: {show(value)}", INVALID
    return None


def _not_in(allowed: Sequence[str], value: str) -> str:
    known = ", ".join(choice or "(empty)" for choice in allowed)
    near = difflib.get_close_matches(value, allowed, n=1)
    hint = f'; did you mean "{near[0]}"?' if near and len(allowed) > 4 else ""
    return f"must be one of {known}, not {show(value)}{hint}"


def show(value: Any) -> str:
    """A value as a message quotes it: JSON, truncated where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def join(path: str, name: str) -> str:
    """The path of a member. A name with dots or other punctuation is put in brackets."""
    if not name.replace("_", "").replace("-", "").replace("$", "").isalnum():
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


# --- default -----------------------------------------------------------------------------------------------------


def default(schema: Field, value: Any) -> Any:
    """`value` with defaults filled in, nulls dropped and quantities in canonical form. Expects a value that `check`
    accepts. Unchanged parts are shared; `value` itself is returned where nothing changes."""
    kind = schema.type
    if kind == "object":
        return _default_object(schema, value) if type(value) is dict else value
    if kind == "quantity":
        return _default_quantity(value)
    items = schema.items
    if items is None:
        return value
    if kind == "array":
        if items.plain or type(value) is not list:
            return value
        changed = None
        for index, item in enumerate(value):
            new = default(items, item)
            if new is not item:
                changed = list(value) if changed is None else changed
                changed[index] = new
        return value if changed is None else changed
    if kind == "map" and type(value) is dict:
        if items.plain:
            nulls = None in value.values()
            return {key: "" if item is None else item for key, item in value.items()} if nulls else value
        new_map = {key: default(items, item) for key, item in value.items()}
        return value if all(new_map[key] is item for key, item in value.items()) else new_map
    return value


def _default_object(schema: Field, value: dict[str, Any]) -> dict[str, Any]:
    result = value
    fields = schema.fields
    for name, item in value.items():
        if item is None:
            if name in fields and fields[name].type != "any":
                result = dict(value) if result is value else result
                del result[name]
            continue
        child = fields.get(name)
        if child is None or child.plain:
            continue
        new = default(child, item)
        if new is not item:
            result = dict(value) if result is value else result
            result[name] = new
    for name, child in schema.defaults:
        if result.get(name) is None:
            result = dict(value) if result is value else result
            result[name] = default(child, child.default)
    return result


def _default_quantity(value: Any) -> Any:
    try:
        new = quantity.canonical(value)
    except (ValueError, TypeError):
        return value
    return value if new == value else new


# --- support -----------------------------------------------------------------------------------------------------


def not_acted_on(schema: Field, value: Any, path: str = "") -> list[str]:
    """The paths of fields set in `value` that ktool knows but does not act on. `value` is the user's, before
    defaulting. Values that ask for nothing (empty, false, zero) or equal the default are not reported."""
    found: list[str] = []
    _collect_not_acted_on(schema, value, path, found)
    return found


def _collect_not_acted_on(schema: Field, value: Any, path: str, out: list[str]) -> None:
    kind = schema.type
    if kind == "object" and type(value) is dict:
        for name, item in value.items():
            child = schema.fields.get(name)
            if child is None or child.read_only or item is None or (not item and not child.moot):
                continue
            if not child.acted:
                if item != child.default and item not in child.moot and item not in ("", [], {}):
                    out.append(join(path, name))
            elif child.type in _CONTAINERS:
                _collect_not_acted_on(child, item, f"{path}.{name}" if path else name, out)
    elif schema.items is not None and schema.items.type in _CONTAINERS:
        if kind == "array" and type(value) is list:
            for index, item in enumerate(value):
                _collect_not_acted_on(schema.items, item, f"{path}[{index}]", out)
        elif kind == "map" and type(value) is dict:
            for key, item in value.items():
                _collect_not_acted_on(schema.items, item, f"{path}[{key}]", out)


# --- looking up --------------------------------------------------------------------------------------------------


def field_at(schema: Field, path: Sequence[str]) -> Field | None:
    """The field at a path of member names, or None. Lists and maps are entered without an index (paths of `explain`) or
    with one (an all-digit step, a key of a map)."""
    here: Field | None = schema
    for step in path:
        if here is not None and here.type == "array":
            here = here.items
            if step.isdigit():
                continue
        if here is None:
            return None
        here = here.items if here.type == "map" else here.fields.get(step)
    return here


def merge_key(schema: Field, path: Sequence[str]) -> str:
    """The merge key of the list at `path` (several members joined by commas); "" for a list that is replaced as a
    whole."""
    found = field_at(schema, path)
    return found.merge_key if found is not None and found.type == "array" else ""
