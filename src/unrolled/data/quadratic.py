"""Quadratic problems of the reasoning-layer paper: made here, or read from a file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.rotations import random_rotations
from unrolled.data.streams import generator

Array = NDArray[np.float64]

TRUE_WIDTH = 3
"""Hidden units of the net that makes the true eigenvalues."""

RECIPE_VERSION = 1
"""Raised by hand when :func:`generate` would give other problems."""


class DataError(ValueError):
    """A data set is missing or not what it should be; the message says where it was looked for and what to do."""


@dataclass(frozen=True)
class QuadraticProblems:
    r"""N problems :math:`\min_y \frac12 y^\top Q^*_i y - b_i^\top y`, each with an input that its energy depends on.

    :math:`Q^*_i = q_i\,\mathrm{diag}(e_i)\,q_i^\top` with :math:`e_i = [L, \ldots, \mu]`: the first eigenvalue is L,
    the last is mu, those between come from the true net.

    Args:
        inputs: ``(N, D_in)`` inputs x.
        rotation: ``(N, d, d)`` orthogonal q, columns are eigenvectors.
        linear: ``(N, d)`` linear terms b.
        eigenvalues: ``(N, d)`` of Q*.
        solution: ``(N, d)`` y* with Q* y* = b.
        checksum: names these problems in a trial's identity.
        train_index: rows of named training sets, by ``rows_seed``.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401), experiments on synthetic data.
    """

    inputs: Array
    rotation: Array
    linear: Array
    eigenvalues: Array
    solution: Array
    checksum: str
    train_index: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def population(self) -> int:
        """Number N of problems."""
        return len(self.inputs)

    @property
    def smoothness(self) -> float:
        """Largest eigenvalue L."""
        return float(self.eigenvalues[0, 0])

    @property
    def strong_convexity(self) -> float:
        """Smallest eigenvalue mu."""
        return float(self.eigenvalues[0, -1])

    def coefficients(self) -> tuple[Array, Array]:
        """Return b and y* in each problem's eigenbasis, two ``(N, d)`` arrays."""
        basis = np.swapaxes(self.rotation, 1, 2)
        return (basis @ self.linear[..., None])[..., 0], (basis @ self.solution[..., None])[..., 0]

    def training_rows(self, n_train: int, rows_seed: int, *, named: bool) -> NDArray[np.int64]:
        """Return the rows of one training set.

        Args:
            n_train: number n of rows.
            rows_seed: seed of the draw, or the name of a training set of the file.
            named: whether the user asked for this rows_seed; if so, and the file lists training sets, it must be one.

        Returns:
            ``(n,)`` distinct row numbers. Drawn sets are nested: a smaller n gives the beginning of a larger one.

        Raises:
            DataError: n_train exceeds the population, or the file's training set has another length or is not there.
        """
        if not 1 <= n_train <= self.population:
            raise DataError(f"data.n_train: expected 1 to {self.population} (the population), got {n_train}")
        if named and self.train_index:
            if rows_seed not in self.train_index:
                known = ", ".join(map(str, sorted(self.train_index)))
                raise DataError(f"data.rows_seed: the file lists the training sets {known}, got {rows_seed}")
            rows = self.train_index[rows_seed]
            if len(rows) != n_train:
                raise DataError(
                    f"data.n_train: training set {rows_seed} of the file has {len(rows)} rows, got {n_train}"
                )
            return rows
        return generator(rows_seed, "rows").permutation(self.population)[:n_train]


def generate(
    population: int = 10_000,
    seed: int = 1,
    dimension: int = 5,
    input_dimension: int = 10,
    strong_convexity: float = 0.1,
    smoothness: float = 1.0,
) -> QuadraticProblems:
    """Draw problems as the paper describes them.

    Inputs and linear terms are uniform in [-5, 5], rotations Haar-distributed. The true eigenvalue net has
    :data:`TRUE_WIDTH` hidden units, Glorot-uniform weights and standard normal biases.

    Args:
        population: number N of problems, >= 1.
        seed: of this data set, >= 0. The default is the smallest seed whose true eigenvalues vary over the inputs as
            those of the released code do: the standard deviation of each within a factor of 2 of (0.25, 0.17, 0.24).
            With other seeds the true net can saturate, and then hardly depends on its input.
        dimension: d >= 3, so that at least one eigenvalue is not fixed.
        input_dimension: length of x, >= 1.
        strong_convexity: mu, with 0 < mu < L.
        smoothness: L.

    Returns:
        The problems, in float64.

    Raises:
        DataError: mu is not between 0 and L.

    Deviation:
        The paper does not give the true net's biases; zero biases would tie every eigenvalue at x = 0.
    """
    if not 0 < strong_convexity < smoothness:
        raise DataError(
            f"data.strong_convexity: expected 0 < mu < L = {smoothness:g} (data.smoothness), got {strong_convexity:g}"
        )
    draw = generator(seed, "problems")
    first = glorot_uniform(draw, TRUE_WIDTH, input_dimension)
    second = glorot_uniform(draw, dimension - 2, TRUE_WIDTH)
    first_bias, second_bias = draw.standard_normal(TRUE_WIDTH), draw.standard_normal(dimension - 2)
    inputs = draw.uniform(-5, 5, (population, input_dimension))
    linear = draw.uniform(-5, 5, (population, dimension))
    rotation = random_rotations(draw, population, dimension)
    logits = np.maximum(inputs @ first.T + first_bias, 0) @ second.T + second_bias
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    ones = np.ones((population, 1))
    middle = strong_convexity + (smoothness - strong_convexity) * share
    eigenvalues = np.hstack([smoothness * ones, middle, strong_convexity * ones])
    solution = (rotation @ ((np.swapaxes(rotation, 1, 2) @ linear[..., None])[..., 0] / eigenvalues)[..., None])[..., 0]
    recipe = (RECIPE_VERSION, population, seed, dimension, input_dimension, strong_convexity, smoothness)
    return QuadraticProblems(inputs, rotation, linear, eigenvalues, solution, f"generated:{recipe}")


