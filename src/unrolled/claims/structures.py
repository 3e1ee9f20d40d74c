"""Records of the frames experiments: minimum potentials by structure, and trained nets joined to them by structure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.claims.grid import MixedRecordsError, trials_of
from unrolled.frames.structure import parse_numbers
from unrolled.records.select import NET_CELL, best_runs

KEY = ["structure", "parameters"]
WEIGHT = "optim.potential_weight"

ZERO = 1e-4
"""A minimum F below this is 0: it is what a numerical minimisation leaves over, an order below all published values."""

HELD = (
    "data.n_train",
    "data.seed",
    "optim.weight_decay",
    "optim.epochs",
    "optim.batch_size",
    "optim.patience",
    "optim.potential",
)
"""What the runs on one data set share: with several values of one, the best of the rates would pick among them."""

_PLACES = {"network.widths": "", "network.width": math.nan, "network.depth": math.nan}


def minima_of(frame: pd.DataFrame, experiments: Sequence[str]) -> pd.DataFrame:
    """Return the minimum potential of every structure, one row a (data set, structure).

    Of several records of a structure the lowest ``f_min`` counts: the minimum is an infimum, so each run of a numerical
    minimisation bounds it from above. Values below :data:`ZERO` are 0.

    Args:
        frame: records, one row a trial.
        experiments: names; those without records add nothing.

    Returns:
        Finished rows with a finite ``f_min``, with the columns ``layers``, ``inputs`` (k_0) and ``shape`` (what the
        kinds of one net share) added; sorted by data set, kind, parameters and structure.
    """
    rows = trials_of(frame, experiments)
    if rows.empty or "f_min" not in rows:
        return pd.DataFrame(columns=["data.name", "network.skip", *KEY, "network_parameters", "f_min"])
    rows = rows.assign(**{name: value for name, value in _PLACES.items() if name not in rows})
    rows = rows[(rows["status"] == "finished") & np.isfinite(rows["f_min"].astype(float))]
    order = ["data.name", "network.skip", "parameters", "structure"]
    rows = rows.sort_values([*order, "f_min", "trial"], kind="stable").drop_duplicates(order).reset_index(drop=True)
    f_min = rows["f_min"].astype(float)
    described = [_described(row) for row in rows.to_dict("records")]
    shapes = pd.DataFrame(described, columns=["layers", "inputs", "shape"], index=rows.index)
    return rows.assign(f_min=f_min.where(f_min >= ZERO, 0.0)).join(shapes)


def _described(row: dict[str, object]) -> tuple[int, int, str]:
    """Return the number of layers, k_0 and the shape without the kind of skip connections."""
    rest = str(row["structure"]).removeprefix(f"{row['network.skip']} ")
    inputs = int(rest.split(":")[0])
    if isinstance(row["network.widths"], str) and row["network.widths"]:
        widths = parse_numbers("widths", row["network.widths"])
        return len(widths), inputs, f"{inputs}: {'x'.join(map(str, widths))}{_suffix(rest)}"
    width, depth = (int(float(str(row[name]))) for name in ("network.width", "network.depth"))
    groups = row.get("network.groups")
    layers = 1 + 2 * depth * (int(float(str(groups))) if pd.notna(groups) else 3)
    return layers, inputs, f"{inputs}, b = {width}, n = {depth}{_suffix(rest)}"


def _suffix(text: str) -> str:
    """Return the grid of a convolutional structure's text, and nothing for a fully connected one."""
    _, found, grid = text.partition(" on ")
    return f" on {grid}" if found else ""


