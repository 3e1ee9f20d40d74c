"""Convergence, stability and sensitivity measured on the running layer, by finite differences.

Independent of the polynomial algebra of ``unrolled.solvers.filters``: the solver runs step by step on energies with
full matrices Q = q diag(e, L, mu) q^T in a random rotation q. The worst case is searched over the first eigenvalue e,
and the linear term is its unit eigenvector u, the direction in which the worst case is reached. Each function returns
the largest value over e in [mu, L], in float64, whatever the rotation.

Central differences of size H err by H^2 / 6 times the third derivative and by rounding over H; for k <= 30 both stay
well below 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .energies import QuadraticEnergy
from .rates import check_setting
from .registry import build_solver
from .unroll import unroll
from .worst_case import largest_magnitude

H = 1e-6
DIMENSION = 3


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer under test: k steps of a named solver on energies with mu I <= Q <= L I in one rotation."""

    name: str
    steps: int
    strong_convexity: float
    smoothness: float
    rotation: Tensor

    @property
    def direction(self) -> Tensor:
        """The unit eigenvector u of the eigenvalue that is searched over, ``(d,)``."""
        return self.rotation[:, 0]

    def matrices(self, eigenvalues: Tensor) -> Tensor:
        """Q for each e, ``(...)`` to ``(..., d, d)``."""
        others = eigenvalues.new_tensor([self.smoothness, self.strong_convexity]).expand(*eigenvalues.shape, 2)
        spectrum = torch.cat([eigenvalues.unsqueeze(-1), others], dim=-1)
        return QuadraticEnergy.from_eigen(self.rotation, spectrum, self.direction).matrix

    def run(self, matrices: Tensor, linear: Tensor, step_size: float) -> Tensor:
        """The layer's output y_k, ``(..., d)``."""
        solver = build_solver(self.name, step_size=step_size, strong_convexity=self.strong_convexity)
        return unroll(solver, QuadraticEnergy(matrices, linear), self.steps, keep_trajectory=False).estimate

    def worst(self, measure: Callable[[Tensor], Tensor]) -> float:
        """The largest measurement over e in [mu, L]."""
        return largest_magnitude(measure, self.strong_convexity, self.smoothness, bumps=self.steps + 1)


def _layer(
    name: str,
    steps: int,
    step_size: float,
    strong_convexity: float,
    smoothness: float,
    generator: torch.Generator | None,
) -> _Layer:
    """Check the setting and draw the rotation: the Q factor of a Gaussian matrix."""
    count = check_setting(name, steps, step_size, strong_convexity, smoothness)
    source = torch.Generator().manual_seed(0) if generator is None else generator
    gaussian = torch.randn(DIMENSION, DIMENSION, generator=source, dtype=torch.float64)
    return _Layer(name, count, float(strong_convexity), float(smoothness), torch.linalg.qr(gaussian).Q)


def _difference(forward: Tensor, backward: Tensor) -> Tensor:
    """Size of a central difference, ``(..., d)`` to ``(...)``."""
    return torch.linalg.vector_norm(forward - backward, dim=-1) / (2 * H)


def measured_convergence(
    name: str,
    steps: int,
    step_size: float,
    strong_convexity: float,
    smoothness: float,
    generator: torch.Generator | None = None,
) -> float:
    """Largest relative error |y_k - y*| / |y*| of the running layer, with y* from a direct solve.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.
        generator: Draws the rotation; one of seed 0 where None.

    Returns:
        The measured Cvg(k, s).

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> round(measured_convergence("gd", 2, 1.0, 0.5, 1.0), 6)
        0.25
    """
    layer = _layer(name, steps, step_size, strong_convexity, smoothness, generator)

    def error(eigenvalues: Tensor) -> Tensor:
        matrices = layer.matrices(eigenvalues)
        target = QuadraticEnergy(matrices, layer.direction).minimizer()
        miss = layer.run(matrices, layer.direction, step_size) - target
        return torch.linalg.vector_norm(miss, dim=-1) / torch.linalg.vector_norm(target, dim=-1)

    return layer.worst(error)


def measured_stability(
    name: str,
    steps: int,
    step_size: float,
    strong_convexity: float,
    smoothness: float,
    generator: torch.Generator | None = None,
) -> float:
    """Largest change of the layer's output a unit of change of Q, along the eigenprojector u u^T with b = u.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.
        generator: Draws the rotation; one of seed 0 where None.

    Returns:
        The measured Stab(k, s).

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> round(measured_stability("gd", 2, 1.0, 0.5, 1.0), 6)
        1.0
    """
    layer = _layer(name, steps, step_size, strong_convexity, smoothness, generator)
    bump = H * torch.outer(layer.direction, layer.direction)

    def change(eigenvalues: Tensor) -> Tensor:
        matrices = layer.matrices(eigenvalues)
        forward = layer.run(matrices + bump, layer.direction, step_size)
        return _difference(forward, layer.run(matrices - bump, layer.direction, step_size))

    return layer.worst(change)


def measured_stability_linear(
    name: str,
    steps: int,
    step_size: float,
    strong_convexity: float,
    smoothness: float,
    generator: torch.Generator | None = None,
) -> float:
    """Largest change of the layer's output a unit of change of b, along u.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.
        generator: Draws the rotation; one of seed 0 where None.

    Returns:
        The measured Stab_b(k, s).

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> round(measured_stability_linear("gd", 2, 1.0, 0.5, 1.0), 6)
        1.5
    """
    layer = _layer(name, steps, step_size, strong_convexity, smoothness, generator)

    def change(eigenvalues: Tensor) -> Tensor:
        matrices = layer.matrices(eigenvalues)
        forward = layer.run(matrices, (1 + H) * layer.direction, step_size)
        return _difference(forward, layer.run(matrices, (1 - H) * layer.direction, step_size))

    return layer.worst(change)


def measured_sensitivity(
    name: str,
    steps: int,
    step_size: float,
    strong_convexity: float,
    smoothness: float,
    generator: torch.Generator | None = None,
) -> float:
    """Largest change of the layer's output a unit of change of the step size, with b = u.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > H.
        strong_convexity: mu > 0.
        smoothness: L >= mu.
        generator: Draws the rotation; one of seed 0 where None.

    Returns:
        The measured Sens(k, s).

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> round(measured_sensitivity("gd", 2, 1.0, 0.5, 1.0), 6)
        1.0
    """
    layer = _layer(name, steps, step_size, strong_convexity, smoothness, generator)

    def change(eigenvalues: Tensor) -> Tensor:
        matrices = layer.matrices(eigenvalues)
        forward = layer.run(matrices, layer.direction, step_size + H)
        return _difference(forward, layer.run(matrices, layer.direction, step_size - H))

    return layer.worst(change)
