r"""Inference of the deep sparse code of a frame, by one pass or by iteration.

The code minimises :math:`E(w) = \tfrac12\|y - Bw\|^2 + \sum_j b_j \cdot w_j` over :math:`w_j \ge 0` for the target
:math:`y = [x; 0; \dots; 0]`. A feed-forward network is one cyclic sweep towards it, and more sweeps with the same
filters are a recurrent network. All functions are differentiable in the filters, the inputs and the thresholds; step
sizes are constants. The bias of a rectifier is the negative threshold, so thresholds may have any sign; the energy has
a minimum for sure where all are >= 0.

Reference:
    Murdock, Cazenavette, Lucey, arXiv 2103.05804; Murdock, Chang, Lucey 2018 (Deep Component Analysis).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from unrolled.solvers.proximal import FISTA, ISTA
from unrolled.solvers.sparse_coding import SparseCodingEnergy, rectified_shrinkage
from unrolled.solvers.splitting import ADMM

from .operator import FrameOperator, half_square, penalty
from .structure import StructureError

SAFETY = 1.05
"""Factor on the squared norm in FISTA's step: power iteration falls short of it by a few percent at most."""

State = TypeVar("State")


class _Solver(Protocol[State]):
    """An iteration on sparse codes."""

    def init(self, start: Tensor) -> State: ...

    def step(self, energy: SparseCodingEnergy, state: State) -> State: ...

    def estimate(self, state: State) -> Tensor: ...


class Inference(NamedTuple):
    """What inference returns.

    Attributes:
        codes: the layers' codes w_j, ``(R, N, k_j, p_j, p_j)``.
        objective: E at the start and after every iteration, ``(iterations + 1, R, N)``.
    """

    codes: list[Tensor]
    objective: Tensor


def feed_forward(operator: FrameOperator, x: Tensor, thresholds: Sequence[Tensor | float]) -> list[Tensor]:
    r"""Return the codes of one pass: :math:`w_i = \max(B_{ii}^T(y_i - \sum_{k<i} B_{ik} w_k) - b_i, 0)`.

    Each layer uses its own block row only. For chains this is one sweep of :func:`block_proximal_gradient` from zero
    with step size 1; with skips that sweep also has the terms of the rows below.

    Args:
        operator: the dictionary.
        x: inputs, ``(R, N, k_0, p_0, p_0)`` (or 1 for R).
        thresholds: b_j of every layer, a number or ``(R, k_j)`` (or 1 for R).

    Returns:
        The codes of the layers, ``(R, N, k_j, p_j, p_j)``.

    Raises:
        StructureError: shapes that do not fit the structure.
    """
    rows, limits = operator.target(x), _thresholds(operator, thresholds)
    codes: list[Tensor] = []
    for i in operator.columns:
        left = rows[i - 1]
        blocks = operator.structure.row_blocks(i)
        for block in blocks:
            if block.column < i:
                left = left - operator.block_apply(block, codes[block.column - 1])
        (own,) = (block for block in blocks if block.column == i)
        codes.append(rectified_shrinkage(operator.block_adjoint(own, left), limits[i - 1]))
    return codes


