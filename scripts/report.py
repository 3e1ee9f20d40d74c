"""Write the report of a results folder from its records, claims and figures.

python scripts/report.py --results results/laptop
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from unrolled.figures import THEORIES
from unrolled.records import load_records
from unrolled.records.store import StoreError
from unrolled.report.errors import ReportError
from unrolled.report.page import write_report


def main() -> int:
    """Write the page and print its path; 1 where there are no records to report on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/laptop"), help="folder that holds records/")
    parser.add_argument("--theory", choices=["all", *THEORIES], default="all")
    options = parser.parse_args()
    folder: Path = options.results
    try:
        frame = load_records(folder / "records")
        if frame.empty:
            print(f"no records in {folder / 'records'}: run `make reproduce` first", file=sys.stderr)
            return 1
        ledger = folder / "claims.json"
        claims = json.loads(ledger.read_text()) if ledger.is_file() else []
        out = folder / "report" / "index.html"
        print(write_report(frame, claims, folder / "figures", out, folder.resolve().name, options.theory))
    except json.JSONDecodeError as error:
        print(f"{ledger} is not valid JSON ({error}): run `make claims` again", file=sys.stderr)
        return 1
    except (OSError, StoreError, ReportError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
