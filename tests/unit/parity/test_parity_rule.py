"""The rule of the comparison with the authors' numbers: every clause turns the verdict on its own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.unit.sweep.factory import problem_file

from unrolled.parity import ParityError, ParityRow, compare, passes, read_reference, table
from unrolled.parity.reasoning import INITIALISATIONS

DEEP = ParityRow("nag", 5, 16, 100, train=8.707, gap=1.778, train_mean=8.70, train_sd=0.01, gap_mean=1.7, gap_sd=0.1)
SHALLOW = ParityRow(
    "gd", 1, 16, 100, train=25.884, gap=1.658, train_mean=25.8842, train_sd=0, gap_mean=1.6583, gap_sd=0
)
SMALL = replace(DEEP, train=0.1, train_mean=0.09, train_sd=0.02)
REACH = 2.5 * math.sqrt(1 + 1 / INITIALISATIONS)
"""How many standard deviations a gap may lie off."""


def grid() -> list[ParityRow]:
    """The reference's 42 rows, all in agreement: 36 with more than one step."""
    return [SHALLOW] * 6 + [DEEP] * 36


def test_a_grid_in_agreement_passes() -> None:
    assert DEEP.agrees
    assert SHALLOW.agrees
    assert SMALL.agrees
    assert passes(grid())


@pytest.mark.parametrize(
    ("row", "agrees"),
    [
        (replace(SHALLOW, train_mean=25.8849), True),
        (replace(SHALLOW, train_mean=25.8851), False),  # 0.001 is all there is at k = 1, far below 1 %
        (replace(SHALLOW, train_mean=25.9, train_sd=10.0), False),
        (replace(DEEP, train_mean=8.707 * 1.01 + 0.0009), True),
        (replace(DEEP, train_mean=8.707 * 1.01 + 0.0011), False),
        (replace(DEEP, train_mean=8.707 * 0.99 - 0.0011), False),
        (replace(DEEP, train_mean=9.0, train_sd=10.0), False),  # the spread excuses small errors only
        (replace(SMALL, train_mean=0.1 + 2.5 * 0.02 + 0.0009), True),
        (replace(SMALL, train_mean=0.1 + 2.5 * 0.02 + 0.0011), False),
        (replace(SMALL, train=0.5, train_mean=0.54), False),
        (replace(SMALL, train=0.499, train_mean=0.539), True),
    ],
)
def test_training_errors(row: ParityRow, agrees: bool) -> None:
    assert row.train_agrees is agrees
    assert passes([row]) is agrees  # no training error is an outlier that may be


@pytest.mark.parametrize(
    ("row", "agrees"),
    [
        (replace(SHALLOW, gap_mean=1.6589), True),
        (replace(SHALLOW, gap_mean=1.6591), False),
        (replace(SHALLOW, gap_mean=1.7, gap_sd=1.0), False),
        (replace(DEEP, gap_mean=1.778 + REACH * 0.1 + 0.0009), True),
        (replace(DEEP, gap_mean=1.778 + REACH * 0.1 + 0.0011), False),
        (replace(DEEP, gap_mean=1.778 - REACH * 0.1 - 0.0011), False),
    ],
)
def test_gaps(row: ParityRow, agrees: bool) -> None:
    assert row.gap_agrees is agrees
    assert row.agrees is agrees
    assert row.train_agrees


OUTLIER = replace(DEEP, gap_mean=DEEP.gap + 3 * DEEP.gap_sd)
FAR = replace(DEEP, gap_mean=DEEP.gap + 4.1 * DEEP.gap_sd)


def test_two_of_36_gaps_may_lie_outside_and_no_more() -> None:
    assert not OUTLIER.gap_agrees
    assert not OUTLIER.gap_is_far
    assert passes([SHALLOW] * 6 + [OUTLIER] * 2 + [DEEP] * 34)
    assert not passes([SHALLOW] * 6 + [OUTLIER] * 3 + [DEEP] * 33)
    # Rows with one step do not make room for outliers.
    assert not passes([SHALLOW] * 60 + [OUTLIER] + [DEEP])


