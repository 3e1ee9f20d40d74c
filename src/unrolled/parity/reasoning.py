"""Parity with the released code of the reasoning-layer paper, by distributions over initialisations.

The reference holds what the authors' code printed for one initialisation; ours draws its weights and row orders from
other streams. So each printed number is held against many of our initialisations on the same training rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unrolled.config.check import Flat, check
from unrolled.sweep.expand import expand
from unrolled.sweep.run import run_sweep
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import trials_of

DATASET, NUMBERS = "reasoning_dataset.npz", "reasoning_authors.csv"
COLUMNS = ("algorithm", "steps", "hidden", "seed", "epochs", "train_loss", "gap")
INITIALISATIONS = 64
"""Draws that a printed number is held against. 16 are too few where the spread has a tail: GD with k = 2 and 32 hidden
units ends 1 fit in 50 at a training error of 22.19 to 22.20 instead of 22.184, with a smaller gap, and 16 draws without
one of these know nothing of it. The printed run is one of these."""

# The rule, fixed before any run.
ABSOLUTE = 0.001
"""Rounding of the printed numbers; at k = 1, where nothing depends on the weights, the whole tolerance."""
RELATIVE_TRAIN = 0.01
SMALL_TRAIN = 0.5
"""Below this training error the optimiser's noise counts: the reference must lie inside the spread instead."""
SPREAD = 2.5
"""Standard deviations that a single draw may lie from the mean."""
FAR = 4.0
"""No gap may lie further than this many standard deviations."""
OUTLIERS = 2 / 36
"""Share of the gaps with k > 1 that may lie outside ``SPREAD``."""


class ParityError(ValueError):
    """The reference folder is not what is needed; the message says what is."""


@dataclass(frozen=True)
class ParityRow:
    """One printed row of the reference beside our distribution.

    Args:
        algorithm, steps, hidden, seed: the setting; seed names the training rows.
        train, gap: the reference.
        train_mean, train_sd, gap_mean, gap_sd: over our initialisations.
    """

    algorithm: str
    steps: int
    hidden: int
    seed: int
    train: float
    gap: float
    train_mean: float
    train_sd: float
    gap_mean: float
    gap_sd: float

    @property
    def train_agrees(self) -> bool:
        """Whether the training error agrees."""
        difference = abs(self.train - self.train_mean)
        if self.steps == 1:
            return difference <= ABSOLUTE
        if difference <= RELATIVE_TRAIN * self.train + ABSOLUTE:
            return True
        return self.train < SMALL_TRAIN and difference <= SPREAD * self.train_sd + ABSOLUTE

    @property
    def gap_agrees(self) -> bool:
        """Whether the gap agrees: a new draw would lie this near in 99 of 100 cases."""
        if self.steps == 1:
            return abs(self.gap - self.gap_mean) <= ABSOLUTE
        return abs(self.gap - self.gap_mean) <= SPREAD * self.gap_sd * math.sqrt(1 + 1 / INITIALISATIONS) + ABSOLUTE

    @property
    def gap_is_far(self) -> bool:
        """Whether the gap lies so far off that no share of outliers excuses it."""
        return abs(self.gap - self.gap_mean) > FAR * self.gap_sd + ABSOLUTE

    @property
    def agrees(self) -> bool:
        """Whether both numbers agree."""
        return self.train_agrees and self.gap_agrees


def read_reference(folder: Path) -> pd.DataFrame:
    """Return the reference rows of a folder.

    Raises:
        ParityError: a file is missing, or the table lacks a column.
    """
    for name in (DATASET, NUMBERS):
        if not (folder / name).is_file():
            raise ParityError(f"REFERENCE: expected {DATASET} and {NUMBERS} in {folder}, found no {name}")
    numbers = pd.read_csv(folder / NUMBERS)
    if missing := [name for name in COLUMNS if name not in numbers]:
        raise ParityError(f"REFERENCE: {folder / NUMBERS} needs the columns {', '.join(COLUMNS)}; missing: {missing}")
    return numbers


