"""Tables behind the figures on hybrid nets: lists of a record as rows, and what a figure has room for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unrolled.figures.intervals import mean_intervals
from unrolled.figures.spec import UndrawableError
from unrolled.figures.style import INFERENCE_STYLES
from unrolled.records.select import holds_list

PLACE = ["data.name", "solver.name", "solver.steps"]

NORMS = {"linf": r"$\ell_\infty$", "l2": r"$\ell_2$"}
"""Suffix of the columns of an attack and how its norm is written."""


def data_sets(rows: pd.DataFrame) -> list[str]:
    """Return the data sets of trained nets, sorted."""
    return sorted(rows.loc[rows["train_loss"].notna(), "data.name"].unique())


def solvers_in(rows: pd.DataFrame) -> list[str]:
    """Return the solvers of the rows in the order of legends.

    Raises:
        UndrawableError: a solver has no style.
    """
    present = set(rows["solver.name"].dropna())
    unknown = sorted(present - set(INFERENCE_STYLES))
    if unknown:
        raise UndrawableError(f"no style for solver {', '.join(unknown)}; known: {', '.join(INFERENCE_STYLES)}")
    return [name for name in INFERENCE_STYLES if name in present]


def sweeps_in(rows: pd.DataFrame) -> list[int]:
    """Return the numbers of sweeps k, ascending."""
    return sorted(int(k) for k in rows["solver.steps"].dropna().unique())


def one_depth(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the nets of one k: the middle one of those above 1, or 1 where there is no other.

    At k = 1 all solvers are the same net, so its inference shows nothing of what training against a solver does.
    """
    deeper = [k for k in sweeps_in(rows) if k > 1] or sweeps_in(rows)
    return rows[rows["solver.steps"] == deeper[len(deeper) // 2]]


def attacked_nets(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the nets that were attacked in some norm.

    Raises:
        UndrawableError: there are none.
    """
    known = np.zeros(len(rows), dtype=bool)
    for norm in NORMS:
        if f"robust_pgd_{norm}" in rows:
            known |= rows[f"robust_pgd_{norm}"].map(holds_list).to_numpy(bool)
    if not known.any():
        raise UndrawableError("no net in the records was attacked: set attack.linf or attack.l2")
    return rows[known]


def norms_in(rows: pd.DataFrame) -> list[str]:
    """Return the norms in which some net was attacked."""
    return [norm for norm in NORMS if not listed(rows, f"attack_{norm}", f"robust_pgd_{norm}").empty]


def listed(rows: pd.DataFrame, positions: str, column: str) -> pd.DataFrame:
    """Return a list column as a long table.

    Args:
        rows: runs, one a cell and seed.
        positions: list column of where the entries are, like ``inference_sweep``.
        column: list column of the same length.

    Returns:
        Columns of :data:`PLACE`, ``seed``, ``position`` and ``value``; one row an entry; runs without a list are left
        out.
    """
    names = [*PLACE, "seed", "position", "value"]
    if not {positions, column} <= set(rows.columns):
        return pd.DataFrame(columns=names)
    known = rows[rows[positions].map(holds_list).to_numpy(bool) & rows[column].map(holds_list).to_numpy(bool)]
    if known.empty:
        return pd.DataFrame(columns=names)
    long = known[[*PLACE, "seed"]].assign(position=known[positions].map(list), value=known[column].map(list))
    long = long.explode(["position", "value"], ignore_index=True)
    return long.astype({"position": float, "value": float})


def list_means(rows: pd.DataFrame, positions: str, column: str, by: Sequence[str] = tuple(PLACE)) -> pd.DataFrame:
    """Return the mean of a list column over seeds with its interval, by place and position.

    Args:
        rows: runs, one a cell and seed.
        positions: list column of where the entries are.
        column: list column of the same length.
        by: columns that name a curve.

    Returns:
        Columns ``by``, ``position``, ``mean``, ``low``, ``high``, ``n``, sorted; empty without lists.
    """
    long = listed(rows, positions, column)
    if long.empty:
        return pd.DataFrame(columns=[*by, "position", "mean", "low", "high", "n"])
    return mean_intervals(long, "value", [*by, "position"])


def middle_radius(rows: pd.DataFrame, norm: str) -> float:
    """Return the middle radius of an attack: entry len // 2 of the radii, which start at 0."""
    radii = sorted(listed(rows, f"attack_{norm}", f"robust_pgd_{norm}")["position"].unique())
    return float(radii[len(radii) // 2])


def at_radius(means: pd.DataFrame, radius: float) -> pd.DataFrame:
    """Return the rows of :func:`list_means` at one radius."""
    return means[means["position"] == radius]