def glorot_uniform(draw: np.random.Generator, outputs: int, inputs: int) -> Array:
    """Return ``(outputs, inputs)`` weights uniform in +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010)."""
    bound = np.sqrt(6 / (inputs + outputs))
    return draw.uniform(-bound, bound, (outputs, inputs))


FILE_ARRAYS = {"u": 2, "q": 3, "b": 2, "eigenvalues": 2, "y_star": 2}
"""Arrays of a problem file and their number of axes."""

SOLUTION_TOLERANCE = 1e-3
"""Largest |Q y* - b| and |q^T q - I| a file may have; 32-bit files reach about 1e-5."""


def load(path: Path) -> QuadraticProblems:
    """Read problems from an ``.npz`` file.

    Args:
        path: file with the arrays ``u`` (N, D_in), ``q`` (N, d, d), ``b`` (N, d), ``eigenvalues`` (N, d) ordered
            [L, ..., mu], ``y_star`` (N, d), and any number of ``train_index_seed<S>`` (n,).

    Returns:
        The problems, in float64; the checksum is over the values.

    Raises:
        DataError: the file is missing, unreadable, lacks an array, its solutions do not solve its problems, or it
            names training sets with rows that it does not have.
    """
    arrays = _read(path)
    for name, axes in FILE_ARRAYS.items():
        if name not in arrays or arrays[name].ndim != axes or arrays[name].dtype.kind not in "fiu":
            raise DataError(
                f"data.file: {path} needs an array {name!r} of numbers with {axes} axes; it has {sorted(arrays)}"
            )
    u, q, b, e, y = (arrays[name].astype(np.float64) for name in FILE_ARRAYS)
    _check(path, u, q, b, e, y)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + str(arrays[name].shape).encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return QuadraticProblems(u, q, b, e, y, f"sha256:{digest.hexdigest()}", _training_sets(path, arrays, len(u)))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds a single array, as .npy files do")
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataError(f"data.file: expected an .npz file of quadratic problems, nothing at {path}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"data.file: {path} is not a readable .npz file ({error})") from error


def _training_sets(path: Path, arrays: dict[str, NDArray[Any]], population: int) -> dict[int, NDArray[np.int64]]:
    prefix, sets = "train_index_seed", {}
    for name, rows in arrays.items():
        if not name.startswith(prefix):
            continue
        number = name.removeprefix(prefix)
        usable = number.isdecimal() and rows.ndim == 1 and rows.dtype.kind in "iu" and len(np.unique(rows)) == len(rows)
        if not usable or len(rows) == 0 or rows.min() < 0 or rows.max() >= population:
            raise DataError(
                f"data.file: {path}: {name} is not {prefix}<number> with distinct rows from 0 to {population - 1}"
            )
        sets[int(number)] = rows.astype(np.int64)
    return sets


def _check(path: Path, u: Array, q: Array, b: Array, e: Array, y: Array) -> None:
    n, d = b.shape
    if not (len(u) == n and q.shape == (n, d, d) and e.shape == (n, d) and y.shape == (n, d)):
        raise DataError(f"data.file: {path} has arrays of different lengths: b is {b.shape}, q {q.shape}, e {e.shape}")
    if n < 1 or d < 3:
        raise DataError(f"data.file: {path}: expected at least 1 problem of dimension 3 or more, b is {b.shape}")
    if not (np.all(e[:, 0] == e[0, 0]) and np.all(e[:, -1] == e[0, -1]) and 0 < e[0, -1] < e[0, 0]):
        raise DataError(f"data.file: {path}: eigenvalues must be ordered [L, ..., mu] with the same 0 < mu < L in all")
    basis = np.swapaxes(q, 1, 2)
    if not np.abs(basis @ q - np.eye(d)).max() <= SOLUTION_TOLERANCE:
        raise DataError(f"data.file: {path}: the columns of q are not orthonormal eigenvectors")
    residual = (q @ (e * (basis @ y[..., None])[..., 0])[..., None])[..., 0] - b
    if not np.abs(residual).max() <= SOLUTION_TOLERANCE:
        raise DataError(
            f"data.file: {path}: y_star does not solve Q y = b (largest residual {np.abs(residual).max():.3g})"
        )
