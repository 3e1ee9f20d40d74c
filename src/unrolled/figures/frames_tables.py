"""Tables behind the figures on deep frames: trained nets beside the minimum potential of their structures."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd

from unrolled.figures.intervals import mean_intervals
from unrolled.figures.spec import UndrawableError
from unrolled.figures.style import KIND_STYLES

KEY = ["structure", "parameters"]
"""A structure: its text alone stands for several depths where all layers have one width."""

NET = ["data.name", "network.skip", *KEY, "optim.potential_weight"]

MOST_PANELS = 6
"""Structures that the figure of potentials in training has room for."""


def trained_nets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of trained nets, a missing potential weight as 0."""
    nets = rows[rows["train_loss"].notna()]
    return nets.assign(**{"optim.potential_weight": nets["optim.potential_weight"].astype(float).fillna(0.0)})


def minima(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row a (data set, structure) with the lowest minimum potential found for it.

    Args:
        rows: records; those without a finite ``f_min`` are left out.
    """
    found = rows[np.isfinite(rows["f_min"].astype(float))]
    by = ["data.name", "network.skip", *KEY]
    return found.sort_values([*by, "f_min", "trial"], kind="stable").drop_duplicates(by).reset_index(drop=True)


def lowest_potentials(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``f_min`` by structure, over all data sets of one input shape."""
    return minima(rows).groupby(KEY, as_index=False)["f_min"].min()


def errors_and_minima(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the test error of every net with its interval over seeds, beside its minimum potential.

    Args:
        rows: best runs of trained nets, and records of minimum potentials.

    Returns:
        One row a (data set, kind, structure, potential weight) with ``mean``, ``low``, ``high``, ``n`` of the error,
        ``f_min`` and ``network_parameters``; nets without a minimum potential are left out.

    Raises:
        UndrawableError: no trained net has a minimum potential.
    """
    nets = trained_nets(rows)
    table = mean_intervals(nets, "test_error", NET)
    sizes = nets.drop_duplicates(KEY)
    table = table.merge(sizes[[*KEY, *_places(sizes)]], on=KEY).merge(lowest_potentials(rows), on=KEY)
    if table.empty:
        raise UndrawableError("no trained net in the records has a minimum potential: run the experiment of the minima")
    return table


def _places(nets: pd.DataFrame) -> list[str]:
    names = ["network_parameters", "network.widths", "network.width", "network.depth"]
    return [name for name in names if name in nets]


def kinds_in(table: pd.DataFrame) -> list[str]:
    """Return the kinds of skip connections of a table in the order of legends.

    Raises:
        UndrawableError: a kind has no style.
    """
    present = set(table["network.skip"])
    unknown = sorted(present - set(KIND_STYLES))
    if unknown:
        raise UndrawableError(f"no style for kind {', '.join(unknown)}; known: {', '.join(KIND_STYLES)}")
    return [kind for kind in KIND_STYLES if kind in present]


def data_sets(rows: pd.DataFrame) -> list[str]:
    """Return the data sets of trained nets, sorted."""
    return sorted(rows.loc[rows["train_loss"].notna(), "data.name"].unique())


def one_gram_shape(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the Gram matrices of the shape that most kinds have; of several the one with the fewest atoms.

    Args:
        rows: records of minimum potentials.

    Returns:
        One row a kind, in the order of legends.

    Raises:
        UndrawableError: no record holds a Gram matrix.
    """
    kept = rows[rows["gram"].notna()] if "gram" in rows else rows.iloc[:0]
    if kept.empty:
        raise UndrawableError("no record holds a Gram matrix: only small fully connected structures have one")
    kinds = kinds_in(kept)
    rests = [text.removeprefix(kind) for text, kind in zip(kept["structure"], kept["network.skip"], strict=True)]
    shape = kept["data.name"] + rests + kept["network.widths"].fillna("")
    kept = kept.assign(_shape=shape, _atoms=[len(gram) for gram in kept["gram"]])
    counts = kept.groupby("_shape").agg(kinds=("network.skip", "nunique"), atoms=("_atoms", "min")).reset_index()
    chosen = counts.sort_values(["kinds", "atoms", "_shape"], ascending=[False, True, True])["_shape"].iloc[0]
    own = minima(kept[kept["_shape"] == chosen]).drop(columns=["_shape", "_atoms"])
    return own.sort_values("network.skip", key=lambda names: names.map(kinds.index)).reset_index(drop=True)


def potential_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Return F during training, the mean over seeds with its interval, for every structure, weight and epoch.

    A run that stopped early keeps its last value: otherwise the end of a curve would show the runs that went on.

    Args:
        rows: best runs with ``curve_epoch`` and ``curve_potential``.

    Returns:
        Columns ``data.name``, ``structure``, ``parameters``, ``optim.potential_weight``, ``epoch``, ``mean``, ``low``,
        ``high``, ``n``.

    Raises:
        UndrawableError: no run holds a curve.
    """
    nets = trained_nets(rows)
    nets = nets[nets["curve_potential"].notna()] if "curve_potential" in nets else nets.iloc[:0]
    by = ["data.name", *KEY, "optim.potential_weight"]
    parts = []
    for _, own in nets.groupby(by[:-1], sort=True) if len(nets) else ():
        epochs = np.unique(np.concatenate([np.asarray(e, float) for e in own["curve_epoch"]]))
        for run in own.to_dict("records"):
            measured = np.asarray(run["curve_epoch"], float)
            last = np.searchsorted(measured, epochs, side="right") - 1
            potential = np.asarray(run["curve_potential"], float)[np.maximum(last, 0)]
            part = pd.DataFrame({"epoch": epochs, "potential": np.where(last >= 0, potential, np.nan)})
            parts.append(part.assign(**{name: run[name] for name in by}))
    if not parts:
        raise UndrawableError("no run holds a curve of the potential")
    return mean_intervals(pd.concat(parts, ignore_index=True), "potential", [*by, "epoch"])


@lru_cache(maxsize=1)
def paper_dots() -> pd.DataFrame:
    """Return the dots of the papers' figure on fully connected nets, as read off it.

    Returns:
        Columns ``widths``, ``f_plain``, ``error_plain``, ``f_regularised``, ``error_regularised``; NaN where no dot
        could be assigned. CIFAR-10 only.

    Reference:
        Murdock, Lucey, "Dataless Model Selection with the Deep Frame Potential", CVPR 2020 (arXiv 2003.13866), figure
        of validation error against minimum deep frame potential.
    """
    with (files("unrolled.figures") / "paper" / "frames_fc.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")
