"""Images decoded once: kept as plain arrays in the cache folder until their files change."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from unrolled.data.folders import alone, cache_folder, write_arrays
from unrolled.data.labelled import RawImages

DECODER_VERSION = 1
"""Raised by hand when decoding the same files would give other arrays."""

ARRAYS = {"train": (np.uint8, 4), "train_labels": (np.int64, 1), "test": (np.uint8, 4), "test_labels": (np.int64, 1)}
"""Arrays of a kept file, with their types and numbers of axes."""


class NotKeptWarning(UserWarning):
    """Decoded images could not be kept, so that they are decoded every time."""


def kept(name: str, folder: Path, files: Iterable[Path], decode: Callable[[], RawImages]) -> RawImages:
    """Return decoded images: from the cache folder where these files have been decoded before.

    A kept file is used only if its checksums hold and the same files have the size and time they had; else it is made
    anew.

    Args:
        name: of the data set.
        folder: where it is; each name and folder has one kept file.
        files: what is decoded.
        decode: decodes it.

    Returns:
        The images.
    """
    stated = sorted((str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    identity = _hash(f"{DECODER_VERSION}{stated}")
    place = cache_folder() / "decoded" / f"{name}-{_hash(str(folder.resolve()))[:16]}.npz"
    if (found := _read(place, identity)) is not None:
        return found
    with alone(place):
        # Another process may have made it while this one waited.
        if (found := _read(place, identity)) is not None:
            return found
        made = decode()
        try:
            _write(place, made, identity)
        except OSError as error:
            warnings.warn(
                f"{name} is decoded anew every time, as {place.parent} cannot be written ({error}); "
                "set UNROLLED_CACHE to a folder you may write",
                NotKeptWarning,
                stacklevel=2,
            )
        return made


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(place: Path, identity: str) -> RawImages | None:
    """Return what is kept, or None where it is missing, of other files, or damaged (the archive has checksums)."""
    try:
        with np.load(place, allow_pickle=False) as archive:
            if str(archive["identity"]) != identity:
                return None
            arrays = {name: archive[name] for name in ARRAYS}
            classes, largest = (int(number) for number in archive["numbers"])
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    if any((arrays[name].dtype, arrays[name].ndim) != wanted for name, wanted in ARRAYS.items()):
        return None
    return RawImages(**arrays, classes=classes, largest=largest)


def _write(place: Path, raw: RawImages, identity: str) -> None:
    arrays = {name: getattr(raw, name) for name in ARRAYS}
    write_arrays(place, {"identity": np.array(identity), "numbers": np.array([raw.classes, raw.largest]), **arrays})
