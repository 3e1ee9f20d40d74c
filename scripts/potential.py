"""Add the minimum deep frame potential to a table of structures: python scripts/potential.py structures.csv -o out.csv.

The table has the columns kind, input (dimension or channels) and widths (like 8x16x32), and for convolutional nets
kernel, stride (like 1x2x1) and grid (side of the input, with circular padding); other columns are kept. Added are N,
F2_min and the lower bound F2_lower, totals over the grid, F_min, and status: exact or constructed where F2_min meets
the lower bound, upper where the minimum may be smaller. Nothing is rounded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unrolled.app import guarded
from unrolled.structure_table import TableError, read_structures, with_potentials, write_table


def main() -> None:
    """Read all structures, compute their potentials, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", type=Path, help="CSV file with one structure a line")
    parser.add_argument("-o", "--out", type=Path, help="CSV file to write or replace (default: the standard output)")
    options = parser.parse_args()
    if options.out is not None and options.out.is_dir():
        raise TableError(f"{options.out}: expected a file to write, got a folder")
    frame = with_potentials(*read_structures(options.structures))
    if options.out is None:
        frame.to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        write_table(frame, options.out)


if __name__ == "__main__":
    sys.exit(guarded(main))
