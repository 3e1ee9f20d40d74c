"""Mean over seeds with a bootstrap interval, for every cell of a grid at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
"""Enough for the ends of a 95 % interval to be still to about 2 % of its width."""

_SEED = 20_200_613
"""Fixed, so that the same records give the same interval to the last bit."""


def mean_intervals(rows: pd.DataFrame, column: str, by: Sequence[str]) -> pd.DataFrame:
    """Return the mean of a column over the rows of each cell, with a 95 % bootstrap interval of that mean.

    The interval is the percentile interval over resampled rows: rows of a cell are its seeds. The bias-corrected
    interval would be undefined where all seeds agree, which happens at k = 1; the percentile interval is a point there.

    Args:
        rows: one row a cell and seed; missing and infinite values of ``column`` are left out.
        column: the measured quantity.
        by: columns that name a cell.

    Returns:
        Table sorted by ``by`` with columns ``by``, ``mean``, ``low``, ``high`` (missing for a single seed) and ``n``.

    Raises:
        ValueError: ``rows`` lacks a column.

    Example:
        >>> table = pd.DataFrame({"k": [1, 1, 2], "loss": [1.0, 1.0, 5.0]})
        >>> mean_intervals(table, "loss", ["k"])[["k", "mean", "low", "n"]].to_dict("list")
        {'k': [1, 2], 'mean': [1.0, 5.0], 'low': [1.0, nan], 'n': [2, 1]}
    """
    missing = [name for name in [column, *by] if name not in rows.columns]
    if missing:
        raise ValueError(f"records lack {', '.join(missing)}: expected one row a trial with these columns")
    finite = rows[np.isfinite(rows[column].astype(float))]
    # The order of rows must not reach the last bits of a mean: sort by value inside each cell.
    cells = finite.sort_values([*by, column], kind="stable").groupby(list(by), sort=True)[column]
    table = cells.agg(mean="mean", n="size").reset_index()
    samples = [values.to_numpy(float) for _, values in cells]
    bounds = _bounds(samples)
    return table.assign(low=bounds[:, 0], high=bounds[:, 1])[[*by, "mean", "low", "high", "n"]]


def _bounds(samples: list[np.ndarray]) -> np.ndarray:
    """Return ``(cells, 2)`` interval ends; cells of equal size are resampled in one call."""
    bounds = np.full((len(samples), 2), np.nan)
    for size in sorted({len(sample) for sample in samples}):
        if size < 2:
            continue
        chosen = [i for i, sample in enumerate(samples) if len(sample) == size]
        stacked = np.stack([samples[i] for i in chosen])
        interval = stats.bootstrap(
            (stacked,),
            np.mean,
            axis=1,
            n_resamples=RESAMPLES,
            batch=200,  # bounds memory at large grids
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval
        bounds[chosen] = np.stack([interval.low, interval.high], axis=1)
    return bounds
