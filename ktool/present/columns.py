"""Tables of objects: a kind's own columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktool.api.kind import Column, Kind
from ktool.api.obj import Obj, labels, namespace
from ktool.logic.printercolumns import AGE, NAME
from ktool.present.table import Table


@dataclass(frozen=True)
class TableOptions:
    """What stands beside a kind's own columns."""

    wide: bool = False
    all_namespaces: bool = False
    show_labels: bool = False
    label_columns: tuple[str, ...] = ()
    headless: bool = False
    with_kind: bool = False
    """Names as `pod/web`: several kinds are shown."""


class KindTable:
    """The table of one kind."""

    def __init__(self, kind: Kind, options: TableOptions) -> None:
        self._kind, self._options = kind, options
        self._columns = [column for column in columns_of(kind) if options.wide or not column.wide]
        self._table = Table(self._header(), headless=options.headless)

    def lines(self, objects: Sequence[Obj], now: float) -> list[str]:
        return self._table.lines([self._row(obj, now) for obj in objects])

    def _header(self) -> list[str]:
        options = self._options
        header = ["NAMESPACE"] if options.all_namespaces and self._kind.namespaced else []
        header += [column.name.upper() for column in self._columns]
        header += [label.rpartition("/")[2].upper() for label in options.label_columns]
        return [*header, "LABELS"] if options.show_labels else header

    def _row(self, obj: Obj, now: float) -> list[str]:
        options = self._options
        row = [namespace(obj)] if options.all_namespaces and self._kind.namespaced else []
        first, *others = self._columns
        shown = first.cell(obj, now)
        row.append(self._kind.display(shown) if options.with_kind else shown)
        row += [column.cell(obj, now) for column in others]
        row += [labels(obj).get(label, "") for label in options.label_columns]
        if options.show_labels:
            row.append(",".join(f"{key}={value}" for key, value in sorted(labels(obj).items())))
        return row


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """A kind's columns; name and age where it has not said any."""
    return kind.looks.columns or (NAME, AGE)
