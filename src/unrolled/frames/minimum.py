r"""The minimum deep frame potential of a structure: over all filters, and all lengths of columns against identities.

A column is :math:`[b; \pm t e]` normalised, with t one number a unit (a channel, in convolutional frames). Over raw
weights, with t = 1, the minimum is only approached, as it often has t = 0; over (b, t) it is attained. It depends on
the structure alone.

Reference:
    Murdock, Lucey, arXiv 2003.13866, "minimum deep frame potential"; the bounds are those of
    :mod:`unrolled.frames.chain_bound` and :mod:`unrolled.frames.pattern_bound`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unrolled.frames.bounds import Bound, potential_from_total
from unrolled.frames.chain_bound import lower_chain
from unrolled.frames.descent import descend
from unrolled.frames.gram import squared_lengths
from unrolled.frames.overlap import layer_pairs, overlap_count
from unrolled.frames.pattern_bound import lower_pattern
from unrolled.frames.potential import frame_potential
from unrolled.frames.starts import Point, constructed_starts, random_starts
from unrolled.frames.structure import Structure

AGREEMENT = 1e-3
"""Share of the lower bound within which a value counts as the minimum; of 1 a position where the bound is below 1."""

WIDEST_RANDOM, MOST_RANDOM_PARAMETERS = 512, 1_000_000
"""Largest layer, and number of filter weights, up to which random starts are tried beside a certified construction."""

FLOAT32_PARAMETERS = 200_000
"""From here on the search runs in single precision; what it finds is evaluated in double precision."""

SEARCH_WORK, CONFIRMING_WORK = 2e10, 5e9
"""Multiply-adds that a search may take; less where it only confirms a certified construction."""

FEWEST_ITERATIONS, MOST_ITERATIONS = 30, 200
"""Limits of the iterations that this leaves."""

OVERHEAD = 2.5e7
"""Multiply-adds that handling one layer is worth."""

SMALL_WORK = 2e9
"""A gradient of less work than this runs on one thread: sharing it costs more than it gains."""

NOISE = 0.05
"""Relative size of the noise that moves a search off a construction, which may be a saddle point."""


@dataclass(frozen=True)
class Minimum:
    """What is known of the minimum potential of a structure.

    Attributes:
        f2: smallest value found, in float64, over the whole grid.
        pairs: N, ordered pairs of atoms that may overlap.
        lower: a lower bound.
        status: ``exact``: a search met the lower bound (within 1e-3); ``constructed``: a construction did, and no
            search; ``upper``: nothing did, the minimum may be smaller.
        starts: F2 where each start ended, by its name, in the order in which they were tried.
        gradient: length of the gradient of F2 at the value, over columns of unit length.
        iterations: of the longest search.
        filters: of the dictionary that has the value, ``(1, k_row, k_col, f, f)`` a block.
        identity: its identities, ``(1, k_j)`` a layer.
    """

    f2: float
    pairs: int
    lower: Bound
    status: Literal["exact", "constructed", "upper"]
    starts: tuple[tuple[str, float], ...]
    gradient: float
    iterations: int
    filters: dict[str, Tensor]
    identity: list[Tensor]

    @property
    def f(self) -> float:
        """The minimum F: root mean square of the Gram entries that may be non-zero."""
        return potential_from_total(self.f2, self.pairs)


def minimum_potential(structure: Structure, *, restarts: int | None = None, seed: int = 0) -> Minimum:
    """Return the minimum deep frame potential of a structure.

    Constructions come first. Where one meets the lower bound, random starts only confirm it, up to a size; elsewhere
    the best construction, moved a little, and random starts are searched from.

    Args:
        structure: which blocks there are.
        restarts: random starts; by default 8 for small structures, fewer for larger ones, none above 1e6 weights.
        seed: of the random starts.

    Returns:
        The smallest value found, what certifies it, and its dictionary.

    Raises:
        ValueError: a negative number of restarts.

    Example:
        >>> from unrolled.frames.structure import build
        >>> found = minimum_potential(build("chain", 3072, (4, 8, 16)))
        >>> round(found.f2, 3), found.status
        (24.0, 'exact')
    """
    if restarts is not None and restarts < 0:
        raise ValueError(f"restarts: expected at least 0, got {restarts}")
    small = _reduced(structure)
    with _threads_for(small):
        found = _minimum(small, restarts, seed)
    return found if small is structure else _widened(found, structure)


def _minimum(structure: Structure, restarts: int | None, seed: int) -> Minimum:
    lower = lower_bound(structure)
    positions = structure.grids[-1] ** 2
    goal = lower.value + AGREEMENT * max(lower.value, positions)
    ended: list[tuple[str, float]] = []
    value, gradient, best = math.inf, math.nan, None
    for name, start in constructed_starts(structure).items():
        if value > goal:
            total, length = _value_and_slope(structure, start)
            ended.append((name, total))
            if total < value:
                value, gradient, best = total, length, start
    assert best is not None
    iterations = 0
    certified = value <= goal
    status: Literal["exact", "constructed", "upper"] = "constructed" if certified else "upper"
    random = _restarts(structure) if restarts is None else restarts
    points = [] if certified else [("construction, moved", _moved(best, seed))]
    if random:
        generators = [np.random.default_rng([seed, number]) for number in range(random)]
        points.append(("random", random_starts(structure, generators)))
    for name, point in points:
        found, count = _search(structure, point, goal, CONFIRMING_WORK if certified else SEARCH_WORK)
        iterations = max(iterations, count)
        totals = _evaluate(structure, found)
        ended += [(name, float(total)) for total in totals]
        least = int(totals.argmin())
        if float(totals[least]) <= goal:
            status = "exact"
        if float(totals[least]) < value:
            best = _replica(found, least)
            value, gradient = _value_and_slope(structure, best)
    return Minimum(max(value, 0.0), overlap_count(structure), lower, status, tuple(ended), gradient, iterations, *best)


def _reduced(structure: Structure) -> Structure:
    """Return the structure on the smallest input with the same minimum.

    The first layer's atoms have block row 1 to themselves, so their learned parts count only up to a rotation: they
    need no more dimensions than there are atoms.
    """
    if structure.convolutional or structure.sizes[0] <= structure.sizes[1]:
        return structure
    return replace(structure, sizes=(structure.sizes[1], *structure.sizes[1:]))


def _widened(found: Minimum, structure: Structure) -> Minimum:
    first = found.filters["block.1.1"]
    rows = first.new_zeros(1, structure.sizes[0] - first.shape[1], *first.shape[2:])
    return replace(found, filters={**found.filters, "block.1.1": torch.cat([first, rows], 1)})


@contextmanager
def _threads_for(structure: Structure) -> Iterator[None]:
    threads = torch.get_num_threads()
    if _work(structure) < SMALL_WORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def lower_bound(structure: Structure) -> Bound:
    """Return the best lower bound of F2 that is known for a structure, over the whole grid.

    Args:
        structure: which blocks there are.
    """
    # All bounds scale with the number of positions: one position of the last grid keeps the numbers small.
    positions = structure.grids[-1] ** 2
    rows, columns = ([size / positions for size in sizes] for sizes in (structure.row_sizes, structure.column_sizes))
    support = [[block.row - 1 for block in structure.column_blocks(j)] for j in range(1, structure.layers + 1)]
    found = [lower_pattern(rows, columns, support)]
    if structure.kind == "chain":
        found.append(lower_chain([rows[0], *columns]))
    best = max(found, key=lambda bound: bound.value)
    return Bound(best.value * positions, best.status, best.source)


def _restarts(structure: Structure) -> int:
    """Return the default number of random starts."""
    if structure.parameters > MOST_RANDOM_PARAMETERS or max(structure.sizes[1:]) > WIDEST_RANDOM:
        return 0
    work = _work(structure)
    return 8 if work < 1e7 else 4 if work < 1e8 else 2 if work < 1e9 else 1


def _work(structure: Structure) -> float:
    """Return about how many multiply-adds one gradient takes."""
    total = 0.0
    for pair in layer_pairs(structure):
        j, other = pair.layers
        for meeting in pair.meetings:
            if meeting.first[0].learned and meeting.second[0].learned:
                rows = sum(structure.channels(block)[0] for block in meeting.first)
                total += 3.0 * len(meeting.pairs) * rows * structure.sizes[j] * structure.sizes[other]
    return total


def _search(structure: Structure, point: Point, goal: float, work: float) -> tuple[Point, int]:
    """Return where the searches from a point's replicas end, and the iterations of the longest."""
    single = structure.parameters > FLOAT32_PARAMETERS
    start = _flat(point).to(torch.float32 if single else torch.float64)
    positions = structure.grids[-1] ** 2
    most = work / (OVERHEAD * structure.layers + len(start) * _work(structure))
    descent = descend(
        lambda x: _value_and_gradient(structure, x, positions),
        start,
        goal=goal / positions,
        most_iterations=int(min(max(most, FEWEST_ITERATIONS), MOST_ITERATIONS)),
    )
    return _unflat(structure, descent.points.double()), descent.iterations


