r"""The dictionary of a deep frame as a linear operator: products with its blocks, never its matrix.

A code is a list of the layers' tensors ``(R, N, k_j, p_j, p_j)``, rows are a list of the block rows' tensors. Each of R
replicas has its own filters, which N samples share. Fully connected layers have p_j = 1. Positions are circular.

A learned block whose rows have the finer grid, :math:`p_r = s p_c`, has the adjoint

.. math:: (B^T z)_{oq} = \sum_{ct} \theta_{cot} z_{c, sq + t - \lfloor (f-1)/2 \rfloor},

a strided convolution. One whose rows have the coarser grid, :math:`p_c = d p_r`, d > 1, is itself such a convolution of
w. An identity reads every d-th position of the first channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor

from unrolled.solvers.matrix_free import spectral_norm

from .convolution import correlate, spread
from .dictionary import Filters, Identities, check_filters
from .structure import Block, Structure, StructureError


class FrameOperator:
    """The block dictionary B of a structure with given filters, as a linear map from codes to rows.

    Args:
        structure: which blocks there are.
        filters: by block name, ``(R, k_row, k_col, f, f)`` for every learned block.
        identity: lengths t >= 0 of the identities, ``(R, k_j)`` at j - 1 for layer j; 1 where None, as in networks.
        check: whether to look at shapes and for NaN and infinity. It reads all filters; leave it out where a diverged
            replica must not stop its neighbours.

    Raises:
        StructureError: filters are missing, unknown, not finite or of the wrong shape, or identities are.

    Example:
        B = [2; -1] x: the learned block is 2, and -1 reads the first layer into the second row.

        >>> from unrolled.frames.structure import build
        >>> filters = {"block.1.1": torch.full((1, 1, 1, 1, 1), 2.0), "block.2.2": torch.full((1, 1, 1, 1, 1), 3.0)}
        >>> operator = FrameOperator(build("chain", 1, (1, 1)), filters)
        >>> [rows.item() for rows in operator.apply(operator.split(torch.tensor([[[1.0, 1.0]]])))]
        [2.0, 2.0]
    """

    def __init__(
        self,
        structure: Structure,
        filters: Filters,
        identity: Identities | None = None,
        *,
        check: bool = True,
    ) -> None:
        if check:
            check_filters(structure, filters)
        self.structure = structure
        self.filters = dict(filters)
        self.identity = identity
        self.replicas = _replicas(filters)
        self._check_identity()

    def _check_identity(self) -> None:
        if self.identity is None:
            return
        for j in sorted({block.column for block in self.structure.blocks if not block.learned}):
            wanted, given = (self.replicas, self.structure.sizes[j]), tuple(self.identity[j - 1].shape)
            if given != wanted:
                raise StructureError(f"identity of layer {j}: expected shape (replicas, units) = {wanted}, got {given}")

    @property
    def columns(self) -> range:
        """The block columns, 1 to l."""
        return range(1, self.structure.layers + 1)

    @property
    def code_shapes(self) -> list[tuple[int, int, int]]:
        """Shapes (k_j, p_j, p_j) of the layers' codes."""
        return [self._shape(j) for j in self.columns]

    @property
    def like(self) -> Tensor:
        """A tensor of the filters' type, on their device."""
        return next(iter(self.filters.values()))

    def block_apply(self, block: Block, code: Tensor) -> Tensor:
        """Return B_ij w_j.

        Args:
            block: the block (i, j).
            code: w_j, ``(R, N, k_col, p_c, p_c)``.

        Returns:
            ``(R, N, k_row, p_r, p_r)``.
        """
        fine, factor = self._factor(block)
        if not block.learned:
            return self._subsample(block, code, factor)
        weight = self.filters[block.name]
        return spread(code, weight.transpose(1, 2), factor) if fine else correlate(code, weight, factor)

    def block_adjoint(self, block: Block, rows: Tensor) -> Tensor:
        """Return B_ij^T z_i: ``(R, N, k_row, p_r, p_r)`` to ``(R, N, k_col, p_c, p_c)``."""
        fine, factor = self._factor(block)
        if not block.learned:
            return self._place(block, rows, factor)
        weight = self.filters[block.name]
        return correlate(rows, weight.transpose(1, 2), factor) if fine else spread(rows, weight, factor)

    def column_apply(self, column: int, code: Tensor) -> dict[int, Tensor]:
        """Return B_ij w_j for every block row i that column j reaches, by row."""
        return {b.row: self.block_apply(b, code) for b in self.structure.column_blocks(column)}

    def column_adjoint(self, column: int, rows: Sequence[Tensor]) -> Tensor:
        """Return the sum over i of B_ij^T z_i, ``(R, N, k_j, p_j, p_j)``; ``rows`` has all block rows."""
        return self._column(self.structure.column_blocks(column), dict(enumerate(rows, 1)))

    def column_product(self, column: int, code: Tensor) -> Tensor:
        """Return B_:j^T B_:j w_j, ``(R, N, k_j, p_j, p_j)``."""
        return self._column(self.structure.column_blocks(column), self.column_apply(column, code))

    def apply(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Return B w: codes of all layers to rows of all block rows."""
        by_column = dict(enumerate(codes, 1))
        return [self._row(self.structure.row_blocks(row), by_column) for row in self.columns]

    def adjoint(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Return B^T z: rows of all block rows to codes of all layers."""
        return [self.column_adjoint(j, rows) for j in self.columns]

    def target(self, x: Tensor) -> list[Tensor]:
        """Return y = [x; 0; ...; 0].

        Args:
            x: inputs ``(R, N, k_0, p_0, p_0)``, or with a first axis of 1 that all replicas share.

        Raises:
            StructureError: another shape.
        """
        wanted = (self.structure.sizes[0], self.structure.grid, self.structure.grid)
        if x.ndim != 5 or x.shape[0] not in (1, self.replicas) or tuple(x.shape[2:]) != wanted:
            channels, side = wanted[:2]
            raise StructureError(
                f"inputs: expected shape (replicas, samples, channels, side, side) = ({self.replicas} or 1, N, "
                f"{channels}, {side}, {side}), got {tuple(x.shape)}"
            )
        x = x.expand(self.replicas, *x.shape[1:])
        return [x, *(x.new_zeros(*x.shape[:2], *self._shape(self.structure.row_layer(i))) for i in self.columns[1:])]

    def flatten(self, parts: Sequence[Tensor]) -> Tensor:
        """Return codes or rows as one vector a sample: ``(R, N, M)`` or ``(R, N, D)``, by block, channel, position."""
        return torch.cat([part.flatten(2) for part in parts], dim=2)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Return the codes of ``(R, N, M)`` by layer."""
        return _cut(flat, self.code_shapes)

    def split_rows(self, flat: Tensor) -> list[Tensor]:
        """Return the rows of ``(R, N, D)`` by block row."""
        return _cut(flat, [self._shape(self.structure.row_layer(i)) for i in self.columns])

    def objective(self, x: Tensor, codes: Sequence[Tensor], thresholds: Sequence[Tensor]) -> Tensor:
        """Return 1/2 ||y - B w||^2 + sum_j b_j . w_j of each replica and sample.

        Args:
            x: inputs as in :meth:`target`.
            codes: w_1, ..., w_l.
            thresholds: b_1, ..., b_l, each broadcasting against its layer's code.

        Returns:
            ``(R, N)``.
        """
        residual = [y - z for y, z in zip(self.target(x), self.apply(codes), strict=True)]
        return half_square(residual) + penalty(codes, thresholds)

    def norm(self, iterations: int = 100, generator: torch.Generator | None = None) -> Tensor:
        """Return the spectral norm of B, ``(R,)``, from below: see :func:`spectral_norm` for how close."""
        return self._norm(self.structure.blocks, iterations, generator)

    def column_norms(self, iterations: int = 100, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return the spectral norm of every block column, ``(R,)`` each: its square is the curvature in that layer."""
        return [self._norm(self.structure.column_blocks(j), iterations, generator) for j in self.columns]

    def block_norms(self, iterations: int = 100, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the spectral norms of the learned blocks by name, ``(R,)`` each."""
        learned = [block for block in self.structure.blocks if block.learned]
        return {block.name: self._norm((block,), iterations, generator) for block in learned}

    def _norm(self, blocks: Sequence[Block], iterations: int, generator: torch.Generator | None) -> Tensor:
        """Spectral norm of the dictionary that has these blocks only."""
        columns = sorted({block.column for block in blocks})
        rows = sorted({block.row for block in blocks})
        shapes = [self._shape(column) for column in columns]
        row_shapes = [self._shape(self.structure.row_layer(row)) for row in rows]

        def apply(flat: Tensor) -> Tensor:
            codes = dict(zip(columns, _cut(flat, shapes), strict=True))
            return self.flatten([self._row(b, codes) for b in _grouped(blocks, rows, "row")])

        def adjoint(flat: Tensor) -> Tensor:
            parts = dict(zip(rows, _cut(flat, row_shapes), strict=True))
            return self.flatten([self._column(b, parts) for b in _grouped(blocks, columns, "column")])

        size = sum(math.prod(shape) for shape in shapes)
        # One start for all replicas: a replica's norm must not depend on its neighbours.
        start = torch.randn(size, generator=generator or torch.Generator().manual_seed(0), dtype=self.like.dtype)
        start = start.to(self.like.device).expand(self.replicas, 1, size)
        return spectral_norm(apply, adjoint, start, iterations).squeeze(1)

    def _row(self, blocks: Sequence[Block], codes: Mapping[int, Tensor]) -> Tensor:
        """Sum of the blocks' products, all of one block row."""
        parts = [self.block_apply(block, codes[block.column]) for block in blocks]
        return sum(parts[1:], start=parts[0])

    def _column(self, blocks: Sequence[Block], rows: Mapping[int, Tensor]) -> Tensor:
        """Sum of the blocks' adjoint products, all of one block column."""
        parts = [self.block_adjoint(block, rows[block.row]) for block in blocks]
        return sum(parts[1:], start=parts[0])

    def _shape(self, layer: int) -> tuple[int, int, int]:
        side = self.structure.grids[layer]
        return self.structure.sizes[layer], side, side

    def _factor(self, block: Block) -> tuple[bool, int]:
        """Whether the rows have the finer (or the same) grid, and the ratio of the sides."""
        rows = self.structure.grids[self.structure.row_layer(block.row)]
        columns = self.structure.grids[block.column]
        return rows >= columns, max(rows // columns, columns // rows)

    def _lengths(self, block: Block) -> Tensor | float:
        if self.identity is None:
            return float(block.sign)
        return block.sign * self.identity[block.column - 1][:, None, : self.structure.diagonal(block), None, None]

    def _subsample(self, block: Block, code: Tensor, factor: int) -> Tensor:
        passed = self.structure.diagonal(block)
        kept = self._lengths(block) * code[:, :, :passed, ::factor, ::factor]
        return nnf.pad(kept, (0, 0, 0, 0, 0, self.structure.channels(block)[0] - passed))

    def _place(self, block: Block, rows: Tensor, factor: int) -> Tensor:
        passed = self.structure.diagonal(block)
        code = rows.new_zeros(*rows.shape[:2], *self._shape(block.column))
        code[:, :, :passed, ::factor, ::factor] = self._lengths(block) * rows[:, :, :passed]
        return code


def half_square(residual: Sequence[Tensor]) -> Tensor:
    """Return 1/2 ||y - B w||^2 of each replica and sample, ``(R, N)``, from the block rows of y - B w."""
    squares = [part.flatten(2).square().sum(2) for part in residual]
    return 0.5 * sum(squares[1:], start=squares[0])


def penalty(codes: Sequence[Tensor], thresholds: Sequence[Tensor]) -> Tensor:
    """Return sum_j b_j . w_j of each replica and sample, ``(R, N)``."""
    parts = [(b * w).flatten(2).sum(2) for w, b in zip(codes, thresholds, strict=True)]
    return sum(parts[1:], start=parts[0])


def _cut(flat: Tensor, shapes: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """Cut vectors ``(R, N, M)`` into parts of these shapes, ``(R, N, k, p, p)``."""
    pieces = flat.split([math.prod(shape) for shape in shapes], dim=2)
    return [piece.unflatten(2, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _grouped(blocks: Sequence[Block], indices: Sequence[int], axis: str) -> list[list[Block]]:
    return [[block for block in blocks if getattr(block, axis) == index] for index in indices]


def _replicas(filters: Filters) -> int:
    counts = {name: len(f) for name, f in filters.items()}
    if len(set(counts.values())) != 1:
        raise StructureError(f"filters: expected as many replicas of every block, got {counts}")
    return next(iter(counts.values()))
