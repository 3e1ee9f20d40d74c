"""Public image data sets, in torchvision's own layout, as Hugging Face parquet, or downloaded."""

from __future__ import annotations

import contextlib
import pickle
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.data.decoded import kept
from unrolled.data.folders import alone, download_folder
from unrolled.data.labelled import Pixels, RawImages, check_labels
from unrolled.data.layouts import find_parquet, read_parquet
from unrolled.data.quadratic import DataError

HUB_FOLDERS = ("", "data", "plain_text", "cropped_digits")
"""Folders inside a data set's own that Hugging Face repositories put their parquet files in."""

NETWORK_SECONDS = 30.0
"""Silence after which a download counts as failed: machines without a network may drop packets without a word."""


@dataclass(frozen=True)
class PublicSet:
    """A data set that torchvision knows.

    Args:
        kind: torchvision's class.
        classes: number of classes.
        shape: channels, height and width.
        address: of its site.
        megabytes: of its download.
        unpacked: files that torchvision reads, below the root.
        archives: files that it downloads and unpacks to those, below the root.
    """

    kind: str
    classes: int
    shape: tuple[int, int, int]
    address: str
    megabytes: int
    unpacked: tuple[str, ...]
    archives: tuple[str, ...] = ()


_IDX = tuple(
    f"FashionMNIST/raw/{part}-ubyte"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)
_BATCHES = tuple(f"cifar-10-batches-py/{name}" for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"))

PUBLIC_SETS = {
    "fashion_mnist": PublicSet(
        "FashionMNIST", 10, (1, 28, 28), "https://github.com/zalandoresearch/fashion-mnist", 31,
        _IDX, tuple(f"{name}.gz" for name in _IDX),
    ),
    "cifar10": PublicSet(
        "CIFAR10", 10, (3, 32, 32), "https://www.cs.toronto.edu/~kriz/cifar.html", 170,
        _BATCHES, ("cifar-10-python.tar.gz",),
    ),
    "cifar100": PublicSet(
        "CIFAR100", 100, (3, 32, 32), "https://www.cs.toronto.edu/~kriz/cifar.html", 169,
        ("cifar-100-python/train", "cifar-100-python/test"), ("cifar-100-python.tar.gz",),
    ),
    "svhn": PublicSet(
        "SVHN", 10, (3, 32, 32), "http://ufldl.stanford.edu/housenumbers/", 246, ("train_32x32.mat", "test_32x32.mat")
    ),
}  # fmt: skip


def read_public(name: str, root: Path, *, download: bool = True) -> RawImages:
    """Return a public data set, from wherever it is found.

    Looked for in this order: torchvision's files below ``root``; its archives there; where a download for ``root``
    went; parquet files in ``root/<name>`` or ``root`` itself. Only a download writes, into ``root`` or, where that is
    read-only, the cache folder.

    Args:
        name: a key of :data:`PUBLIC_SETS`.
        root: folder of data sets.
        download: get it from its site if it is nowhere.

    Returns:
        The images.

    Raises:
        DataError: it is nowhere and cannot be had, or what is there is damaged or another data set.
    """
    spec = PUBLIC_SETS[name]
    raw = _from_disk(name, spec, root)
    if raw is None and download:
        raw = _download(name, spec, root)
    if raw is None:
        raise DataError(_missing(name, spec, root, "with data.download=true"))
    for split, pixels, labels in (("training", raw.train, raw.train_labels), ("test", raw.test, raw.test_labels)):
        if pixels.shape[1:] != spec.shape:
            raise DataError(
                f"data.root: what is in {root} is not {name}: expected {split} images of {spec.shape} (C, H, W), "
                f"got {pixels.shape[1:]}"
            )
        check_labels(labels, spec.classes, f"data.root: what is in {root} is not {name}: {split} labels")
    return raw


def _missing(name: str, spec: PublicSet, root: Path, how: str) -> str:
    folder = Path(spec.unpacked[0]).parent
    own = ", ".join(spec.unpacked) if folder == Path() else f"{folder}/"
    return (
        f"data.root: no {name} in {root}: looked for {own}{''.join(f', {file}' for file in spec.archives[:1])} "
        f"and {name}/train*.parquet. Get it from {spec.address} ({spec.megabytes} MB) {how}, or point data.root or "
        "UNROLLED_DATA at a folder that has it"
    )


def _from_disk(name: str, spec: PublicSet, root: Path) -> RawImages | None:
    for place in dict.fromkeys((root, download_folder(root))):
        if all((place / file).is_file() for file in spec.unpacked):
            return _torchvision(name, spec, place)
        if spec.archives and all((place / file).is_file() for file in spec.archives):
            archives = [place / file for file in spec.archives]
            return kept(f"{name}-archive", place, archives, partial(_unpacked_elsewhere, name, spec, place))
    for folder in (base / inner for base in (root / name, root) for inner in (*HUB_FOLDERS, name)):
        if all(find_parquet(folder).values()):
            return read_parquet(folder, name, spec.classes)
    return None


def _kind(spec: PublicSet) -> Any:
    # Here, as torchvision takes seconds to import.
    from torchvision import datasets

    return getattr(datasets, spec.kind)


def _torchvision(name: str, spec: PublicSet, place: Path, *, unpack: bool = False) -> RawImages:
    """Read the files of :attr:`PublicSet.unpacked` below a folder; torchvision checks them."""
    kind = _kind(spec)
    try:
        if name == "svhn":
            splits = [kind(place, split=split, download=unpack) for split in ("train", "test")]
        else:
            splits = [kind(place, train=train, download=unpack) for train in (True, False)]
    except (OSError, RuntimeError, AssertionError, ValueError, TypeError, KeyError, EOFError, pickle.PickleError) as e:
        raise DataError(
            f"data.root: the files of {name} in {place} are damaged ({e or type(e).__name__}); delete "
            f"{', '.join(spec.unpacked[:1])} and those beside it and get them again"
        ) from e
    labels = [np.asarray(s.labels if name == "svhn" else s.targets, dtype=np.int64) for s in splits]
    train, test = (_channels_first(np.asarray(s.data), spec) for s in splits)
    return RawImages(train, labels[0], test, labels[1], spec.classes)


def _channels_first(pixels: Pixels, spec: PublicSet) -> Pixels:
    if pixels.ndim == 3:
        return pixels[:, None]
    last = pixels.shape[1:] != spec.shape and pixels.shape[-1] == spec.shape[0]
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if last else pixels)


