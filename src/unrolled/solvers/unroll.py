"""Unrolling: k steps of any solver on any energy, as one differentiable layer."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from .energies import Energy

State = TypeVar("State")


class Solver(Protocol[State]):
    """An iteration: how its state begins, how it moves, and where in it the estimate is."""

    def init(self, start: Tensor) -> State:
        """State at the start ``(..., d)``."""

    def step(self, energy: Energy, state: State) -> State:
        """The next state."""

    def estimate(self, state: State) -> Tensor:
        """The current estimate ``(..., d)``."""


class Unrolled(NamedTuple):
    """What a layer returns.

    Attributes:
        estimate: y_k, ``(..., d)``.
        trajectory: y_0 to y_k, ``(k + 1, ..., d)``, or None where it was not kept.
    """

    estimate: Tensor
    trajectory: Tensor | None


def unroll(
    solver: Solver[State],
    energy: Energy,
    steps: int,
    start: Tensor | None = None,
    keep_trajectory: bool = True,
) -> Unrolled:
    """Run k steps of a solver: y_k = Alg^k(E), from y_0 = start.

    Autograd goes through every step, to the energy's tensors, to the solver's and to the start.

    Args:
        solver: What iterates.
        energy: What is minimised.
        steps: k >= 0, the depth of the layer.
        start: y_0, ``(..., d)``; broadcasts against the energy's own start (zeros), which is taken where None.
        keep_trajectory: Whether to stack all estimates.

    Returns:
        The last estimate and the trajectory.

    Raises:
        ValueError: ``steps`` is not an integer >= 0, or ``start`` does not fit the energy.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401): the algorithm layer Alg^k.

    Example:
        The error of GD halves with each step where s e = 1/2.

        >>> from unrolled.solvers.energies import EigenEnergy
        >>> from unrolled.solvers.gradient import GD
        >>> energy = EigenEnergy(torch.tensor([0.5]), torch.tensor([0.5]))
        >>> unroll(GD(1.0), energy, 2).trajectory
        tensor([[0.0000],
                [0.5000],
                [0.7500]])
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ValueError(f"expected an integer number of steps >= 0, got {steps!r}")
    state = solver.init(_full_start(energy, start))
    kept = [solver.estimate(state)]
    for _ in range(steps):
        state = solver.step(energy, state)
        if keep_trajectory:
            kept.append(solver.estimate(state))
    return Unrolled(solver.estimate(state), torch.stack(kept) if keep_trajectory else None)


def _full_start(energy: Energy, start: Tensor | None) -> Tensor:
    """The start with every batch axis that the iterates will have, so that they can be stacked."""
    zero = energy.start()
    if start is None:
        return zero
    if start.ndim < 1 or start.shape[-1] != zero.shape[-1]:
        raise ValueError(f"expected a start of shape (..., {zero.shape[-1]}), got {tuple(start.shape)}")
    try:
        shape = torch.broadcast_shapes(start.shape, zero.shape)
    except RuntimeError as error:
        raise ValueError(
            f"a start of shape {tuple(start.shape)} does not broadcast against estimates of shape {tuple(zero.shape)}"
        ) from error
    return start.expand(shape)
