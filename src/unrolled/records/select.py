"""Selections from a table of records that figures and claims share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

CELL = ("solver.name", "solver.steps", "network.width", "data.n_train", "solver.learn_step_size")
"""Columns that name a cell of the reasoning-layer grid; with ``seed`` they name one best run."""

NET_CELL = ("data.name", "network.skip", "structure", "parameters", "optim.potential_weight")
"""Columns that name a trained net of the frames experiments: the text of a structure alone may stand for two depths."""


HYBRID_CELL = (
    "data.name",
    "network.skip",
    "structure",
    "parameters",
    "solver.name",
    "solver.steps",
    "solver.step_size",
    "solver.learn_step_size",
)
"""Columns that name a trained net of the hybrid experiments: its structure and its inference."""


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


def best_runs(frame: pd.DataFrame, cell: Sequence[str] = CELL) -> pd.DataFrame:
    """Return, for every cell and seed, the finished run with the lowest training loss.

    The candidates of a cell differ in optimiser and learning rate. Ties go to the smaller trial hash, so that the
    answer does not depend on the order of the rows.

    Args:
        frame: records, one row a trial; diverged and failed rows and rows without a training loss are passed over.
        cell: columns that name a cell; a missing value is a value like any other.

    Returns:
        One row for each cell and seed, sorted by these.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401), experiments: the run with the best training loss counts.
    """
    if frame.empty:
        return frame.copy()
    keys = [*cell, "seed"]
    usable = frame[(frame["status"] == "finished") & frame["train_loss"].notna()]
    ordered = usable.sort_values([*keys, "train_loss", "trial"], kind="stable")
    return ordered.drop_duplicates(keys, keep="first").reset_index(drop=True)


def holds_list(value: object) -> bool:
    """Whether an entry of a table is a list with something in it.

    Files give arrays where lists were written, and None or NaN where there was none.

    Example:
        >>> holds_list([0.5]), holds_list([]), holds_list(None), holds_list(float("nan"))
        (True, False, False, False)
    """
    return isinstance(value, (list, tuple, np.ndarray)) and len(value) > 0
