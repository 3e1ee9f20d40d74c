"""What was run, read from the records: the grid of every experiment, its trials by status, its machine time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unrolled.records.schema import STATUSES
from unrolled.records.select import of_experiment

ABSENT = "–"

SETTINGS = {
    "solver": "solver.name",
    "solver steps k": "solver.steps",
    "step size s": "solver.step_size",
    "step size learned": "solver.learn_step_size",
    "hidden width": "network.width",
    "training rows n": "data.n_train",
    "problems in the population": "data.population",
    "optimiser": "optim.name",
    "learning rate": "optim.lr",
    "weight decay": "optim.weight_decay",
    "epochs": "optim.epochs",
    "batch size": "optim.batch_size",
    "training seeds": "seed",
}
"""Row heading of the settings table and the column of the records it reads."""

THEORY_SETTINGS = {
    "frames": {
        "data set": "data.name",
        "skip connections": "network.skip",
        "structures": "structure",
        "layer widths": "network.widths",
        "depth (blocks a group n, or layers after the first)": "network.depth",
        "groups of blocks": "network.groups",
        "potential weight λ": "optim.potential_weight",
        "form of the potential": "optim.potential",
        "patience (epochs)": "optim.patience",
        "restarts of the minimisation": "restarts",
    },
    "hybrid": {
        "data set": "data.name",
        "skip connections": "network.skip",
        "structures": "structure",
        "depth (blocks a group n, or layers after the first)": "network.depth",
        "rule of the step size": "solver.step_rule",
        "first sweep": "solver.first_step",
        "differentiation": "solver.differentiation",
        "largest attack radius, l-infinity": "attack.linf",
        "largest attack radius, l2": "attack.l2",
        "attack steps": "attack.steps",
        "attack restarts": "attack.restarts",
        "attacked rows": "attack.rows",
        "patience (epochs)": "optim.patience",
    },
}
"""Further rows, by the theory whose records bring them."""

MOST_NAMED = 8
"""Distinct texts that a cell names; of more it gives the number."""


@dataclass(frozen=True)
class SettingsTable:
    """Settings with one column an experiment.

    Args:
        experiments: column headings.
        rows: row heading and one cell an experiment.
    """

    experiments: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def experiments_in(frame: pd.DataFrame) -> list[str]:
    """Return the names of all experiments that the records serve, sorted."""
    return sorted({name for names in frame["experiments"] for name in names})


def settings_table(frame: pd.DataFrame) -> SettingsTable:
    """Return every experiment's grid, its trials by status and the seconds they took.

    Args:
        frame: records, one row a trial.
    """
    names = experiments_in(frame)
    parts = [of_experiment(frame, name) for name in names]
    theories = set(frame["theory"])
    # A row that two theories bring stands once.
    further = {row: column for name, own in THEORY_SETTINGS.items() if name in theories for row, column in own.items()}
    settings = [*SETTINGS.items(), *further.items()]
    rows = [(heading, tuple(_cell(part, column) for part in parts)) for heading, column in settings]
    rows = [(heading, cells) for heading, cells in rows if set(cells) != {ABSENT}]
    rows += [
        (f"trials {status}", tuple(f"{int((part['status'] == status).sum()):,}" for part in parts))
        for status in STATUSES
    ]
    rows.append(("machine time", tuple(duration(seconds(part)) for part in parts)))
    return SettingsTable(tuple(names), tuple(rows))


def _cell(rows: pd.DataFrame, column: str) -> str:
    text = value_list(rows[column]) if column in rows else ABSENT
    if column in ("structure", "network.widths") and (distinct := rows[column].nunique() if column in rows else 0):
        return f"{distinct:,}" if column == "structure" or distinct > MOST_NAMED else text
    if column == "seed" and text != ABSENT:
        count = rows["seed"].nunique()
        return f"{text} ({count})" if count > 1 else text
    return text


def value_list(values: Iterable[object]) -> str:
    """Return the distinct values in order, with whole numbers in a row joined to a range.

    Example:
        >>> value_list([3, 1, 2, 2, 10, 12])
        '1–3, 10, 12'
        >>> value_list([0.01, 0.001]), value_list(["gd", None]), value_list([])
        ('0.001, 0.01', 'gd', '–')
    """
    present = pd.Series(list(values), dtype=object).dropna().unique().tolist()
    if not present:
        return ABSENT
    if any(isinstance(value, (str, bool, np.bool_)) for value in present):
        words = {"True": "yes", "False": "no"}
        return ", ".join(sorted(words.get(str(value), str(value)) for value in present))
    numbers = sorted(float(value) for value in present)
    if all(number.is_integer() for number in numbers):
        return ", ".join(_ranges([int(number) for number in numbers]))
    return ", ".join(f"{number:g}" for number in numbers)


def _ranges(numbers: list[int]) -> list[str]:
    """Join runs of at least three consecutive numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        parts += [f"{run[0]}–{run[-1]}"] if len(run) > 2 else [str(number) for number in run]
    return parts


def seconds(frame: pd.DataFrame) -> float:
    """Return the machine time of all rows in seconds; rows without one count 0."""
    return float(frame["wall_s"].sum()) if "wall_s" in frame else 0.0


def duration(value: float) -> str:
    """Return a time for a reader.

    Example:
        >>> duration(3.21), duration(754), duration(9000)
        ('3.2 s', '12.6 min', '2.5 h')
    """
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def unfinished(frame: pd.DataFrame, most: int = 5) -> list[str]:
    """Return a sentence for each kind of trial that did not finish.

    Args:
        frame: records, one row a trial.
        most: how many different errors are named.

    Returns:
        Empty where every trial finished.
    """
    sentences = []
    diverged = frame[frame["status"] == "diverged"]
    if len(diverged):
        sentences.append(f"{_trials(len(diverged))} diverged (a loss was not finite): no part of any mean.")
    failed = frame[frame["status"] == "failed"]
    if len(failed):
        errors = failed["error"].fillna("no message").astype(str).str.split("\n").str[0].value_counts()
        named = "; ".join(f"{count:,} × {error}" for error, count in errors.head(most).items())
        rest = f"; and {len(errors) - most} other errors" if len(errors) > most else ""
        sentences.append(f"{_trials(len(failed))} failed: {named}{rest}.")
    return sentences


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count:,} trials"
