"""Records of the hybrid experiments: the best run of every net and seed, and tables over nets without gaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.claims.grid import MixedRecordsError, trials_of
from unrolled.claims.structures import complete
from unrolled.records.select import HYBRID_CELL, best_runs, holds_list

HELD = (
    "data.n_train",
    "data.seed",
    "optim.weight_decay",
    "optim.epochs",
    "optim.batch_size",
    "optim.patience",
    "optim.potential_weight",
    "solver.learn_step_size",
    "solver.step_rule",
    "solver.first_step",
    "solver.differentiation",
    "attack.linf",
    "attack.l2",
    "attack.steps",
    "attack.restarts",
    "attack.rows",
)
"""What an experiment's runs on one data set share: with several values, the best of the rates would pick among them."""

STRUCTURE = ["data.name", "structure", "parameters"]


def trained_trials(frame: pd.DataFrame, experiments: Sequence[str]) -> pd.DataFrame:
    """Return the finished trials of trained nets of the experiments, each once."""
    trials = trials_of(frame, experiments)
    if trials.empty or "train_loss" not in trials or "structure" not in trials:
        return trials.iloc[:0]
    return trials[(trials["status"] == "finished") & trials["train_loss"].notna()].reset_index(drop=True)


class HybridRuns:
    """Best-of runs of one hybrid experiment.

    Args:
        frame: records, one row a trial.
        experiment: its name.

    Raises:
        MixedRecordsError: the runs of a data set differ in something that is no axis here.
    """

    def __init__(self, frame: pd.DataFrame, experiment: str) -> None:
        self.experiment = experiment
        trials = trained_trials(frame, [experiment])
        for data, rows in trials.groupby("data.name") if len(trials) else ():
            for column in HELD:
                values = sorted(rows[column].dropna().unique()) if column in rows else []
                if len(values) > 1:
                    raise MixedRecordsError(self._message(f"one value of {column}", f"{data}", values))
        self.runs = best_runs(trials, HYBRID_CELL) if len(trials) else trials

    def nets(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield the runs of every (data set, structure), with a name: the data set alone where that says all."""
        groups = list(self.runs.groupby(STRUCTURE, sort=True)) if len(self.runs) else []
        keys = [(str(data), str(structure)) for (data, structure, _), _ in groups]
        for (data, structure), ((_, _, parameters), rows) in zip(keys, groups, strict=True):
            alone = sum(data == other for other, _ in keys) == 1
            twice = keys.count((data, structure)) > 1
            name = data if alone else f"{data}, {structure}"
            yield name + (f" ({int(parameters):,} parameters)" if twice else ""), rows

    def require_one(self, rows: pd.DataFrame, axes: Sequence[str]) -> None:
        """Raise unless the rows have one run for every value of the axes and seed.

        Raises:
            MixedRecordsError: two runs share one.
        """
        twice = rows.duplicated([*axes, "seed"])
        if twice.any():
            place = rows.loc[twice, [*axes, "seed"]].iloc[0].to_dict()
            raise MixedRecordsError(self._message(f"one run for each ({', '.join(axes)}, seed)", str(place), "several"))

    def _message(self, expected: str, where: str, got: object) -> str:
        found = ", ".join(map(str, got)) if isinstance(got, list) else got
        return (
            f"{self.experiment} on {where}: expected {expected}, got {found}; "
            "keep variations in a folder of their own (run.folder=...)"
        )


def aligned(rows: pd.DataFrame, axes: Sequence[str], metrics: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return one table a metric, all over the same seeds and cells, without gaps.

    Args:
        rows: runs, one a cell and seed.
        axes: columns that name a cell among the rows.
        metrics: columns of numbers; a cell and seed counts where all are finite.

    Returns:
        ``(S, C)`` tables, one row a seed, one column a cell; empty where a metric is not in the records.
    """
    if rows.empty or not set(metrics) <= set(rows.columns):
        return {metric: pd.DataFrame() for metric in metrics}
    tables = {
        metric: rows.pivot(index="seed", columns=list(axes), values=metric).astype(np.float64).sort_index(axis=1)
        for metric in metrics
    }
    known = np.logical_and.reduce([np.isfinite(table.to_numpy()) for table in tables.values()])
    kept = complete(next(iter(tables.values())).where(known).sort_index())
    return {metric: table.loc[kept.index, kept.columns] for metric, table in tables.items()}


def side_by_side(first: pd.DataFrame, second: pd.DataFrame) -> NDArray[np.float64]:
    """Return ``(S, 2 C)`` values of two aligned tables, as the rank correlation of two measured sides takes them."""
    return np.hstack([first.to_numpy(np.float64), second.to_numpy(np.float64)])


def curves(rows: pd.DataFrame, positions: str, column: str) -> pd.DataFrame:
    """Return a list column as a table, one row a seed, one column a position.

    Args:
        rows: runs, one a seed.
        positions: list column of where the entries are, like ``attack_linf``.
        column: list column of the same length.

    Returns:
        ``(S, P)``, columns in ascending order of position; runs without either list are left out.

    Raises:
        MixedRecordsError: the runs differ in their positions.
    """
    if not {positions, column} <= set(rows.columns):
        return pd.DataFrame()
    known = rows[[holds_list(a) and holds_list(b) for a, b in zip(rows[positions], rows[column], strict=True)]]
    if known.empty:
        return pd.DataFrame()
    places = [tuple(map(float, value)) for value in known[positions]]
    if len(set(places)) > 1:
        raise MixedRecordsError(
            f"{positions}: expected the same entries in all runs of a net, got {sorted(set(places))}"
        )
    table = pd.DataFrame([np.asarray(v, np.float64) for v in known[column]], index=known["seed"], columns=places[0])
    return table.where(np.isfinite(table)).dropna().sort_index().sort_index(axis=1)
