r"""The quadratic part of deep sparse coding, in the two forms that unrolled solvers use.

Of :math:`E(w) = \tfrac12\|y - Bw\|^2 + \sum_j b_j \cdot w_j`, w >= 0, a solver needs the maps that its sweeps repeat: a
proximal gradient step of all layers, of one layer after the other, and the minimiser of the quadratic part with a
penalty. :class:`GramForm` makes them from the explicit matrix :math:`B^\top B`, so that a step of all layers is one
product and a rectifier; :class:`OperatorForm` from products with the blocks, for frames too large for that.

Both have a leading axis of R replicas, of which none enters another's arithmetic, and are differentiable in filters,
inputs, thresholds and step sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from unrolled.frames.operator import FrameOperator, half_square
from unrolled.frames.structure import Block, Structure
from unrolled.solvers.matrix_free import conjugate_gradient

Codes = list[Tensor]
"""Codes of the layers: ``(R, N, K_j)``, positions innermost."""

POWER_ITERATIONS = 30
"""Products in an estimate of a curvature. It falls short by some percent at most, far from the factor of 2 at which a
proximal gradient step would let the energy rise."""

POWER_ITERATIONS_OF_PRODUCTS = 12
"""The same where a product goes through all blocks: the estimate may fall short by a third."""

INNER_ITERATIONS = 10
"""Steps of conjugate gradient in a sweep of ADMM without an explicit matrix. They go on from the last sweep's."""

