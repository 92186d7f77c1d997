"""The benchmark: `sh tools/bench [row ...] [--runs N] [--against DIR]`.

Alone: a table of ratios, each against a floor that is measured beside it in the same run. Against another checkout
with a .venv of its own: each run takes a turn with ours and one with theirs, and the table says which lines are worse
or better beyond the spread of the runs; a row that is worse is measured a second time, and that counts. Machines are
shared and noisy, so medians count. Rows that need real nodes bring up labs of their own. The exit code is 1 where a
line misses its goal, or is worse than theirs."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from tests.bench import table
from tests.bench.rows import ROWS, Row
from tests.bench.side import Side
from tests.bench.table import Sample

HERE = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--runs", type=int, help="runs of each row: 3, against another checkout 5")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout, set up by its own tools/setup")
    options = parser.parse_args()
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    runs = options.runs or (5 if options.against else 3)
    checkouts = {"ours": HERE} | ({"theirs": options.against.absolute()} if options.against else {})
    print(table.AGAINST if options.against else table.ALONE, flush=True)
    good = True
    with ExitStack() as stack:
        # Short, because the path of a socket must be.
        root = Path(tempfile.mkdtemp(prefix="ktool-bench-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        sides = [stack.enter_context(closing(Side(label, path, root))) for label, path in checkouts.items()]
        for row in options.rows or ROWS:
            shown = _shown(measured(ROWS[row], sides, runs))
            if not shown and options.against:
                print(f"{row} once more, as chance is worse at times:", flush=True)
                shown = _shown(measured(ROWS[row], sides, runs))
            good &= shown
    busy, cores = os.getloadavg()[1], os.cpu_count() or 1
    if busy > cores:
        print(
            f"This machine was busy (load {busy:.1f} on {cores} cores): spreads are wide, and differences hide in them."
        )
    return 0 if good else 1


def measured(row: Row, sides: Sequence[Side], runs: int) -> Iterator[list[list[Sample]]]:
    """The lines of a row, each as the samples of every side. The sides take turns, and who begins takes turns too."""
    lines: dict[str, list[list[Sample]]] = {}
    with ExitStack() as stack:
        going = [stack.enter_context(closing(row(side))) for side in sides]
        for run in range(runs):
            order = range(len(sides)) if run % 2 == 0 else reversed(range(len(sides)))
            for index in order:
                for sample in next(going[index]):
                    lines.setdefault(sample.name, [[] for _ in sides])[index].append(sample)
    yield from lines.values()


def _shown(row: Iterator[list[list[Sample]]]) -> bool:
    """Print the lines of a row; whether all are as they should be."""
    good = True
    for samples in row:
        print(table.alone(*samples) if len(samples) == 1 else table.against(*samples), flush=True)
        if len(samples) == 1:
            good &= not table.missed(*samples)
        else:
            good &= table.judged(*samples) not in (table.WORSE, table.FAILED)
    return good


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