def test_no_gap_may_lie_far_off() -> None:
    assert FAR.gap_is_far
    assert not replace(DEEP, gap_mean=DEEP.gap + 3.9 * DEEP.gap_sd).gap_is_far
    assert not passes([SHALLOW] * 6 + [FAR] + [DEEP] * 35)


def test_a_gap_at_one_step_may_never_be_off() -> None:
    assert not passes([replace(SHALLOW, gap_mean=1.7), *grid()])


def test_the_table_has_a_line_a_row_and_ends_with_the_count() -> None:
    rows = [SHALLOW, OUTLIER, replace(DEEP, train_mean=10.0, gap_mean=9.0)]
    lines = table(rows).splitlines()
    assert len(lines) == 5
    assert lines[-1] == "parity: 1 of 3"
    assert [line.split("   ")[-1].strip() for line in lines[1:4]] == [
        "agrees", "differs in gap", "differs in train and gap"
    ]  # fmt: skip


NUMBERS = pd.DataFrame(
    [{"algorithm": "gd", "steps": 2, "hidden": 16, "seed": 100, "epochs": 7, "train_loss": 1.0, "gap": 0.5}]
)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    problem_file(tmp_path / "reasoning_dataset.npz")
    NUMBERS.to_csv(tmp_path / "reasoning_authors.csv", index=False)
    return tmp_path


def test_a_whole_reference_is_read(reference: Path) -> None:
    pd.testing.assert_frame_equal(read_reference(reference), NUMBERS)


@pytest.mark.parametrize("name", ["reasoning_dataset.npz", "reasoning_authors.csv"])
def test_a_missing_file_is_named(reference: Path, name: str) -> None:
    (reference / name).unlink()
    with pytest.raises(ParityError, match=rf"REFERENCE: expected .* in {reference}, found no {name}"):
        read_reference(reference)


def test_a_missing_column_is_named(reference: Path) -> None:
    NUMBERS.drop(columns="gap").to_csv(reference / "reasoning_authors.csv", index=False)
    with pytest.raises(ParityError, match=r"needs the columns algorithm, .*; missing: \['gap'\]"):
        read_reference(reference)


def ours(**changes: object) -> pd.DataFrame:
    """Records of the one row of the reference, one an initialisation."""
    row = {
        "status": "finished", "solver.name": "gd", "solver.steps": 2, "network.width": 16, "data.rows_seed": 100,
        "optim.epochs": 7, "optim.batch_size": 50,
    }  # fmt: skip
    losses = np.arange(INITIALISATIONS, dtype=float)
    return pd.DataFrame([row | {"train_loss": x, "gap": 2 * x} | changes for x in losses])


def test_rows_are_compared_with_the_distribution_of_their_setting() -> None:
    elsewhere = ours(**{"solver.steps": 3, "train_loss": 1e9})
    (row,) = compare(NUMBERS, pd.concat([ours(), elsewhere]))
    losses = np.arange(INITIALISATIONS)
    assert (row.algorithm, row.steps, row.hidden, row.seed, row.train, row.gap) == ("gd", 2, 16, 100, 1.0, 0.5)
    assert row.train_mean == pytest.approx(losses.mean())
    assert row.train_sd == pytest.approx(losses.std(ddof=1))
    assert row.gap_mean == pytest.approx(2 * losses.mean())
    assert row.gap_sd == pytest.approx(2 * losses.std(ddof=1))


@pytest.mark.parametrize("changes", [{"status": "diverged"}, {"optim.epochs": 8}, {"network.width": 0}])
def test_missing_initialisations_are_an_error(changes: dict[str, object]) -> None:
    with pytest.raises(ParityError, match=f"expected {INITIALISATIONS} finished trials, got 0"):
        compare(NUMBERS, ours(**changes))
