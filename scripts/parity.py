"""Compare with reference numbers: python scripts/parity.py FOLDER; exit status 1 if the rule is broken."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from unrolled.app import guarded
from unrolled.parity import compare, passes, read_reference, run_reference, table


def main() -> int:
    """Train the reference's settings anew, print the comparison, and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with reasoning_dataset.npz and reasoning_authors.csv")
    folder = parser.parse_args().folder
    numbers = read_reference(folder)
    # A check of the code as it is: nothing is taken from earlier runs.
    with tempfile.TemporaryDirectory() as results:
        rows = compare(numbers, run_reference(numbers, folder, Path(results), print))
    print(table(rows))
    return 0 if passes(rows) else 1


if __name__ == "__main__":
    sys.exit(guarded(main))
