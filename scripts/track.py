"""Mirror records to Weights & Biases, one run a pack; runs that are up to date are skipped.

python scripts/track.py --records results/laptop/records
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from unrolled.records.store import StoreError, load_records
from unrolled.tracking import TrackerError, TrackerSettings, log_records
from unrolled.tracking.runs import Mode


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Mirror records to Weights & Biases, one run a pack.")
    parser.add_argument("--records", type=Path, required=True, help="folder of parquet records")
    parser.add_argument("--folder", type=Path, help="where the directory wandb/ goes (default: beside the records)")
    parser.add_argument("--mode", choices=get_args(Mode), default="offline", help="default: offline")
    parser.add_argument("--project", default="unrolled", help="W&B project (default: unrolled)")
    parser.add_argument("--entity", help="W&B user or team (default: the account's)")
    parser.add_argument("--rebuild", action="store_true", help="write the runs that are up to date, too")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Mirror the records and say where the runs are; 1 if that failed or there was nothing to mirror."""
    options = parse(arguments)
    folder = options.folder or options.records.absolute().parent
    tracker = TrackerSettings(options.mode, options.project, options.entity, folder)
    try:
        records = load_records(options.records)
        if records.empty:
            print(f"no records in {options.records}: run `make reproduce` first", file=sys.stderr)
            return 1
        mirrored = log_records(records, tracker, rebuild=options.rebuild)
    except (TrackerError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"W&B runs ({tracker.mode}): {mirrored.written} written, {mirrored.skipped} up to date")
    if tracker.mode != "disabled":
        print(f"look:    wandb leet {mirrored.directory}")
    if tracker.mode == "offline":
        print(f"upload:  wandb sync {mirrored.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
