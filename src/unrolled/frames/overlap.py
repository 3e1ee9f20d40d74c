r"""Which atoms of a deep frame share rows, position by position, and so which Gram entries may be non-zero.

Positions are measured in input pixels: layer j sits on every :math:`h_j`-th one. An entry of block (i, j) joins the
atom at position Q to the row at X = Q + a, with an offset a of its filter's tap. Two atoms meet in row block i where
Q + a = Q' + a' is a position of that row block. So the Gram of two layers depends on the class of Q, that is Q modulo
the period H of their blocks, and on the lag Q' - Q; everything else is translation. Lags are taken modulo the grid's
side, so small grids, where filters meet around the corner, are exact as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from unrolled.frames.structure import Block, Structure

Line = list[tuple[int, int, int, int]]
"""Meetings along one axis: (class of Q, lag, tap of the first block, tap of the second block)."""


@dataclass(frozen=True)
class Meeting:
    """How the taps of two blocks of one row block contribute to the Gram of their layers.

    Args:
        first: block of the first layer.
        second: block of the second layer; the same block within a layer.
        pairs: ``(n,)`` number of the pair of taps, ``tap * taps of second + tap of second`` (taps count row by row).
        places: ``(n,)`` number of the (class, lag) of the :class:`LayerPair` that the pair adds to.
    """

    first: Block
    second: Block
    pairs: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class LayerPair:
    """The Gram of two layers j <= j' up to translation.

    Args:
        layers: (j, j').
        meetings: contributions of every pair of blocks.
        classes: ``(g,)`` for each place, the class of the first atom among those of layer j (see :func:`classes_of`).
        other_classes: ``(g,)`` the class of the second atom among those of layer j'.
        diagonal: ``(g,)`` whether the place is the atom with itself and its channel neighbours (lag 0, j = j').
        repeats: how many positions each class has.
    """

    layers: tuple[int, int]
    meetings: tuple[Meeting, ...]
    classes: NDArray[np.int64]
    other_classes: NDArray[np.int64]
    diagonal: NDArray[np.bool_]
    repeats: int

    @property
    def places(self) -> int:
        """Number of (class, lag) pairs at which atoms may meet."""
        return len(self.classes)


@lru_cache(maxsize=256)
def layer_pairs(structure: Structure) -> tuple[LayerPair, ...]:
    """Return the pairs of layers whose atoms share rows, each unordered pair once."""
    found = []
    for j in range(1, structure.layers + 1):
        for other in range(j, structure.layers + 1):
            shared = _shared(structure, j, other)
            if shared:
                found.append(_layer_pair(structure, j, other, shared))
    return tuple(found)


@lru_cache(maxsize=256)
def overlap_count(structure: Structure) -> int:
    """Return N: ordered pairs of distinct atoms whose supports share a row, over the whole grid.

    Structural: from the zero pattern, never from values.

    Reference:
        Murdock, Lucey, arXiv 2003.13866, definition of the deep frame potential's normalisation.

    Example:
        >>> from unrolled.frames.structure import build
        >>> overlap_count(build("chain", 8, (4, 2)))
        30
    """
    total = 0
    for pair in layer_pairs(structure):
        j, other = pair.layers
        sizes = structure.sizes[j], structure.sizes[other]
        met = [_Met(*sizes) for _ in range(pair.places)]
        for meeting in pair.meetings:
            reach = structure.diagonal(meeting.first), structure.diagonal(meeting.second)
            for place in set(meeting.places.tolist()):
                met[place].add(meeting.first.learned, meeting.second.learned, *reach)
        count = pair.repeats * sum(m.count() for m in met)
        total += count - structure.column_sizes[j - 1] if j == other else 2 * count
    return total


class _Met:
    """Which of k x k' pairs of channels meet: a union of leading rectangles and a diagonal."""

    def __init__(self, first: int, second: int) -> None:
        self.sizes, self.rows, self.columns, self.diagonal = (first, second), 0, 0, 0

    def add(self, learned: bool, other_learned: bool, reach: int, other_reach: int) -> None:
        first, second = self.sizes
        if learned and other_learned:
            self.rows = first
        elif other_learned:
            self.rows = max(self.rows, reach)
        elif learned:
            self.columns = max(self.columns, other_reach)
        else:
            self.diagonal = max(self.diagonal, min(reach, other_reach))

    def count(self) -> int:
        first, second = self.sizes
        rectangles = self.rows * second + self.columns * first - self.rows * self.columns
        return rectangles + max(0, self.diagonal - max(self.rows, self.columns))


def period_of(structure: Structure, layer: int) -> int:
    """Return after how many pixels the blocks of a layer's atoms repeat: the coarsest grid that they touch."""
    rows = [structure.row_layer(block.row) for block in structure.column_blocks(layer)]
    return max(structure.spacings[layer], *(structure.spacings[j] for j in rows))


def classes_of(structure: Structure, layer: int) -> int:
    """Return the number of classes of a layer's positions, over both axes."""
    return (period_of(structure, layer) // structure.spacings[layer]) ** 2


def norm_taps(structure: Structure, block: Block) -> NDArray[np.bool_]:
    """Return which taps of a block an atom of each class has, ``(classes of the block's layer, taps)``."""
    line = _offsets(structure, block)
    here, there = structure.spacings[block.column], structure.spacings[structure.row_layer(block.row)]
    side = period_of(structure, block.column) // here
    axis = np.array([[(q * here + a) % there == 0 for a in line] for q in range(side)])
    return np.einsum("yt,xu->yxtu", axis, axis).reshape(side * side, -1)


def _shared(structure: Structure, j: int, other: int) -> list[tuple[Block, Block]]:
    rows = {block.row: block for block in structure.column_blocks(j)}
    return [(rows[block.row], block) for block in structure.column_blocks(other) if block.row in rows]


def _layer_pair(structure: Structure, j: int, other: int, shared: Sequence[tuple[Block, Block]]) -> LayerPair:
    h, h_other = structure.spacings[j], structure.spacings[other]
    period = max(period_of(structure, j), period_of(structure, other))
    places: dict[tuple[int, int, int, int], int] = {}
    meetings = []
    for first, second in shared:
        line = list(_line(structure, first, second, period))
        taps, taps_other = len(_offsets(structure, first)), len(_offsets(structure, second))
        pairs, targets = [], []
        for (qy, dy, ty, uy), (qx, dx, tx, ux) in product(line, line):
            place = places.setdefault((qy, qx, dy, dx), len(places))
            pairs.append((ty * taps + tx) * taps_other**2 + uy * taps_other + ux)
            targets.append(place)
        meetings.append(Meeting(first, second, np.array(pairs, np.int64), np.array(targets, np.int64)))
    keys = list(places)
    own, others = period_of(structure, j), period_of(structure, other)
    return LayerPair(
        (j, other),
        tuple(meetings),
        np.array([_class(qy, qx, h, own) for qy, qx, _, _ in keys], np.int64),
        np.array([_class(qy + dy, qx + dx, h_other, others) for qy, qx, dy, dx in keys], np.int64),
        np.array([j == other and dy == dx == 0 for _, _, dy, dx in keys]),
        (structure.grid // period) ** 2,
    )


def _class(y: int, x: int, spacing: int, period: int) -> int:
    side = period // spacing
    return (y % period) // spacing * side + (x % period) // spacing


def _line(structure: Structure, first: Block, second: Block, period: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the meetings of two blocks of one row block along one axis."""
    h_row = structure.spacings[structure.row_layer(first.row)]
    h, h_other = structure.spacings[first.column], structure.spacings[second.column]
    for start in range(0, period, h):
        for t, a in enumerate(_offsets(structure, first)):
            for u, b in enumerate(_offsets(structure, second)):
                if (start + a) % h_row == 0 and (start + a - b) % h_other == 0:
                    yield start, (a - b) % structure.grid, t, u


def _offsets(structure: Structure, block: Block) -> list[int]:
    """Return the offsets X - Q of a block's taps along one axis, in pixels."""
    if not block.learned:
        return [0]
    here, there = structure.spacings[block.column], structure.spacings[structure.row_layer(block.row)]
    taps = range(-((block.kernel - 1) // 2), block.kernel // 2 + 1)
    return [t * there for t in taps] if there <= here else [-t * here for t in taps]
