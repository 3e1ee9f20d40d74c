"""Lower bound of the potential over all chains with given sizes, as a convex programme solved in its dual.

Let layer j have unit columns with learnt energies y_jm in [0, 1], and let its learnt block B_j have row energies r_jn.
Then F2 = sum_j (||B_j^T B_j||^2 - sum_m y_jm^2) + 2 sum_{j>=2} sum_n (1 - y_{j-1,n}) r_jn. The first bracket is at
least max(0, sum_n r_jn^2 - Y_j), Y_j = sum_m y_jm = sum_n r_jn, since a diagonal is no larger than its matrix and
y <= 1. Split row n into a clean share y_{j-1,n} and a dirty share 1 - y_{j-1,n}, each with its part of r_jn: by
convexity (r^2 summed over shares is a square over a length) the sums are at least those of two rows of lengths
C = Y_{j-1} and D = k_{j-1} - C. With E the energy in dirty rows, F2 is at least the minimum of
sum_j cost_j(Y_{j-1}, Y_j),

    cost(C, Y) = min over E in [0, Y] of max(0, (Y - E)^2 / C + E^2 / D - Y) + 2 E,                               (P)

over 0 <= Y_j <= k_j with Y_0 = k_0 and Y_l = k_l. It is jointly convex: squares over lengths.

Dual: max(0, q) >= theta q for theta in [0, 1], and a^2 / c >= 2 p a - p^2 c for every p. With alpha = theta p >= 0 for
the clean rows and epsilon = max(0, alpha - 1) for the dirty ones E drops out, and a stage costs at least

    gain Y - saving C - epsilon^2 / theta k_{j-1},  gain = 2 alpha - theta, saving = (alpha^2 - epsilon^2) / theta, (D)

linear in Y_{j-1} and Y_j, so that the minimum over the box of all Y_j is explicit. Every (alpha, theta) gives a lower
bound, so a search for the best one needs no proof of its accuracy. It is a dynamic programme over gains and savings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .bounds import Bound, check_sizes, is_growing, simple_chain

Array = NDArray[np.float64]

# Lattice of prices: the first round spans all of them, each level has half of the spacing before and this many
# points either side of the best path so far. A level is searched again while the best path leaves by a window's edge.
FIRST_POINTS = 129
REACH = 12
REFINEMENT = 2
LEVELS = 36
MOST_ROUNDS = 200
# Each term of the dual is a handful of products; this many units of rounding of their magnitudes are given away.
ROUNDINGS = 16
TINY = 1e-200


def stage_cost(clean: Array, rows: float, energy: Array) -> Array:
    """Least cost of a stage in (P) with the minimum over E carried out.

    0 for Y <= C; (2 / k) (Y D - sqrt(Y C D (k - Y))) for C < Y < D; (Y + D)^2 / k - (Y + D) for Y >= max(C, D).

    Args:
        clean: C in [0, k].
        rows: k = C + D, > 0.
        energy: Y >= 0, of a shape that broadcasts with C's.

    Returns:
        The cost, in the common shape. It is convex in (C, Y).

    Example:
        Two units of energy on one clean row, then on one clean and one dirty row:

        >>> stage_cost(np.array([1.0]), 1.0, np.array([2.0])), stage_cost(np.array([1.0]), 2.0, np.array([2.0]))
        (array([2.]), array([1.5]))
    """
    dirty = np.maximum(0.0, rows - clean)
    root = np.sqrt(energy * clean * dirty * np.maximum(0.0, rows - energy))
    middle = 2 / rows * (energy * dirty - root)
    spread = energy + dirty
    cost = np.where(energy < dirty, middle, spread * (spread - rows) / rows)
    return np.where(energy <= clean, 0.0, np.maximum(0.0, cost))


def dual_value(sizes: Sequence[float] | Array, alpha: Sequence[float] | Array, theta: Sequence[float] | Array) -> float:
    """The lower bound (D) summed over stages and minimised over all Y_j, less its rounding error.

    Args:
        sizes: (k_0, .., k_l), each >= 1.
        alpha: Slopes of the clean rows, >= 0, shape ``(l,)``.
        theta: Weights of the stages in (0, 1], shape ``(l,)``.

    Returns:
        A lower bound of F2 of every chain, for every alpha and theta. May be negative.

    Raises:
        ValueError: A size is below 1, a length differs, or alpha or theta is outside its range.

    Example:
        >>> round(dual_value((2, 4), alpha=(2.0,), theta=(1.0,)), 9)
        4.0
    """
    k = check_sizes(sizes)  # type: ignore[arg-type]
    a, th = np.asarray(alpha, dtype=np.float64), np.asarray(theta, dtype=np.float64)
    if not a.shape == th.shape == (len(k) - 1,):
        raise ValueError(f"expected alpha and theta for each of {len(k) - 1} layers, got {a.shape} and {th.shape}")
    if not ((a >= 0) & (th > 0) & (th <= 1)).all():
        raise ValueError("expected alpha >= 0 and theta in (0, 1]")
    dirty = np.maximum(0.0, a - 1)
    # alpha^2 - epsilon^2, without the difference of squares. The first stage has clean rows alone: C = k_0, so that
    # epsilon cancels.
    saving = np.where(a > 1, 2 * a - 1, a**2) / th
    lost = dirty**2 / th * k[:-1]
    slope = (2 * a - th)[:-1] - saving[1:]
    ends = (2 * a[-1] - th[-1]) * k[-1], -saving[0] * k[0]
    value = math.fsum([*ends, *-lost, *(np.minimum(0.0, slope) * k[1:-1])])
    steepest = (2 * a + th)[:-1] + saving[1:]
    magnitude = math.fsum([(2 * a[-1] + th[-1]) * k[-1], -ends[1], *lost, *(steepest * k[1:-1])])
    return value - ROUNDINGS * float(np.finfo(np.float64).eps) * magnitude


def lower_chain(sizes: Sequence[float]) -> Bound:
    """Lower bound of F2 over all chains: the minimum of (P), from its dual.

    Args:
        sizes: (k_0, .., k_l), each >= 1; they may be large and need not be integers.

    Returns:
        The bound. Where the chain grows it is ``simple_chain`` itself, whose dual point is alpha_j = k_j / k_{j-1},
        theta_j = 1 in overcomplete layers and alpha_j, theta_j -> 0 in the others. Else it is (D) at the best prices
        found: never above the minimum of (P), and within a relative 1e-9 of it in tests where neighbouring layers
        differ by factors up to 100. At factors of 1e5 it may miss 1e-3 of it.

    Raises:
        ValueError: A size is below 1.

    Example:
        Half of layer 2 become pure identities:

        >>> lower_chain((16, 16, 32, 16)).value
        0.0
    """
    k = check_sizes(sizes)
    if is_growing(sizes):
        return Bound(simple_chain(sizes).value, "lower", "convex programme over clean energies, growing chain")
    prices = _best_prices(k)
    value = dual_value(k, *_multipliers(prices))
    return Bound(max(0.0, value), "lower", "convex programme over clean energies")


def _multipliers(prices: Array) -> tuple[Array, Array]:
    """(alpha, theta) of every stage from its prices: gain_1, saving_2, gain_2, .., saving_l, gain_l."""
    gain, saving = prices[0::2], np.concatenate([[math.inf], prices[1::2]])
    theta, alpha = np.empty_like(gain), np.empty_like(gain)
    theta[0] = min(1.0, gain[0])
    theta[1:] = _stage(saving[1:], gain[1:])[1]
    theta = np.clip(theta, TINY, 1.0)
    alpha = (gain + theta) / 2
    return alpha, theta


def _stage(saving: Array, gain: Array) -> tuple[Array, Array]:
    """What (D) loses a row, epsilon^2 / theta, and theta, from saving >= gain.

    If alpha > 1 the prices give theta = (gain - 1) / (saving - 1). That is so for gain > 2 - 1 / saving; below, epsilon
    is 0 and (gain + theta)^2 = 4 saving theta.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        dirty = gain * saving > 2 * saving - 1
        theta = np.where(gain < saving, (gain - 1) / (saving - 1), 1.0)
        lost = np.where(dirty & (saving > 1), ((gain + theta) / 2 - 1) ** 2 / theta, 0.0)
        root = gain / (np.sqrt(saving) + np.sqrt(np.maximum(0.0, saving - gain)))
    clean = np.where(saving > 0, root**2, 0.0)
    return lost, np.where(dirty & (saving > 1), theta, clean)


