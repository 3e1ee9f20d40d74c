"""Solvers: the iterations that a reasoning layer or a deep sparse code unrolls, and what theory says of them.

``energies`` (what is minimised), ``gradient`` and ``learned`` (how a step moves), ``unroll`` (k steps as a layer),
``filters`` (the same layer as a scalar polynomial), ``properties`` (its convergence, stability and sensitivity); for
non-negative sparse codes ``sparse_coding`` (what is minimised), ``proximal`` and ``splitting`` (how a step moves), with
``matrix_free`` (linear algebra of operators).
Pure torch mathematics, batched over leading axes and differentiable throughout.
"""

from .energies import EigenEnergy, Energy, QuadraticEnergy
from .filters import SOLVER_NAMES, Slopes, filter_slopes, residual, solver_filter
from .gradient import GD, NAG, NAGState, momentum
from .learned import RNNCell
from .matrix_free import conjugate_gradient, spectral_norm
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
from .proximal import FISTA, ISTA, CompositeEnergy
from .registry import SOLVERS, build_solver
from .sparse_coding import SparseCodingEnergy, rectified_shrinkage
from .splitting import ADMM
from .unroll import Solver, Unrolled, unroll

__all__ = [
    "ADMM",
    "CompositeEnergy",
    "EigenEnergy",
    "Energy",
    "FISTA",
    "GD",
    "ISTA",
    "NAG",
    "NAGState",
    "QuadraticEnergy",
    "RNNCell",
    "SOLVERS",
    "SOLVER_NAMES",
    "Slopes",
    "Solver",
    "SparseCodingEnergy",
    "Unrolled",
    "build_solver",
    "conjugate_gradient",
    "convergence",
    "convergence_rate",
    "filter_slopes",
    "measured_convergence",
    "measured_sensitivity",
    "measured_stability",
    "measured_stability_linear",
    "momentum",
    "rectified_shrinkage",
    "residual",
    "sensitivity",
    "sensitivity_rate",
    "solver_filter",
    "spectral_norm",
    "stab_times_cvg",
    "stability",
    "stability_linear",
    "stability_rate",
    "standard_bound",
    "step_range",
    "unroll",
]
