r"""Unrolled inference: k sweeps of a solver on the energy of deep sparse coding, as a layer of a network.

Every sweep has the same weights. Step sizes are factors f on the safe step of the solver's guarantee, or absolute:

- ``block_prox``: block proximal gradient, one layer after the other; :math:`s_j = f / L_j`, L_j the squared norm of
  block column j (of a chain: :math:`\|B_j\|^2 + 1`, without the 1 in the last layer);
- ``ista``, ``fista``: all layers at once, FISTA with momentum; :math:`s = f / L`, :math:`L = \|B\|^2`;
- ``admm``: :math:`\rho = 1 / f`; it converges for every one.

The energy of block proximal gradient and ISTA never rises for f < 2; FISTA's guarantee holds for f <= 1.

Reference:
    Murdock, Cazenavette, Lucey, arXiv 2103.05804; Beck and Teboulle 2009 (ISTA, FISTA); Boyd et al. 2011 (ADMM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from unrolled.frames.quadratic import Quadratic

SOLVERS = ("block_prox", "ista", "fista", "admm")
RULES = ("relative", "absolute")

FIRST_STEPS = ("safe", "unit")
"""The solver's own first sweep from zero, or the feed-forward pass in its place."""

DIFFERENTIATIONS = ("unrolled", "implicit")
"""Through all sweeps, or at the fixed point."""


def curvatures(problem: Quadratic, solver: str, rule: str = "relative") -> list[Tensor]:
    """Return what a solver's safe steps are made of, which depends on the filters alone: for :func:`sweeps`.

    Args:
        problem: the energy.
        solver: one of :data:`SOLVERS`.
        rule: of the step size.

    Returns:
        ``(R,)`` each: L_1, ..., L_l of block proximal gradient, L of ISTA and FISTA; nothing for ADMM and for absolute
        steps.
    """
    if rule == "absolute" or solver == "admm":
        return []
    return problem.curvatures() if solver == "block_prox" else [problem.curvature()]


def sweeps(
    problem: Quadratic,
    solver: str,
    step_size: Tensor,
    rule: str = "relative",
    start: Tensor | None = None,
    known: Sequence[Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield the codes after every sweep, for ever.

    Args:
        problem: the energy.
        solver: one of :data:`SOLVERS`.
        step_size: f > 0 of each replica, ``(R,)``; differentiable.
        rule: ``relative`` to the safe step, or ``absolute``; ADMM's rho is 1 / f under both.
        start: codes to begin with, ``(R, N, K)``; zero where None.
        known: the curvatures, where :func:`curvatures` gave them before.

    Returns:
        Codes >= 0, ``(R, N, K)``.

    Raises:
        ValueError: an unknown solver or rule.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver: expected one of {', '.join(SOLVERS)}, got {solver!r}")
    if rule not in RULES:
        raise ValueError(f"step rule: expected one of {', '.join(RULES)}, got {rule!r}")
    begin = problem.start() if start is None else start
    found = curvatures(problem, solver, rule) if known is None else known
    steps = [step_size / torch.where(value > 0, value, torch.ones_like(value)) for value in found]
    return _ITERATIONS[solver](problem, begin, steps or [step_size] * len(problem.split(begin)))


def unroll(
    problem: Quadratic,
    solver: str,
    steps: int,
    step_size: Tensor,
    rule: str = "relative",
    start: Tensor | None = None,
    known: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return the codes after a number of sweeps; arguments as in :func:`sweeps`.

    Args:
        problem: the energy.
        solver: one of :data:`SOLVERS`.
        steps: number of sweeps, >= 0.
        step_size: f of each replica.
        rule: of the step size.
        start: codes to begin with.
        known: the curvatures.

    Returns:
        ``(R, N, K)``.
    """
    if steps < 0:
        raise ValueError(f"steps: expected a whole number >= 0, got {steps}")
    codes = problem.start() if start is None else start
    if steps:
        iteration = sweeps(problem, solver, step_size, rule, start, known)
        for _ in range(steps):
            codes = next(iteration)
    return codes


def _block_prox(problem: Quadratic, codes: Tensor, steps: Sequence[Tensor]) -> Iterator[Tensor]:
    sweep, parts = problem.in_turn(steps), problem.split(codes)
    while True:
        parts = sweep(parts)
        yield torch.cat(parts, dim=2)


def _ista(problem: Quadratic, codes: Tensor, steps: Sequence[Tensor]) -> Iterator[Tensor]:
    step = problem.joint(steps[0])
    while True:
        codes = step(codes)
        yield codes


def _fista(problem: Quadratic, codes: Tensor, steps: Sequence[Tensor]) -> Iterator[Tensor]:
    step = problem.joint(steps[0])
    ahead, inertia = codes, 1.0
    while True:
        before, codes = codes, step(ahead)
        following = (1 + (1 + 4 * inertia**2) ** 0.5) / 2
        ahead = codes + (inertia - 1) / following * (codes - before)
        inertia = following
        yield codes


def _admm(problem: Quadratic, codes: Tensor, steps: Sequence[Tensor]) -> Iterator[Tensor]:
    solve = problem.least_squares(1 / steps[0])
    dual, smooth = torch.zeros_like(codes), codes
    while True:
        smooth = solve(codes - dual, smooth)
        codes = problem.shrink(smooth + dual, steps[0])
        dual = dual + smooth - codes
        yield codes


_ITERATIONS: dict[str, Callable[[Quadratic, Tensor, Sequence[Tensor]], Iterator[Tensor]]] = {
    "block_prox": _block_prox,
    "ista": _ista,
    "fista": _fista,
    "admm": _admm,
}
