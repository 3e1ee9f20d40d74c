"""Comparisons with reference numbers of the papers' authors."""

from unrolled.parity.reasoning import ParityError, ParityRow, compare, passes, read_reference, run_reference, table

__all__ = ["ParityError", "ParityRow", "compare", "passes", "read_reference", "run_reference", "table"]
