"""Data sets, and the random streams that draw from them."""

from unrolled.data.classification import LabelledImages, labelled_checksum, load_labelled
from unrolled.data.quadratic import DataError, QuadraticProblems

__all__ = ["DataError", "LabelledImages", "QuadraticProblems", "labelled_checksum", "load_labelled"]