def _best_prices(k: Array) -> Array:
    """Gains and savings with the largest dual value, ``(2l - 1,)``, by rounds on ever finer lattices.

    The dual has kinks where two neighbouring prices are equal, in long runs of layers. All lattices are therefore
    multiples of one spacing, in log(1 + price), and hold equal prices exactly.
    """
    ratio = k[1:] / k[:-1]
    # No stage is steeper than where all rows are dirty and all units clean: 2 (Y + D) / k - 1.
    spacing = math.log(2 * float(ratio.max()) + 3) / (FIRST_POINTS - 1)
    nodes = np.broadcast_to(np.arange(float(FIRST_POINTS)), (2 * len(k) - 3, FIRST_POINTS))
    best, value = _best_path(k, np.expm1(nodes * spacing))
    centre = best.astype(np.float64)
    window = np.arange(-REACH, REACH + 1.0)
    level, improved = 0, False
    for _ in range(MOST_ROUNDS):
        at_edge = (best == nodes.shape[1] - 1) | ((best == 0) & (nodes[:, 0] > 0))
        if not (improved and at_edge.any()):
            if level == LEVELS:
                break
            level, spacing, centre = level + 1, spacing / REFINEMENT, centre * REFINEMENT
        nodes = np.maximum(0.0, centre[:, None] + window)
        before = value
        best, value = _best_path(k, np.expm1(nodes * spacing))
        # A flat top lets the path drift without gain: that is no reason to stay.
        improved = value > before + 1e-13 * abs(before)
        centre = nodes[np.arange(len(nodes)), best]
    return np.expm1(centre * spacing)


def _best_path(k: Array, prices: Array) -> tuple[NDArray[np.int64], float]:
    """The dynamic programme: which of its prices ``(2l - 1, n)`` each gain and saving takes, and the dual value."""
    gains, savings = prices[0::2], prices[1::2]
    # Between layers, [gain_j, saving_{j+1}]: a saving above the gain is paid for by all units of the layer.
    joints = np.minimum(0.0, gains[:-1, :, None] - savings[:, None, :]) * k[1:-1, None, None]
    # Within a layer, [saving_j, gain_j].
    lost, _ = _stage(savings[:, :, None], gains[1:, None, :])
    lost *= k[1:-1, None, None]
    stages = np.where(savings[:, :, None] >= gains[1:, None, :], -lost, -math.inf)
    first = gains[0]
    value = -k[0] * np.where(first > 1, ((1 + first) / 2) ** 2, first)
    choices = []
    for joint, stage in zip(joints, stages, strict=True):
        for table in (joint, stage):
            total = value[:, None] + table
            choices.append(total.argmax(0))
            value = total.max(0)
    value = value + gains[-1] * k[-1]
    path = [int(value.argmax())]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return np.array(path[::-1]), float(value.max())
