"""The paper's rates of the three algorithm properties, as formulas in k without their constants.

They are orders of magnitude: the paper bounds each property by a constant times its rate. The exact values of the
same properties are in ``unrolled.solvers.properties``. Every rate takes mu and may take L as well, which no formula
holds, so that rates and exact properties can be called alike.

Reference:
    Chen et al. 2020 (arXiv 2006.13401), section 3: convergence, stability and sensitivity of GD and NAG.
"""

from __future__ import annotations

import math
import operator

from .filters import check_solver_name


def check_setting(
    name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float | None = None
) -> int:
    """Check the arguments that all properties share, and return the number of steps as a Python int.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0; integers of other libraries are taken too.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu, or None where it plays no part.

    Returns:
        k.

    Raises:
        ValueError: An argument is outside its range; the error names it.
    """
    check_solver_name(name)
    try:
        count = operator.index(steps)
    except TypeError as error:
        raise ValueError(f"expected an integer number of steps, got {steps!r}") from error
    if count < 0:
        raise ValueError(f"expected steps >= 0, got {count}")
    for argument, value in (("step size", step_size), ("strong convexity", strong_convexity)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"expected a finite {argument} > 0, got {value}")
    if smoothness is not None and not (math.isfinite(smoothness) and smoothness >= strong_convexity):
        raise ValueError(f"expected a finite smoothness >= the strong convexity {strong_convexity}, got {smoothness}")
    return count


def _contraction(name: str, step_size: float, strong_convexity: float) -> float:
    """What a step leaves of the slowest direction, up to powers of k: 1 - s mu for GD, 1 - sqrt(s mu) for NAG."""
    progress = step_size * strong_convexity
    return 1 - (math.sqrt(progress) if name == "nag" else progress)


def convergence_rate(
    name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float | None = None
) -> float:
    """Rate of the optimisation error: GD (1 - s mu)^k, NAG k (1 - sqrt(s mu))^k.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s, within ``step_range``.
        strong_convexity: mu > 0.
        smoothness: L; only checked against mu.

    Returns:
        The rate. GD's is the exact worst case for s <= 2 / (mu + L). NAG's is 0 at k = 0, where the error is whole,
        and may first rise: at s mu = 0.1 until k = 3.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> convergence_rate("gd", 2, 1.0, 0.5)
        0.25
        >>> convergence_rate("nag", 2, 1.0, 0.25)
        0.5
    """
    count = check_setting(name, steps, step_size, strong_convexity, smoothness)
    rate = _contraction(name, step_size, strong_convexity) ** count
    return count * rate if name == "nag" else rate


def stability_rate(
    name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float | None = None
) -> float:
    """Rate of the change with the energy, 1 - convergence rate: GD 1 - (1 - s mu)^k, NAG 1 - k (1 - sqrt(s mu))^k.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s, within ``step_range``.
        strong_convexity: mu > 0.
        smoothness: L; only checked against mu.

    Returns:
        The rate, which tends to 1. NAG's is 1 at k = 0 as well, where the layer does not change at all: the formula
        is an order for k >= 1.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> stability_rate("gd", 2, 1.0, 0.5)
        0.75
    """
    return 1 - convergence_rate(name, steps, step_size, strong_convexity, smoothness)


def sensitivity_rate(
    name: str, steps: int, c0: float, strong_convexity: float, smoothness: float | None = None
) -> float:
    """Rate of the change with the step size: GD k (1 - c0 mu)^k, NAG k^3 (1 - sqrt(c0 mu))^k.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        c0: Lower end of the range of step sizes, > 0.
        strong_convexity: mu > 0.
        smoothness: L; only checked against mu.

    Returns:
        The rate, which rises with k and then falls to 0.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> sensitivity_rate("nag", 2, 1.0, 0.25)
        2.0
    """
    count = check_setting(name, steps, c0, strong_convexity, smoothness)
    return count ** (3 if name == "nag" else 1) * _contraction(name, c0, strong_convexity) ** count


def step_range(name: str, strong_convexity: float, smoothness: float, c0: float = 0.1) -> tuple[float, float]:
    """Admissible step sizes: GD [c0, 2 / (mu + L)], NAG [c0, 4 / (mu + 3 L)].

    Args:
        name: A solver of ``SOLVER_NAMES``.
        strong_convexity: mu > 0.
        smoothness: L >= mu.
        c0: Lower end, > 0.

    Returns:
        The lower and the upper end. Beyond the upper end the rates no longer hold. On quadratics convergence itself
        ends at 2 / L for GD, and for NAG where s L = 4 / (3 - sqrt(mu s)), a little above the upper end.

    Raises:
        ValueError: The name is unknown, an argument is outside its range, or the range is empty.

    Example:
        >>> step_range("gd", 1.0, 3.0)
        (0.1, 0.5)
    """
    check_setting(name, 0, c0, strong_convexity, smoothness)
    high = 4 / (strong_convexity + 3 * smoothness) if name == "nag" else 2 / (strong_convexity + smoothness)
    if c0 >= high:
        raise ValueError(f"expected c0 below the upper end {high:g} of the step sizes of {name}, got {c0}")
    return float(c0), high
