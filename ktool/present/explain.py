"""The documentation of a kind's fields, as `explain` shows it, out of the same tree that checks objects."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence

from ktool.api.errors import UserError
from ktool.api.kind import Kind
from ktool.api.schema import Field

TYPES = {
    "int-or-string": "IntOrString",
    "quantity": "Quantity",
    "time": "Time",
    "bytes": "string",
    "object": "Object",
    "any": "Object",
}


def explain(kind: Kind, steps: Sequence[str], *, recursive: bool = False) -> str:
    """The field at `steps` (names, without list indexes; empty for the kind itself): its meaning, default, allowed
    values and members; `recursive`: all members of members, names only. UserError with a did-you-mean where there is
    no such field."""
    field = _walk(kind.schema, steps, kind.name)
    lines = [f"GROUP:      {kind.group}"] if kind.group else []
    lines += [f"KIND:       {kind.name}", f"VERSION:    {kind.version}", ""]
    if steps:
        lines += [f"FIELD: {steps[-1]} <{type_of(field)}>", ""]
    lines += ["DESCRIPTION:", *_doc(field.doc or "<no description>", 4)]
    lines += _facts(field)
    members = members_of(field)
    if members:
        lines += ["", "FIELDS:"]
        lines += _tree(field, 2) if recursive else _list(members)
    return "\n".join(lines) + "\n"


def _walk(field: Field, steps: Sequence[str], title: str) -> Field:
    for step in steps:
        members = members_of(field)
        if step not in members:
            close = difflib.get_close_matches(step, members, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise UserError(f'field "{step}" does not exist in {title}{hint}')
        field, title = members[step], f"{title}.{step}"
    return field


def members_of(field: Field) -> dict[str, Field]:
    """The members of a field, or of the elements of a list."""
    while field.type in ("array", "map") and field.items is not None:
        field = field.items
    return dict(field.fields)


def type_of(field: Field) -> str:
    """As kubectl writes it: `integer`, `[]Object`, `map[string]string`."""
    if field.type == "array":
        return f"[]{type_of(field.items) if field.items else 'Object'}"
    if field.type == "map":
        return f"map[string]{type_of(field.items) if field.items else 'string'}"
    return TYPES.get(field.type, field.type)


def _doc(text: str, indent: int) -> list[str]:
    pad = " " * indent
    return [
        line
        for paragraph in text.split("\n\n")
        for line in textwrap.wrap(" ".join(paragraph.split()), 100, initial_indent=pad, subsequent_indent=pad)
    ]


def _facts(field: Field) -> list[str]:
    """What else the schema says: choices, bounds, the default, and whether ktool acts on it."""
    facts = []
    if field.enum:
        facts.append(f"One of: {', '.join(choice or '(empty)' for choice in field.enum)}.")
    if field.minimum is not None:
        facts.append(f"At least {field.minimum}.")
    if field.maximum is not None:
        facts.append(f"At most {field.maximum}.")
    if field.default not in (None, {}, []):
        facts.append(f"Default: {field.default}.")
    if not field.acted:
        facts.append("ktool knows this field but does not act on it.")
    return ["", *(f"    {fact}" for fact in facts)] if facts else []


def _head(name: str, field: Field) -> str:
    notes = " -required-" if field.required else ""
    notes += "" if field.acted else " (not acted on)"
    return f"{name}\t<{type_of(field)}>{notes}"


def _list(members: dict[str, Field]) -> list[str]:
    lines: list[str] = []
    for name, field in sorted(members.items()):
        lines.append(f"  {_head(name, field)}")
        lines += _doc(field.doc or "<no description>", 4)
        lines.append("")
    return lines[:-1]


def _tree(field: Field, indent: int) -> list[str]:
    lines: list[str] = []
    for name, member in sorted(members_of(field).items()):
        lines.append(" " * indent + _head(name, member))
        lines += _tree(member, indent + 2)
    return lines
