"""Lower bound of the potential of any dictionary with unit columns and given blocks of zeros.

Row block i has D_i rows, column block j has M_j unit columns with entries in the row blocks ``support[j]`` alone. Let
f_ij be the energy of column block j in row block i, x_i = sum_j f_ij the trace of diagonal block i of B B^T. Since
sum_i f_ij = M_j, F2 = ||B B^T||^2 - sum_j M_j is at least the minimum over f >= 0 of sum_i x_i^2 / D_i - sum_j M_j. As
2 y x - y^2 D <= x^2 / D and F2 of all columns is at least that of some of them,

    F2 >= sum_j M_j max(0, 2 min_{i in support[j]} y_i - 1) - sum_i y_i^2 D_i   for every y >= 0.                    (1)

The best y has few levels, each a Welch bound: the columns that are most crowded fill their rows to one level
M / D, the rest is the same problem with what is left. Where the level is below 1 the columns may be orthonormal, and
y = 0. So the bound is sum max(0, M^2 / D - M) over levels, and no set of column blocks has a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from .bounds import Bound, check_sizes

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Capacities of the integer flow problem sum to about this, half of what its 32 bits hold.
CAPACITY = 2**30
# Units of rounding of the terms of (1) that are given away.
ROUNDINGS = 16


def lower_pattern(row_sizes: Sequence[float], column_sizes: Sequence[float], support: Sequence[Sequence[int]]) -> Bound:
    """Lower bound of F2 over all dictionaries with unit columns and this pattern of blocks.

    Args:
        row_sizes: D_i >= 1 of the row blocks.
        column_sizes: M_j >= 1 of the column blocks.
        support: For each column block the row blocks that it may touch, counted from 0; at least one.

    Returns:
        The bound (1) at levels from a flow problem. It holds whatever the levels are.

    Raises:
        ValueError: A size is below 1, there is not one support for each column block, or a support is empty or names a
            row block that is not there.

    Example:
        Four columns on two rows, two of which may use two rows more:

        >>> lower_pattern((2, 2), (2, 2), ((0,), (0, 1))).value
        0.0
        >>> round(lower_pattern((2, 2), (4, 2), ((0,), (0, 1))).value, 9)
        4.0
    """
    rows = check_sizes(row_sizes, fewest=1, name="row sizes")
    columns = check_sizes(column_sizes, fewest=1, name="column sizes")
    touches = _mask(len(rows), len(columns), support)
    levels = pattern_levels(rows, columns, touches)
    return Bound(pattern_dual(rows, columns, touches, levels), "lower", "Welch bounds of the levels of the pattern")


def _mask(rows: int, columns: int, support: Sequence[Sequence[int]]) -> Mask:
    """The pattern as a matrix ``(columns, rows)``, checked."""
    if len(support) != columns:
        raise ValueError(f"expected one support for each of {columns} column blocks, got {len(support)}")
    touches = np.zeros((columns, rows), dtype=np.bool_)
    for column, blocks in enumerate(support):
        if not len(blocks) or min(blocks) < 0 or max(blocks) >= rows:
            raise ValueError(
                f"expected column block {column} to touch some of the row blocks 0..{rows - 1}, got {list(blocks)}"
            )
        touches[column, list(blocks)] = True
    return touches


def pattern_dual(rows: Array, columns: Array, touches: Mask, levels: Array) -> float:
    """The bound (1) at given levels, and 0 if it is negative, less its rounding error.

    Args:
        rows: D, shape ``(r,)``.
        columns: M, shape ``(c,)``.
        touches: Which row blocks a column block may touch, shape ``(c, r)``.
        levels: y >= 0, shape ``(r,)``; below 1 counts as 0, which is never worse.

    Returns:
        A lower bound of F2, for all levels.
    """
    y = np.where(levels > 1, levels, 0.0)
    lowest = np.where(touches, y, math.inf).min(1)
    gains, losses = columns * np.maximum(0.0, 2 * lowest - 1), y**2 * rows
    given_away = ROUNDINGS * float(np.finfo(np.float64).eps) * math.fsum([*gains, *losses])
    return max(0.0, math.fsum([*gains, *-losses]) - given_away)


def pattern_levels(rows: Array, columns: Array, touches: Mask) -> Array:
    """Levels x_i / D_i of the distribution with the least sum x_i^2 / D_i.

    A set of columns and the rows it may touch starts at its common level M / D. If the flow that fills all rows to it
    leaves columns unserved, they and their rows lie higher, the rest lower, and both parts are split further.

    Args:
        rows: D, shape ``(r,)``.
        columns: M, shape ``(c,)``.
        touches: Which row blocks a column block may touch, shape ``(c, r)``.

    Returns:
        The levels, shape ``(r,)``, 0 where no column reaches. Sets that crowd their rows by less than 1e-7 of the
        columns count as even.
    """
    levels = np.zeros(len(rows))
    reached: Mask = np.any(touches, axis=0)
    parts: list[tuple[Mask, Mask]] = [(np.ones(len(columns), dtype=np.bool_), reached)]
    while parts:
        own_columns, own_rows = parts.pop()
        level = columns[own_columns].sum() / rows[own_rows].sum()
        levels[own_rows] = level
        crowded = _crowded(rows[own_rows], columns[own_columns], touches[np.ix_(own_columns, own_rows)], level)
        if crowded is None:
            continue
        high_columns, high_rows = own_columns.copy(), own_rows.copy()
        high_columns[own_columns] = crowded[0]
        high_rows[own_rows] = crowded[1]
        parts += [(high_columns, high_rows), (own_columns & ~high_columns, own_rows & ~high_rows)]
    return levels


def _crowded(rows: Array, columns: Array, touches: Mask, level: float) -> tuple[Mask, Mask] | None:
    """The columns and rows on the source's side of the least cut, or None if all rows fill evenly."""
    count, blocks = touches.shape
    scale = CAPACITY / columns.sum()
    source, sink = count + blocks, count + blocks + 1
    froms, tos = np.nonzero(touches)
    capacity = csr_matrix(
        (
            np.concatenate(
                [np.rint(columns * scale), np.rint(level * rows * scale), np.full(len(froms), float(CAPACITY))]
            ).astype(np.int32),
            (
                np.concatenate([np.full(count, source), count + np.arange(blocks), froms]),
                np.concatenate([np.arange(count), np.full(blocks, sink), count + tos]),
            ),
        ),
        shape=(sink + 1, sink + 1),
    )
    flow = maximum_flow(capacity, source, sink)
    if flow.flow_value >= capacity[source].sum() - 2 * (count + blocks):
        return None
    residual = capacity - flow.flow
    residual.eliminate_zeros()
    reached = np.zeros(sink + 1, dtype=np.bool_)
    reached[breadth_first_order(residual, source, return_predecessors=False)] = True
    high_rows = reached[count:source]
    # Columns whose rows are all high belong there too: so small that rounding left them out.
    high_columns: Mask = np.logical_not((touches & ~high_rows).any(axis=1))
    return (high_columns, high_rows) if high_rows.any() and not high_rows.all() else None
