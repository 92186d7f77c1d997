"""When a line of the benchmark is called worse than another checkout's, and when it misses its goal."""

from __future__ import annotations

import pytest

from tests.bench import table
from tests.bench.table import Sample


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param([1.0, 1.1, 1.2], [1.0, 1.1, 1.2], "within spread", id="equal"),
        pytest.param([2.0, 2.1, 2.2], [1.0, 1.1, 1.2], "worse", id="apart"),
        pytest.param([1.0, 1.1, 1.2], [2.0, 2.1, 2.2], "better", id="apart-the-other-way"),
        pytest.param([1.15, 1.3, 1.4], [1.0, 1.1, 1.2], "worse", id="medians-beyond-the-other's-runs"),
        pytest.param([1.0, 1.3, 1.4], [0.9, 1.1, 1.2], "within spread", id="our-best-is-as-good-as-their-median"),
        pytest.param([1.15, 1.15, 1.15], [1.0, 1.1, 1.2], "within spread", id="within-theirs"),
        pytest.param([1.6, 1.15, 1.6], [1.0, 1.2, 1.0], "within spread", id="a-pair-says-otherwise"),
        pytest.param([0.0, 0.0], [0.0, 0.0], "within spread", id="nothing-at-all"),
    ],
)
def test_the_verdict(ours: list[float], theirs: list[float], expected: str) -> None:
    """Of six runs; of three, nothing that differs is believed."""
    assert table.verdict(ours * 2, theirs * 2) == expected
    assert table.verdict(ours, theirs) == (expected if expected == "within spread" else "too few runs")


def test_a_run_of_ours_that_failed_decides() -> None:
    good, bad = Sample("row", 1.0, 1.0), Sample("row", 1.0, 1.0, failed=True)
    assert table.judged([good, bad], [good, good]) == "failed"
    assert table.judged([bad, good], [good, bad]) == "within spread"
    assert table.missed([good, bad]) and not table.missed([good, good])


def test_what_spreads_less_is_compared() -> None:
    """Twice as slow on a machine that is three times slower at one moment than at another."""
    ours = [Sample("row", 2 * pace, pace) for pace in (1.0, 3.0, 2.0)]
    theirs = [Sample("row", pace, pace) for pace in (3.0, 1.0, 2.0)]
    assert table.measures(ours, theirs)[0] == "floor" and table.judged(ours * 2, theirs * 2) == "worse"
    steady = [Sample("row", 1.0, pace) for pace in (1.0, 3.0, 2.0)]
    assert table.measures(steady, steady)[0] == "time"


@pytest.mark.parametrize(("goal", "expected"), [(1.9, True), (2.0, False), (None, False)])
def test_the_median_ratio_is_held_to_the_goal(goal: float | None, expected: bool) -> None:
    samples = [Sample("row", seconds, 1.0, goal) for seconds in (1.0, 2.0, 9.0)]
    assert table.missed(samples) is expected


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (12.345, "12.3 s"),
        (1.0, "1.00 s"),
        (0.0953, "95.3 ms"),
        (0.45, "450 ms"),
        (0.000095, "95.0 us"),
        (0.0, "0.00 us"),
    ],
)
def test_durations_have_three_digits(seconds: float, shown: str) -> None:
    assert table.duration(seconds) == shown
