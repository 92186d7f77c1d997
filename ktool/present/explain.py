"""What `explain` says about a kind and its fields, out of the same tree that checks objects."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator, Sequence

from ktool.api.errors import bad_request
from ktool.api.kind import Kind
from ktool.api.schema import Field, field_at

NOT_ACTED_ON = "ktool knows this field but does not act on it."
_WIDTH = 80
_NAMES = {"int-or-string": "IntOrString", "quantity": "Quantity", "time": "Time", "bytes": "[]byte", "any": "Object"}


def explain(kind: Kind, path: Sequence[str]) -> str:
    """The field at `path` (of names, without list indexes; empty for the kind itself): its meaning, default, allowed
    values and members. ApiError 400 with a did-you-mean where there is no such field."""
    field = find(kind, path)
    lines = _head(kind, path, field)
    members = _members(field)
    if members:
        lines.append("FIELDS:")
        for name, member in members.items():
            lines.append(f"  {name}\t<{type_name(member)}>{' -required-' if member.required else ''}")
            lines += [textwrap.indent(line, "    ") for line in _described(member)]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def explain_tree(kind: Kind, path: Sequence[str]) -> str:
    """All members of the field at `path` and theirs, by name and type only (`explain --recursive`)."""
    field = find(kind, path)
    lines = _head(kind, path, field)
    members = list(_tree(field, 1))
    return "\n".join([*lines, *(["FIELDS:", *members] if members else [])]).rstrip() + "\n"


def find(kind: Kind, path: Sequence[str]) -> Field:
    field: Field = kind.schema
    for position, step in enumerate(path):
        members = _members(field)
        found = field_at(kind.schema, path[: position + 1])
        if found is None:
            near = difflib.get_close_matches(step, members, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise bad_request(f'field "{".".join(path[: position + 1])}" does not exist in {kind.name}{hint}')
        field = found
    return field


def type_name(field: Field) -> str:
    """The type as `explain` writes it: `string`, `[]Object`, `map[string]string`."""
    if field.type == "array":
        return f"[]{type_name(field.items) if field.items else 'Object'}"
    if field.type == "map":
        return f"map[string]{type_name(field.items) if field.items else 'Object'}"
    return "Object" if field.type == "object" else _NAMES.get(field.type, field.type)


def _head(kind: Kind, path: Sequence[str], field: Field) -> list[str]:
    lines = [f"GROUP:      {kind.group}"] if kind.group else []
    lines += [f"KIND:       {kind.name}", f"VERSION:    {kind.version}", ""]
    if path:
        lines += [f"FIELD: {path[-1]} <{type_name(field)}>{' -required-' if field.required else ''}", ""]
    described = _described(field)
    if described:
        lines += ["DESCRIPTION:", *(textwrap.indent(line, "    ") for line in described), ""]
    return lines


def _described(field: Field) -> list[str]:
    lines = textwrap.wrap(field.doc, _WIDTH - 4)
    if field.type in ("array", "map") and field.items is not None and field.items.doc and field.items.type == "object":
        lines += textwrap.wrap(field.items.doc, _WIDTH - 4)
    if field.enum:
        lines.append("enum: " + ", ".join(value or '""' for value in field.enum))
    if field.default not in (None, {}, []):
        lines.append(f"default: {json.dumps(field.default)}")
    if field.merge_key:
        lines.append(f"merged by: {field.merge_key}")
    if field.read_only:
        lines.append("Read-only: the system writes it.")
    if not field.acted:
        lines.append(NOT_ACTED_ON)
    return lines


def _members(field: Field) -> dict[str, Field]:
    while field.type in ("array", "map") and field.items is not None:
        field = field.items
    return dict(sorted(field.fields.items()))


def _tree(field: Field, depth: int) -> Iterator[str]:
    for name, member in _members(field).items():
        required = " -required-" if member.required else ""
        yield f"{'  ' * depth}{name}\t<{type_name(member)}>{required}"
        yield from _tree(member, depth + 1)
