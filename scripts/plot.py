"""Draw the figures of a results folder again from its records: python scripts/plot.py --results results/laptop."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unrolled.figures import THEORIES, render_figures
from unrolled.records import load_records
from unrolled.records.store import StoreError


def main() -> int:
    """Draw and print one line a figure; 1 where there are no records to draw from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/laptop"), help="folder that holds records/")
    parser.add_argument("--theory", choices=["all", *THEORIES], default="all")
    options = parser.parse_args()
    try:
        frame = load_records(options.results / "records")
        if frame.empty:
            print(f"no records in {options.results / 'records'}: run `make reproduce` first", file=sys.stderr)
            return 1
        files = render_figures(frame, options.results / "figures", options.theory)
    except (OSError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    for file in files:
        print(f"not drawn  {file.name}: {file.reason}" if file.reason else f"drawn      {file.paths[0]} and .svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