def _unpacked_elsewhere(name: str, spec: PublicSet, place: Path) -> RawImages:
    """Read archives by unpacking them in a temporary folder, as their own may be read-only."""
    from torchvision.datasets.utils import check_integrity

    sums = dict(kind.resources) if hasattr(kind := _kind(spec), "resources") else {kind.filename: kind.tgz_md5}
    with tempfile.TemporaryDirectory(prefix="unrolled-") as folder:
        for file in spec.archives:
            # Checked before torchvision sees them: it would download a damaged one anew, through the link.
            if not check_integrity(place / file, sums[Path(file).name]):
                raise DataError(f"data.root: {place / file} is damaged; delete it and get it again from {spec.address}")
            link = Path(folder) / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((place / file).resolve())
        return _torchvision(name, spec, Path(folder), unpack=True)


def _download(name: str, spec: PublicSet, root: Path) -> RawImages | None:
    place = download_folder(root)
    with alone(place / name):
        # Another process may have got it while this one waited.
        if (found := _from_disk(name, spec, root)) is not None:
            return found
        try:
            place.mkdir(parents=True, exist_ok=True)
            with _network_timeout():
                return _torchvision(name, spec, place, unpack=True)
        except (OSError, DataError) as error:
            reason = error.__cause__ if isinstance(error, DataError) else error
            how = f"by hand (downloading it to {place} failed: {' '.join(str(reason).split())})"
            raise DataError(_missing(name, spec, root, how)) from error


@contextlib.contextmanager
def _network_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
