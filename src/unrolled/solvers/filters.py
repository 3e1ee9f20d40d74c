"""Solvers on quadratic energies as scalar polynomial filters.

From y_0 = 0, k steps of a gradient solver on 1/2 y^T Q y - b^T y, Q = q diag(e) q^T, give

    y_k = q p_k(e) q^T b

with one scalar polynomial p_k of degree k - 1 a solver. Its residual r_k(e) = 1 - e p_k(e) is what is left of the
error: y* - y_k = q r_k(e) q^T y*. With B = 1 - s e,

    GD:   r_k = B^k
    NAG:  r_{k+1} = B w_k,  w_{k+1} = r_{k+1} + a (r_{k+1} - r_k),  r_0 = w_0 = 1,  a = momentum(s, mu).

So a whole layer costs elementwise arithmetic on the eigenvalues. Everything is computed through the residual,
p = (1 - r) / e, which keeps the relative error of r (the loss) small after many steps. The number of steps is data:
it may differ from element to element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from .gradient import Number, momentum

SOLVER_NAMES = ("gd", "nag")

Steps: TypeAlias = int | Tensor


class Slopes(NamedTuple):
    """A filter and its two slopes, all of the broadcast shape of the arguments.

    Attributes:
        p: p_k(e).
        dp_de: Its slope in the eigenvalue, d p_k / d e.
        dp_ds: Its slope in the step size, d p_k / d s.
    """

    p: Tensor
    dp_de: Tensor
    dp_ds: Tensor


def check_solver_name(name: str) -> None:
    """Raise ValueError for a name that is not in ``SOLVER_NAMES``, and list those that are."""
    if name not in SOLVER_NAMES:
        raise ValueError(f"unknown solver {name!r}; solvers with a polynomial filter are {', '.join(SOLVER_NAMES)}")


def _depth(steps: Steps, max_steps: int | None) -> int:
    """Number of rounds a masked loop needs; checks ``steps`` as far as that needs no look at the device."""
    if isinstance(steps, Tensor):
        if steps.is_floating_point() or steps.is_complex() or steps.dtype == torch.bool:
            raise ValueError(f"expected an integer tensor of steps, got {steps.dtype}; use steps.long()")
        if max_steps is not None or steps.numel() == 0:
            return max_steps or 0
        lowest, highest = (int(bound) for bound in steps.aminmax())
    else:
        if isinstance(steps, bool) or not isinstance(steps, int):
            raise ValueError(f"expected an integer number of steps or an integer tensor, got {steps!r}")
        lowest = highest = steps
    if lowest < 0:
        raise ValueError(f"expected steps >= 0, got {lowest}")
    return highest


def _ones(shrink: Tensor, *others: Number) -> Tensor:
    """Ones of the joint shape, so that a result has it after 0 steps too."""
    return shrink.new_ones(
        torch.broadcast_shapes(shrink.shape, *(other.shape for other in others if isinstance(other, Tensor)))
    )


def _gd_residual(eigenvalues: Tensor, steps: Steps, step_size: Number, strong_convexity: Number, depth: int) -> Tensor:
    """B^k in closed form; the strong convexity plays no part in GD."""
    shrink = 1 - step_size * eigenvalues
    return _power(shrink, steps, depth) if isinstance(steps, Tensor) else shrink**steps


def _power(base: Tensor, exponent: Tensor, most: int) -> Tensor:
    """Powers 0 to ``most`` by repeated squaring; elements whose bits are used up are frozen, so none overflows.

    torch's pow rounds an element by where it lies in memory (vector or remainder), products do not: a replica's result
    must not depend on its neighbours.
    """
    power = _ones(base, exponent)
    while most:
        power = torch.where(exponent % 2 == 1, power * base, power)
        exponent, most = exponent >> 1, most >> 1
        base = torch.where(exponent > 0, base * base, base)
    return power


def _nag_residual(eigenvalues: Tensor, steps: Steps, step_size: Number, strong_convexity: Number, depth: int) -> Tensor:
    """NAG's residual recurrence, frozen for each element once its own steps are done."""
    shrink, a = 1 - step_size * eigenvalues, momentum(step_size, strong_convexity)
    r = w = _ones(shrink, steps, strong_convexity)
    for done in range(depth):
        r_next = shrink * w
        w_next = r_next + a * (r_next - r)
        if isinstance(steps, Tensor):
            # Freezing w too keeps what lies beyond an element's own k from overflowing into its gradient.
            r_next, w_next = torch.where(steps > done, r_next, r), torch.where(steps > done, w_next, w)
        r, w = r_next, w_next
    return r


