r"""The energy of non-negative sparse coding, with its dictionary as a linear operator.

    E(w) = 1/2 ||y - B w||^2 + b . w,    w >= 0.

It has a smooth part, whose gradient gradient solvers follow, and b . w with the constraint, whose proximal operator is
a rectifier with the bias -b. It is convex; its minimiser is unique where B has full column rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .gradient import Number, aligned
from .matrix_free import conjugate_gradient

EXPLICIT_ATOMS = 512
"""Up to so many atoms least squares are solved by a factor of the Gram matrix, beyond by conjugate gradient."""


def rectified_shrinkage(w: Tensor, thresholds: Tensor) -> Tensor:
    """The proximal operator of b . w with w >= 0: argmin over v >= 0 of 1/2 ||v - w||^2 + b . v = max(w - b, 0).

    Args:
        w: Any shape.
        thresholds: b, of any sign; broadcasts against ``w``.

    Returns:
        max(w - b, 0), of the broadcast shape.

    Example:
        >>> rectified_shrinkage(torch.tensor([-1.0, 0.5, 2.0]), torch.tensor(1.0))
        tensor([0., 0., 1.])
    """
    return torch.relu(w - thresholds)


@dataclass(frozen=True, eq=False)
class SparseCodingEnergy:
    """The energy E(w) = 1/2 ||y - B w||^2 + b . w over w >= 0.

    Args:
        target: y, ``(..., N, D)``: N samples that share a dictionary, which may differ along the axes before them.
        thresholds: b, broadcasts against ``(..., N, M)``. Where all are >= 0 the energy is bounded below by 0.
        apply: B, from ``(..., N, M)`` to ``(..., N, D)`` for any N.
        adjoint: B^T, from ``(..., N, D)`` to ``(..., N, M)``.

    Example:
        With an orthonormal dictionary the minimiser is max(B^T y - b, 0).

        >>> energy = SparseCodingEnergy.of_dictionary(torch.eye(2), torch.tensor([[3.0, 0.5]]), torch.tensor(1.0))
        >>> energy.proximal(energy.start() - energy.gradient(energy.start()), 1.0)
        tensor([[2., 0.]])
    """

    target: Tensor
    thresholds: Tensor
    apply: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    _factors: dict[float, Tensor] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of_dictionary(cls, dictionary: Tensor, target: Tensor, thresholds: Tensor) -> SparseCodingEnergy:
        """Build the energy of an explicit dictionary.

        Args:
            dictionary: B, ``(..., D, M)``, its columns are the atoms.
            target: y, ``(..., N, D)``.
            thresholds: b, broadcasts against ``(..., N, M)``.

        Raises:
            ValueError: The target does not have the dictionary's number of rows.
        """
        if dictionary.ndim < 2 or target.ndim < 2 or target.shape[-1] != dictionary.shape[-2]:
            raise ValueError(
                f"expected a dictionary (..., D, M) and a target (..., N, D), got shapes {tuple(dictionary.shape)} "
                f"and {tuple(target.shape)}; samples are rows of the target"
            )
        return cls(target, thresholds, lambda w: w @ dictionary.mT, lambda z: z @ dictionary)

    def start(self) -> Tensor:
        """The zero code, ``(..., N, M)``."""
        return torch.zeros_like(self.adjoint(self.target))

    def value(self, w: Tensor) -> Tensor:
        """E(w) of codes w >= 0: ``(..., N, M)`` to ``(..., N)``; the constraint itself is not checked."""
        residual = self.target - self.apply(w)
        return 0.5 * residual.square().sum(-1) + (self.thresholds * w).sum(-1)

    def gradient(self, w: Tensor) -> Tensor:
        """Gradient of the smooth part, B^T (B w - y): ``(..., N, M)``."""
        return self.adjoint(self.apply(w) - self.target)

    def proximal(self, w: Tensor, step_size: Number) -> Tensor:
        """The proximal operator of s (b . w + [w >= 0]): max(w - s b, 0), ``(..., N, M)``."""
        return rectified_shrinkage(w, self.thresholds * aligned(step_size, w))

    def least_squares(self, point: Tensor, penalty: float, guess: Tensor) -> Tensor:
        """The proximal operator of the smooth part: argmin_w 1/2 ||y - B w||^2 + rho/2 ||w - point||^2.

        Up to ``EXPLICIT_ATOMS`` atoms it is exact, by a Cholesky factor of B^T B + rho I that is made once; beyond,
        conjugate gradient starts at the guess.

        Args:
            point: ``(..., N, M)``.
            penalty: rho > 0.
            guess: ``(..., N, M)``, near the solution.

        Returns:
            The solution, ``(..., N, M)``.
        """
        right = self.adjoint(self.target) + penalty * point
        if point.shape[-1] <= EXPLICIT_ATOMS:
            if penalty not in self._factors:
                self._factors[penalty] = torch.linalg.cholesky(self.gram() + penalty * _eye(point))
            return torch.cholesky_solve(right.mT, self._factors[penalty]).mT
        return conjugate_gradient(lambda w: self.adjoint(self.apply(w)) + penalty * w, right, guess)

    def gram(self) -> Tensor:
        """The matrix B^T B, ``(..., M, M)``, from the images of the unit codes."""
        start = self.start()
        unit = _eye(start).expand(*start.shape[:-2], -1, -1)
        atoms = self.apply(unit)
        return atoms @ atoms.mT


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)