def run_reference(numbers: pd.DataFrame, folder: Path, results: Path, say: Callable[[str], None]) -> pd.DataFrame:
    """Train every setting of the reference with many initialisations on its training rows.

    Args:
        numbers: reference rows.
        folder: where the data set is.
        results: folder for the records.
        say: prints a line.

    Returns:
        Records.
    """
    base = expand(["tracker=disabled", "optim.lr=1e-2", "optim.weight_decay=1e-4", "solver.step_size=1.0"])[0]
    configs = [
        check(base | _setting(row) | {"data.file": str(folder / DATASET), "seed": seed})
        for row in numbers.to_dict("records")
        for seed in range(INITIALISATIONS)
    ]
    settings = RunSettings(results, "parity")
    summary = run_sweep(trials_of(configs), settings, say=say)
    if summary.failures:
        raise ParityError(f"pack {summary.failures[0][0]} failed: {summary.failures[0][1]}")
    return settings.store.load()


def _setting(row: dict[str, object]) -> Flat:
    return {
        "solver.name": str(row["algorithm"]),
        "solver.steps": int(str(row["steps"])),
        "network.width": int(str(row["hidden"])),
        "data.rows_seed": int(str(row["seed"])),
        "optim.epochs": int(str(row["epochs"])),
        "optim.batch_size": 50,
    }


def compare(numbers: pd.DataFrame, records: pd.DataFrame) -> list[ParityRow]:
    """Return one comparison a reference row, in the reference's order.

    Raises:
        ParityError: a setting lacks finished trials.
    """
    rows = []
    for row in numbers.to_dict("records"):
        ours = records[records["status"] == "finished"]
        for column, value in _setting({str(k): v for k, v in row.items()}).items():
            ours = ours[ours[column] == value]
        if len(ours) != INITIALISATIONS:
            raise ParityError(f"{row}: expected {INITIALISATIONS} finished trials, got {len(ours)}")
        train, gap = ours["train_loss"], ours["gap"]
        rows.append(
            ParityRow(
                str(row["algorithm"]), int(row["steps"]), int(row["hidden"]), int(row["seed"]),
                float(row["train_loss"]), float(row["gap"]),
                float(train.mean()), float(train.std()), float(gap.mean()), float(gap.std()),
            )
        )  # fmt: skip
    return rows


def passes(rows: Sequence[ParityRow]) -> bool:
    """Whether the whole comparison keeps the rule: all training errors, all of k = 1, and nearly all gaps agree."""
    deep = [row for row in rows if row.steps > 1]
    outliers = sum(not row.gap_agrees for row in deep)
    return (
        all(row.train_agrees for row in rows)
        and all(row.gap_agrees for row in rows if row.steps == 1)
        and outliers <= OUTLIERS * len(deep)
        and not any(row.gap_is_far for row in deep)
    )


def table(rows: Sequence[ParityRow]) -> str:
    """Return the comparison as text, row by row, ending with ``parity: N of M``."""
    lines = [
        f"{'algorithm':9} {'k':>3} {'hidden':>6} {'rows':>5}   {'train: reference':>16} {'ours':>17}"
        f"   {'gap: reference':>14} {'ours':>17}"
    ]
    for r in rows:
        ours = f"{r.train_mean:8.3f} +- {r.train_sd:5.3f}", f"{r.gap_mean:8.3f} +- {r.gap_sd:5.3f}"
        verdict = (
            "agrees"
            if r.agrees
            else "differs in "
            + " and ".join(name for name, fine in (("train", r.train_agrees), ("gap", r.gap_agrees)) if not fine)
        )
        lines.append(
            f"{r.algorithm:9} {r.steps:3} {r.hidden:6} {r.seed:5}   {r.train:16.3f} {ours[0]:>17}"
            f"   {r.gap:14.3f} {ours[1]:>17}   {verdict}"
        )
    lines.append(f"parity: {sum(row.agrees for row in rows)} of {len(rows)}")
    return "\n".join(lines)
