"""Measure performance in one run, print the table, write results/bench.json."""

from __future__ import annotations

import sys

from unrolled.app import RESULTS, guarded
from unrolled.bench.trainer import bench_trainer, write_bench


def main() -> None:
    """Run the bench."""
    print(write_bench(bench_trainer(), RESULTS / "bench.json"))


if __name__ == "__main__":
    sys.exit(guarded(main))
