r"""The explicit dictionary of a deep frame, entry by entry: for small sizes, and as the naive twin of what is fast.

A column is :math:`[b; \pm t e]`: the learned part b is free, the identity part has the coefficient t of its unit (of
its channel, in convolutional frames). Columns are not normalised here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from unrolled.frames.structure import Block, Structure, StructureError

Filters = Mapping[str, Tensor]
"""``Block.name`` -> ``(R, k_row, k_col, f, f)`` for every learned block; f = 1 in fully connected frames."""

Identities = Sequence[Tensor] | Mapping[int, Tensor]
"""Coefficients t of the identities: ``(R, k_j)`` at j - 1 for layer j."""

MOST_ENTRIES = 50_000_000
"""Largest explicit dictionary: what is larger goes through its filters."""


def check_filters(structure: Structure, filters: Filters) -> None:
    """Raise :class:`StructureError` unless the filters are finite and those of this structure."""
    expected = {b.name: (*structure.channels(b), b.kernel, b.kernel) for b in structure.blocks if b.learned}
    if set(filters) != set(expected):
        raise StructureError(f"filters: expected {', '.join(expected)}, got {', '.join(filters) or 'none'}")
    for name, shape in expected.items():
        if tuple(filters[name].shape[1:]) != shape or filters[name].ndim != 5:
            raise StructureError(f"filters {name}: expected (R, {_text(shape)}), got {tuple(filters[name].shape)}")
        if not bool(torch.isfinite(filters[name]).all()):
            raise StructureError(f"filters {name}: expected finite numbers, got NaN or infinity")


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def unit_identities(structure: Structure, filters: Filters) -> list[Tensor]:
    """Return identities with coefficient 1, as networks have them."""
    some = next(iter(filters.values()))
    return [some.new_ones(some.shape[0], k) for k in structure.sizes[1:]]


def random_filters(
    structure: Structure, generators: Sequence[np.random.Generator], dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """Return Gaussian filters whose columns have an expected squared length of 2, as in networks with ReLU.

    Args:
        structure: shapes.
        generators: one a replica; it alone decides the replica's filters.
        dtype: of the filters.

    Returns:
        Name -> ``(R, k_row, k_col, f, f)``.

    Reference:
        He et al. 2015, "Delving deep into rectifiers", equation 10 (variance 2 over the inputs of a unit).
    """
    drawn: dict[str, Tensor] = {}
    inputs = {j: _inputs(structure, j) for j in range(1, structure.layers + 1)}
    for block in structure.blocks:
        if block.learned:
            shape = (*structure.channels(block), block.kernel, block.kernel)
            scale = (2 / inputs[block.column]) ** 0.5
            drawn[block.name] = torch.as_tensor(
                np.stack([g.standard_normal(shape) * scale for g in generators]), dtype=dtype
            )
    return drawn


def _inputs(structure: Structure, layer: int) -> int:
    """Return the largest number of learned entries of an atom of a layer."""
    blocks = [block for block in structure.column_blocks(layer) if block.learned]
    return max(1, sum(structure.channels(block)[0] * block.kernel**2 for block in blocks))


def dictionary(structure: Structure, filters: Filters, identity: Identities | None = None) -> Tensor:
    """Return the dictionary with its block rows and columns one after the other, positions innermost.

    Args:
        structure: which blocks there are.
        filters: learned entries.
        identity: coefficients of the identities; 1 by default.

    Returns:
        ``(R, D, M)``; row (c, y, x) of a block row of side p is number ``(c p + y) p + x``.

    Raises:
        StructureError: filters of other shapes, or a dictionary of more than :data:`MOST_ENTRIES` entries.
    """
    check_filters(structure, filters)
    rows, columns = sum(structure.row_sizes), structure.atoms
    some = next(iter(filters.values()))
    if some.shape[0] * rows * columns > MOST_ENTRIES:
        raise StructureError(
            f"explicit dictionary: expected at most {MOST_ENTRIES:,} entries, got {some.shape[0]} x {rows:,} x "
            f"{columns:,}; frame_potential works without it"
        )
    coefficients = unit_identities(structure, filters) if identity is None else identity
    starts = (
        np.concatenate([[0], np.cumsum(structure.row_sizes)]),
        np.concatenate([[0], np.cumsum(structure.column_sizes)]),
    )
    whole = some.new_zeros(some.shape[0], rows, columns)
    for block in structure.blocks:
        dense = _block(structure, block, filters, coefficients[block.column - 1])
        top, left = starts[0][block.row - 1], starts[1][block.column - 1]
        whole[:, top : top + dense.shape[1], left : left + dense.shape[2]] = dense
    return whole


def _block(structure: Structure, block: Block, filters: Filters, identity: Tensor) -> Tensor:
    """Return one block, ``(R, K_row, K_col)``, by writing every tap at every position."""
    c, o = structure.channels(block)
    p_row, p_col = structure.grids[structure.row_layer(block.row)], structure.grids[block.column]
    dense = identity.new_zeros(identity.shape[0], c, p_row, p_row, o, p_col, p_col)
    coarse = range(min(p_row, p_col))
    ratio, half = max(p_row, p_col) // min(p_row, p_col), (block.kernel - 1) // 2
    for y, x in product(coarse, coarse):
        for v, u in product(range(max(block.kernel, 1)), repeat=2):
            shift = (v - half, u - half) if block.learned else (0, 0)
            fine = [(ratio * q + d) % max(p_row, p_col) for q, d in zip((y, x), shift, strict=True)]
            (ry, rx), (qy, qx) = (fine, (y, x)) if p_row >= p_col else ((y, x), fine)
            if block.learned:
                dense[:, :, ry, rx, :, qy, qx] += filters[block.name][:, :, :, v, u]
            else:
                n = structure.diagonal(block)
                dense[:, range(n), ry, rx, range(n), qy, qx] += block.sign * identity[:, :n]
    return dense.reshape(identity.shape[0], c * p_row**2, o * p_col**2)
