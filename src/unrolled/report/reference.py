"""The committed reference: small tables, verdicts and figures of one full run."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from unrolled.figures.save import provenance
from unrolled.records.atomic import replacing
from unrolled.records.select import CELL, HYBRID_CELL, NET_CELL, best_runs, holds_list
from unrolled.report.errors import ReportError

_ERRORS = ("train_loss", "test_loss", "gap", "train_error", "test_error", "gap_error", "f_trained")


@dataclass(frozen=True)
class Table:
    """What a theory's table has.

    Args:
        task: of the rows.
        cell: columns that name a cell.
        metrics: numbers of a trial, of which means over seeds are given, as far as records have them.
        curves: lists of a trial, likewise, entry by entry.
    """

    task: str
    cell: tuple[str, ...]
    metrics: tuple[str, ...]
    curves: tuple[str, ...] = ()


TABLES = {
    "reasoning": Table(
        "fit",
        CELL,
        ("train_loss", "test_loss", "gap", "gap_true", "gap_excess", "representation_error", "learned_step"),
    ),
    "frames": Table("classify", NET_CELL, _ERRORS),
    "hybrid": Table(
        "hybrid",
        (
            *HYBRID_CELL,
            "solver.step_rule",
            "solver.first_step",
            "solver.differentiation",
            "data.n_train",
            "optim.epochs",
            "optim.potential_weight",
            "attack.linf",
            "attack.l2",
        ),
        (*_ERRORS, "convergence", "stability", "inference_rise", "inference_own", "inference_spread"),
        ("attack_linf", "robust_fgsm_linf", "robust_pgd_linf", "attack_l2", "robust_fgsm_l2", "robust_pgd_l2"),
    ),
}
"""Tables by theory."""


def cell_means(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return mean, standard deviation and number of seeds of every cell's best runs.

    Args:
        frame: records, one row a trial.
        table: which columns.

    Returns:
        One row a cell, columns ``<metric>_mean``, ``<metric>_sd``, ``n``; ``<curve>_<i>_mean`` and so on for lists.
    """
    cell = [name for name in table.cell if name in frame]
    best = best_runs(frame, cell)
    numbers = {name: best[name].astype(float) for name in table.metrics if name in best}
    for name in table.curves:
        if name in best:
            lists = [list(value) if holds_list(value) else [] for value in best[name]]
            for i in range(max(map(len, lists), default=0)):
                numbers[f"{name}_{i}"] = pd.Series([v[i] if i < len(v) else np.nan for v in lists], best.index)
    measured = pd.DataFrame(numbers)
    cells = pd.concat([best[cell], measured], axis=1).groupby(cell, dropna=False)
    means, spreads = cells[list(measured)].mean(), cells[list(measured)].std()
    return means.add_suffix("_mean").join(spreads.add_suffix("_sd")).assign(n=cells.size()).reset_index()


def write_reference(frame: pd.DataFrame, results: Path, folder: Path) -> list[Path]:
    """Copy the verdicts and figures of a run, and write its tables.

    Args:
        frame: the run's records.
        results: folder of the run, like ``results/laptop``.
        folder: where the reference goes, like ``results/reference``; what it held of these is replaced.

    Returns:
        The files written.

    Raises:
        ReportError: the run lacks records, verdicts or figures.
    """
    figures = sorted((results / "figures").rglob("*.png"))
    verdicts = [results / name for name in ("claims.json", "claims_cells.csv")]
    if frame.empty or not figures or not all(path.exists() for path in verdicts):
        raise ReportError(f"{results} is not a whole run: expected records, claims and figures; run `make reproduce`")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in [*figures, *verdicts]:
        target = folder / source.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        written.append(target)
    for theory, table in TABLES.items():
        rows = frame[(frame["theory"] == theory) & (frame["task"] == table.task)]
        if not rows.empty:
            path = folder / f"{theory}_cells.csv"
            cell_means(rows, table).to_csv(path, index=False)
            written.append(path)
    origin = folder / "provenance.json"
    with replacing(origin) as part:
        part.write_text(json.dumps(_origin(frame), indent=1) + "\n")
    return [*written, origin]


def _origin(frame: pd.DataFrame) -> dict[str, object]:
    """Return what the tables were made of: trials, commits, devices, versions of torch, and checksums of the data."""
    found: dict[str, object] = {name: value for name, value in provenance(frame).items() if name != "trials"}
    for name in sorted({"scale", "device", "torch", "data.name", "data_checksum"} & set(frame)):
        found[name] = sorted(set(frame[name].dropna().astype(str)))
    return found
