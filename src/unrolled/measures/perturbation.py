r"""The inputs an attack may use: a ball around each clean input, cut by the box of valid inputs.

.. math:: \{x : \lVert x - x_0 \rVert_p \le \epsilon,\ l \le x \le h\}, \qquad p \in \{\infty, 2\}

Rows and replicas never meet: every operation is elementwise or a sum over one input. The box holds :math:`x_0`, so
cutting a point of the ball by it leads nowhere out of the ball.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NORMS = ("linf", "l2")

BOX_SLACK = 1e-4
"""How far outside the box a clean input may lie by rounding, as a share of its largest extent."""

TINY = 1e-30
"""Below any length that is divided by; a normal number in float32."""

Radius = float | Tensor
"""A number >= 0, or ``(R,)`` of them, in the units of the inputs."""

Bound = float | Tensor | None
"""Of valid inputs: a number, a tensor that broadcasts to ``(R, B, ...)``, or None for no bound."""


class Ball:
    """The allowed inputs around clean ones.

    Args:
        inputs: ``(R, B, ...)`` clean inputs, floating point.
        radius: largest distance from them.
        norm: ``linf`` (largest change of a value) or ``l2`` (Euclidean length of the change).
        low: smallest valid value.
        high: largest valid value. A clean input a rounding error outside the box stays allowed.

    Raises:
        ValueError: an unknown norm, a radius that is negative or not finite, shapes that do not fit, or clean inputs
            outside the box.
    """

    def __init__(self, inputs: Tensor, radius: Radius, norm: str, low: Bound = None, high: Bound = None) -> None:
        if inputs.ndim < 3 or not inputs.is_floating_point():
            raise ValueError(
                f"inputs: expected floating-point (R, B, ...), got {inputs.dtype} of shape {tuple(inputs.shape)}"
            )
        if norm not in NORMS:
            raise ValueError(f"norm: expected one of {', '.join(NORMS)}, got {norm!r}")
        self.inputs, self.norm = inputs.detach(), norm
        self.radius = _radii(radius, self.inputs)
        self.lower = self._bound("low", low)
        self.upper = self._bound("high", high)
        if norm == "linf":
            around = self.inputs - self.radius, self.inputs + self.radius
            self.lower = around[0] if self.lower is None else torch.maximum(around[0], self.lower)
            self.upper = around[1] if self.upper is None else torch.minimum(around[1], self.upper)

    def _bound(self, name: str, given: Bound) -> Tensor | None:
        """Return a side of the box, moved where a clean input lies outside by rounding."""
        if given is None:
            return None
        bound = torch.as_tensor(given, dtype=self.inputs.dtype, device=self.inputs.device)
        try:
            bound = bound.expand_as(self.inputs)
        except RuntimeError as error:
            raise ValueError(
                f"{name}: expected a number or a tensor that broadcasts to the inputs {tuple(self.inputs.shape)}, got "
                f"{tuple(bound.shape)}"
            ) from error
        moved = (torch.minimum if name == "low" else torch.maximum)(bound, self.inputs)
        outside = (moved - bound).abs()
        if not bool((outside <= BOX_SLACK * bound.abs().clamp_min(1)).all()):
            raise ValueError(
                f"{name}: expected clean inputs inside the box of valid ones, got one outside by "
                f"{float(outside.max()):.4g}; the box is in the units of the inputs"
            )
        return moved

    def project(self, x: Tensor) -> Tensor:
        """Return the allowed points for ``(R, B, ...)`` points, the nearest ones where no box cuts the ball."""
        if self.norm == "l2":
            change = x - self.inputs
            length = _length(change)
            # A ratio of 1 inside the ball leaves the change as it is, to the bit.
            x = self.inputs + change * (self.radius / length.clamp_min(TINY)).clamp_max(1)
        return x if self.lower is None and self.upper is None else torch.clamp(x, self.lower, self.upper)

    def steepest(self, gradient: Tensor) -> Tensor:
        r"""Return the change of norm 1 along which a function with this gradient grows fastest.

        :math:`\mathrm{sign}(g)` for Linf, :math:`g / \lVert g \rVert_2` for L2; 0 where the gradient is 0, and where
        it is not finite.
        """
        gradient = gradient.nan_to_num(0, 0, 0)
        return gradient.sign() if self.norm == "linf" else unit(gradient)

    def random(self, draws: Sequence[np.random.Generator]) -> Tensor:
        """Return points ``(R, B, ...)`` drawn evenly from the ball, then cut by the box; each replica has its draws."""
        shape = tuple(self.inputs.shape[1:])
        if self.norm == "linf":
            return self.project(self.inputs + self.radius * self.drawn([d.uniform(-1, 1, shape) for d in draws]))
        direction = unit(self.drawn([d.standard_normal(shape) for d in draws]))
        # The volume within r grows like r^n in n dimensions.
        share = [d.random(shape[:1]) ** (1 / math.prod(shape[1:])) for d in draws]
        return self.project(self.inputs + self.radius * direction * per_row(self.drawn(share), self.inputs))

    def repeated(self, times: int) -> Ball:
        """Return the ball around ``(R, times B, ...)`` inputs: all rows, then all of them again, and so on."""
        again = copy(self)
        again.inputs = torch.cat([self.inputs] * times, 1)
        again.lower, again.upper = (
            None if own is None else torch.cat([own] * times, 1) for own in (self.lower, self.upper)
        )
        return again

    def drawn(self, arrays: Sequence[NDArray[np.floating]]) -> Tensor:
        """Return what the replicas have drawn as one tensor, beside the inputs."""
        return torch.as_tensor(np.stack(arrays), dtype=self.inputs.dtype).to(self.inputs.device)


def unit(x: Tensor) -> Tensor:
    """Return ``(R, B, ...)`` divided by the Euclidean length over all but the first two axes; 0 stays 0."""
    # Divided by the largest value first: squares of very small or large numbers would leave the range.
    x = x / x.abs().flatten(2).amax(2).clamp_min(TINY).view(_row_shape(x))
    return x / _length(x).clamp_min(TINY)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Return one number a row, ``(R, B)``, with the axes of ``(R, B, ...)``."""
    return values.view(_row_shape(like))


def _length(x: Tensor) -> Tensor:
    """Return the Euclidean length of each row, ``(R, B, 1, ...)``."""
    # Contiguous: in what order a sum is taken must not follow from how a gradient happens to lie in memory.
    return x.flatten(2).contiguous().square().sum(2).sqrt().view(_row_shape(x))


def _row_shape(x: Tensor) -> tuple[int, ...]:
    return (*x.shape[:2], *(1,) * (x.ndim - 2))


def _radii(radius: Radius, inputs: Tensor) -> Tensor:
    """Return the radius of each replica, ``(R or 1, 1, 1, ...)``."""
    radii = torch.as_tensor(radius, dtype=inputs.dtype, device=inputs.device)
    if radii.ndim > 1 or radii.numel() not in (1, len(inputs)):
        raise ValueError(f"radius: expected a number or one for each of {len(inputs)} replicas, got {radii.tolist()}")
    if not bool((radii.isfinite() & (radii >= 0)).all()):
        raise ValueError(f"radius: expected finite numbers >= 0, got {radii.tolist()}")
    return radii.view(-1, *(1,) * (inputs.ndim - 1))
