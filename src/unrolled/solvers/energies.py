"""Quadratic energies, the objects that solvers minimise.

A quadratic energy on R^d is

    E(y) = 1/2 y^T Q y - b^T y,    Q symmetric, mu I <= Q <= L I,

with gradient Q y - b and minimiser Q^-1 b. In the eigenbasis Q = q diag(e) q^T it separates into d scalar
energies 1/2 e_i u_i^2 - c_i u_i with u = q^T y and c = q^T b; ``EigenEnergy`` is that form.

Every class holds a batch of energies on the leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Energy(Protocol):
    """What a solver may ask of an energy: a scalar function of y, batched over leading axes."""

    def value(self, y: Tensor) -> Tensor:
        """Energy of each estimate: ``(..., d)`` to ``(...)``."""

    def gradient(self, y: Tensor) -> Tensor:
        """Gradient at each estimate: ``(..., d)`` to ``(..., d)``."""

    def minimizer(self) -> Tensor:
        """The point of least energy, ``(..., d)``."""

    def start(self) -> Tensor:
        """Where iterations begin unless told otherwise, ``(..., d)``."""


def _joint_batch(name: str, first: torch.Size, second_name: str, second: torch.Size) -> torch.Size:
    """Broadcast two batch shapes, or say which of them does not fit."""
    try:
        return torch.broadcast_shapes(first, second)
    except RuntimeError as error:
        raise ValueError(
            f"the batch axes of {name} {tuple(first)} and {second_name} {tuple(second)} do not broadcast; "
            "give both the same leading axes, or size 1 where one value serves all"
        ) from error


@dataclass(frozen=True, eq=False)
class QuadraticEnergy:
    """The energy E(y) = 1/2 y^T Q y - b^T y of a symmetric positive definite Q.

    Only symmetric matrices make ``gradient`` (Q y - b) the gradient of ``value``; symmetry is not checked, since
    that would read the data of every batch.

    Args:
        matrix: Q, ``(..., d, d)``, symmetric, eigenvalues in [mu, L] with mu > 0.
        linear: b, ``(..., d)``; its leading axes broadcast against those of ``matrix``.

    Raises:
        ValueError: ``matrix`` is not square, or the shapes do not fit each other.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401): the energy of the paper's quadratic problems.

    Example:
        At the minimiser the gradient vanishes and E = -1/2 b^T Q^-1 b.

        >>> energy = QuadraticEnergy(torch.tensor([[2.0, 0.0], [0.0, 0.5]]), torch.tensor([2.0, 1.0]))
        >>> energy.minimizer()
        tensor([1., 2.])
        >>> energy.gradient(energy.minimizer())
        tensor([0., 0.])
        >>> energy.value(energy.minimizer())
        tensor(-2.)
    """

    matrix: Tensor
    linear: Tensor

    def __post_init__(self) -> None:
        if self.matrix.ndim < 2 or self.matrix.shape[-1] != self.matrix.shape[-2]:
            raise ValueError(
                f"expected a square matrix (..., d, d), got shape {tuple(self.matrix.shape)}; "
                "eigenvalues alone make an EigenEnergy or go through QuadraticEnergy.from_eigen"
            )
        if self.linear.ndim < 1 or self.linear.shape[-1] != self.matrix.shape[-1]:
            raise ValueError(
                f"expected linear of shape (..., {self.matrix.shape[-1]}) to go with matrix "
                f"{tuple(self.matrix.shape)}, got {tuple(self.linear.shape)}; the last axis of both is the dimension d"
            )
        _joint_batch("matrix", self.matrix.shape[:-2], "linear", self.linear.shape[:-1])

    @classmethod
    def from_eigen(cls, rotation: Tensor, eigenvalues: Tensor, linear: Tensor) -> QuadraticEnergy:
        """Build the energy with Q = q diag(e) q^T.

        Args:
            rotation: q, ``(..., d, d)``, orthogonal; its columns are the eigenvectors.
            eigenvalues: e, ``(..., d)``, positive.
            linear: b, ``(..., d)``, in the standard basis (not rotated).

        Returns:
            The energy; its matrix is ``(..., d, d)``.

        Raises:
            ValueError: The shapes do not fit each other.
        """
        if rotation.ndim < 2 or rotation.shape[-1] != rotation.shape[-2]:
            raise ValueError(f"expected a square rotation (..., d, d), got shape {tuple(rotation.shape)}")
        if eigenvalues.ndim < 1 or eigenvalues.shape[-1] != rotation.shape[-1]:
            raise ValueError(
                f"expected eigenvalues of shape (..., {rotation.shape[-1]}), one for each column of rotation "
                f"{tuple(rotation.shape)}, got {tuple(eigenvalues.shape)}"
            )
        _joint_batch("rotation", rotation.shape[:-2], "eigenvalues", eigenvalues.shape[:-1])
        return cls((rotation * eigenvalues.unsqueeze(-2)) @ rotation.mT, linear)

    @property
    def shape(self) -> torch.Size:
        """Shape of an estimate, ``(..., d)``: the joint batch shape and the dimension."""
        batch = torch.broadcast_shapes(self.matrix.shape[:-2], self.linear.shape[:-1])
        return torch.Size((*batch, self.linear.shape[-1]))

    def _product(self, y: Tensor) -> Tensor:
        """Q y for each problem, ``(..., d)``."""
        return (self.matrix @ y.unsqueeze(-1)).squeeze(-1)

    def value(self, y: Tensor) -> Tensor:
        """E(y) = 1/2 y^T Q y - b^T y: ``(..., d)`` to ``(...)``."""
        return (y * (0.5 * self._product(y) - self.linear)).sum(-1)

    def gradient(self, y: Tensor) -> Tensor:
        """Q y - b: ``(..., d)`` to ``(..., d)``."""
        return self._product(y) - self.linear

    def minimizer(self) -> Tensor:
        """Q^-1 b by a direct solve, ``(..., d)``."""
        linear = self.linear.expand(self.shape)
        return torch.linalg.solve(self.matrix, linear.unsqueeze(-1)).squeeze(-1)

    def start(self) -> Tensor:
        """The zero estimate, ``(..., d)``, in the type and on the device of ``linear``."""
        return self.linear.new_zeros(self.shape)


@dataclass(frozen=True, eq=False)
class EigenEnergy:
    """The energy E(u) = sum_i (1/2 e_i u_i^2 - c_i u_i): a quadratic energy seen in its eigenbasis.

    With c = q^T b and u = q^T y it takes the same values as ``QuadraticEnergy.from_eigen(q, e, b)``, and gradient
    solvers run through the same iterates up to q, since their steps commute with a rotation. It needs no d x d matrix.

    Args:
        eigenvalues: e, ``(..., d)``, positive.
        coefficients: c = q^T b, ``(..., d)``; broadcasts against ``eigenvalues``.

    Raises:
        ValueError: The last axes differ or the leading axes do not broadcast.

    Example:
        The minimiser is c / e, and the energy there is -1/2 sum c^2 / e.

        >>> energy = EigenEnergy(torch.tensor([2.0, 0.5]), torch.tensor([2.0, 1.0]))
        >>> energy.minimizer()
        tensor([1., 2.])
        >>> energy.value(energy.minimizer())
        tensor(-2.)
    """

    eigenvalues: Tensor
    coefficients: Tensor

    def __post_init__(self) -> None:
        both = (self.eigenvalues, self.coefficients)
        if min(each.ndim for each in both) < 1 or self.eigenvalues.shape[-1] != self.coefficients.shape[-1]:
            raise ValueError(
                f"expected eigenvalues and coefficients that share their last axis, the dimension d, got shapes "
                f"{tuple(self.eigenvalues.shape)} and {tuple(self.coefficients.shape)}"
            )
        _joint_batch("eigenvalues", self.eigenvalues.shape[:-1], "coefficients", self.coefficients.shape[:-1])

    @property
    def shape(self) -> torch.Size:
        """Shape of an estimate, ``(..., d)``: the joint batch shape and the dimension."""
        return torch.broadcast_shapes(self.eigenvalues.shape, self.coefficients.shape)

    def value(self, y: Tensor) -> Tensor:
        """E(y) = sum_i (1/2 e_i y_i^2 - c_i y_i): ``(..., d)`` to ``(...)``."""
        return (y * (0.5 * self.eigenvalues * y - self.coefficients)).sum(-1)

    def gradient(self, y: Tensor) -> Tensor:
        """The elementwise e y - c: ``(..., d)`` to ``(..., d)``."""
        return self.eigenvalues * y - self.coefficients

    def minimizer(self) -> Tensor:
        """The elementwise quotient c / e, ``(..., d)``."""
        return self.coefficients / self.eigenvalues

    def start(self) -> Tensor:
        """The zero estimate, ``(..., d)``, in the type and on the device of ``coefficients``."""
        return self.coefficients.new_zeros(self.shape)
