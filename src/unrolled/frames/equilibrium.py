r"""Implicit differentiation of deep sparse codes: the gradient at the fixed point, whatever led there.

A minimiser satisfies :math:`w = T(w) = \max(w - s(B^\top B w - B^\top y + b), 0)`. With D the mask of its positive
entries, a gradient g with respect to w reaches T's other arguments as u, where :math:`s D B^\top B D u = D g`: one
symmetric system a sample, on the active units. Memory does not grow with the number of sweeps, and the sweeps need not
be differentiable.

Reference:
    Bai, Kolter, Koltun 2019, "Deep Equilibrium Models", theorem 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.frames.quadratic import Quadratic
from unrolled.solvers.matrix_free import conjugate_gradient

TOLERANCE = 1e-3
"""Relative change of the codes by one proximal gradient step from which on they count as converged."""

ADJOINT_ITERATIONS = 300
"""At most so many steps of conjugate gradient towards u."""

ADJOINT_TOLERANCE = 1e-6
"""Relative residual at which a sample's system counts as solved."""


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
    """Return u, from products with the transposed derivative D (1 - s B^T B) of the step."""
    active = (again > 0).to(gradient.dtype)

    def product(u: Tensor) -> Tensor:
        (pulled,) = torch.autograd.grad(again, leaf, u, retain_graph=True)
        return active * (u - pulled)

    right = active * gradient
    return conjugate_gradient(product, right, torch.zeros_like(right), ADJOINT_ITERATIONS, ADJOINT_TOLERANCE)


def _norm(codes: Tensor) -> Tensor:
    return codes.square().sum((1, 2)).sqrt()
