"""All rows of the benchmark by name. A row is a generator that is given a side: it prepares once, then yields the
samples of one run each time it is asked, and cleans up when it is closed."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench import alone, heal, load, network, realnodes, services
from tests.bench.side import Side
from tests.bench.table import Runs

Row = Callable[[Side], Runs]

ROWS: dict[str, Row] = {**alone.ROWS, **services.ROWS, **realnodes.ROWS, **heal.ROWS, **network.ROWS, **load.ROWS}
