"""`ktool explain`."""

from __future__ import annotations

import difflib
import textwrap
from typing import Annotated

import typer

from ktool.api.errors import DONE, UserError
from ktool.api.kind import Kind
from ktool.api.schema import Field
from ktool.cli.plumbing import resourceargs
from ktool.cli.plumbing.command import Verb, examples, verbs

app = verbs()

EXAMPLES = """
ktool explain deployment
ktool explain pod.spec.containers
ktool explain deploy.spec.strategy --recursive
"""

TYPES = {
    "int-or-string": "IntOrString",
    "quantity": "Quantity",
    "time": "Time",
    "bytes": "string",
    "object": "Object",
    "any": "Object",
}


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def explain(
    path: Annotated[str, typer.Argument(metavar="KIND[.FIELD...]", show_default=False)],
    recursive: Annotated[bool, typer.Option("--recursive", help="The whole tree of fields, names only.")] = False,
) -> int:
    """Document the fields of a kind.

    Fields that ktool knows but does not act on yet are marked so.
    """
    kind, steps = _named(path.strip(".").split("."))
    field = _walk(kind.schema, steps, kind.name)
    lines = [f"GROUP:      {kind.group}"] if kind.group else []
    lines += [f"KIND:       {kind.name}", f"VERSION:    {kind.version}", ""]
    if steps:
        lines += [f"FIELD: {steps[-1]} <{type_of(field)}>", ""]
    lines += ["DESCRIPTION:", *_doc(field.doc or "<no description>", 4)]
    lines += _facts(field)
    if inside := members(field):
        lines += ["", "FIELDS:"]
        lines += _tree(field, 2) if recursive else _list(inside)
    print("\n".join(lines))
    return DONE


def _named(words: list[str]) -> tuple[Kind, list[str]]:
    """The kind, and the steps from there. A group stands between the two only where the first step would be no field:
    `services.demo.example`."""
    kind = resourceargs.kind_named(words[0])
    if words[1:] and words[1] not in members(kind.schema):
        resourceargs.kinds().complete()
        for count in range(len(words), 1, -1):
            if found := resourceargs.kinds().find(".".join(words[:count])):
                return found, words[count:]
    return kind, words[1:]


def _walk(field: Field, steps: list[str], title: str) -> Field:
    for step in steps:
        if field.type == "any":
            raise UserError(f"{title}: {field.doc or 'anything may stand there'}")
        inside = members(field)
        if step not in inside:
            close = difflib.get_close_matches(step, inside, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            raise UserError(f'field "{step}" does not exist in {title}{hint}')
        field, title = inside[step], f"{title}.{step}"
    return field


def members(field: Field) -> dict[str, Field]:
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


def _list(inside: dict[str, Field]) -> list[str]:
    lines: list[str] = []
    for name, field in sorted(inside.items()):
        lines.append(f"  {_head(name, field)}")
        lines += _doc(field.doc or "<no description>", 4)
        lines.append("")
    return lines[:-1]


def _tree(field: Field, indent: int) -> list[str]:
    lines: list[str] = []
    for name, member in sorted(members(field).items()):
        lines.append(" " * indent + _head(name, member))
        lines += _tree(member, indent + 2)
    return lines
