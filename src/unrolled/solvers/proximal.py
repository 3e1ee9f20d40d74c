"""Proximal gradient solvers: ISTA and its accelerated form FISTA.

They minimise a smooth energy plus one with a simple proximal operator; ``step`` and ``estimate`` are those of the
gradient solvers, which are the case where the second part is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from .gradient import Number, aligned, check_number


class CompositeEnergy(Protocol):
    """What a proximal solver may ask of an energy f + g: f is smooth, g has a simple proximal operator."""

    def value(self, y: Tensor) -> Tensor:
        """The value of f + g: ``(..., d)`` to ``(...)``."""

    def gradient(self, y: Tensor) -> Tensor:
        """The gradient of f, ``(..., d)``."""

    def proximal(self, y: Tensor, step_size: Number) -> Tensor:
        """The minimiser over v of 1/2 ||v - y||^2 + s g(v), ``(..., d)``."""

    def start(self) -> Tensor:
        """Where iterations begin unless told otherwise, ``(..., d)``."""


@dataclass(frozen=True, eq=False)
class ISTA:
    """The iterative shrinkage-thresholding algorithm: y <- prox_{s g}(y - s grad f(y)).

    With L the largest curvature of f the energy never rises for s < 2 / L.

    Args:
        step_size: s > 0, a float or a tensor of the leading axes of the estimate, as in ``GD``.

    Raises:
        ValueError: A float step size that is not positive and finite.

    Reference:
        Daubechies, Defrise, De Mol 2004; Beck and Teboulle 2009, section 3.

    Example:
        One step with s = 1 solves the orthonormal case.

        >>> import torch
        >>> from unrolled.solvers.sparse_coding import SparseCodingEnergy
        >>> energy = SparseCodingEnergy.of_dictionary(torch.eye(2), torch.tensor([[3.0, 0.5]]), torch.tensor(1.0))
        >>> ISTA(1.0).step(energy, energy.start())
        tensor([[2., 0.]])
    """

    step_size: Number

    def __post_init__(self) -> None:
        check_number(self.step_size, "step size", 0.0, strict=True)

    def init(self, start: Tensor) -> Tensor:
        """State at the start: the estimate itself, ``(..., d)``."""
        return start

    def step(self, energy: CompositeEnergy, state: Tensor) -> Tensor:
        """One step, ``(..., d)``."""
        return energy.proximal(state - aligned(self.step_size, state) * energy.gradient(state), self.step_size)

    def estimate(self, state: Tensor) -> Tensor:
        """The current y, ``(..., d)``."""
        return state


class FISTAState(NamedTuple):
    """State of FISTA.

    Attributes:
        estimate: y, ``(..., d)``.
        lookahead: The extrapolated point z where the next gradient is taken, ``(..., d)``.
        inertia: t, a number >= 1 that grows by about 1/2 a step.
    """

    estimate: Tensor
    lookahead: Tensor
    inertia: float


@dataclass(frozen=True, eq=False)
class FISTA:
    """ISTA with momentum.

        y' = prox_{s g}(z - s grad f(z)),  t' = (1 + sqrt(1 + 4 t^2)) / 2,  z' = y' + (t - 1) / t' (y' - y),  t_1 = 1.

    For s <= 1 / L the energy is within 2 ||y_0 - y*||^2 / (s (k + 1)^2) of its minimum after k steps; it may rise
    on the way.

    Args:
        step_size: s > 0, a float or a tensor of the leading axes of the estimate, as in ``GD``.

    Raises:
        ValueError: A float step size that is not positive and finite.

    Reference:
        Beck and Teboulle 2009, section 4 and theorem 4.4.
    """

    step_size: Number

    def __post_init__(self) -> None:
        check_number(self.step_size, "step size", 0.0, strict=True)

    def init(self, start: Tensor) -> FISTAState:
        """State at the start: y = z = start, t = 1."""
        return FISTAState(start, start, 1.0)

    def step(self, energy: CompositeEnergy, state: FISTAState) -> FISTAState:
        """One step."""
        estimate = ISTA(self.step_size).step(energy, state.lookahead)
        inertia = (1 + (1 + 4 * state.inertia**2) ** 0.5) / 2
        lookahead = estimate + (state.inertia - 1) / inertia * (estimate - state.estimate)
        return FISTAState(estimate, lookahead, inertia)

    def estimate(self, state: FISTAState) -> Tensor:
        """The current y, ``(..., d)``."""
        return state.estimate