INNER_TOLERANCE = 1e-6
"""Relative residual at which they end."""

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, without their whole parts, lie evenly between 0 and 1."""


class Quadratic(Protocol):
    """What an unrolled solver asks of an energy. Step sizes are ``(R,)``, codes of all layers ``(R, N, K)``."""

    def split(self, whole: Tensor) -> Codes:
        """Return the layers' parts."""
        ...

    def start(self) -> Tensor:
        """Return the zero code."""
        ...

    def curvature(self) -> Tensor:
        """Return L = ||B||^2 of each replica, ``(R,)``, a little from below."""
        ...

    def curvatures(self) -> list[Tensor]:
        """Return L_j = ||B_j||^2 of every block column, ``(R,)`` each."""
        ...

    def joint(self, step: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the proximal gradient step of all layers at once: w to max(w - s (B^T (B w - y) + b), 0)."""
        ...

    def in_turn(self, steps: Sequence[Tensor]) -> Callable[[Codes], Codes]:
        """Return the sweep of proximal gradient steps of one layer after the other."""
        ...

    def least_squares(self, rho: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return (point, guess) to argmin over w of 1/2 ||y - B w||^2 + rho / 2 ||w - point||^2."""
        ...

    def shrink(self, w: Tensor, step: Tensor) -> Tensor:
        """Return max(w - s b, 0)."""
        ...

    def value(self, whole: Tensor) -> Tensor:
        """Return E of codes, ``(R, N)``."""
        ...


class GramForm:
    """The energy through its Gram matrix, for fully connected frames.

    Args:
        structure: without a grid.
        filters: by block name, ``(R, k_row, k_col, 1, 1)``; they are not checked.
        x: inputs, ``(R, N, k_0)``.
        thresholds: b_j of every layer, ``(R, k_j)``.
    """

    def __init__(
        self, structure: Structure, filters: Mapping[str, Tensor], x: Tensor, thresholds: Sequence[Tensor]
    ) -> None:
        self.sizes = structure.sizes[1:]
        self.x = x
        self.blocks = _gram_blocks(structure, filters, x)
        self.limits = [b[:, None] for b in thresholds]
        pulled = {b.column: torch.bmm(x, filters[b.name].flatten(2)) for b in structure.row_blocks(1)}
        self.pulls = [pulled.get(j, x.new_zeros(1, 1, k)) for j, k in enumerate(self.sizes, 1)]

    @cached_property
    def gram(self) -> Tensor:
        """B^T B, ``(R, K, K)``."""
        layers = range(len(self.sizes))
        rows = []
        for i in layers:
            blank = self.x.new_zeros(self.x.shape[0], self.sizes[i], 1)
            row = [self.blocks.get((i, j), blank.expand(-1, -1, self.sizes[j])) for j in layers]
            rows.append(torch.cat(row, dim=2))
        return torch.cat(rows, dim=1)

    @cached_property
    def pull(self) -> Tensor:
        """B^T y, ``(R, N, K)``."""
        replicas, samples = self.x.shape[:2]
        return torch.cat([pull.expand(replicas, samples, -1) for pull in self.pulls], dim=2)

    @cached_property
    def thresholds(self) -> Tensor:
        """b, ``(R, 1, K)``."""
        return torch.cat(self.limits, dim=2)

    def split(self, whole: Tensor) -> Codes:
        """Return the layers' parts."""
        return list(whole.split(self.sizes, dim=2))

    def start(self) -> Tensor:
        """Return the zero code."""
        return torch.zeros_like(self.pull)

    def curvature(self) -> Tensor:
        """Return the largest eigenvalue of the Gram matrix; see :func:`leading_value`."""
        return _leading_value(self.gram)

    def curvatures(self) -> list[Tensor]:
        """Return those of its diagonal blocks."""
        return [_leading_value(self.blocks[j, j]) for j in range(len(self.sizes))]

    def joint(self, step: Tensor) -> Callable[[Tensor], Tensor]:
        """Return w to max(w A + c, 0) with A = 1 - s B^T B and c = s (B^T y - b)."""
        s = step[:, None, None]
        matrix = _eye(self.gram) - s * self.gram
        constant = s * (self.pull - self.thresholds)
        return lambda w: torch.relu(torch.baddbmm(constant, w, matrix))

    def in_turn(self, steps: Sequence[Tensor]) -> Callable[[Codes], Codes]:
        """Return the sweep, with one matrix for each pair of layers that meet."""
        maps = []
        for j, step in enumerate(steps):
            s = step[:, None, None]
            pairs = [(i, -s * block) for (i, k), block in self.blocks.items() if k == j]
            pairs = [(i, matrix + _eye(matrix) if i == j else matrix) for i, matrix in pairs]
            maps.append((pairs, s * (self.pulls[j] - self.limits[j])))

        def sweep(codes: Codes) -> Codes:
            codes = list(codes)
            for j, (pairs, total) in enumerate(maps):
                for i, matrix in pairs:
                    total = torch.baddbmm(total, codes[i], matrix)
                codes[j] = torch.relu(total)
            return codes

        return sweep

    def least_squares(self, rho: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the exact map, by the inverse of B^T B + rho."""
        penalty = rho[:, None, None]
        # Without a check, as the matrix of a replica that has diverged must not stop the others.
        inverse = torch.linalg.inv_ex(self.gram + penalty * _eye(self.gram)).inverse
        constant = torch.bmm(self.pull, inverse)
        scaled = penalty * inverse
        return lambda point, guess: torch.baddbmm(constant, point, scaled)

    def shrink(self, w: Tensor, step: Tensor) -> Tensor:
        """Return max(w - s b, 0)."""
        return torch.relu(w - step[:, None, None] * self.thresholds)

    def value(self, whole: Tensor) -> Tensor:
        """Return E, as 1/2 ||x||^2 - (B^T y - b) . w + 1/2 w . B^T B w."""
        quadratic = (torch.bmm(whole, self.gram) * 0.5 - self.pull + self.thresholds) * whole
        return quadratic.sum(2) + 0.5 * self.x.square().sum(2)


class OperatorForm:
    """The energy through products with the blocks, for any frame.

    Args:
        operator: the dictionary.
        x: inputs, ``(R, N, k_0, p_0, p_0)``.
        thresholds: b_j of every layer, ``(R, k_j)``.
    """

    def __init__(self, operator: FrameOperator, x: Tensor, thresholds: Sequence[Tensor]) -> None:
        self.operator, self.x = operator, x
        self.rows = operator.target(x)
        places = [shape[1] * shape[2] for shape in operator.code_shapes]
        flat = [b.repeat_interleave(n, dim=1) for b, n in zip(thresholds, places, strict=True)]
        self.limits = [b[:, None].unflatten(2, shape) for b, shape in zip(flat, operator.code_shapes, strict=True)]
        self.thresholds = torch.cat(flat, dim=1)[:, None]

    @cached_property
    def pull(self) -> Tensor:
        """B^T y, ``(R, N, K)``."""
        return self.operator.flatten(self.operator.adjoint(self.rows))

    def split(self, whole: Tensor) -> Codes:
        """Return the layers' parts, flat."""
        return [part.flatten(2) for part in self.operator.split(whole)]

    def start(self) -> Tensor:
        """Return the zero code."""
        return torch.zeros_like(self.pull)

    def _product(self, whole: Tensor) -> Tensor:
        rows = self.operator.apply(self.operator.split(whole))
        return self.operator.flatten(self.operator.adjoint(rows))

    def curvature(self) -> Tensor:
        """Return the largest eigenvalue of B^T B; see :func:`leading_value`."""
        return leading_value(self._product, self.thresholds, POWER_ITERATIONS_OF_PRODUCTS)

    def curvatures(self) -> list[Tensor]:
        """Return those of the block columns."""
        found = []
        for j, shape in zip(self.operator.columns, self.operator.code_shapes, strict=True):

            def product(v: Tensor, j: int = j, shape: tuple[int, int, int] = shape) -> Tensor:
                return self.operator.column_product(j, v.unflatten(2, shape)).flatten(2)

            found.append(leading_value(product, self.limits[j - 1].flatten(2), POWER_ITERATIONS_OF_PRODUCTS))
        return found

    def joint(self, step: Tensor) -> Callable[[Tensor], Tensor]:
        """Return w to max(w - s (B^T B w - B^T y + b), 0)."""
        s = step[:, None, None]
        constant = s * (self.pull - self.thresholds)
        return lambda w: torch.relu(w - s * self._product(w) + constant)

    def in_turn(self, steps: Sequence[Tensor]) -> Callable[[Codes], Codes]:
        """Return the sweep, which keeps the residual y - B w up to date."""
        shapes, operator = self.operator.code_shapes, self.operator
        sizes = [s.reshape(-1, 1, 1, 1, 1) for s in steps]

        def sweep(codes: Codes) -> Codes:
            parts = [code.unflatten(2, shape) for code, shape in zip(codes, shapes, strict=True)]
            residual = [y - z for y, z in zip(self.rows, operator.apply(parts), strict=True)]
            for j in operator.columns:
                old = parts[j - 1]
                moved = old + sizes[j - 1] * (operator.column_adjoint(j, residual) - self.limits[j - 1])
                parts[j - 1] = torch.relu(moved)
                for row, change in operator.column_apply(j, parts[j - 1] - old).items():
                    residual[row - 1] = residual[row - 1] - change
            return [part.flatten(2) for part in parts]

        return sweep

    def least_squares(self, rho: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the map by :data:`INNER_ITERATIONS` steps of conjugate gradient from the guess."""
        penalty = rho[:, None, None]

        def solve(point: Tensor, guess: Tensor) -> Tensor:
            right = self.pull + penalty * point
            return conjugate_gradient(
                lambda w: self._product(w) + penalty * w, right, guess, INNER_ITERATIONS, INNER_TOLERANCE
            )

        return solve

    def shrink(self, w: Tensor, step: Tensor) -> Tensor:
        """Return max(w - s b, 0)."""
        return torch.relu(w - step[:, None, None] * self.thresholds)

    def value(self, whole: Tensor) -> Tensor:
        """Return E."""
        codes = self.operator.split(whole)
        residual = [y - z for y, z in zip(self.rows, self.operator.apply(codes), strict=True)]
        return half_square(residual) + (self.thresholds * whole).sum(2)


def leading_value(product: Callable[[Tensor], Tensor], like: Tensor, iterations: int) -> Tensor:
    """Return the largest eigenvalue of positive semidefinite matrices by power iteration.

    It is the Rayleigh quotient of the last vector, which counts as a constant for autograd: where that is the leading
    eigenvector, this is the exact derivative.

    Args:
        product: v to A v, ``(R, 1, K)`` to ``(R, 1, K)``.
        like: of the shape of v, for type and device.
        iterations: products, >= 1.

    Returns:
        ``(R,)``, at most the eigenvalue.
    """
    with torch.no_grad():
        # The same vector for all replicas, and not likely to be orthogonal to any eigenvector.
        v = (torch.arange(1.0, like.shape[-1] + 1, dtype=torch.float64) * GOLDEN).frac().to(like) - 0.5
        v = v.expand(like.shape).contiguous()
        for _ in range(iterations):
            v = normalize(product(v), dim=-1)
    return (v * product(v)).sum((1, 2))


def _leading_value(matrix: Tensor) -> Tensor:
    """Return the largest eigenvalue of explicit matrices ``(R, K, K)``."""
    return leading_value(lambda v: torch.bmm(v, matrix), matrix[:, :1], POWER_ITERATIONS)


def _gram_blocks(structure: Structure, filters: Mapping[str, Tensor], like: Tensor) -> dict[tuple[int, int], Tensor]:
    """Return the blocks of B^T B that are not zero by structure, ``(R, k_i, k_j)``, layers counted from 0."""
    found: dict[tuple[int, int], Tensor] = {}
    for row in range(1, structure.layers + 1):
        blocks = structure.row_blocks(row)
        for one in blocks:
            for other in blocks:
                if one.column <= other.column:
                    pair = one.column - 1, other.column - 1
                    product = _transposed_product(structure, filters, one, other, like)
                    found[pair] = found[pair] + product if pair in found else product
    return found | {(j, i): block.mT for (i, j), block in found.items() if i != j}


def _transposed_product(
    structure: Structure, filters: Mapping[str, Tensor], one: Block, other: Block, like: Tensor
) -> Tensor:
    """Return B_ri^T B_rj of two blocks of a row, without a product where one of them is an identity."""
    shape = structure.sizes[one.column], structure.sizes[other.column]
    if one.learned and other.learned:
        return torch.bmm(filters[one.name].flatten(2).mT, filters[other.name].flatten(2))
    if not (one.learned or other.learned):
        # Both pass on their first channels, as many as the smaller of each and the row has.
        passed = min(structure.diagonal(one), structure.diagonal(other))
        diagonal = torch.zeros(shape, dtype=like.dtype, device=like.device)
        diagonal[range(passed), range(passed)] = float(one.sign * other.sign)
        return diagonal.expand(like.shape[0], *shape)
    learned, identity = (one, other) if one.learned else (other, one)
    kept = filters[learned.name].flatten(2)[:, : structure.diagonal(identity)] * identity.sign
    kept = pad(kept, (0, 0, 0, structure.sizes[identity.column] - kept.shape[1]))
    return kept if identity is one else kept.mT


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
