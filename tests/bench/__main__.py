"""The benchmark: `sh tools/bench [row ...] [--runs 3]`. A table of ratios, each against a floor of the same run.

Rows that need real nodes bring up a lab of their own; this machine may be shared and noisy, so a row is run several
times and the median ratio counts."""

from __future__ import annotations

import argparse
import statistics
import sys

from tests.bench import heal, load, network, services
from tests.bench.rows import ROWS, Bench

ROWS |= {
    "reboot": heal.reboots,
    "services": services.a_thousand_services,
    "rules": services.rules,
    "network": network.throughput,
    "load": load.lost_requests,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"any of: {', '.join(ROWS)} (default: all)")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    print(f"{'ROW':<34} {'OURS':>10} {'FLOOR':>10} {'RATIO':>7} {'GOAL':>7}  RUNS")
    failed = False
    with Bench() as bench:
        for row in options.rows or ROWS:
            for result in ROWS[row](bench, options.runs):
                ratios = [ours / floor for ours, floor in result.pairs]
                ratio = statistics.median(ratios)
                ours = statistics.median(ours for ours, _ in result.pairs)
                floor = statistics.median(floor for _, floor in result.pairs)
                missed = result.goal is not None and ratio > result.goal
                failed |= missed
                goal = "" if result.goal is None else f"{result.goal:.2f}{'!' if missed else ''}"
                runs = " ".join(f"{value:.2f}" for value in ratios)
                print(f"{result.name:<34} {ours:>8.3f} s {floor:>8.3f} s {ratio:>7.2f} {goal:>7}  {runs}", flush=True)
                for note in result.notes:
                    print(f"    {note}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
