"""Classification data sets by name."""

from __future__ import annotations

from pathlib import Path

from unrolled.data.bundled import digits, mnist1d, mnist1d_checksum
from unrolled.data.folders import data_folder
from unrolled.data.labelled import LabelledImages, RawImages, standardised
from unrolled.data.layouts import read_image_folder, read_parquet
from unrolled.data.quadratic import DataError
from unrolled.data.vision import PUBLIC_SETS, read_public

BUNDLED = ("mnist1d", "digits")
"""Data sets that need no files."""

NAMES = (*BUNDLED, *PUBLIC_SETS, "parquet", "image_folder")
"""Values of ``data.name`` that :func:`load_labelled` knows."""


def load_labelled(name: str, root: str | Path | None = None, *, download: bool = True) -> LabelledImages:
    """Return a classification data set, standardised by the mean and standard deviation of its training images.

    ==================================================  ===============================================================
    name                                                what is looked for
    ==================================================  ===============================================================
    ``mnist1d``, ``digits``                             nothing: they are computed, or come with scikit-learn
    ``fashion_mnist``, ``cifar10``, ``cifar100``,       torchvision's files or archives below ``root``; ``train*`` and
    ``svhn``                                            ``test*.parquet`` in ``root/<name>`` or ``root``; a download
    ``parquet``                                         ``train*.parquet`` and ``test*.parquet`` of images and integer
                                                        labels in ``root``, as Hugging Face writes them
    ``image_folder``                                    ``root/train/<class>/*`` and ``root/test/<class>/*``
    ==================================================  ===============================================================

    Args:
        name: one of :data:`NAMES`.
        root: folder of data sets; None for ``$UNROLLED_DATA``, else ``data`` in the cache folder. It is written to by
            downloads only, and may be read-only: decoded images and such downloads go to the cache folder.
        download: get a public data set from its site if it is nowhere.

    Returns:
        The data set, in fresh arrays that are the caller's to change. It is read anew at every call.

    Raises:
        DataError: the name is unknown, or the data set is missing, damaged, or not what its name says.

    Example:
        >>> digits = load_labelled("digits")
        >>> digits.shape, digits.classes, len(digits.train_labels), len(digits.test_labels)
        ((1, 8, 8), 10, 1297, 500)
    """
    if name == "mnist1d":
        return mnist1d()
    return standardised(_raw(name, root, download), name)


def labelled_checksum(name: str, root: str | Path | None = None, *, download: bool = True) -> str:
    """Return the checksum that :func:`load_labelled` would give, without standardising or computing signals."""
    if name == "mnist1d":
        return mnist1d_checksum()
    return _raw(name, root, download).checksum()


def _raw(name: str, root: str | Path | None, download: bool) -> RawImages:
    if name not in NAMES:
        raise DataError(f"data.name: expected one of {', '.join(NAMES)}, got {name!r}")
    if name == "digits":
        return digits()
    folder = data_folder(root)
    if name in PUBLIC_SETS:
        return read_public(name, folder, download=download)
    if not folder.is_dir():
        raise DataError(f"data.root: expected a folder with images for data.name={name}, nothing at {folder}")
    return read_parquet(folder) if name == "parquet" else read_image_folder(folder)
