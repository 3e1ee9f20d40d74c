"""Test the papers' claims on the records of a run: writes claims.json and claims_cells.csv, prints the verdicts.

A claim that is not reproduced is a result, not an error: the exit status is 0. It is 2 without readable records.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from unrolled.claims import CLAIMS, evaluate_claims, table, write_claims
from unrolled.records.store import StoreError, load_records


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check.

    Args:
        arguments: command line without the program's name; None takes the process's own.

    Returns:
        Exit status.
    """
    theories = sorted({claim.theory for claim in CLAIMS.values()})
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, required=True, help="folder of a run, like results/laptop")
    parser.add_argument("--theory", choices=["all", *theories], default="all", help="which claims (default: all)")
    options = parser.parse_args(arguments)

    records = options.results / "records"
    try:
        frame = load_records(records)
        if frame.empty:
            raise StoreError(f"no records in {records}: expected *.parquet files there; run the experiments first")
        results = evaluate_claims(frame, options.theory)
    except (StoreError, ValueError) as error:
        print(f"check_claims: {error}", file=sys.stderr)
        return 2
    paths = write_claims(results, options.results / "claims.json")
    print(table(results))
    print(f"written: {', '.join(str(path) for path in paths)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
