"""A slice of the comparison with the authors' numbers, at full length: few steps, two widths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unrolled.parity import compare, passes, read_reference, run_reference

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("UNROLLED_REFERENCE") or ROOT.parent / "shared" / "reference")

pytestmark = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"no reference numbers at {REFERENCE} (set UNROLLED_REFERENCE)"
)


def test_few_steps_agree_with_the_released_code(tmp_path: Path) -> None:
    numbers = read_reference(REFERENCE)
    numbers = numbers[(numbers["steps"] <= 3) & numbers["hidden"].isin([0, 16])].reset_index(drop=True)
    assert len(numbers) == 12
    assert set(numbers["epochs"]) == {10_000}
    records = run_reference(numbers, REFERENCE, tmp_path, lambda line: None)
    assert passes(compare(numbers, records))
    # The same numbers under another algorithm's name must not pass, or the comparison would show nothing.
    swapped = numbers.assign(algorithm=numbers["algorithm"].map({"gd": "nag", "nag": "gd"}))
    assert not passes(compare(swapped, records))
