"""Descriptions: the output of `describe` as plain rows, tables and lines. A kind's `Looks.describe` builds one.

present/sheet renders it; nothing here knows widths or terminals. The order and the words are kubectl's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from ktool.api.marks import LAST_APPLIED
from ktool.api.obj import Obj, annotations_of, epoch, get, labels

NONE = "<none>"
HIDDEN_ANNOTATIONS = frozenset({LAST_APPLIED})


class Row(NamedTuple):
    """`Label:  text`. Neighbouring rows are aligned with each other; an empty label continues the row above."""

    label: str
    text: str
    level: int = 0


class Line(NamedTuple):
    """A single line: a title or free text."""

    text: str
    level: int = 0


class Grid(NamedTuple):
    """A table with a header; `rule`: with a line of dashes below the header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    level: int = 1
    rule: bool = True


Part = Row | Line | Grid


@dataclass
class Description:
    """The rows, lines and tables in order. `level` indents by two blanks each."""

    parts: list[Part] = field(default_factory=list)

    def row(self, label: str, value: object, level: int = 0) -> None:
        """`Label:  value`; an empty label continues the row above."""
        text = "" if value is None else str(value)
        self.parts.append(Row(label, text or NONE, level))

    def title(self, text: str, level: int = 0) -> None:
        self.parts.append(Line(f"{text}:", level))

    def line(self, text: str, level: int = 0) -> None:
        self.parts.append(Line(text, level))

    def rows(self, label: str, values: Iterable[str], level: int = 0) -> None:
        """One label with a line for each value."""
        for index, value in enumerate(list(values) or [NONE]):
            self.row(label if index == 0 else "", value, level)

    def mapping(self, label: str, values: Mapping[str, object], level: int = 0, sign: str = "=") -> None:
        self.rows(label, [f"{key}{sign}{value}" for key, value in sorted(values.items())], level)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], level: int = 1, *, rule: bool = True) -> None:
        self.parts.append(Grid(tuple(header), tuple(map(tuple, rows)), level, rule))


def head(sheet: Description, obj: Obj) -> None:
    """The labels and annotations of an object, as every kind describes them."""
    sheet.mapping("Labels", labels(obj))
    shown = {key: value for key, value in annotations_of(obj).items() if key not in HIDDEN_ANNOTATIONS}
    sheet.mapping("Annotations", {key: _short(value) for key, value in shown.items()}, sign=": ")


def _short(value: str, limit: int = 140) -> str:
    return value if len(value) <= limit else value[:limit] + "..."


def when(text: str | None) -> str:
    """A time as kubectl describes it (RFC 1123; always in UTC, so that two people see the same)."""
    seconds = epoch(text)
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000") if seconds else ""


def conditions(sheet: Description, obj: Obj) -> None:
    """The conditions of a status: type, status, reason and message."""
    entries = get(obj, "status", "conditions", default=())
    if not entries:
        return
    sheet.title("Conditions")
    rows = [
        (str(e.get("type", "")), str(e.get("status", "")), str(e.get("reason") or ""), str(e.get("message") or ""))
        for e in entries
    ]
    sheet.table(("Type", "Status", "Reason", "Message"), rows)
