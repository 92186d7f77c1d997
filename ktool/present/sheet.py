"""The layout of `describe`: labels and values aligned like kubectl's, with blocks indented under their titles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from ktool.api.marks import LAST_APPLIED
from ktool.api.obj import Obj, annotations_of, epoch, get, labels
from ktool.present.table import safe

NONE = "<none>"
HIDDEN_ANNOTATIONS = frozenset({LAST_APPLIED})


class Sheet:
    """Rows of text. Neighbouring rows that have a value are aligned with each other."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str | None]] = []

    def row(self, label: str, value: object, level: int = 0) -> None:
        """`Label:  value`; an empty label continues the row above."""
        text = "" if value is None else str(value)
        self._rows.append((f"{'  ' * level}{label}{':' if label else ''}", text or NONE))

    def title(self, text: str, level: int = 0) -> None:
        self._rows.append((f"{'  ' * level}{text}:", None))

    def line(self, text: str, level: int = 0) -> None:
        self._rows.append((f"{'  ' * level}{text}", None))

    def rows(self, label: str, values: Iterable[str], level: int = 0) -> None:
        """One label and a line for each value."""
        for index, value in enumerate(list(values) or [NONE]):
            self.row(label if index == 0 else "", value, level)

    def mapping(self, label: str, values: Mapping[str, object], level: int = 0, sign: str = "=") -> None:
        self.rows(label, [f"{key}{sign}{value}" for key, value in sorted(values.items())], level)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], level: int = 1, *, rule: bool = True) -> None:
        """A table under its own header."""
        lines = [list(header), *([["-" * len(title) for title in header]] if rule else []), *map(list, rows)]
        widths = [max(len(line[index]) for line in lines) + 2 for index in range(len(header))]
        for line in lines:
            self.line("".join(map(str.ljust, line, widths)).rstrip(), level)

    def text(self) -> str:
        lines: list[str] = []
        block: list[tuple[str, str]] = []
        for label, value in [*self._rows, ("", None)]:
            if value is not None:
                block.append((label, value))
                continue
            width = max((len(name) for name, _ in block), default=0) + 2
            for name, text in block:
                first, *more = text.split("\n")
                lines.append(f"{name:{width}}{safe(first)}".rstrip())
                lines += [f"{'':{width}}{safe(part)}".rstrip() for part in more]
            block = []
            lines.append(safe(label))
        return "\n".join(lines[:-1]) + "\n"


def head(sheet: Sheet, obj: Obj) -> None:
    """Labels and annotations, as every kind shows them."""
    sheet.mapping("Labels", labels(obj))
    shown = {key: value for key, value in annotations_of(obj).items() if key not in HIDDEN_ANNOTATIONS}
    sheet.mapping("Annotations", {key: _short(value) for key, value in shown.items()}, sign=": ")


def _short(value: str, limit: int = 140) -> str:
    return value if len(value) <= limit else value[:limit] + "..."


def when(text: str | None) -> str:
    """A time as kubectl describes it (RFC 1123, in UTC here, so that two people see the same)."""
    seconds = epoch(text)
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000") if seconds else ""


def conditions(sheet: Sheet, obj: Obj) -> None:
    """Type, status and what is said about it."""
    entries = get(obj, "status", "conditions", default=())
    if not entries:
        return
    sheet.title("Conditions")
    rows = [
        (str(e.get("type", "")), str(e.get("status", "")), str(e.get("reason") or ""), str(e.get("message") or ""))
        for e in entries
    ]
    sheet.table(("Type", "Status", "Reason", "Message"), rows)
