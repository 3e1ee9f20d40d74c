"""Chains that can be built, and the potential they reach: uniform columns, and clean units beside pure identities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .bounds import Bound, Status, check_sizes, is_growing
from .chain_bound import lower_chain

Array = NDArray[np.float64]

FIRST_POINTS = 129
POINTS = 33
# Each round narrows the windows to this part around the best path; thirty rounds reach the rounding of a double.
NARROWER = 0.3
ROUNDS = 30
# An upper and a lower bound that agree to this are both the minimum.
AGREEMENT = 1e-9
# Entries of the cost matrix of one block of rows: 8 MB a temporary.
BLOCK = 2**20


def uniform_chain(sizes: Sequence[float]) -> Bound:
    """Least potential of a chain whose columns all have the learnt fraction v_j of their layer.

    F2 = sum_j max(0, k_j^2 / k_{j-1} - k_j) v_j^2 + 2 sum_{j>=2} k_j v_j (1 - v_{j-1}), v_l = 1, minimised over v in
    [0, 1] by a dynamic programme on a grid that closes in on its best path. It is not convex, so that the minimum found
    may be a local one where two differ by less than the first grid resolves.

    Args:
        sizes: (k_0, .., k_l), each >= 1; they need not be integers.

    Returns:
        An upper bound of the minimum over all columns, exact where it meets ``lower_chain``. Never above
        ``simple_chain``, which is v = 1.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> round(uniform_chain((8, 8, 32, 48)).value, 6)
        96.0
    """
    k = check_sizes(sizes)
    own = np.maximum(0.0, k[1:] * (k[1:] - k[:-1]) / k[:-1])
    low, high = np.zeros(len(own)), np.ones(len(own))
    fractions, value = np.ones(len(own)), float(own.sum())
    growing = is_growing(sizes)
    for round_ in range(0 if growing else ROUNDS + 1):
        steps = np.linspace(0.0, 1.0, POINTS if round_ else FIRST_POINTS)
        grid = low[:, None] + (high - low)[:, None] * steps
        grid[-1] = 1.0
        path, cost = _uniform_path(own, k[2:], grid)
        if cost < value:
            fractions, value = path, cost
        width = (high - low) * NARROWER / 2
        low, high = np.maximum(0.0, fractions - width), np.minimum(1.0, fractions + width)
    status: Status = "exact" if growing or value - lower_chain(sizes).value <= AGREEMENT * value else "upper"
    return Bound(value, status, "tight frames with one learnt fraction a layer")


def _uniform_path(own: Array, coupled: Array, grid: Array) -> tuple[Array, float]:
    """Best learnt fractions on a grid ``(l, n)`` and their potential."""
    value = own[0] * grid[0] ** 2
    choices = []
    for j in range(1, len(own)):
        table = value[:, None] + 2 * coupled[j - 1] * (1 - grid[j - 1])[:, None] * grid[j]
        choices.append(table.argmin(0))
        value = table.min(0) + own[j] * grid[j] ** 2
    path = [int(value.argmin())]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return grid[np.arange(len(own)), path[::-1]], float(value.min())


def clean_allocation(sizes: Sequence[int], positions: Sequence[int] | None = None) -> tuple[tuple[int, ...], Bound]:
    """Numbers of clean units with the least potential, if all other units become pure identities.

    The clean units of layer j form a tight frame on the rows of the clean units below, without identities. The others
    are columns -e in rows that no other column uses. With Y_j clean units and p_j positions of the layer's grid,
    F2 = sum_j max(0, (Y_j p_j)^2 / (Y_{j-1} p_{j-1}) - Y_j p_j), Y_0 = k_0, Y_l = k_l, 1 <= Y_j <= k_j.

    Args:
        sizes: Whole numbers (k_0, .., k_l) of units, or channels of convolutional layers.
        positions: (p_0, .., p_l), how many positions each layer's grid has (height x width); 1 where not given.

    Returns:
        (Y_0, .., Y_l), the largest numbers among the best where they tie, from the first layer on, and F2, which is an
        upper bound of the minimum.

    Raises:
        ValueError: A size is below 1 or no whole number, or there is not one number of positions for each size.

    Example:
        >>> clean_allocation((16, 16, 32, 16))[0]
        (16, 16, 16, 16)
    """
    k = check_sizes(sizes)
    p = np.ones(len(k)) if positions is None else check_sizes(positions, name="positions")
    if len(p) != len(k):
        raise ValueError(f"expected one number of positions for each of {len(k)} sizes, got {len(p)}")
    if not (k == np.rint(k)).all():
        raise ValueError(f"expected whole numbers of units, got {sizes!r}")
    units = [np.arange(1.0, size + 1) for size in k]
    units[0], units[-1] = k[:1], k[-1:]
    value = np.zeros(1)
    choices = []
    for j in range(len(k) - 1, 0, -1):
        value, choice = _fewest(units[j - 1] * p[j - 1], units[j] * p[j], value)
        choices.append(choice)
    allocation, at = [int(k[0])], 0
    for numbers, choice in zip(units[1:], reversed(choices), strict=True):
        at = int(choice[at])
        allocation.append(int(numbers[at]))
    return tuple(allocation), Bound(float(value[0]), "upper", "tight frames of clean units beside pure identities")


def _fewest(below: Array, own: Array, after: Array) -> tuple[Array, NDArray[np.int64]]:
    """Least cost of a layer and all after it for each number of rows below, and the last index that reaches it."""
    best = np.empty(len(below))
    choice = np.empty(len(below), dtype=np.int64)
    height = max(1, BLOCK // len(own))
    for start in range(0, len(below), height):
        rows = below[start : start + height, None]
        table = own / rows
        table -= 1.0
        table *= own
        np.maximum(table, 0.0, out=table)
        table += after
        least = table[:, ::-1].argmin(1)
        choice[start : start + height] = len(own) - 1 - least
        best[start : start + height] = table[np.arange(len(table)), len(own) - 1 - least]
    return best, choice
