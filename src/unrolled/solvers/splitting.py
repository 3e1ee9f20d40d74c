"""Splitting: the alternating direction method of multipliers (ADMM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .gradient import Number, check_number


class SplitEnergy(Protocol):
    """What ADMM may ask of an energy f + g: the proximal operators of both parts."""

    def least_squares(self, point: Tensor, penalty: float, guess: Tensor) -> Tensor:
        """The minimiser over w of f(w) + rho/2 ||w - point||^2, ``(..., d)``; the guess is near it."""

    def proximal(self, y: Tensor, step_size: Number) -> Tensor:
        """The minimiser over v of 1/2 ||v - y||^2 + s g(v), ``(..., d)``."""


class ADMMState(NamedTuple):
    """State of ADMM, ``(..., d)`` each.

    Attributes:
        smooth: w, the copy that f sees.
        split: z, the copy that g sees; it keeps the constraints of g, so it is the estimate.
        dual: u, the sum of w - z so far.
    """

    smooth: Tensor
    split: Tensor
    dual: Tensor


@dataclass(frozen=True, eq=False)
class ADMM:
    """The alternating direction method of multipliers with a scaled dual variable.

        w <- argmin f(w) + rho/2 ||w - z + u||^2,  z <- prox_{g / rho}(w + u),  u <- u + w - z.

    It converges for every rho > 0; the energy at z may rise on the way.

    Args:
        penalty: rho > 0.

    Raises:
        ValueError: A penalty that is not positive and finite.

    Reference:
        Boyd et al. 2011, section 3.1.1; Murdock, Chang, Lucey 2018 (Deep Component Analysis) on deep sparse codes.
    """

    penalty: float

    def __post_init__(self) -> None:
        check_number(self.penalty, "penalty", 0.0, strict=True)

    def init(self, start: Tensor) -> ADMMState:
        """State at the start: w = z = start, u = 0."""
        return ADMMState(start, start, torch.zeros_like(start))

    def step(self, energy: SplitEnergy, state: ADMMState) -> ADMMState:
        """One step."""
        smooth = energy.least_squares(state.split - state.dual, self.penalty, state.smooth)
        split = energy.proximal(smooth + state.dual, 1 / self.penalty)
        return ADMMState(smooth, split, state.dual + smooth - split)

    def estimate(self, state: ADMMState) -> Tensor:
        """The current z, ``(..., d)``."""
        return state.split
