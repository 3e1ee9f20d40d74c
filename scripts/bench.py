"""Measure performance in one run, print the table, write results/bench.json and results/bench.html."""

from __future__ import annotations

import argparse
import sys

from unrolled.app import RESULTS, guarded
from unrolled.bench.measure import bench
from unrolled.bench.page import write_bench
from unrolled.bench.timing import FULL, QUICK


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few and short measurements, for tests")
    options = parser.parse_args()
    figures = bench(QUICK if options.quick else FULL, say=lambda line: print(line, flush=True))
    print(write_bench(figures, RESULTS / "bench.json"))


if __name__ == "__main__":
    sys.exit(guarded(main))
