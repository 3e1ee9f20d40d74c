r"""Implicit differentiation of deep sparse codes: the gradient at the fixed point, whatever led there.

A minimiser w satisfies w = T(w) for the proximal gradient step T. With J the derivative of T in w, a gradient g with
respect to w becomes :math:`v = (1 - J^\top)^{-1} g` with respect to T's other arguments: memory does not grow with the
number of sweeps, and the sweeps need not be differentiable.

Reference:
    Bai, Kolter, Koltun 2019, "Deep Equilibrium Models", theorem 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.frames.quadratic import Quadratic

TOLERANCE = 1e-3
"""Relative change of the codes by one proximal gradient step from which on they count as converged."""

ADJOINT_ITERATIONS = 500
"""At most so many steps towards v; each replica stops where its v changes by :data:`TOLERANCE` / 10, relatively."""


class ConvergenceError(RuntimeError):
    """An iteration did not reach its fixed point; the message says how far it was and what to do."""


def implicit(problem: Quadratic, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Attach the implicit gradient to codes.

    Args:
        problem: the energy, differentiable in what it was made of.
        codes: at its minimum, ``(R, N, K)``; their own history is forgotten.

    Returns:
        The codes after one more proximal gradient step, and its relative change ``(R,)``: where that is above
        :data:`TOLERANCE` they are not converged, and the gradient is not one of the minimum.
    """
    curvature = problem.curvature().detach()
    step = problem.joint(1 / torch.where(curvature > 0, curvature, torch.ones_like(curvature)))
    fixed = codes.detach()
    moved = step(fixed)
    with torch.no_grad():
        change = _norm(moved - fixed) / _norm(moved).clamp_min(torch.finfo(moved.dtype).tiny)
    if moved.requires_grad:
        leaf = fixed.requires_grad_()
        again = step(leaf)
        moved.register_hook(lambda gradient: _adjoint(again, leaf, gradient))
    return moved, change


def _adjoint(again: Tensor, leaf: Tensor, gradient: Tensor) -> Tensor:
    """Return v = g + J^T v, each replica by iterations of its own number."""
    v, running = gradient, torch.ones(len(gradient), dtype=torch.bool, device=gradient.device)
    for _ in range(ADJOINT_ITERATIONS):
        (pulled,) = torch.autograd.grad(again, leaf, v, retain_graph=True)
        following = torch.where(running[:, None, None], gradient + pulled, v)
        running = running & (_norm(following - v) > TOLERANCE / 10 * _norm(following))
        v = following
        if not bool(running.any()):
            break
    return v


def _norm(codes: Tensor) -> Tensor:
    return codes.square().sum((1, 2)).sqrt()
