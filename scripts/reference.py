"""Make results/reference/ from a full run: python scripts/reference.py --results results/laptop."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unrolled.app import RESULTS, guarded
from unrolled.records.store import load_records
from unrolled.report.reference import write_reference


def main() -> None:
    """Write the reference and list its files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of a run, like results/laptop")
    parser.add_argument("--name", default="", help="a folder inside results/reference, for a run beside the main one")
    options = parser.parse_args()
    results = options.results
    for path in write_reference(load_records(results / "records"), results, RESULTS / "reference" / options.name):
        print(path)


if __name__ == "__main__":
    sys.exit(guarded(main))