@dataclass(frozen=True)
class Family:
    """Nets of one data set and kind: an error of each at every seed, and what predicts it.

    Attributes:
        errors: ``(S, C)``, one row a seed, one column a structure; complete.
        f_min: minimum potential, ``(C,)``.
        log_parameters: log2 of the network's parameters, ``(C,)``.
    """

    errors: pd.DataFrame
    f_min: NDArray[np.float64]
    log_parameters: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of structures."""
        return len(self.f_min)


class Nets:
    """Best-of runs of trained nets with the minimum potential of their structures.

    Args:
        frame: records, one row a trial.
        experiments: names of the experiments whose trials are the nets.
        minima: names of the experiments that hold the minimum potentials.

    Raises:
        MixedRecordsError: the runs of a data set differ in something that is no axis here.
    """

    def __init__(self, frame: pd.DataFrame, experiments: Sequence[str], minima: Sequence[str]) -> None:
        trials = trials_of(frame, experiments)
        trials = trials[trials["train_loss"].notna()] if "train_loss" in trials else trials.iloc[:0]
        trials = trials.assign(**{WEIGHT: trials[WEIGHT].astype(float).fillna(0.0)}) if len(trials) else trials
        _check_held(trials, experiments)
        self.runs = best_runs(trials, NET_CELL) if len(trials) else pd.DataFrame(columns=[*NET_CELL, "seed"])
        found = minima_of(frame, minima).sort_values("f_min", kind="stable").drop_duplicates(KEY)
        self.runs = self.runs.merge(found[[*KEY, "f_min"]], on=KEY, how="left", suffixes=("_recorded", ""))
        self.runs["regularised"] = self.runs[WEIGHT].astype(float) > 0

    def data_sets(self) -> list[str]:
        """Return the data sets of the runs, sorted."""
        return sorted(self.runs["data.name"].dropna().unique())

    def kinds(self, data: str) -> list[str]:
        """Return the kinds of skip connections on a data set, sorted."""
        return sorted(self.runs.loc[self.runs["data.name"] == data, "network.skip"].unique())

    def rows(self, data: str, kind: str, *, regularised: bool) -> pd.DataFrame:
        """Return the best runs of one data set and kind, with or without potential regularisation."""
        chosen = (self.runs["data.name"] == data) & (self.runs["network.skip"] == kind)
        return self.runs[chosen & (self.runs["regularised"] == regularised)]

    def table(self, data: str, kind: str, *, regularised: bool, metric: str = "test_error") -> pd.DataFrame:
        """Return a metric of one data set and kind, one row a seed, one column a (structure, parameters).

        Missing and infinite values are NaN; structures without a minimum potential are left out.
        """
        rows = self.rows(data, kind, regularised=regularised)
        rows = rows[rows["f_min"].notna()]
        if rows.empty or metric not in rows:
            return pd.DataFrame()
        table = rows.pivot(index="seed", columns=KEY, values=metric).astype(np.float64)
        return table.where(np.isfinite(table)).sort_index().sort_index(axis=1)

    def family(self, table: pd.DataFrame) -> Family:
        """Return a complete table of errors with the predictors of its structures."""
        known = self.runs.drop_duplicates(KEY).set_index(KEY)
        columns = known.loc[list(table.columns)]
        f_min, parameters = (columns[name].to_numpy(np.float64) for name in ("f_min", "network_parameters"))
        return Family(table, f_min, np.log2(parameters))


def _check_held(trials: pd.DataFrame, experiments: Sequence[str]) -> None:
    for data, rows in trials.groupby("data.name") if len(trials) else ():
        found = {f"{WEIGHT} above 0": sorted(rows.loc[rows[WEIGHT] > 0, WEIGHT].unique())}
        found |= {column: sorted(rows[column].dropna().unique()) for column in HELD if column in rows}
        for column, values in found.items():
            if len(values) > 1:
                raise MixedRecordsError(
                    f"{', '.join(experiments)} on {data}: expected one value of {column}, got "
                    f"{', '.join(map(str, values))}; keep variations in a folder of their own (run.folder=...)"
                )


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without gaps: the seeds that most structures have, and the structures that have all of these.

    A single lost run would otherwise cost a seed for all structures, or a structure with one seed all other seeds.

    Args:
        table: one row a seed, one column a structure, NaN where a run is missing.

    Example:
        >>> gaps = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, None]})
        >>> list(complete(gaps).columns), len(complete(gaps))
        (['a', 'b'], 2)
    """
    if table.empty:
        return table
    seeds = table[table.notna().sum(axis=1) * 2 > table.shape[1]]
    return seeds.dropna(axis=1)
