"""Data sets that need no download: MNIST-1D, which is computed, and the digits that come with scikit-learn."""

from __future__ import annotations

import contextlib
import hashlib
import random
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.folders import alone, cache_folder, write_arrays
from unrolled.data.labelled import LabelledImages, RawImages

MNIST1D_SEED = 42
"""Seed of the one MNIST-1D there is here: the package's own."""

SIGNALS = ("x", "y", "x_test", "y_test")
"""Arrays of MNIST-1D, by the package's names: inputs and labels for training and test."""

DIGITS_TEST_ROWS = 500
"""Of the 1,797 digits; the other 1,297 are for training."""


def mnist1d_checksum() -> str:
    """Return the recipe of the MNIST-1D signals.

    Not a hash of their values: these are computed, and their last bits may differ between machines.
    """
    return f"generated:mnist1d {version('mnist1d')}, seed {MNIST1D_SEED}"


def mnist1d() -> LabelledImages:
    """Return MNIST-1D: 4,000 training and 1,000 test signals of length 40 in 10 classes, ``(n, 1, 1, 40)``.

    Signals are stretched, shifted, noisy templates of the ten digits. Mean and standard deviation over all values,
    those of the test rows too, are 0 and 1: the package standardises before it splits.

    Returns:
        Fresh arrays of the same bits at every call.

    Reference:
        Greydanus and Kobak 2024, "Scaling down deep learning with MNIST-1D" (arXiv 2011.14439).
    """
    made = _mnist1d()
    inputs = [made[split].astype(np.float32)[:, None, None, :] for split in ("x", "x_test")]
    labels = [made[split].astype(np.int64) for split in ("y", "y_test")]
    return LabelledImages("mnist1d", inputs[0], labels[0], inputs[1], labels[1], 10, mnist1d_checksum())


@lru_cache(maxsize=1)
def _mnist1d() -> dict[str, NDArray[Any]]:
    """Return the signals from the cache folder, or compute them and keep them there: it takes two seconds."""
    recipe = f"{mnist1d_checksum()}, NumPy {np.__version__}, SciPy {version('scipy')}"
    place = cache_folder() / "computed" / f"mnist1d-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.npz"
    if (found := _read(place)) is not None:
        return found
    with alone(place):
        # Another process may have made it while this one waited.
        if (found := _read(place)) is not None:
            return found
        made = _make_mnist1d()
        # Where it cannot be kept it is made every time.
        with contextlib.suppress(OSError):
            write_arrays(place, made)
        return made


def _read(place: Path) -> dict[str, NDArray[Any]] | None:
    """Return the kept signals, or None where they are missing or damaged (the archive has checksums)."""
    try:
        with np.load(place, allow_pickle=False) as archive:
            return {name: archive[name] for name in SIGNALS}
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None


def _make_mnist1d() -> dict[str, NDArray[Any]]:
    with global_random_states_kept():
        # Here, as it loads Matplotlib's figures and seconds of other imports.
        from mnist1d.data import get_dataset_args, make_dataset

        settings = get_dataset_args()
        settings.seed = MNIST1D_SEED
        made = make_dataset(settings)
    return {name: made[name] for name in SIGNALS}


@contextlib.contextmanager
def global_random_states_kept() -> Iterator[None]:
    """Restore the global random states of Python, NumPy and torch afterwards: the package seeds them and draws."""
    python, numpy, pytorch = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(pytorch)


def digits() -> RawImages:
    """Return the 1,797 handwritten digits of 8x8 pixels, values 0 to 16, in 10 classes.

    The split is fixed: 1,297 training and 500 test rows, with the classes in equal proportion, by scikit-learn's
    ``train_test_split(test_size=500, stratify=labels, random_state=0)``. Rows keep the order it gives.

    Reference:
        Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits", UCI repository (its test part).
    """
    # Here, as scikit-learn takes more than a second to import.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    pixels, labels = found.images.astype(np.uint8)[:, None], found.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=DIGITS_TEST_ROWS, stratify=labels, random_state=0)
    return RawImages(pixels[train], labels[train], pixels[test], labels[test], classes=10, largest=16)
