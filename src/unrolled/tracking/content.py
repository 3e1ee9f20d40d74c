"""What one W&B run shows, computed from the records of one pack by pure functions (no W&B here)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

QUANTILES = {"low": 0.1, "median": 0.5, "high": 0.9}
"""Quantiles over seeds, by the last part of a curve's name."""

SEEDS = ("seed", "data.rows_seed")
"""Columns that only choose random numbers: cells are taken over them."""

PROVENANCE = ("theory", "scale", "task", "seed", "backend", "git_commit", "git_dirty", "torch", "device")
SUMMARISED = ("train_loss", "gap", "gap_excess")

_ALWAYS_NAMED = ("solver.name", "solver.steps", "network.width", "optim.lr")
_SHORT_NAMES = {"solver.steps": "k", "data.n_train": "n"}


@dataclass(frozen=True)
class RunContent:
    """Everything that one W&B run holds.

    Args:
        pack: hash of the pack; it is the run's id, so that a rebuilt run replaces the old one.
        group: the theory.
        job_type: the figures the pack serves, joined by ``+``.
        tags: experiments and scale.
        config: nested settings, see :func:`config_of`.
        curves: quantiles over seeds, see :func:`curve_quantiles`.
        trials: the scalar columns of all trials, see :func:`trial_table`.
        summary: numbers of trials and medians, see :func:`summary_of`.
    """

    pack: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    curves: pd.DataFrame
    trials: pd.DataFrame
    summary: dict[str, float]

    @property
    def name(self) -> str:
        """Name shown in lists of runs."""
        return f"{self.job_type}-{self.pack[:8]}"


def content_of(rows: pd.DataFrame) -> RunContent:
    """Compute what the W&B run of one pack shows.

    Args:
        rows: records of one pack, one row a trial.

    Returns:
        Content that does not depend on the order of the rows.

    Raises:
        ValueError: the rows are not those of exactly one pack.
    """
    pack = pack_of(rows)
    rows = rows.sort_values("trial").reset_index(drop=True)
    experiments = sorted({name for names in rows["experiments"] for name in names})
    figures = [name.rpartition("/")[2] for name in experiments]
    return RunContent(
        pack=pack,
        group=str(rows["theory"].iloc[0]),
        job_type="+".join(figures),
        tags=tuple(dict.fromkeys([*experiments, *(str(scale) for scale in rows["scale"].dropna())])),
        config=config_of(rows),
        curves=curve_quantiles(rows),
        trials=trial_table(rows),
        summary=summary_of(rows),
    )


def pack_of(rows: pd.DataFrame) -> str:
    """Return the pack hash that all rows share.

    Raises:
        ValueError: there are no rows, or they name no pack or several.
    """
    packs = rows["pack"].unique() if "pack" in rows else []
    if len(packs) != 1 or not isinstance(packs[0], str):
        raise ValueError(f"expected the records of one pack, got packs {list(packs)}; group the records by `pack`")
    return packs[0]


def fingerprint(rows: pd.DataFrame) -> str:
    """Return a hash of the records of one pack, to see whether a run written earlier still shows them.

    Rows in another order, columns that are empty and integers stored as floats (both appear when tables of several
    packs are joined) leave it unchanged.
    """
    filled = rows.sort_values("trial").dropna(axis=1, how="all").sort_index(axis=1)
    numbers = [name for name in filled if pd.api.types.is_numeric_dtype(filled[name]) and filled[name].dtype != bool]
    text = filled.astype(dict.fromkeys(numbers, float)).to_json(orient="values", double_precision=15)
    return hashlib.sha256(f"{list(filled.columns)}{text}".encode()).hexdigest()