def block_proximal_gradient(
    operator: FrameOperator,
    x: Tensor,
    thresholds: Sequence[Tensor | float],
    sweeps: int,
    *,
    step_sizes: Sequence[Tensor | float] | None = None,
    start: Sequence[Tensor] | None = None,
) -> Inference:
    r"""Improve one layer after the other: :math:`w_j \leftarrow \max(w_j - s_j (B_{:j}^T(Bw - y) + b_j), 0)`.

    The energy never rises while :math:`s_j < 2 / L_j`, L_j the squared spectral norm of block column j. The default
    1 / L_j comes from power iteration, whose error is far from the factor of 2 that would matter. The residual is kept
    up to date, so a sweep costs one product with B and one with its adjoint.

    Args:
        operator: the dictionary.
        x: inputs, ``(R, N, k_0, p_0, p_0)`` (or 1 for R).
        thresholds: b_j of every layer, a number or ``(R, k_j)`` (or 1 for R).
        sweeps: passes over the layers, >= 0.
        step_sizes: s_j > 0 of every layer, a number or ``(R,)``; 1 / L_j where None.
        start: codes to begin with; zero where None.

    Returns:
        The codes, and E from before the first sweep on.

    Raises:
        StructureError: shapes that do not fit the structure, a step size that is not positive, ``sweeps`` < 0.
    """
    limits = _thresholds(operator, thresholds)
    steps = default_step_sizes(operator) if step_sizes is None else _step_sizes(operator, step_sizes)
    rows = operator.target(x)
    codes = _zero_codes(operator, rows[0]) if start is None else list(start)
    residual = [y - z for y, z in zip(rows, operator.apply(codes), strict=True)]
    objective = [half_square(residual) + penalty(codes, limits)]
    for _ in range(_count("sweeps", sweeps)):
        for j in operator.columns:
            old, step = codes[j - 1], steps[j - 1].reshape(-1, 1, 1, 1, 1)
            moved = old + step * operator.column_adjoint(j, residual)
            codes[j - 1] = rectified_shrinkage(moved, step * limits[j - 1])
            for row, change in operator.column_apply(j, codes[j - 1] - old).items():
                residual[row - 1] = residual[row - 1] - change
        objective.append(half_square(residual) + penalty(codes, limits))
    return Inference(codes, torch.stack(objective))


def ista(
    operator: FrameOperator,
    x: Tensor,
    thresholds: Sequence[Tensor | float],
    iterations: int,
    *,
    step_size: Tensor | float | None = None,
) -> Inference:
    """Move all layers at once by proximal gradient steps; the energy never rises for s < 2 / ||B||^2.

    Args:
        operator: the dictionary.
        x: inputs, ``(R, N, k_0, p_0, p_0)`` (or 1 for R).
        thresholds: b_j of every layer, a number or ``(R, k_j)`` (or 1 for R).
        iterations: steps, >= 0.
        step_size: s > 0, a number or ``(R,)``; 1 / ||B||^2 where None.

    Returns:
        The codes, and E from before the first step on.

    Raises:
        StructureError: shapes that do not fit the structure, a step size that is not positive, ``iterations`` < 0.
    """
    solver = ISTA(_joint_step_size(operator, step_size, 1.0))
    return _iterate(operator, solver, _energy(operator, x, thresholds), iterations)


def fista(
    operator: FrameOperator,
    x: Tensor,
    thresholds: Sequence[Tensor | float],
    iterations: int,
    *,
    step_size: Tensor | float | None = None,
) -> Inference:
    """Move all layers at once with momentum; arguments, result and errors as in :func:`ista`.

    The default step size is 1 / (1.05 ||B||^2), as the guarantee needs s <= 1 / ||B||^2 and the norm is an estimate.
    """
    solver = FISTA(_joint_step_size(operator, step_size, SAFETY))
    return _iterate(operator, solver, _energy(operator, x, thresholds), iterations)


def admm(
    operator: FrameOperator, x: Tensor, thresholds: Sequence[Tensor | float], iterations: int, *, rho: float = 1.0
) -> Inference:
    """Split the constraint from the quadratic; arguments, result and errors as in :func:`ista`.

    The quadratic step is exact for small dictionaries and by conjugate gradient for others (see
    :meth:`SparseCodingEnergy.least_squares`).

    Args:
        operator: the dictionary.
        x: inputs.
        thresholds: b_j of every layer.
        iterations: steps, >= 0.
        rho: the penalty on the difference of the two copies, > 0.

    Returns:
        The codes (the copy that is >= 0), and E from before the first step on.
    """
    if not (math.isfinite(rho) and rho > 0):
        raise StructureError(f"rho: expected a finite number > 0, got {rho}")
    return _iterate(operator, ADMM(rho), _energy(operator, x, thresholds), iterations)


def default_step_sizes(operator: FrameOperator, iterations: int = 100) -> list[Tensor]:
    """Return 1 / L_j of every layer, ``(R,)``, with the squared norm L_j of its block column; 1 if L_j = 0.

    Args:
        operator: the dictionary.
        iterations: of the power iteration.
    """
    curvatures = [norm.square() for norm in operator.column_norms(iterations)]
    return [_inverse(curvature) for curvature in curvatures]


