"""Solvers by name, the names that configs use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .gradient import GD, NAG, Number
from .unroll import Solver


def _gd(step_size: Number, strong_convexity: Number) -> GD:
    """GD needs no strong convexity; it takes the argument so that all constructors are called alike."""
    return GD(step_size)


SOLVERS: dict[str, Callable[[Number, Number], Solver[Any]]] = {"gd": _gd, "nag": NAG}


def build_solver(name: str, *, step_size: Number, strong_convexity: Number) -> Solver[Any]:
    """Make a solver from its name and the problem's constants.

    The learned cell is not among them: its weights are its own, so ``RNNCell`` is built from them.

    Args:
        name: A key of ``SOLVERS``.
        step_size: s > 0, a float or a tensor of the leading axes of the estimate.
        strong_convexity: mu >= 0, likewise; GD does not use it.

    Returns:
        The solver.

    Raises:
        ValueError: The name is unknown, or a number is outside its range.

    Example:
        >>> build_solver("gd", step_size=0.5, strong_convexity=0.1)
        GD(step_size=0.5)
    """
    if name not in SOLVERS:
        raise ValueError(
            f"unknown solver {name!r}; known are {', '.join(SOLVERS)} (an RNNCell is built from its weights instead)"
        )
    return SOLVERS[name](step_size, strong_convexity)
