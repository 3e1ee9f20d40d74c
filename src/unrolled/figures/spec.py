"""What a figure is: the records it reads, how it is drawn, and what the paper says about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unrolled.figures.save import provenance
from unrolled.records.select import CELL, best_runs, of_experiment

AxesGrid = np.ndarray
"""Object array ``(rows, columns)`` of :class:`matplotlib.axes.Axes`, as ``subplots(squeeze=False)`` gives it."""


class UndrawableError(ValueError):
    """These records cannot make this figure; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Figure:
    """A figure as data: which records, which panels, which drawing function, and the paper's words beside it.

    Args:
        name: file name without suffix.
        theory: room of the theory, like ``reasoning``.
        title: heading.
        experiments: names of the experiments it reads; the first must have records, the others add curves.
        metrics: columns of which at least one finite value must exist.
        layout: from the rows to (rows, columns) of panels.
        draw: from the rows and a grid of axes to the same grid, drawn.
        shows: what is drawn, for the caption; ``{step_size}`` stands for the step sizes of the records.
        message: what the paper says, in our words.
        place: where the paper says it.
        look: what to look at.
        best: keep the best run of each cell and seed; False where rows have no training loss.
        narrow: last choice among the selected rows.
        cell: columns that name a cell, of which the best run of each seed is kept.
        untrained: experiments whose finished rows it reads besides, all of them: records without a training loss.
        intervals: whether intervals are drawn; False where there is room for means alone.
    """

    name: str
    theory: str
    title: str
    experiments: tuple[str, ...]
    metrics: tuple[str, ...]
    layout: Callable[[pd.DataFrame], tuple[int, int]]
    draw: Callable[[pd.DataFrame, AxesGrid], AxesGrid]
    shows: str
    message: str
    place: str
    look: str
    best: bool = True
    narrow: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    cell: tuple[str, ...] = CELL
    untrained: tuple[str, ...] = ()
    intervals: bool = True

    def select(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the records that the figure shows.

        Args:
            frame: all records, one row a trial, in any order.

        Returns:
            One row a cell and seed, sorted by trial hash.

        Raises:
            UndrawableError: the first experiment has no usable row, or no metric has a finite value.
        """
        parts = [self._of(frame, experiment) for experiment in self.experiments]
        if parts[0].empty:
            raise UndrawableError(self._absence(frame))
        parts += [_finished(of_experiment(frame, experiment)) for experiment in self.untrained]
        rows = pd.concat([part for part in parts if not part.empty], ignore_index=True)
        rows = rows.drop_duplicates("trial").sort_values("trial", kind="stable").reset_index(drop=True)
        rows = self.narrow(rows).reset_index(drop=True) if self.narrow else rows
        for metric in self.metrics:
            if metric not in rows or not np.isfinite(rows[metric].astype(float)).any():
                read = ", ".join((self.experiments[0], *self.untrained))
                raise UndrawableError(f"no finite value of {metric} in the records of {read}")
        return rows

    def caption(self, rows: pd.DataFrame) -> str:
        """Return the text under the figure: what is drawn, n, and the commit of the runs.

        Args:
            rows: the records that :meth:`select` returned.
        """
        source = provenance(rows)
        commits = [commit[:7] for commit in source["git_commits"]]
        origin = f"commit {commits[0]}" if len(commits) == 1 else f"{len(commits)} commits"
        changed = ", with uncommitted changes" if source["git_dirty"] else ""
        counted = f"{source['trial_count']:,} trials, {origin}{changed}."
        sizes = sorted(rows["solver.step_size"].dropna().unique()) if "solver.step_size" in rows else []
        shows = self.shows.replace("{step_size}", ", ".join(f"{size:g}" for size in sizes))
        notes = [seeds_note(rows[rows["train_loss"].notna()], self.cell, intervals=self.intervals)] if self.best else []
        return " ".join([shows, *notes, counted])

    def _of(self, frame: pd.DataFrame, experiment: str) -> pd.DataFrame:
        rows = of_experiment(frame, experiment)
        if rows.empty:
            return rows
        return best_runs(rows, self.cell) if self.best else _finished(rows)

    def _absence(self, frame: pd.DataFrame) -> str:
        experiment = self.experiments[0]
        rows = of_experiment(frame, experiment)
        if rows.empty:
            return f"no records of {experiment}: run `python scripts/train.py -m experiment={experiment}`"
        counts = ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().sort_index().items())
        return f"no usable run in the records of {experiment} ({counts})"


def _finished(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if rows.empty else rows[rows["status"] == "finished"]


def seeds_note(rows: pd.DataFrame, cell: tuple[str, ...] = CELL, *, intervals: bool = True) -> str:
    """Return the sentence that says how many seeds a point stands for.

    Args:
        rows: best runs, one a cell and seed.
        cell: columns that name a cell.
        intervals: whether the figure draws intervals.

    Example:
        >>> table = pd.DataFrame({name: [1, 1] for name in CELL})
        >>> seeds_note(table)
        'Mean over n = 2 training seeds with its 95 % bootstrap interval.'
    """
    sizes = rows.groupby(list(cell), dropna=False).size()
    low, high = int(sizes.min()), int(sizes.max())
    if high == 1:
        return "n = 1 training seed, so no interval."
    count = f"{low}" if low == high else f"{low} to {high}"
    shown = " with its 95 % bootstrap interval" if intervals else "; intervals are not drawn"
    return f"Mean over n = {count} training seeds{shown}."


def first_axes(axes: AxesGrid) -> Axes:
    """Return the top left panel of a grid."""
    return axes.flat[0]
