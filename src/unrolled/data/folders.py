"""Where data sets are looked for, and where what was made from them is kept."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray


def cache_folder() -> Path:
    """Return the folder of everything that can be made again: ``$UNROLLED_CACHE``, else the user's cache folder."""
    if given := os.environ.get("UNROLLED_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled"


def data_folder(root: str | Path | None) -> Path:
    """Return the folder of data sets.

    Args:
        root: ``data.root``; None for ``$UNROLLED_DATA``, else ``data`` in the cache folder.

    Returns:
        The folder, which need not exist.
    """
    if root is None:
        root = os.environ.get("UNROLLED_DATA") or cache_folder() / "data"
    return Path(root).expanduser()


def writable(folder: Path) -> bool:
    """Say whether files can be put into a folder, which is made if it is missing."""
    existing = next((place for place in (folder, *folder.absolute().parents) if place.exists()), folder)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def download_folder(root: Path) -> Path:
    """Return where a download for ``root`` goes: there, or into the cache folder where ``root`` is read-only."""
    return root if writable(root) else cache_folder() / "data"


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock file of ``file``, so that one process makes it while others wait.

    Where the lock cannot be had (read-only folders, file systems without locks) the block runs without it: what is
    made here appears by one rename, so that working twice costs time and nothing else.
    """
    lock = FileLock(file.with_name(f".{file.name}.lock"), fallback_to_soft=False)
    with contextlib.suppress(OSError, NotImplementedError):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_arrays(place: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an ``.npz`` file whole or not at all.

    Args:
        place: of the file; its folder is made if it is missing.
        arrays: what it holds, by name.

    Raises:
        OSError: it cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    # The lock may not have been had, and several machines may share the folder: the name must be this write's alone.
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
