"""A solver whose step is learned: the recurrent cell (RNN) of the reasoning-layer paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .energies import Energy
from .gradient import Number


def _times(weight: Tensor, hidden: Tensor) -> Tensor:
    """Apply one matrix a replica, ``(R..., m, n)``, to each of its vectors, ``(R..., B..., n)``.

    One product a replica: the axes B are joined, so that no matrix is copied along them. Gives ``(R..., B..., m)``.
    """
    leading = weight.ndim - 2
    rows = hidden.flatten(leading, -2) if hidden.ndim - 1 > leading else hidden.unsqueeze(-2)
    return (rows @ weight.mT).reshape(*hidden.shape[:-1], weight.shape[-2])


@dataclass(frozen=True, eq=False)
class RNNCell:
    """A learned step on d-dimensional estimates, a three-layer ReLU net of width 2d with no biases.

        y <- V relu(W_3 relu(W_2 relu(W_1 [-grad E(y); y])))

    The energy enters through its gradient alone, as in GD, but how the step uses it is free. All steps share the
    weights. The cell holds tensors, not parameters: whoever trains it owns them and builds a cell from them. Leading
    axes of the weights are replicas and are aligned with the estimate from the left: weights ``(R, ...)`` serve
    estimates ``(R, d)`` and ``(R, B, d)``.

    Args:
        w1: W_1, ``(..., 2d, 2d)``.
        w2: W_2, ``(..., 2d, 2d)``.
        w3: W_3, ``(..., 2d, 2d)``.
        v: V, ``(..., d, 2d)``.

    Raises:
        ValueError: The shapes are not those of one dimension d and one set of replicas.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401): the RNN layer that the paper compares with GD and NAG.

    Example:
        With the weights of ``from_step_size`` a step is a GD step, y - s (e y - c).

        >>> from unrolled.solvers.energies import EigenEnergy
        >>> energy = EigenEnergy(torch.tensor([0.5, 1.0]), torch.tensor([1.0, -1.0]))
        >>> RNNCell.from_step_size(2, 0.5).step(energy, torch.tensor([4.0, 2.0]))
        tensor([3.5000, 0.5000])
    """

    w1: Tensor
    w2: Tensor
    w3: Tensor
    v: Tensor

    def __post_init__(self) -> None:
        dimension = self.v.shape[-2] if self.v.ndim >= 2 else 0
        replicas = self.v.shape[:-2]
        for name, weight, rows in (("v", self.v, 1), ("w1", self.w1, 2), ("w2", self.w2, 2), ("w3", self.w3, 2)):
            wanted = (*replicas, rows * dimension, 2 * dimension)
            if weight.shape != wanted or dimension < 1:
                raise ValueError(
                    f"expected {name} of shape {wanted}, got {tuple(weight.shape)}; v is (..., d, 2d), "
                    "w1, w2 and w3 are (..., 2d, 2d), all with the same leading axes"
                )

    @classmethod
    def from_step_size(
        cls,
        dimension: int,
        step_size: Number,
        replicas: Sequence[int] = (),
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> RNNCell:
        """Weights with which one step equals one GD step of size s.

            W_1 = [[s I, I], [-s I, -I]],    W_2 = W_3 = I,    V = [I, -I]

        The first layer makes u = y - s grad E(y) and -u, and relu(u) - relu(-u) = u.

        Args:
            dimension: d >= 1.
            step_size: s, a float or a tensor that broadcasts to ``replicas``.
            replicas: Leading axes of the weights; every replica gets its own copy.
            dtype: Type of the weights; torch's default where None.
            device: Where the weights lie; torch's default where None.

        Returns:
            The cell.

        Raises:
            ValueError: ``dimension`` is below 1.
        """
        if dimension < 1:
            raise ValueError(f"expected a dimension of at least 1, got {dimension}")
        eye = torch.eye(dimension, dtype=dtype, device=device)
        scale = torch.as_tensor(step_size, dtype=eye.dtype, device=device).expand(tuple(replicas))
        gradient_half = torch.cat([eye, -eye]) * scale[..., None, None]
        estimate_half = torch.cat([eye, -eye]).expand(gradient_half.shape)
        wide = torch.eye(2 * dimension, dtype=dtype, device=device).expand(*replicas, -1, -1)
        readout = torch.cat([eye, -eye], dim=-1).expand(*replicas, -1, -1)
        return cls(torch.cat([gradient_half, estimate_half], dim=-1), wide.clone(), wide.clone(), readout.clone())

    def init(self, start: Tensor) -> Tensor:
        """State at the start: the estimate itself, ``(..., d)``."""
        return start

    def step(self, energy: Energy, state: Tensor) -> Tensor:
        """One learned step.

        Args:
            energy: What is minimised.
            state: The estimate y, ``(..., d)``.

        Returns:
            The next estimate, ``(..., d)``.

        Raises:
            ValueError: The estimate's dimension or leading axes are not those of the weights.
        """
        replicas, dimension = self.v.shape[:-2], self.v.shape[-2]
        leading = state.shape[:-1][: len(replicas)]
        if state.shape[-1] != dimension or leading != replicas:
            raise ValueError(
                f"expected estimates of dimension {dimension} with the leading axes {tuple(replicas)} of the weights, "
                f"got shape {tuple(state.shape)}; if the energy lacks a replica axis, pass a start that has it"
            )
        hidden = torch.cat([-energy.gradient(state), state], dim=-1)
        for weight in (self.w1, self.w2, self.w3):
            hidden = torch.relu(_times(weight, hidden))
        return _times(self.v, hidden)

    def estimate(self, state: Tensor) -> Tensor:
        """The current y, ``(..., d)``."""
        return state
