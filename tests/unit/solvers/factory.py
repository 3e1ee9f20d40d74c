"""Random quadratic problems for the tests of this room, in float64."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unrolled.solvers.energies import EigenEnergy, QuadraticEnergy

MU, L = 0.1, 1.0
# Orders of float64 rounding: a few tens of operations on numbers of order 10.
ROUNDING = 1e-12


class Problem(NamedTuple):
    """A batch of energies in both forms, with what they were made of."""

    rotation: Tensor
    eigenvalues: Tensor
    linear: Tensor
    energy: QuadraticEnergy
    eigen_energy: EigenEnergy


def random_problem(*batch: int, dimension: int = 4, seed: int = 0) -> Problem:
    """Draw problems with eigenvalues in [MU, L], both ends included, and normal linear terms."""
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(*batch, dimension, dimension, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(gaussian).Q
    eigenvalues = MU + (L - MU) * torch.rand(*batch, dimension, generator=generator, dtype=torch.float64)
    eigenvalues[..., 0], eigenvalues[..., -1] = L, MU
    linear = torch.randn(*batch, dimension, generator=generator, dtype=torch.float64)
    coefficients = (rotation.mT @ linear[..., None])[..., 0]
    return Problem(
        rotation,
        eigenvalues,
        linear,
        QuadraticEnergy.from_eigen(rotation, eigenvalues, linear),
        EigenEnergy(eigenvalues, coefficients),
    )


def normal(*shape: int, seed: int = 1) -> Tensor:
    """A normal float64 tensor."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotated(rotation: Tensor, vectors: Tensor) -> Tensor:
    """The product q u of each problem."""
    return (rotation @ vectors[..., None])[..., 0]