def _gd_residual_slopes(
    eigenvalues: Tensor, steps: Steps, step_size: Number, strong_convexity: Number, depth: int
) -> tuple[Tensor, Tensor, Tensor]:
    """B^k and its slopes -s k B^(k-1) and -e k B^(k-1)."""
    shrink = 1 - step_size * eigenvalues
    # The lower power is clamped at 0, since B may be 0 and k = 0 would make 0 * 0^-1.
    lower = steps.clamp(min=1) - 1 if isinstance(steps, Tensor) else max(steps, 1) - 1
    slope = steps * shrink**lower
    return shrink**steps, -step_size * slope, -eigenvalues * slope


def _nag_residual_slopes(
    eigenvalues: Tensor, steps: Steps, step_size: Number, strong_convexity: Number, depth: int
) -> tuple[Tensor, Tensor, Tensor]:
    """NAG's recurrence for (r, dr/de, dr/ds) at once, by the product rule; a depends on s through a'(s)."""
    shrink, a = 1 - step_size * eigenvalues, momentum(step_size, strong_convexity)
    root = (strong_convexity * step_size) ** 0.5
    a_slope = -root / (step_size * (1 + root) ** 2)
    one = _ones(shrink, steps, strong_convexity)
    r = w = (one, 0 * one, 0 * one)
    for done in range(depth):
        r_next = (shrink * w[0], shrink * w[1] - step_size * w[0], shrink * w[2] - eigenvalues * w[0])
        change = r_next[0] - r[0]
        w_next = (
            r_next[0] + a * change,
            r_next[1] + a * (r_next[1] - r[1]),
            r_next[2] + a * (r_next[2] - r[2]) + a_slope * change,
        )
        if isinstance(steps, Tensor):
            alive = steps > done
            r_next = (
                torch.where(alive, r_next[0], r[0]),
                torch.where(alive, r_next[1], r[1]),
                torch.where(alive, r_next[2], r[2]),
            )
        r, w = r_next, w_next
    return r


_RESIDUALS: dict[str, Callable[[Tensor, Steps, Number, Number, int], Tensor]] = {
    "gd": _gd_residual,
    "nag": _nag_residual,
}
_RESIDUAL_SLOPES: dict[str, Callable[[Tensor, Steps, Number, Number, int], tuple[Tensor, Tensor, Tensor]]] = {
    "gd": _gd_residual_slopes,
    "nag": _nag_residual_slopes,
}


def residual(
    name: str,
    eigenvalues: Tensor,
    steps: Steps,
    step_size: Number,
    strong_convexity: Number,
    *,
    max_steps: int | None = None,
) -> Tensor:
    """What k steps leave of the error in each eigendirection: r_k(e) = 1 - e p_k(e).

    Args:
        name: One of ``SOLVER_NAMES``.
        eigenvalues: e > 0, any shape.
        steps: k >= 0, an int, or an integer tensor that broadcasts against ``eigenvalues`` (by torch's rule, so one
            k a replica for eigenvalues ``(R, n, d)`` is ``(R, 1, 1)``).
        step_size: s > 0, a float or a tensor that broadcasts likewise.
        strong_convexity: mu >= 0, likewise; GD does not use it.
        max_steps: An upper bound of a tensor ``steps``. Saves reading it from the device; its values are then not
            checked, and larger ones give no meaningful result.

    Returns:
        r_k(e), of the broadcast shape; computed by its own recurrence, so small values are relatively accurate.

    Raises:
        ValueError: The name is unknown, or ``steps`` is negative or not of integers.

    Example:
        In the direction of least curvature NAG leaves (1 + k sqrt(mu s)) (1 - sqrt(mu s))^k.

        >>> residual("nag", torch.tensor([0.25]), 2, 1.0, 0.25)
        tensor([0.5000])
    """
    check_solver_name(name)
    return _RESIDUALS[name](eigenvalues, steps, step_size, strong_convexity, _depth(steps, max_steps))


