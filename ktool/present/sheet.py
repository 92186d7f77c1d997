"""Sheet: a Description as text, labels and values aligned like kubectl's. `describe`, `rollout history` and the lists
of details of other commands print one."""

from __future__ import annotations

from ktool.api.describe import Description, Grid, Row
from ktool.present.table import safe


def text(description: Description) -> str:
    """All parts, one below the other. Neighbouring rows that have a value are aligned with each other."""
    lines: list[str] = []
    block: list[tuple[str, str]] = []
    for part in description.parts:
        if isinstance(part, Row):
            block.append((f"{'  ' * part.level}{part.label}{':' if part.label else ''}", part.text))
            continue
        lines += _aligned(block)
        block = []
        texts = _grid(part) if isinstance(part, Grid) else [part.text]
        lines += [safe(f"{'  ' * part.level}{line}") for line in texts]
    return "\n".join(lines + _aligned(block)) + "\n"


def _aligned(block: list[tuple[str, str]]) -> list[str]:
    width = max((len(label) for label, _ in block), default=0) + 2
    lines: list[str] = []
    for label, value in block:
        first, *more = value.split("\n")
        lines.append(f"{label:{width}}{safe(first)}".rstrip())
        lines += [f"{'':{width}}{safe(part)}".rstrip() for part in more]
    return lines


def _grid(grid: Grid) -> list[str]:
    rule = [tuple("-" * len(title) for title in grid.header)] if grid.rule else []
    rows = [grid.header, *rule, *grid.rows]
    widths = [max(len(row[index]) for row in rows) + 2 for index in range(len(grid.header))]
    return ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]