def _energy(operator: FrameOperator, x: Tensor, thresholds: Sequence[Tensor | float]) -> SparseCodingEnergy:
    limits = _thresholds(operator, thresholds)
    shapes = [(operator.replicas, 1, *shape) for shape in operator.code_shapes]
    return SparseCodingEnergy(
        operator.flatten(operator.target(x)),
        operator.flatten([b.expand(shape) for b, shape in zip(limits, shapes, strict=True)]),
        lambda flat: operator.flatten(operator.apply(operator.split(flat))),
        lambda flat: operator.flatten(operator.adjoint(operator.split_rows(flat))),
    )


def _iterate(operator: FrameOperator, solver: _Solver[State], energy: SparseCodingEnergy, iterations: int) -> Inference:
    state = solver.init(energy.start())
    objective = [energy.value(solver.estimate(state))]
    for _ in range(_count("iterations", iterations)):
        state = solver.step(energy, state)
        objective.append(energy.value(solver.estimate(state)))
    return Inference(operator.split(solver.estimate(state)), torch.stack(objective))


def _zero_codes(operator: FrameOperator, x: Tensor) -> list[Tensor]:
    return [x.new_zeros(*x.shape[:2], *shape) for shape in operator.code_shapes]


def _thresholds(operator: FrameOperator, thresholds: Sequence[Tensor | float]) -> list[Tensor]:
    """Every layer's thresholds as ``(R or 1, 1, k_j, 1, 1)``."""
    given = _one_a_layer("thresholds", operator, thresholds)
    limits = []
    for j, value in enumerate(given, 1):
        units = operator.structure.sizes[j]
        if not isinstance(value, Tensor):
            value = operator.like.new_full((1, units), value)
        if value.ndim != 2 or value.shape[0] not in (1, operator.replicas) or value.shape[1] != units:
            raise StructureError(
                f"thresholds of layer {j}: expected a number or shape (replicas, units) = ({operator.replicas} or 1, "
                f"{units}), got {tuple(value.shape)}"
            )
        limits.append(value[:, None, :, None, None])
    return limits


def _step_sizes(operator: FrameOperator, step_sizes: Sequence[Tensor | float]) -> list[Tensor]:
    given = _one_a_layer("step sizes", operator, step_sizes)
    return [_positive(f"step size of layer {j}", operator, s) for j, s in enumerate(given, 1)]


def _joint_step_size(operator: FrameOperator, step_size: Tensor | float | None, safety: float) -> Tensor:
    if step_size is None:
        return _inverse(safety * operator.norm().square())
    return _positive("step size", operator, step_size)


def _positive(name: str, operator: FrameOperator, value: Tensor | float) -> Tensor:
    """Return the step size as ``(1,)`` or ``(R,)``."""
    sizes = value if isinstance(value, Tensor) else operator.like.new_tensor(value)
    sizes = sizes.reshape(1) if sizes.ndim == 0 else sizes
    if sizes.ndim != 1 or len(sizes) not in (1, operator.replicas):
        raise StructureError(
            f"{name}: expected a number or shape (replicas,) = ({operator.replicas},), got {tuple(sizes.shape)}"
        )
    if not (sizes.isfinite() & (sizes > 0)).all():
        raise StructureError(f"{name}: expected finite numbers > 0, got {sizes.tolist()}")
    return sizes


def _one_a_layer(name: str, operator: FrameOperator, values: Sequence[Tensor | float]) -> Sequence[Tensor | float]:
    if len(values) != operator.structure.layers:
        raise StructureError(f"{name}: expected one for each of {operator.structure.layers} layers, got {len(values)}")
    return values


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise StructureError(f"{name}: expected a whole number >= 0, got {value!r}")
    return value


def _inverse(curvature: Tensor) -> Tensor:
    """1 / L; without curvature any step will do, so 1."""
    return torch.where(curvature > 0, 1 / curvature, 1.0)