def solver_filter(
    name: str,
    eigenvalues: Tensor,
    steps: Steps,
    step_size: Number,
    strong_convexity: Number,
    *,
    max_steps: int | None = None,
) -> Tensor:
    """The polynomial of the unrolled solver, p_k(e) = (1 - r_k(e)) / e, with y_k = q p_k(e) q^T b.

    Args:
        name: One of ``SOLVER_NAMES``.
        eigenvalues: e > 0, any shape. The division makes e = 0 undefined (its limit for GD is k s).
        steps: k >= 0, an int or an integer tensor that broadcasts against ``eigenvalues``.
        step_size: s > 0, a float or a tensor that broadcasts likewise.
        strong_convexity: mu >= 0, likewise; GD does not use it.
        max_steps: As in ``residual``.

    Returns:
        p_k(e), of the broadcast shape; it tends to 1 / e with k. Its rounding error is about that of 1, over e.

    Raises:
        ValueError: The name is unknown, or ``steps`` is negative or not of integers.

    Example:
        Two GD steps with s = 1 make p_2(e) = 2 - e.

        >>> solver_filter("gd", torch.tensor([0.5, 1.0]), 2, 1.0, 0.1)
        tensor([1.5000, 1.0000])
    """
    return (1 - residual(name, eigenvalues, steps, step_size, strong_convexity, max_steps=max_steps)) / eigenvalues


def filter_slopes(
    name: str,
    eigenvalues: Tensor,
    steps: Steps,
    step_size: Number,
    strong_convexity: Number,
    *,
    max_steps: int | None = None,
) -> Slopes:
    """The polynomial with its slopes in the eigenvalue and in the step size, without autograd.

        dp/de = -(dr/de + p) / e,    dp/ds = -(dr/ds) / e

    Args:
        name: One of ``SOLVER_NAMES``.
        eigenvalues: e > 0, any shape.
        steps: k >= 0, an int or an integer tensor that broadcasts against ``eigenvalues``.
        step_size: s > 0, a float or a tensor that broadcasts likewise.
        strong_convexity: mu >= 0, likewise, held fixed; NAG's dp/ds includes the change of its momentum with s.
        max_steps: As in ``residual``.

    Returns:
        p, dp/de and dp/ds, each of the broadcast shape. The rounding error of dp/de is about that of 1, over e^2.

    Raises:
        ValueError: The name is unknown, or ``steps`` is negative or not of integers.

    Example:
        With s = 1, p_2(e) = 2 s - s^2 e has the slopes -1 in e and 2 - 2 e in s.

        >>> [slope.item() for slope in filter_slopes("gd", torch.tensor(0.5), 2, 1.0, 0.1)]
        [1.5, -1.0, 1.0]
    """
    check_solver_name(name)
    depth = _depth(steps, max_steps)
    r, r_de, r_ds = _RESIDUAL_SLOPES[name](eigenvalues, steps, step_size, strong_convexity, depth)
    p = (1 - r) / eigenvalues
    # p_0 = 0 and p_1 = s do not depend on e; without this, rounding would leave a small slope there.
    if isinstance(steps, Tensor):
        dp_de = torch.where(steps > 1, -(r_de + p) / eigenvalues, 0.0)
    else:
        dp_de = -(r_de + p) / eigenvalues if steps > 1 else torch.zeros_like(p)
    return Slopes(p, dp_de, -r_ds / eigenvalues)
