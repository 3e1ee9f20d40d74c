"""Closed forms and bounds of frame potential and coherence that depend on sizes alone.

The potential of a dictionary with unit columns is F2 = ||G - I||_F^2, G its Gram matrix. A chain with layers of
k_1, .., k_l units on an input of k_0 = d has the column normalise([b; -t e]) for a unit: b learnt in the rows of the
layer below, -t e on the unit's own row in the block above; the last layer has no -t e. Each function returns a
``Bound`` on the infimum of F2 over all b and t >= 0, with its status. For a convolutional layer put
K_j = k_j x positions in place of k_j; whatever is called attainable is so if filters of the layer's size can form the
frames it needs.

Reference:
    Murdock & Lucey 2020 (arXiv 2003.13866); Murdock, Cazenavette & Lucey 2021 (arXiv 2103.05804). Existence of tight
    frames of unit vectors: Benedetto & Fickus 2003.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["exact", "lower", "upper"]

# Ratios of sizes that agree to this count as equal: a few units of rounding of sizes that are no integers.
EQUAL_RATIOS = 1e-12


@dataclass(frozen=True)
class Bound:
    """A number and what it says of the minimum it is about.

    Attributes:
        value: The number, >= 0.
        status: ``exact`` (it is the minimum), ``lower`` (the minimum is at least this) or ``upper`` (this can be
            reached, and less perhaps too).
        source: Where it comes from, in words.
    """

    value: float
    status: Status
    source: str


def check_sizes(sizes: Sequence[float], fewest: int = 2, name: str = "sizes") -> NDArray[np.float64]:
    """Check a sequence of sizes and return it as float64.

    Args:
        sizes: Numbers, finite and >= 1.
        fewest: How many there must be at least.
        name: What the error calls them.

    Returns:
        The sizes, shape ``(n,)``.

    Raises:
        ValueError: There are too few, or one is below 1 or not finite.
    """
    array = np.asarray(sizes, dtype=np.float64)
    if array.ndim != 1 or len(array) < fewest:
        raise ValueError(f"expected {name} as one sequence of at least {fewest} numbers, got {sizes!r}")
    if not (np.isfinite(array) & (array >= 1)).all():
        raise ValueError(f"expected {name} that are finite and at least 1, got {sizes!r}")
    return array


def welch_potential(atoms: float, dimension: float) -> Bound:
    """Least potential of k unit vectors in d dimensions: F2 = max(0, k^2 / d - k).

    Args:
        atoms: k >= 1.
        dimension: d >= 1.

    Returns:
        The exact minimum: a tight frame reaches it for k >= d, orthonormal vectors for k <= d.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> welch_potential(4, 2).value
        4.0
    """
    k, d = map(float, check_sizes((atoms, dimension)))
    return Bound(max(0.0, k * (k - d) / d), "exact", "Welch bound of the potential")


def welch_coherence(atoms: float, dimension: float) -> Bound:
    """Welch bound of the mutual coherence: mu^2 >= (k / d - 1) / (k - 1).

    Args:
        atoms: k >= 1.
        dimension: d >= 1.

    Returns:
        The bound. Exact for k <= d (orthonormal vectors), k = d + 1 (a simplex) and d = 1; else it is a lower bound,
        reached by equiangular tight frames alone, which few pairs (k, d) have.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> welch_coherence(3, 2)
        Bound(value=0.5, status='exact', source='Welch bound of the coherence')
    """
    k, d = map(float, check_sizes((atoms, dimension)))
    value = math.sqrt((k / d - 1) / (k - 1)) if k > d else 0.0
    return Bound(value, "exact" if k <= d or k == d + 1 or d == 1 else "lower", "Welch bound of the coherence")


def convolutional_coherence(k: float, d: float, kernel: int, stride: int, grid: float) -> Bound:
    """Welch bound of a convolutional layer: mu^2 >= (k / (d s^2) - 1) / (k m^2 - 1), m = min(p/s, 2 [(f-1)/s] + 1).

    A column overlaps m x m positions of every channel, itself included; the others are orthogonal to it. So the same
    potential per column, k / (d s^2) - 1, falls on fewer pairs than in a dense layer of that size.

    Args:
        k: Output channels, >= 1.
        d: Input channels, >= 1.
        kernel: Side f of the filters, >= 1.
        stride: s >= 1.
        grid: Side p of the circular input grid, a multiple of s, or infinity.

    Returns:
        A lower bound of the coherence, 0 where the layer is not overcomplete.

    Raises:
        ValueError: A size, the kernel or the stride is below 1, or the stride does not divide the grid.

    Example:
        >>> round(convolutional_coherence(k=8, d=3, kernel=3, stride=1, grid=32).value ** 2, 6)
        0.008375
    """
    outputs, inputs = map(float, check_sizes((k, d), name="channels"))
    for name, number in (("kernel", kernel), ("stride", stride)):
        if not number >= 1:
            raise ValueError(f"expected a {name} of at least 1, got {number}")
    if not (grid == math.inf or (grid >= 1 and grid % stride == 0)):
        raise ValueError(f"expected a grid that is a multiple of the stride {stride}, got {grid}")
    overlap = min(grid / stride, 2 * ((kernel - 1) // stride) + 1)
    redundancy = outputs / (inputs * stride**2)
    value = math.sqrt((redundancy - 1) / (outputs * overlap**2 - 1)) if redundancy > 1 else 0.0
    return Bound(value, "lower", "Welch bound of the coherence of a convolutional layer")


def is_growing(sizes: Sequence[float]) -> bool:
    """Whether a chain grows from its first overcomplete layer on: k_j > k_{j-1} implies k_{j+1}/k_j >= k_j/k_{j-1}.

    Args:
        sizes: (k_0, .., k_l), each >= 1.

    Returns:
        True exactly when ``simple_chain`` is the minimum of the chain's lower bound (``chain_bound``): at
        y_j = k_j the slope of layer j against y_j is 2 k_j / k_{j-1} - 1 and what it saves layer j + 1 is at most
        2 k_{j+1} / k_j - 1.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> is_growing((100, 2, 4, 8)), is_growing((2, 8, 12))
        (True, False)
    """
    k = check_sizes(sizes)
    ratio = k[1:] / k[:-1]
    return bool(((ratio[:-1] <= 1) | (ratio[1:] >= ratio[:-1] * (1 - EQUAL_RATIOS))).all())


def simple_chain(sizes: Sequence[float]) -> Bound:
    """Potential of a chain of tight frames without identities: F2 = sum_j max(0, k_j^2 / k_{j-1} - k_j).

    Args:
        sizes: (k_0, .., k_l), each >= 1; they may be large and need not be integers.

    Returns:
        The minimum where ``is_growing``, else an upper bound of it.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> simple_chain((3072, 2, 4, 8, 16))
        Bound(value=28.0, status='exact', source='tight frames without identities')
    """
    k = check_sizes(sizes)
    value = float(np.maximum(0.0, k[1:] * (k[1:] - k[:-1]) / k[:-1]).sum())
    return Bound(value, "exact" if is_growing(sizes) else "upper", "tight frames without identities")


def unit_norm_chain(sizes: Sequence[float]) -> Bound:
    """Potential of a chain of tight frames with |b| = t: sum_j max(0, k_j^2/k_{j-1} - k_j)/n_j^2 + sum_{j>=2} k_j/n_j.

    n_j = |b|^2 + t^2 = 2, and 1 in the last layer, which has no identity.

    Args:
        sizes: (k_0, .., k_l), each >= 1.

    Returns:
        The minimum among columns with |b| = t, hence an upper bound of the minimum over all columns.

    Raises:
        ValueError: A size is below 1.

    Example:
        >>> unit_norm_chain((2, 4, 8)).value
        17.0
    """
    k = check_sizes(sizes)
    norms = np.full(len(k) - 1, 2.0)
    norms[-1] = 1.0
    own = np.maximum(0.0, k[1:] * (k[1:] - k[:-1]) / k[:-1]) / norms**2
    return Bound(float(own.sum() + (k[2:] / norms[1:]).sum()), "upper", "tight frames with |b| = t")


def potential_from_total(f2: float, pairs: float) -> float:
    """Frame potential F = sqrt(F2 / N), the root mean square of the Gram entries that may differ from zero.

    Args:
        f2: F2 >= 0.
        pairs: N >= 0, the ordered pairs of different columns that share a row.

    Returns:
        F, and 0 if there are no pairs.

    Raises:
        ValueError: An argument is negative or not finite, or there is potential without pairs.

    Example:
        >>> potential_from_total(28.0, 700.0)
        0.2
    """
    for name, number in (("total potential", f2), ("number of pairs", pairs)):
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"expected a finite {name} >= 0, got {number}")
    if pairs == 0 and f2 > 0:
        raise ValueError(f"expected no potential where no two columns share a row, got {f2}")
    return math.sqrt(f2 / pairs) if pairs else 0.0
