"""Linear algebra of operators that are known by their products only: least squares and the spectral norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    guess: Tensor,
    iterations: int = 100,
    tolerance: float = 1e-10,
) -> Tensor:
    """Solve A w = r for a symmetric positive definite A by conjugate gradient, one system for each leading index.

    Args:
        product: w to A w, ``(..., M)`` to ``(..., M)``.
        right: r, ``(..., M)``.
        guess: Where to start, ``(..., M)``.
        iterations: At most so many, >= 1.
        tolerance: A system is done once ||A w - r|| <= tolerance ||r||; it then stays as it is.

    Returns:
        w, ``(..., M)``.

    Reference:
        Hestenes and Stiefel 1952.

    Example:
        >>> conjugate_gradient(lambda w: 4 * w, torch.tensor([8.0, 4.0]), torch.zeros(2))
        tensor([2., 1.])
    """
    w, residual = guess, right - product(guess)
    direction, square = residual, residual.square().sum(-1, keepdim=True)
    enough = tolerance**2 * right.square().sum(-1, keepdim=True)
    for _ in range(iterations):
        running = square > enough
        if not running.any():
            break
        image = product(direction)
        curvature = (direction * image).sum(-1, keepdim=True)
        rate = torch.where(running, square / curvature, 0.0)
        w, residual = w + rate * direction, residual - rate * image
        following = residual.square().sum(-1, keepdim=True)
        direction = residual + torch.where(running, following / square, 0.0) * direction
        square = following
    return w


def spectral_norm(
    apply: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], start: Tensor, iterations: int
) -> Tensor:
    """Return the largest singular value of A by power iteration on A^T A, without a graph for autograd.

    The value is ||A v|| of a unit vector v, hence never too large (but for rounding). A random start makes it too
    small by a share of about log(M) / (2 iterations) at worst, and by far less where the spectrum has a gap.

    Args:
        apply: A, ``(..., M)`` to ``(..., D)``.
        adjoint: A^T, ``(..., D)`` to ``(..., M)``.
        start: any vector that is not orthogonal to the leading singular vector, such as a random one, ``(..., M)``.
        iterations: products with A^T A, >= 1.

    Returns:
        The norms, ``(...)``.

    Raises:
        ValueError: ``iterations`` is not a positive integer.

    Example:
        >>> diagonal = torch.tensor([3.0, -4.0])
        >>> spectral_norm(lambda v: diagonal * v, lambda v: diagonal * v, torch.ones(2), 50)
        tensor(4.)
    """
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f"expected an integer number of power iterations >= 1, got {iterations!r}")
    with torch.no_grad():
        v = start
        for _ in range(iterations):
            v = _unit(adjoint(apply(_unit(v))))
        return torch.linalg.vector_norm(apply(v), dim=-1)


def _unit(v: Tensor) -> Tensor:
    """Divide by the norm; zero vectors stay, so that the norm of A = 0 is 0."""
    length = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return v / torch.where(length > 0, length, 1.0)
