"""Convergence, stability and sensitivity of an unrolled solver: exact worst cases on quadratic energies.

A layer of k steps maps (Q, b) to y_k = q p_k(e) q^T b (``unrolled.solvers.filters``). Over all energies with
mu I <= Q <= L I and all unit directions,

    Cvg    = max |1 - e p_k(e)|     what is left of the error, |y_k - y*| <= Cvg |y*|
    Stab   = max |d p_k / d e|      change with Q: |dy_k| <= Stab |dQ|_F |b|
    Stab_b = max |p_k(e)|           change with b: |dy_k| <= Stab_b |db|
    Sens   = max |d p_k / d s|      change with the step size: |dy_k| <= Sens |ds| |b|

each maximum over e in [mu, L] and reached. All functions take Python numbers and return floats, in float64. The
paper's rates of the same properties (``unrolled.solvers.rates``) and their finite-difference measurements on the
running layer (``unrolled.solvers.measured``) are offered here too.

Reference:
    Chen et al. 2020 (arXiv 2006.13401), section 3, defines the properties.

Deviation:
    The paper bounds them by rates; on quadratics they are computed exactly. Stability is split by what changes, Q or b.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .filters import filter_slopes, residual, solver_filter
from .measured import measured_convergence, measured_sensitivity, measured_stability, measured_stability_linear
from .rates import check_setting, convergence_rate, sensitivity_rate, stability_rate, step_range
from .worst_case import largest_magnitude

__all__ = [
    "convergence",
    "convergence_rate",
    "measured_convergence",
    "measured_sensitivity",
    "measured_stability",
    "measured_stability_linear",
    "sensitivity",
    "sensitivity_rate",
    "stab_times_cvg",
    "stability",
    "stability_linear",
    "stability_rate",
    "standard_bound",
    "step_range",
]


def _worst(
    function: Callable[[str, Tensor, int, float, float], Tensor],
    name: str,
    steps: int,
    step_size: float,
    strong_convexity: float,
    smoothness: float,
) -> float:
    """Check the setting, then maximise |function| over the eigenvalues; it is a polynomial of degree k at most."""
    count = check_setting(name, steps, step_size, strong_convexity, smoothness)
    return largest_magnitude(
        lambda eigenvalues: function(name, eigenvalues, count, float(step_size), float(strong_convexity)),
        float(strong_convexity),
        float(smoothness),
        bumps=count + 1,
    )


def _slope_in_eigenvalue(name: str, eigenvalues: Tensor, steps: int, step_size: float, mu: float) -> Tensor:
    """The slope d p_k / d e."""
    return filter_slopes(name, eigenvalues, steps, step_size, mu).dp_de


def _slope_in_step_size(name: str, eigenvalues: Tensor, steps: int, step_size: float, mu: float) -> Tensor:
    """The slope d p_k / d s."""
    return filter_slopes(name, eigenvalues, steps, step_size, mu).dp_ds


def convergence(name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """Worst-case error left after k steps, Cvg(k, s) = max |1 - e p_k(e)|: |y_k - y*| <= Cvg |y*| from y_0 = 0.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.

    Returns:
        Cvg: 1 at k = 0, above 1 where the layer diverges.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        GD at s = 1 / L is slowest at e = mu: (1 - mu / L)^k.

        >>> convergence("gd", 2, 1.0, 0.5, 1.0)
        0.25
    """
    return _worst(residual, name, steps, step_size, strong_convexity, smoothness)


def stability(name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """Worst-case change with the matrix of the energy, Stab(k, s) = max |d p_k / d e|, for unit |b|.

    A change dQ of any direction moves the output by the divided differences of p_k at the eigenvalues, so at most by
    max |dp_k / de| in the Frobenius norm of dQ; a change along one eigenprojector reaches it.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.

    Returns:
        Stab: 0 for k <= 1 (one step from 0 gives s b whatever Q is); tends to 1 / mu^2.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        Two GD steps make p_2(e) = 2 s - s^2 e.

        >>> round(stability("gd", 2, 1.0, 0.5, 1.0), 12)
        1.0
    """
    return _worst(_slope_in_eigenvalue, name, steps, step_size, strong_convexity, smoothness)


def stability_linear(name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """Worst-case change with the linear term of the energy, Stab_b(k, s) = max |p_k(e)|.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.

    Returns:
        Stab_b: 0 at k = 0; tends to 1 / mu.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> stability_linear("gd", 2, 1.0, 0.5, 1.0)
        1.5
    """
    return _worst(solver_filter, name, steps, step_size, strong_convexity, smoothness)


def sensitivity(name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """Worst-case change with the step size, Sens(k, s) = max |d p_k / d s|, for unit |b|.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0; NAG's momentum moves with s, mu held fixed.
        smoothness: L >= mu.

    Returns:
        Sens: 0 at k = 0, 1 at k = 1; multiply by |b| for other b.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Deviation:
        The paper's sensitivity is the worst case over all step sizes from c0 up, a function of k alone; this one is
        taken at the step size s in use.

    Example:
        Two GD steps have d p_2 / d s = 2 - 2 s e.

        >>> sensitivity("gd", 2, 1.0, 0.5, 1.0)
        1.0
    """
    return _worst(_slope_in_step_size, name, steps, step_size, strong_convexity, smoothness)


def standard_bound(name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """The generalisation predictor of a standard complexity bound: Stab(k, s) alone, which grows with k.

    A Rademacher-type bound of the layer that knows its Lipschitz constant in the energy, and not that converged
    layers agree with each other, multiplies the energy net's complexity by that constant. Constants and the
    dependence on n are left out: the value ranks layers, it does not predict a gap in its unit.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.

    Returns:
        Stab(k, s).

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Deviation:
        Our reading: the paper compares with standard bounds in words; it does not give this formula.
    """
    return stability(name, steps, step_size, strong_convexity, smoothness)


def stab_times_cvg(name: str, steps: int, step_size: float, strong_convexity: float, smoothness: float) -> float:
    """The paper's generalisation predictor, Stab(k, s) * Cvg(k, s): it first rises with k, then falls.

    Args:
        name: A solver of ``SOLVER_NAMES``.
        steps: k >= 0.
        step_size: s > 0.
        strong_convexity: mu > 0.
        smoothness: L >= mu.

    Returns:
        The product of the exact values, without constants.

    Raises:
        ValueError: The name is unknown or an argument is outside its range.

    Example:
        >>> round(stab_times_cvg("gd", 2, 1.0, 0.5, 1.0), 12)
        0.25
    """
    setting = (name, steps, step_size, strong_convexity, smoothness)
    return stability(*setting) * convergence(*setting)
