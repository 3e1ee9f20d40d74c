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

import numpy as np
from numpy.typing import NDArray

from unrolled.frames.structure import Block, Structure


@dataclass(frozen=True)
class Meeting:
    """How the taps of two layers' blocks contribute to the Gram of the layers, for row blocks of one geometry.

    Args:
        first: blocks of the first layer, one a row block: all learned, or all identities.
        second: blocks of the second layer in the same row blocks; the same blocks within a layer.
        pairs: ``(n,)`` number of the pair of taps, ``tap * taps of second + tap of second`` (taps count row by row).
        places: ``(n,)`` number of the (class, lag) of the :class:`LayerPair` that the pair adds to.
    """

    first: tuple[Block, ...]
    second: tuple[Block, ...]
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
        reach: largest lag, in positions of layer j.
        uniform: whether both layers have one class and one grid.
    """

    layers: tuple[int, int]
    meetings: tuple[Meeting, ...]
    classes: NDArray[np.int64]
    other_classes: NDArray[np.int64]
    diagonal: NDArray[np.bool_]
    repeats: int
    reach: int
    uniform: bool

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
            reaches = [[structure.diagonal(block) for block in blocks] for blocks in (meeting.first, meeting.second)]
            both = max(map(min, *reaches))
            for place in np.unique(meeting.places):
                met[place].add(meeting.first[0].learned, meeting.second[0].learned, *map(max, reaches), both)
        count = pair.repeats * sum(m.count() for m in met)
        total += count - structure.column_sizes[j - 1] if j == other else 2 * count
    return total


class _Met:
    """Which of k x k' pairs of channels meet: a union of leading rectangles and a diagonal."""

    def __init__(self, first: int, second: int) -> None:
        self.sizes, self.rows, self.columns, self.diagonal = (first, second), 0, 0, 0

    def add(self, learned: bool, other_learned: bool, reach: int, other_reach: int, both: int) -> None:
        """Add the row blocks of a meeting, by the channels that identities of one layer, the other or both reach."""
        if learned and other_learned:
            self.rows = self.sizes[0]
        elif other_learned:
            self.rows = max(self.rows, reach)
        elif learned:
            self.columns = max(self.columns, other_reach)
        else:
            self.diagonal = max(self.diagonal, both)

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
    own, others = period_of(structure, j), period_of(structure, other)
    groups: dict[_Geometry, list[tuple[Block, Block]]] = {}
    for first, second in shared:
        row = structure.spacings[structure.row_layer(first.row)]
        geometry = (row, _offsets(structure, first), _offsets(structure, second), first.learned, second.learned)
        groups.setdefault(geometry, []).append((first, second))
    table = _table(structure.grid, (h, h_other), (own, others), tuple(groups))
    meetings = [
        Meeting(tuple(first for first, _ in blocks), tuple(second for _, second in blocks), *found)
        for blocks, found in zip(groups.values(), table.meetings, strict=True)
    ]
    diagonal = table.at_home if j == other else np.zeros_like(table.at_home)
    # Same row blocks on grids as fine as the layers' own: nothing depends on the class, so Fourier's basis will do.
    uniform = own == others == h == h_other
    return LayerPair(
        (j, other), tuple(meetings), table.classes, table.other_classes, diagonal, table.repeats, table.reach, uniform
    )


_Geometry = tuple[int, tuple[int, ...], tuple[int, ...], bool, bool]
"""Spacing of a row block, offsets of the taps of the two blocks in it, and whether each is learned."""


@dataclass(frozen=True)
class _Table:
    """The meetings of one geometry, shared by all pairs of layers that have it."""

    meetings: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    classes: NDArray[np.int64]
    other_classes: NDArray[np.int64]
    at_home: NDArray[np.bool_]
    repeats: int
    reach: int


@lru_cache(maxsize=4096)
def _table(
    grid: int,
    spacings: tuple[int, int],
    periods: tuple[int, int],
    geometries: tuple[_Geometry, ...],
) -> _Table:
    (h, h_other), (own, others), period = spacings, periods, max(periods)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for row, first, second, _, _ in geometries:
        line = np.array(list(_line(grid, spacings, period, row, first, second)), np.int64).reshape(-1, 4)
        y, x = (i.reshape(-1) for i in np.indices((len(line), len(line))))
        pair = (line[y, 2] * len(first) + line[x, 2]) * len(second) ** 2 + line[y, 3] * len(second) + line[x, 3]
        found.append((pair, np.stack([line[y, 0], line[x, 0], line[y, 1], line[x, 1]], 1)))
    places, where = np.unique(np.concatenate([place for _, place in found]), axis=0, return_inverse=True)
    parts = np.split(where.reshape(-1), np.cumsum([len(pair) for pair, _ in found])[:-1])
    here, lag = places[:, :2], places[:, 2:]
    signed = np.minimum(lag, grid - lag)
    return _Table(
        tuple((pair, part) for (pair, _), part in zip(found, parts, strict=True)),
        _class(here, h, own),
        _class(here + lag, h_other, others),
        (lag == 0).all(1),
        (grid // period) ** 2,
        int(signed.max(initial=0)) // h,
    )


def _class(position: NDArray[np.int64], spacing: int, period: int) -> NDArray[np.int64]:
    cell = (position % period) // spacing
    return cell[:, 0] * (period // spacing) + cell[:, 1]


def _line(
    grid: int, spacings: tuple[int, int], period: int, row: int, first: Sequence[int], second: Sequence[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (position in the period, lag, tap, other tap) of two blocks of one row block along one axis."""
    for start in range(0, period, spacings[0]):
        for t, a in enumerate(first):
            for u, b in enumerate(second):
                if (start + a) % row == 0 and (start + a - b) % spacings[1] == 0:
                    yield start, (a - b) % grid, t, u


@lru_cache(maxsize=65536)
def _offsets(structure: Structure, block: Block) -> tuple[int, ...]:
    """Return the offsets X - Q of a block's taps along one axis, in pixels."""
    if not block.learned:
        return (0,)
    here, there = structure.spacings[block.column], structure.spacings[structure.row_layer(block.row)]
    taps = range(-((block.kernel - 1) // 2), block.kernel // 2 + 1)
    return tuple(t * there for t in taps) if there <= here else tuple(-t * here for t in taps)
