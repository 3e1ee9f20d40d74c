"""Solvers on quadratic energies: the iterations that a reasoning layer unrolls, and what theory says of them.

``energies`` (what is minimised), ``gradient`` and ``learned`` (how a step moves), ``unroll`` (k steps as a layer),
``filters`` (the same layer as a scalar polynomial), ``properties`` (its convergence, stability and sensitivity).
Pure torch mathematics, batched over leading axes and differentiable throughout.
"""

from .energies import EigenEnergy, Energy, QuadraticEnergy
from .filters import SOLVER_NAMES, Slopes, filter_slopes, residual, solver_filter
from .gradient import GD, NAG, NAGState, momentum
from .learned import RNNCell
from .properties import (
    convergence,
    convergence_rate,
    measured_convergence,
    measured_sensitivity,
    measured_stability,
    measured_stability_linear,
    sensitivity,
    sensitivity_rate,
    stab_times_cvg,
    stability,
    stability_linear,
    stability_rate,
    standard_bound,
    step_range,
)
from .registry import SOLVERS, build_solver
from .unroll import Solver, Unrolled, unroll

__all__ = [
    "EigenEnergy",
    "Energy",
    "GD",
    "NAG",
    "NAGState",
    "QuadraticEnergy",
    "RNNCell",
    "SOLVERS",
    "SOLVER_NAMES",
    "Slopes",
    "Solver",
    "Unrolled",
    "build_solver",
    "convergence",
    "convergence_rate",
    "filter_slopes",
    "measured_convergence",
    "measured_sensitivity",
    "measured_stability",
    "measured_stability_linear",
    "momentum",
    "residual",
    "sensitivity",
    "sensitivity_rate",
    "solver_filter",
    "stab_times_cvg",
    "stability",
    "stability_linear",
    "stability_rate",
    "standard_bound",
    "step_range",
    "unroll",
]