def _value_and_gradient(structure: Structure, x: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    point = x.detach().requires_grad_()
    value = frame_potential(structure, *_unflat(structure, point), check=False).f2 / positions
    (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


@torch.no_grad()
def _evaluate(structure: Structure, point: Point) -> Tensor:
    return frame_potential(structure, *point, check=False).f2


def _value_and_slope(structure: Structure, point: Point) -> tuple[float, float]:
    """Return F2 and the length of its gradient at a dictionary whose columns are first scaled to unit length."""
    value, gradient = _value_and_gradient(structure, _flat(_unit_columns(structure, point)), 1)
    return float(value), float(gradient.norm())


def _unit_columns(structure: Structure, point: Point) -> Point:
    filters, identity = point
    # Where the length depends on the position: the root of the mean square.
    squares = [lengths.mean(1) for lengths in squared_lengths(structure, filters, identity)]
    scale = [s.clamp_min(torch.finfo(s.dtype).tiny).rsqrt() for s in squares]
    scaled = {
        b.name: filters[b.name] * scale[b.column - 1][:, None, :, None, None] for b in structure.blocks if b.learned
    }
    return scaled, [t * s for t, s in zip(identity, scale, strict=True)]


def _flat(point: Point) -> Tensor:
    filters, identity = point
    return torch.cat([*(values.flatten(1) for values in filters.values()), *identity], 1)


def _unflat(structure: Structure, x: Tensor) -> Point:
    learned = [block for block in structure.blocks if block.learned]
    shapes = {b.name: (*structure.channels(b), b.kernel, b.kernel) for b in learned}
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = x.split([*sizes, *structure.sizes[1:]], 1)
    filters = {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=False)}
    return filters, list(parts[len(sizes) :])


def _moved(point: Point, seed: int) -> Point:
    """Return a point with a little noise, relative to columns of unit length."""
    draw = np.random.default_rng([seed, 2**31])

    def noisy(values: Tensor, length: float) -> Tensor:
        return values + NOISE / length**0.5 * torch.as_tensor(draw.standard_normal(values.shape))

    filters, identity = point
    return (
        {name: noisy(values, values[0, :, 0].numel()) for name, values in filters.items()},
        [noisy(values, 1.0) for values in identity],
    )


def _replica(point: Point, number: int) -> Point:
    filters, identity = point
    only = slice(number, number + 1)
    return {name: values[only] for name, values in filters.items()}, [values[only] for values in identity]
