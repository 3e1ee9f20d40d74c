"""First-order solvers: gradient descent (GD) and Nesterov's accelerated gradient (NAG).

A solver is three functions: ``init(start)`` makes its state, ``step(energy, state)`` the next state, and
``estimate(state)`` reads the current y from it. Solvers hold no state of their own, so one object serves any batch.

One rule for what differs between replicas: a step size given as a tensor is aligned with the estimate from the
left, the replica axis first, and trailing axes of size 1 are added. So ``(R,)`` gives each of R replicas its own step
size on estimates ``(R, d)`` or ``(R, B, d)``; ``(R, 1)`` and ``(R, 1, 1)`` mean the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from torch import Tensor

from .energies import Energy

Number: TypeAlias = float | Tensor


def momentum(step_size: Number, strong_convexity: Number) -> Number:
    """Momentum of NAG on a strongly convex energy: a = (1 - sqrt(mu s)) / (1 + sqrt(mu s)).

    Args:
        step_size: s > 0, a float or a tensor of any shape.
        strong_convexity: mu >= 0, a float or a tensor that broadcasts against ``step_size``.

    Returns:
        a, a tensor where either argument is one, else a float. It falls from 1 at mu s = 0 to 0 at mu s = 1.

    Example:
        >>> momentum(1.0, 0.25)
        0.3333333333333333
    """
    root = (strong_convexity * step_size) ** 0.5
    return (1 - root) / (1 + root)


def aligned(values: Number, estimate: Tensor, name: str = "step size") -> Number:
    """Align one value a replica with an estimate, leading axes first.

    Args:
        values: A float, or a tensor whose leading axes are those of ``estimate``; a last axis of size 1 is allowed.
        estimate: y, ``(..., d)``.
        name: What ``values`` are, for the error.

    Returns:
        The float as it is, or the tensor with trailing axes of size 1, so that it broadcasts against ``estimate``.

    Raises:
        ValueError: The tensor would not broadcast, would enlarge the estimate, or differs along its last axis.
    """
    if not isinstance(values, Tensor):
        return values
    missing = estimate.ndim - values.ndim
    shaped = values.reshape(*values.shape, *(1,) * max(missing, 0))
    fits = missing >= 0 and all(
        size in (1, wanted) for size, wanted in zip(shaped.shape, (*estimate.shape[:-1], 1), strict=True)
    )
    if not fits:
        raise ValueError(
            f"a {name} of shape {tuple(values.shape)} does not fit estimates of shape {tuple(estimate.shape)}: "
            "its axes are the leading axes of the estimate (size 1 where shared), without the dimension d; "
            "if the energy lacks a replica axis, pass a start that has it"
        )
    return shaped


def check_number(value: Number, name: str, least: float, strict: bool) -> None:
    """Refuse a float outside its range; tensors pass, since reading them would wait for the device."""
    if isinstance(value, Tensor):
        return
    if not math.isfinite(value) or value < least or (strict and value == least):
        raise ValueError(f"expected a finite {name} {'>' if strict else '>='} {least:g}, got {value}")


@dataclass(frozen=True, eq=False)
class GD:
    """Gradient descent: y <- y - s grad E(y).

    On a quadratic energy each eigencomponent of the error shrinks by 1 - s e a step; it converges for s < 2 / L.

    Args:
        step_size: s > 0, a float or a tensor of the leading axes of the estimate (module docstring).

    Raises:
        ValueError: A float step size that is not positive and finite.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401): the algorithms that the paper unrolls.

    Example:
        From 0 with minimiser y*, the error after k steps is (1 - s e)^k y*.

        >>> import torch
        >>> from unrolled.solvers.energies import EigenEnergy
        >>> energy, solver = EigenEnergy(torch.tensor([0.5]), torch.tensor([1.0])), GD(1.0)
        >>> state = solver.init(energy.start())
        >>> for _ in range(3):
        ...     state = solver.step(energy, state)
        >>> energy.minimizer() - solver.estimate(state)
        tensor([0.2500])
    """

    step_size: Number

    def __post_init__(self) -> None:
        check_number(self.step_size, "step size", 0.0, strict=True)

    def init(self, start: Tensor) -> Tensor:
        """State at the start: the estimate itself, ``(..., d)``."""
        return start

    def step(self, energy: Energy, state: Tensor) -> Tensor:
        """One step, ``(..., d)``; raises ValueError where the step size does not fit the estimate."""
        return state - aligned(self.step_size, state) * energy.gradient(state)

    def estimate(self, state: Tensor) -> Tensor:
        """The current y, ``(..., d)``."""
        return state


class NAGState(NamedTuple):
    """State of NAG: the estimate y and the extrapolated point z where the next gradient is taken, ``(..., d)`` each."""

    estimate: Tensor
    lookahead: Tensor


@dataclass(frozen=True, eq=False)
class NAG:
    """Nesterov's accelerated gradient with constant momentum.

        y' = z - s grad E(z),    z' = y' + a (y' - y),    a = (1 - sqrt(mu s)) / (1 + sqrt(mu s)),    z_0 = y_0.

    At s = 1 / mu the momentum is 0 and NAG is GD. On energies with mu I <= Q <= L I it converges for
    s <= 4 / (mu + 3 L), and diverges once s L > 4 / (3 - sqrt(mu s)), somewhat later.

    Args:
        step_size: s > 0, a float or a tensor of the leading axes of the estimate (module docstring).
        strong_convexity: mu >= 0, likewise.

    Raises:
        ValueError: A float step size that is not positive and finite, or a negative strong convexity.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401): the algorithms that the paper unrolls.

    Example:
        In the direction of least curvature, e = mu, the error after k steps is
        (1 + k sqrt(mu s)) (1 - sqrt(mu s))^k y*; here k = 2 and sqrt(mu s) = 1/2 give 1/2.

        >>> import torch
        >>> from unrolled.solvers.energies import EigenEnergy
        >>> energy, solver = EigenEnergy(torch.tensor([0.25]), torch.tensor([0.25])), NAG(1.0, 0.25)
        >>> state = solver.init(energy.start())
        >>> for _ in range(2):
        ...     state = solver.step(energy, state)
        >>> energy.minimizer() - solver.estimate(state)
        tensor([0.5000])
    """

    step_size: Number
    strong_convexity: Number

    def __post_init__(self) -> None:
        check_number(self.step_size, "step size", 0.0, strict=True)
        check_number(self.strong_convexity, "strong convexity", 0.0, strict=False)

    def init(self, start: Tensor) -> NAGState:
        """State at the start: y = z = start, ``(..., d)`` each."""
        return NAGState(start, start)

    def step(self, energy: Energy, state: NAGState) -> NAGState:
        """One step; raises ValueError where the step size or the strong convexity does not fit the estimate."""
        step_size = aligned(self.step_size, state.estimate)
        strong_convexity = aligned(self.strong_convexity, state.estimate, "strong convexity")
        estimate = state.lookahead - step_size * energy.gradient(state.lookahead)
        lookahead = estimate + momentum(step_size, strong_convexity) * (estimate - state.estimate)
        return NAGState(estimate, lookahead)

    def estimate(self, state: NAGState) -> Tensor:
        """The current y, ``(..., d)``."""
        return state.estimate
