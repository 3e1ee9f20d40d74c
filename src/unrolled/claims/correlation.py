"""Rank correlations over cells beyond Spearman's: Kendall's, and Spearman's with a third quantity held fixed.

All take seed means ``(..., C)``, so that :func:`unrolled.claims.statistics.statistic_interval` gives their interval
over seeds. The numbers answer different questions: Spearman's and Kendall's say how well one predictor orders the
cells, the partial one whether it still does among cells that a rival predictor ranks alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from unrolled.claims.statistics import rank_correlation

UNDEFINED = 1e-12
"""A denominator below this is rounding of 0: one side is constant, or is ranked exactly as the one held fixed."""


def kendall_correlation(values: NDArray[np.float64], predictor: ArrayLike) -> NDArray[np.float64]:
    """Return Kendall's rank correlation tau-b over cells.

    (pairs in the same order - pairs in opposite order) / sqrt(pairs untied in one x pairs untied in the other). If
    either side is constant it is undefined; 0 is returned, because a constant ranks nothing.

    Args:
        values: ``(..., C)``.
        predictor: ``(C,)``.

    Returns:
        ``(...)``, in [-1, 1].

    Raises:
        ValueError: the number of cells differs, or is below 2.

    Reference:
        Kendall, "The treatment of ties in ranking problems", Biometrika 1945.
    """
    second = np.asarray(predictor, dtype=np.float64)
    first = np.asarray(values, dtype=np.float64)
    cells = len(second)
    if first.shape[-1] != cells or cells < 2:
        raise ValueError(f"expected the same number (>= 2) of cells, got {first.shape} and {second.shape}")
    agreement, untied = np.zeros(first.shape[:-1]), np.zeros(first.shape[:-1])
    untied_predictor = 0.0
    for i in range(cells - 1):  # one cell against all later ones: all pairs at once would not fit into memory
        order = np.sign(first[..., i + 1 :] - first[..., i : i + 1])
        wanted = np.sign(second[i + 1 :] - second[i])
        agreement += order @ wanted
        untied += np.abs(order).sum(axis=-1)
        untied_predictor += float(np.abs(wanted).sum())
    scale = np.sqrt(untied * untied_predictor)
    return np.divide(agreement, scale, out=np.zeros_like(scale), where=scale > 0)


def measured_rank_correlation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's correlation over cells where both sides are measured, so that both have an error of their own.

    Args:
        values: ``(..., 2 C)``, the C cells of one side, then the same cells of the other.

    Returns:
        ``(...)``, in [-1, 1]; 0 where a side is constant.

    Raises:
        ValueError: the number of columns is odd, or below 4.

    Example:
        >>> measured_rank_correlation(np.array([1.0, 2.0, 3.0, 10.0, 30.0, 20.0])).item()
        0.5
    """
    if np.shape(values)[-1] % 2 or np.shape(values)[-1] < 4:
        raise ValueError(f"expected two sides of the same number (>= 2) of cells, got {np.shape(values)}")
    first, second = (rankdata(side, axis=-1) for side in np.split(np.asarray(values, np.float64), 2, axis=-1))
    first, second = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (first, second))
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return np.divide((first * second).sum(axis=-1), scale, out=np.zeros_like(scale), where=scale > 0)


def partial_rank_correlation(
    values: NDArray[np.float64], predictor: ArrayLike, given: ArrayLike
) -> NDArray[np.float64]:
    """Return Spearman's correlation of values and a predictor with a rival predictor held fixed.

    (r_vp - r_vg r_pg) / sqrt((1 - r_vg^2)(1 - r_pg^2)) with Spearman's r: the correlation of what is left of both
    ranks after a linear fit on the rival's ranks. Where the rival leaves nothing over, 0 is returned.

    Args:
        values: ``(..., C)``.
        predictor: ``(C,)``.
        given: the rival, ``(C,)``.

    Returns:
        ``(...)``, in [-1, 1].
    """
    direct, rival = rank_correlation(values, predictor), rank_correlation(values, given)
    shared = float(rank_correlation(np.asarray(predictor, dtype=np.float64), given))
    scale = np.sqrt(np.clip((1 - rival**2) * (1 - shared**2), 0.0, None))
    partial = np.divide(direct - rival * shared, scale, out=np.zeros_like(scale), where=scale > UNDEFINED)
    return np.clip(partial, -1.0, 1.0)
