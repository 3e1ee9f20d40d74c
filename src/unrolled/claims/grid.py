"""Records of a (width, solver, k, seed) grid, read by cell and paired by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unrolled.claims.statistics import finite, paired_difference
from unrolled.records.select import best_runs, of_experiment

Place = tuple[int, str, int]
"""A cell: (width, solver, k)."""

KEYS = ["network.width", "solver.name", "solver.steps"]

HELD = ("data.n_train", "data.seed", "solver.step_size", "optim.weight_decay", "optim.epochs")
"""What a grid's runs share: with several values of one of these, the best of the rates would pick among them."""


class MixedRecordsError(ValueError):
    """An experiment's records vary in something that its claims hold fixed; the message says in what."""


class Grid:
    """Best-of runs by cell (width, solver, k): a metric's value for each seed.

    Args:
        frame: records, one row a trial.
        experiments: names of the experiments whose trials belong to the grid.
        learned_step: keep the runs whose step size was learned (True) or fixed (False).

    Raises:
        MixedRecordsError: the runs differ in something that is no axis here, or two best runs share a cell and a seed.
    """

    def __init__(self, frame: pd.DataFrame, experiments: Sequence[str], *, learned_step: bool = False) -> None:
        self.trials = trials_of(frame, experiments, learned_step=learned_step)
        self.runs = best_runs(self.trials)
        self._cells: dict[str, dict[Place, pd.Series]] = {}
        for column in HELD:
            found = sorted(self.trials[column].dropna().unique()) if column in self.trials else []
            if len(found) > 1:
                raise MixedRecordsError(
                    f"{', '.join(experiments)}: expected one value of {column}, got {', '.join(map(str, found))}; "
                    "keep variations in a folder of their own (run.folder=...)"
                )
        twice = self.runs.duplicated([*KEYS, "seed"]) if len(self.runs) else pd.Series(dtype=bool)
        if twice.any():
            cell = self.runs.loc[twice, [*KEYS, "seed"]].iloc[0].to_dict()
            raise MixedRecordsError(
                f"{', '.join(experiments)}: expected one best run for each (width, solver, k, seed), got several at "
                f"{cell}; keep variations in a folder of their own (run.folder=...)"
            )

    def cells(self, metric: str) -> dict[Place, pd.Series]:
        """Return the finite values of a metric, indexed by seed, for every (width, solver, k) that has any."""
        if metric not in self._cells:
            known = self.runs if metric in self.runs else self.runs.iloc[:0]
            grouped = known.set_index("seed").groupby(KEYS)[metric] if len(known) else ()
            found = {(int(width), str(name), int(k)): finite(values) for (width, name, k), values in grouped}
            self._cells[metric] = {place: values for place, values in found.items() if len(values)}
        return self._cells[metric]

    def widths(self) -> list[int]:
        """Return the hidden widths in the grid, ascending."""
        return sorted({int(width) for width in self.runs["network.width"].dropna()}) if len(self.runs) else []

    def steps(self, metric: str, width: int, solvers: Sequence[str]) -> list[int]:
        """Return the k, ascending, at which every one of ``solvers`` has the metric for at least one seed.

        Claims compare algorithms, so a k that one of them lacks is not part of the comparison.
        """
        measured = self.cells(metric)
        sets = [{k for w, name, k in measured if (w, name) == (width, solver)} for solver in solvers]
        return sorted(set.intersection(*sets))

    def values(self, metric: str, width: int, solver: str, k: int) -> pd.Series:
        """Return the finite values of a cell, indexed by seed; empty if the cell is missing."""
        return self.cells(metric).get((width, solver, k), pd.Series(dtype=np.float64))

    def between_solvers(self, metric: str, width: int, k: int, first: str, second: str) -> pd.Series:
        """Return ``first - second`` at equal (width, k), paired by seed."""
        return paired_difference(self.values(metric, width, first, k), self.values(metric, width, second, k))

    def between_steps(self, metric: str, width: int, solver: str, first: int, second: int) -> pd.Series:
        """Return the metric at ``k = first`` minus that at ``k = second``, paired by seed."""
        return paired_difference(self.values(metric, width, solver, first), self.values(metric, width, solver, second))

    def complete(self, metric: str, width: int, cells: Sequence[tuple[str, int]]) -> np.ndarray:
        """Return ``(S, C)`` values of the cells (solver, k) for the seeds that have all of them."""
        columns = [self.values(metric, width, solver, k) for solver, k in cells]
        return pd.concat(columns, axis=1, join="inner").to_numpy(dtype=np.float64)

    def constant(self, column: str, solvers: Sequence[str]) -> float:
        """Return a setting that all runs of the solvers share.

        Args:
            column: name of the setting, like ``data.smoothness``.
            solvers: whose runs to look at.

        Returns:
            Its value.

        Raises:
            MixedRecordsError: the runs differ in it, or there are none.
        """
        found = self.runs.loc[self.runs["solver.name"].isin(solvers), column].unique()
        if len(found) != 1:
            raise MixedRecordsError(f"{column}: expected one value for {', '.join(solvers)}, got {sorted(found)}")
        return float(found[0])


def trials_of(frame: pd.DataFrame, experiments: Sequence[str], *, learned_step: bool | None = None) -> pd.DataFrame:
    """Return the trials of the experiments, each once.

    Args:
        frame: records, one row a trial.
        experiments: names; those without records add nothing.
        learned_step: keep only runs with a learned (True) or fixed (False) step size; None keeps both.

    Returns:
        Rows of the frame with a fresh index.
    """
    rows = pd.concat([of_experiment(frame, name) for name in experiments], ignore_index=True)
    rows = rows.drop_duplicates("trial", ignore_index=True) if len(rows) else rows
    if learned_step is None or rows.empty:
        return rows
    # A missing flag means a layer without a step size to learn (the RNN): it is not a learned step.
    return rows[rows["solver.learn_step_size"].isin([True]) == learned_step].reset_index(drop=True)
