r"""Starting points for the minimum of the potential: dictionaries built of tight frames, and random ones.

In a constructed start some units of every layer are clean: their identities are gone (t = 0), and their filters form a
tight frame on the rows of the clean units below, which no identity uses any more. The other units are pure identities.
A convolutional tight frame puts its entries on as many neighbouring taps as the stride is wide, so that filters at
different positions do not overlap.

Reference:
    Benedetto, Fickus 2003, "Finite normalized tight frames" (theorem 7.1: minimisers of the frame potential).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.frames.chain_constructions import clean_allocation
from unrolled.frames.dictionary import random_filters
from unrolled.frames.structure import Structure

Point = tuple[dict[str, Tensor], list[Tensor]]
"""Filters and identities of R dictionaries."""


def tight_frame(rows: int, atoms: int) -> NDArray[np.float64]:
    """Return unit vectors in the columns of a ``(rows, atoms)`` matrix with orthogonal rows of equal length.

    With no more atoms than rows the atoms are orthonormal instead. Else the rows are waves of different frequencies: a
    cosine and a sine each, and the constant where their number is odd.

    Raises:
        ValueError: fewer than one row or atom.

    Example:
        >>> frame = tight_frame(2, 3)
        >>> np.allclose(frame @ frame.T, 1.5 * np.eye(2)), np.allclose((frame**2).sum(0), 1)
        (True, True)
    """
    if rows < 1 or atoms < 1:
        raise ValueError(f"expected at least one row and one atom, got {rows} and {atoms}")
    if atoms <= rows:
        return np.eye(rows, atoms)
    angle = 2 * np.pi / atoms * np.outer(np.arange(1, rows // 2 + 1), np.arange(atoms))
    waves = [np.cos(angle), np.sin(angle)] + ([np.full((1, atoms), np.sqrt(0.5))] if rows % 2 else [])
    frame: NDArray[np.float64] = np.concatenate(waves) * np.sqrt(2 / rows)
    return frame


def constructed_starts(structure: Structure) -> dict[str, Point]:
    """Return dictionaries of tight frames, each of one replica, by name.

    ``tight frames and identities``: as many units are clean as make the potential of a chain smallest; left out where
    that is all of them. ``tight frames``: all are. For analysis kinds: a tight frame, and identities alone above it.

    Args:
        structure: which blocks there are.
    """
    sizes = structure.sizes
    if structure.kind.endswith("_front"):
        return {"tight frame and identities": _with_clean(structure, (sizes[0], sizes[1], *(0,) * (len(sizes) - 2)))}
    clean, _ = clean_allocation(sizes, [side**2 for side in structure.grids])
    found = {} if clean == sizes else {"tight frames and identities": _with_clean(structure, clean)}
    return found | {"tight frames": _with_clean(structure, sizes)}


def _with_clean(structure: Structure, clean: Sequence[int]) -> Point:
    """Return the start whose first ``clean[j]`` units of layer j have no identity, and the others nothing else."""
    filters: dict[str, Tensor] = {}
    for block in structure.blocks:
        if not block.learned:
            continue
        rows, k = structure.channels(block)
        values = np.zeros((rows, k, block.kernel, block.kernel))
        if block.row == block.column and clean[block.column]:
            used, below = clean[block.column], min(clean[block.column - 1], rows)
            side = min(structure.strides[block.column - 1], block.kernel)
            first = min((block.kernel - 1) // 2, block.kernel - side)
            frame = tight_frame(below * side**2, used).reshape(below, side, side, used)
            taps = slice(first, first + side)
            values[:below, :used, taps, taps] = frame.transpose(0, 3, 1, 2)
        if block.row == block.column:
            paired, centre = _paired(structure, block.column, clean), (block.kernel - 1) // 2
            values[paired, paired, centre, centre] = 1
        filters[block.name] = torch.as_tensor(values)[None]
    units = [torch.arange(k) for k in structure.sizes[1:]]
    identity = [(unit >= count).double()[None] for unit, count in zip(units, clean[1:], strict=True)]
    return filters, identity


def _paired(structure: Structure, layer: int, clean: Sequence[int]) -> list[int]:
    """Return the units of a layer that share both their rows with a skip of the layer below.

    Such a unit below has the column (-e, -e) in the two row blocks that its identity and its skip reach. With a filter
    e beside its own identity, this layer's unit has (e, -e): the two are orthogonal and use up the rows.
    """
    blocks = {(b.row, b.column) for b in structure.blocks if not b.learned}
    if (layer + 1, layer - 1) not in blocks or (layer + 2, layer) in blocks:
        return []
    both = min(structure.sizes[layer - 1], structure.sizes[layer])
    return list(range(max(clean[layer - 1], clean[layer]), both))


def random_starts(structure: Structure, generators: Sequence[np.random.Generator]) -> Point:
    """Return Gaussian filters with identities of a random part of every unit, one replica a generator."""
    filters = random_filters(structure, generators)
    identity = [torch.as_tensor(np.stack([g.uniform(0, 1, k) for g in generators])) for k in structure.sizes[1:]]
    return filters, identity
