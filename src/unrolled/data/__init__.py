"""Data sets, and the random streams that draw from them."""

from unrolled.data.quadratic import DataError, QuadraticProblems

__all__ = ["DataError", "QuadraticProblems"]
