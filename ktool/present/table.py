"""Aligned text tables, as kubectl prints them. `get`, `describe` and every list of ours use it."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 3
NARROWEST = 6
"""kubectl's tabwriter: three spaces between columns, no column narrower than six."""


def safe(text: str) -> str:
    """Without what would move the cursor or break the line: names and messages may come from anywhere."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class Table:
    """Rows of text under a header, aligned like kubectl's. It remembers its widths, so that rows of a watch line up
    with those before them."""

    def __init__(self, header: Sequence[str], *, headless: bool = False) -> None:
        self._header = list(header)
        self._headless = headless
        self._widths = [0] * len(header)

    def lines(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """The rows as lines, after the header the first time."""
        cells = [[safe(cell) if cell else "<none>" for cell in row] for row in rows]
        if not self._headless:
            cells.insert(0, self._header)
            self._headless = True
        for row in cells:
            for index, cell in enumerate(row):
                self._widths[index] = max(self._widths[index], len(cell) + GAP, NARROWEST)
        return ["".join(map(str.ljust, row, self._widths)).rstrip() for row in cells]
