"""The committed reference: small tables, verdicts and figures of one full run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from unrolled.records.select import CELL, best_runs
from unrolled.report.errors import ReportError

METRICS = ("train_loss", "test_loss", "gap", "gap_true", "gap_excess", "representation_error", "learned_step")


def cell_means(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation and number of seeds of every cell's best runs.

    Args:
        frame: records, one row a trial.

    Returns:
        One row a cell of :data:`unrolled.records.select.CELL`, columns ``<metric>_mean``, ``<metric>_sd``, ``n``.
    """
    cells = best_runs(frame).groupby(list(CELL))
    means, spreads = cells[list(METRICS)].mean(), cells[list(METRICS)].std()
    table = means.add_suffix("_mean").join(spreads.add_suffix("_sd"))
    return table.assign(n=cells.size()).reset_index()


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
    fits = frame[frame["task"] == "fit"]
    for theory, rows in fits.groupby("theory"):
        path = folder / f"{theory}_cells.csv"
        cell_means(rows).to_csv(path, index=False)
        written.append(path)
    return written
