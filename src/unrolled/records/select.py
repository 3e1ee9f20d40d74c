"""Selections from a table of records that figures and claims share."""

from __future__ import annotations

import pandas as pd

CELL = ("solver.name", "solver.steps", "network.width", "data.n_train", "solver.learn_step_size")
"""Columns that name a cell of the reasoning-layer grid; with ``seed`` they name one best run."""


def of_experiment(frame: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """Return the rows that serve one experiment.

    Args:
        frame: records, one row a trial.
        experiment: name like ``reasoning/generalization``.

    Returns:
        The rows whose ``experiments`` list holds the name, in the frame's order, with a fresh index.
    """
    if frame.empty:
        return frame.copy()
    member = [experiment in names for names in frame["experiments"]]
    return frame.loc[member].reset_index(drop=True)


def best_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, for every cell and seed, the finished run with the lowest training loss.

    The candidates of a cell differ in optimiser and learning rate. Ties go to the smaller trial hash, so that the
    answer does not depend on the order of the rows.

    Args:
        frame: records, one row a trial; diverged and failed rows and rows without a training loss are passed over.

    Returns:
        One row for each (solver, steps, width, n_train, learn_step_size, seed), sorted by these.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401), experiments: the run with the best training loss counts.
    """
    if frame.empty:
        return frame.copy()
    keys = [*CELL, "seed"]
    usable = frame[(frame["status"] == "finished") & frame["train_loss"].notna()]
    ordered = usable.sort_values([*keys, "train_loss", "trial"], kind="stable")
    return ordered.drop_duplicates(keys, keep="first").reset_index(drop=True)
