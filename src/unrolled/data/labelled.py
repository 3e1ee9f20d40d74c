"""Labelled images and signals, split into training and test rows, and how pixels become inputs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.quadratic import DataError
from unrolled.data.streams import generator

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]

PREPARATION_VERSION = 1
"""Raised by hand when :func:`standardised` would give other inputs; it enters the checksum."""

CHUNK = 256
"""Rows that are counted together: NumPy counts bytes by way of 64-bit integers, which should stay in the cache."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A classification data set in memory.

    Args:
        name: of the data set.
        train_inputs: ``(n, C, H, W)`` float32; signals of length W are ``(n, 1, 1, W)``.
        train_labels: ``(n,)`` int64 in 0..classes-1.
        test_inputs: ``(m, C, H, W)`` float32.
        test_labels: ``(m,)`` int64.
        classes: number of classes, >= 2.
        checksum: names these values in a trial's identity.
        mean: ``(C,)`` of each channel over all training rows, before standardising, for pixels in [0, 1].
        deviation: ``(C,)`` standard deviation likewise; pixel = mean + deviation * input. Data that were never pixels
            have mean 0 and deviation 1.

    Raises:
        DataError: shapes or types disagree, a value is not finite, or a label is outside its range.
    """

    name: str
    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    classes: int
    checksum: str
    mean: Inputs = field(default_factory=lambda: np.zeros(1, np.float32))
    deviation: Inputs = field(default_factory=lambda: np.ones(1, np.float32))

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise DataError(f"{self.name}: expected at least 2 classes, got {self.classes}")
        for split, x, y in self._splits():
            if x.ndim != 4 or x.dtype != np.float32 or not x.size:
                raise DataError(f"{self.name}: {split} inputs: expected float32 (n, C, H, W), got {x.dtype} {x.shape}")
            if y.shape != x.shape[:1] or y.dtype != np.int64:
                raise DataError(f"{self.name}: {split} labels: expected int64 ({len(x)},), got {y.dtype} {y.shape}")
            if not (np.isfinite(x.min()) and np.isfinite(x.max())):
                raise DataError(f"{self.name}: {split} inputs hold a value that is not finite")
            check_labels(y, self.classes, f"{self.name}: {split} labels")
        if self.train_inputs.shape[1:] != self.test_inputs.shape[1:]:
            raise DataError(
                f"{self.name}: training inputs are {self.train_inputs.shape[1:]} (C, H, W), "
                f"test inputs {self.test_inputs.shape[1:]}"
            )

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train_inputs: NDArray[Any],
        train_labels: NDArray[Any],
        test_inputs: NDArray[Any],
        test_labels: NDArray[Any],
        classes: int,
    ) -> LabelledImages:
        """Return a data set of given numbers, ``(n, C, H, W)`` and ``(n,)``; the checksum is over their values."""
        inputs = [np.ascontiguousarray(x, np.float32) for x in (train_inputs, test_inputs)]
        labels = [np.ascontiguousarray(y, np.int64) for y in (train_labels, test_labels)]
        checksum = digest(inputs[0], labels[0], inputs[1], labels[1], np.int64(classes))
        return cls(name, inputs[0], labels[0], inputs[1], labels[1], classes, checksum)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one input."""
        _, channels, height, width = self.train_inputs.shape
        return channels, height, width

    @property
    def pixels(self) -> bool:
        """Whether the raw inputs are pixels in [0, 1]."""
        return bool((self.deviation != 1).any() or (self.mean != 0).any())

    @property
    def population(self) -> int:
        """Number of training rows there are."""
        return len(self.train_inputs)

    def training_rows(self, n_train: int, rows_seed: int) -> Labels:
        """Return the rows of one training set.

        Args:
            n_train: number n of rows.
            rows_seed: seed of the draw, >= 0.

        Returns:
            ``(n,)`` distinct row numbers. Drawn sets are nested: a smaller n gives the beginning of a larger one.

        Raises:
            DataError: n_train is not between 1 and the population.
        """
        if not 1 <= n_train <= self.population:
            raise DataError(f"data.n_train: {self.name} has 1 to {self.population} training rows, got {n_train}")
        return generator(rows_seed, "rows").permutation(self.population)[:n_train]

    def _splits(self) -> tuple[tuple[str, Inputs, Labels], ...]:
        return ("training", self.train_inputs, self.train_labels), ("test", self.test_inputs, self.test_labels)


@dataclass(frozen=True, eq=False)
class RawImages:
    """Images as they are stored, before standardising.

    Args:
        train: ``(n, C, H, W)`` uint8.
        train_labels: ``(n,)`` int64.
        test: ``(m, C, H, W)`` uint8.
        test_labels: ``(m,)`` int64.
        classes: number of classes.
        largest: the value that stands for white.
    """

    train: Pixels
    train_labels: Labels
    test: Pixels
    test_labels: Labels
    classes: int
    largest: int = 255

    def checksum(self) -> str:
        """Return what names the inputs that :func:`standardised` makes of these images."""
        numbers = np.array([PREPARATION_VERSION, self.classes, self.largest])
        return digest(self.train, self.train_labels, self.test, self.test_labels, numbers)


def standardised(raw: RawImages, name: str) -> LabelledImages:
    r"""Return :math:`(x / x_{\max} - m_c) / s_c`, with mean m and standard deviation s of each channel c.

    Both are over all pixels of all training rows (not only of those a trial trains on) and are applied to training and
    test rows alike.

    Args:
        raw: the images.
        name: of the data set.

    Returns:
        Fresh arrays, the caller's to change.

    Raises:
        DataError: a channel is constant, or as :class:`LabelledImages` does.
    """
    mean, deviation = _moments(raw.train)
    if not np.all(deviation > 0):
        raise DataError(f"{name}: channel {int(np.argmin(deviation))} of the training images is constant")
    inputs = []
    for pixels in (raw.train, raw.test):
        x = pixels.astype(np.float32)
        x -= mean.astype(np.float32)[:, None, None]
        x /= deviation.astype(np.float32)[:, None, None]
        inputs.append(x)
    scaled = [(moment / raw.largest).astype(np.float32) for moment in (mean, deviation)]
    train, test = raw.train_labels.copy(), raw.test_labels.copy()
    return LabelledImages(name, inputs[0], train, inputs[1], test, raw.classes, raw.checksum(), *scaled)


def _moments(pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``(C,)`` means and standard deviations, from exact counts of each value."""
    channels, values = pixels.shape[1], np.arange(256)
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(pixels), CHUNK):
        for channel in range(channels):
            part = pixels[start : start + CHUNK, channel].reshape(-1)
            counts[channel] += np.bincount(part, minlength=256)
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ values
    return mean, np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))


def check_labels(labels: NDArray[np.integer[Any]], classes: int, where: str) -> None:
    """Raise a DataError unless all labels are in 0..classes-1; ``where`` opens the message."""
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise DataError(f"{where}: expected 0 to {classes - 1}, got {wrong}")


def digest(*arrays: Any) -> str:
    """Return the SHA-256 of arrays: their types, shapes and values."""
    found = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array)
        found.update(f"{values.dtype.str}{values.shape}".encode())
        found.update(values.data)
    return f"sha256:{found.hexdigest()}"
