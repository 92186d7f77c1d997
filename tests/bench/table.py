"""Samples of the benchmark's rows, and the two tables that are made of them: against a floor, and against another
checkout. Called by `__main__`."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One run of one line: our seconds beside the floor's, measured right before or after. `goal` is the ratio that is
    good enough; `note` is printed below the line; `failed` fails the line whatever its ratio is."""

    name: str
    seconds: float
    floor: float
    goal: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def ratio(self) -> float:
        return self.seconds / self.floor


Runs = Generator[list[Sample], None, None]
"""What a row is once it is given a side: the samples of one run each time it is asked."""


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum of a line's runs."""

    values: Sequence[float]

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def relative(self) -> float:
        """From the minimum to the maximum, as a part of the median."""
        return (self.most - self.least) / self.median if self.median else 0.0

    @property
    def percent(self) -> str:
        return f"{100 * self.relative:.0f}%"


def duration(seconds: float) -> str:
    """Three digits that count, in the unit that suits."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            value = seconds * factor
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
    raise AssertionError(seconds)


# --- against the floor -------------------------------------------------------------------------------------------

ALONE = (
    f"{'ROW':<44} {'MIN':>8} {'MEDIAN':>8} {'SPREAD':>6}   {'FLOOR':>8}   "
    f"{'RATIO':>6} {'MIN':>6} {'MAX':>6}   {'GOAL':>6}"
)


def missed(samples: Sequence[Sample]) -> bool:
    """A line whose median ratio is above its goal, or one of whose runs has failed."""
    goal = samples[0].goal
    ratio = Spread([sample.ratio for sample in samples]).median
    return any(sample.failed for sample in samples) or (goal is not None and ratio > goal)


def alone(samples: Sequence[Sample]) -> str:
    """A line of the table against the floor, and the notes of its runs."""
    ours = Spread([sample.seconds for sample in samples])
    floor = Spread([sample.floor for sample in samples])
    ratio = Spread([sample.ratio for sample in samples])
    goal = "" if samples[0].goal is None else f"{samples[0].goal:.2f}"
    line = (
        f"{samples[0].name:<44} {duration(ours.least):>8} {duration(ours.median):>8} {ours.percent:>6}   "
        f"{duration(floor.median):>8}   {ratio.median:>6.2f} {ratio.least:>6.2f} {ratio.most:>6.2f}   "
        f"{goal:>6}{'!' if missed(samples) else ''}"
    )
    return "\n".join([line, *(f"    {sample.note}" for sample in samples if sample.note)])


# --- against another checkout ------------------------------------------------------------------------------------

AGAINST = (
    f"{'ROW':<44} {'OURS':>8} {'SPREAD':>6} {'/FLOOR':>6}   {'THEIRS':>8} {'SPREAD':>6} {'/FLOOR':>6}   "
    f"{'PAIRS':>6} {'MIN':>6} {'MAX':>6}   BY     VERDICT"
)

WORSE, BETTER, WITHIN, FAILED, UNKNOWN = "worse", "better", "within spread", "failed", "too few runs"
FEWEST = 5
"""Runs below which chance too often looks like a difference: in one line of ten with three of them."""


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Worse beyond the spread of the runs: our median is above all of theirs, their median is below all of ours, and
    in every pair ours took longer. Better is the mirror image. Of five runs of equal programs about one line in fifty
    is called worse by chance, so a row is measured again before it counts (`__main__`)."""
    worse, better = _beyond(ours, theirs), _beyond(theirs, ours)
    if (worse or better) and len(ours) < FEWEST:
        return UNKNOWN
    return WORSE if worse else BETTER if better else WITHIN


def _beyond(slow: Sequence[float], fast: Sequence[float]) -> bool:
    more, less = Spread(slow), Spread(fast)
    pairs = all(one > other for one, other in zip(slow, fast, strict=True))
    return pairs and more.median > less.most and less.median < more.least


def measures(ours: Sequence[Sample], theirs: Sequence[Sample]) -> tuple[str, list[float], list[float]]:
    """What the sides are compared by: their times; or, where those spread less, their ratios to the floor that was
    measured beside each, in which the machine's own better and worse moments cancel out."""
    times = "time", [sample.seconds for sample in ours], [sample.seconds for sample in theirs]
    ratios = "floor", [sample.ratio for sample in ours], [sample.ratio for sample in theirs]
    return min(times, ratios, key=lambda measure: sum(Spread(values).relative for values in measure[1:]))


def judged(ours: Sequence[Sample], theirs: Sequence[Sample]) -> str:
    """The verdict on a line; a run of ours that failed where none of theirs did decides it."""
    if any(sample.failed for sample in ours) and not any(sample.failed for sample in theirs):
        return FAILED
    return verdict(*measures(ours, theirs)[1:])


def against(ours: Sequence[Sample], theirs: Sequence[Sample]) -> str:
    """A line of the table against another checkout: medians and spreads of both, and the ratios of the pairs."""
    columns = []
    for samples in (ours, theirs):
        took = Spread([sample.seconds for sample in samples])
        floors = Spread([sample.ratio for sample in samples])
        columns.append(f"{duration(took.median):>8} {took.percent:>6} {floors.median:>6.2f}")
    by, *values = measures(ours, theirs)
    pairs = Spread([one / other for one, other in zip(*values, strict=True)])
    ratios = f"{pairs.median:>6.2f} {pairs.least:>6.2f} {pairs.most:>6.2f}"
    line = f"{ours[0].name:<44} {columns[0]}   {columns[1]}   {ratios}   {by:<5}  {judged(ours, theirs)}"
    notes = [f"    {who}: {s.note}" for who, samples in (("ours", ours), ("theirs", theirs)) for s in samples if s.note]
    return "\n".join([line, *notes])