def config_of(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the settings of a pack as a nested dictionary.

    ``optim.lr`` becomes ``config["optim"]["lr"]`` where it is the same for all trials; the values of a setting that
    varies are listed, sorted, under ``config["varies"]``. ``config["seeds_per_cell"]`` maps each cell to its number of
    finished seeds, the n behind its quantiles. Settings without any value are left out.
    """
    config: dict[str, Any] = {"pack": pack_of(rows), "varies": {}, "seeds_per_cell": _finished_seeds(rows)}
    for column in [*(name for name in PROVENANCE if name in rows), *_settings(rows)]:
        values = _distinct(rows[column])
        if values != [None]:
            target, value = (config, values[0]) if len(values) == 1 else (config["varies"], values)
            _insert(target, column, value)
    return config


def cell_labels(rows: pd.DataFrame) -> pd.Series:
    """Name the cell of every trial: trials with the same settings but for their seeds share a name.

    The name holds solver, k, width and learning rate and whatever else varies inside the pack, like
    ``nag k=10 width=16 lr=0.01``.

    Returns:
        Text, shape ``(trials,)``, indexed like ``rows``.
    """
    varying = [name for name in _settings(rows) if name not in SEEDS and len(_distinct(rows[name])) > 1]
    columns = [name for name in dict.fromkeys([*_ALWAYS_NAMED, *varying]) if name in rows]
    parts = [[_label_part(column, value) for value in rows[column]] for column in columns]
    labels = [" ".join(filter(None, row)) for row in zip(*parts, strict=True)] or [""] * len(rows)
    return pd.Series([label or "all" for label in labels], index=rows.index, dtype=object)


def curve_quantiles(rows: pd.DataFrame) -> pd.DataFrame:
    """Quantiles over the seeds of each cell, along the epochs, of every recorded curve.

    Only finished trials count: a diverged one has no loss to compare. Interpolation is linear, as in numpy.

    Args:
        rows: records with ``curve_epoch`` and one or more ``curve_<metric>`` columns of lists of equal length.

    Returns:
        Table indexed by epoch (integers, rising) with columns like
        ``train_loss/nag k=10 width=16 lr=0.01/median``; NaN where a cell has no value at an epoch. Empty if no
        trial has a curve.
    """
    curves = [name for name in rows if name.startswith("curve_") and name != "curve_epoch"]
    if not curves or "curve_epoch" not in rows:
        return pd.DataFrame()
    used = rows[["curve_epoch", *curves]].assign(cell=cell_labels(rows))[rows["status"] == "finished"]
    columns: dict[str, pd.Series] = {}
    for curve in curves:
        points = used[["cell", "curve_epoch", curve]].dropna().explode(["curve_epoch", curve])
        points = points.astype({"curve_epoch": float, curve: float})
        points = points[np.isfinite(points[curve])]
        if points.empty:
            continue
        table = points.groupby(["cell", "curve_epoch"])[curve].quantile(list(QUANTILES.values())).unstack()
        for cell, part in table.groupby(level="cell"):
            for label, level in QUANTILES.items():
                columns[f"{curve.removeprefix('curve_')}/{cell}/{label}"] = part.droplevel("cell")[level]
    table = pd.DataFrame(columns).sort_index()
    table.index = pd.Index(table.index.astype(int), name="epoch")
    return table


def trial_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the scalar columns of all trials, without columns that hold nothing.

    Lists (the curves) are left out, ``experiments`` becomes one text. Missing and non-finite values become None, and
    columns have the type ``object``, because the table is stored as JSON, which knows neither NaN nor infinity.
    """
    columns = {}
    for name in rows:
        values = [_plain(value) for value in rows[name]]
        if name == "experiments":
            values = [", ".join(value) for value in values]
        if any(value is not None for value in values) and not any(isinstance(value, list) for value in values):
            columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns)


def summary_of(rows: pd.DataFrame) -> dict[str, float]:
    """Return the number of trials, in all and by status, and medians over the finished ones.

    Returns:
        Keys ``trials_total``, ``trials_finished``, ``trials_diverged``, ``trials_failed`` and, where there is a
        value, ``train_loss_median``, ``gap_median`` and ``gap_excess_median``.
    """
    summary: dict[str, float] = {"trials_total": len(rows)}
    for status in ("finished", "diverged", "failed"):
        summary[f"trials_{status}"] = int((rows["status"] == status).sum())
    finished = rows[rows["status"] == "finished"]
    for name in SUMMARISED:
        values = finished[name].dropna() if name in finished else ()
        if len(values):
            summary[f"{name}_median"] = float(np.median(values))
    return summary


def _settings(rows: pd.DataFrame) -> list[str]:
    """Columns of the flattened config: those with a dot in their name."""
    return [name for name in rows if "." in name]


def _finished_seeds(rows: pd.DataFrame) -> dict[str, int]:
    finished = cell_labels(rows)[rows["status"] == "finished"]
    return {str(cell): int(count) for cell, count in finished.value_counts().sort_index().items()}


def _distinct(values: pd.Series) -> list[Any]:
    """Distinct values, None first, then sorted."""
    plain = {repr(value): value for value in map(_plain, values)}
    return sorted(plain.values(), key=lambda value: (value is not None, 0 if value is None else value))


def _insert(config: dict[str, Any], path: str, value: object) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        config = config.setdefault(parent, {})
    config[leaf] = value


def _label_part(column: str, value: object) -> str:
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # A slash would end the name of the group of charts that W&B reads off a metric's name.
    text = str(value).replace("/", "-")
    return text if column.endswith(".name") else f"{_SHORT_NAMES.get(column, column.rpartition('.')[2])}={text}"


def _plain(value: Any) -> Any:
    """Turn numpy and pandas values into what JSON can hold; missing and non-finite ones become None."""
    if isinstance(value, (np.ndarray, Sequence)) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
