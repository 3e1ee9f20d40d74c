"""Users' own images: Hugging Face image parquet files, and folders with one subfolder a class."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.data.decoded import kept
from unrolled.data.labelled import Labels, Pixels, RawImages, check_labels
from unrolled.data.quadratic import DataError

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")
"""Names that decide where more than one column has the right type."""

GREY_MODES = {"1", "L", "LA"}
COLOUR_MODES = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}
"""Pillow's modes of 8 bits a channel. Palettes count as colour; transparency is dropped."""

BATCH = 1024
"""Rows read together: the compressed images in memory at a time."""

Named = Iterable[tuple[str, bytes | Path]]
"""Images still encoded, each with what names it in an error."""


def find_parquet(folder: Path) -> dict[str, list[Path]]:
    """Return the ``train*.parquet`` and ``test*.parquet`` files of a folder, in order of their names.

    Raises:
        DataError: files count themselves (``train-00000-of-00002.parquet``) and some are missing.
    """
    found = {split: sorted(folder.glob(f"{split}*.parquet")) for split in ("train", "test")}
    for files in found.values():
        for file in files:
            count = re.search(r"-of-(\d+)\.parquet$", file.name)
            if count and int(count[1]) != len(files):
                raise DataError(f"data.root: {folder} has {len(files)} of {int(count[1])} files like {file.name}")
    return found


def read_parquet(folder: Path, name: str = "parquet", classes: int | None = None) -> RawImages:
    """Read Hugging Face image parquet: ``train*.parquet`` and ``test*.parquet``, one or more files each.

    Args:
        folder: where the files are.
        name: of the data set.
        classes: number of classes; None for the training labels' largest + 1.

    Returns:
        The images, grey if all are grey, else RGB; kept in the cache folder.

    Raises:
        DataError: files are missing, damaged, or lack one clear column of images and one of labels; an image cannot
            be decoded or has another size; a label is out of range.
    """
    files = find_parquet(folder)
    if not (files["train"] and files["test"]):
        raise DataError(
            f"data.root: expected train*.parquet and test*.parquet, {folder} has "
            f"{len(files['train'])} and {len(files['test'])} of them"
        )

    def decode() -> RawImages:
        splits = [(_stack(_parquet_images(files[s])), _parquet_labels(files[s])) for s in ("train", "test")]
        return _together(folder, splits, classes)

    return kept(f"{name}-parquet", folder, files["train"] + files["test"], decode)


def _open(file: Path) -> tuple[pq.ParquetFile, str, str]:
    """Return a parquet file with the names of its image and its label column."""
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"data.root: {file} is not a readable parquet file ({error}); get it again") from error
    schema = parquet.schema_arrow
    image = _column(file, schema, "a struct with binary 'bytes'", _holds_images, IMAGE_COLUMNS)
    return parquet, image, _column(file, schema, "integers", pa.types.is_integer, LABEL_COLUMNS)


def _holds_images(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    content = kind.field("bytes").type
    return bool(pa.types.is_binary(content) or pa.types.is_large_binary(content))


def _column(
    file: Path, schema: pa.Schema, what: str, fits: Callable[[pa.DataType], bool], usual: tuple[str, ...]
) -> str:
    """Return the one column of a type; of several, the one with a usual name."""
    fitting = [field.name for field in schema if fits(field.type)]
    chosen = fitting if len(fitting) == 1 else [name for name in fitting if name in usual]
    if len(chosen) != 1:
        columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise DataError(
            f"data.root: {file}: expected one column of {what}, or one named {' or '.join(usual)} among several; "
            f"it has {columns}"
        )
    return str(chosen[0])


def _columns(file: Path, parquet: pq.ParquetFile, column: str) -> Iterator[pa.Array]:
    try:
        for batch in parquet.iter_batches(batch_size=BATCH, columns=[column]):
            yield batch.column(0)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"data.root: {file} is damaged in column {column} ({error}); get it again") from error


def _parquet_images(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        parquet, column, _ = _open(file)
        row = 0
        for batch in _columns(file, parquet, column):
            for content in batch.field("bytes"):
                if not content.is_valid:
                    raise DataError(f"data.root: {file}, row {row}: the image has no bytes")
                yield f"{file}, row {row}", content.as_py()
                row += 1


def _parquet_labels(files: list[Path]) -> Labels:
    found = []
    for file in files:
        parquet, _, column = _open(file)
        for labels in _columns(file, parquet, column):
            if labels.null_count:
                raise DataError(f"data.root: {file}: {labels.null_count} or more rows of column {column} are empty")
            found.append(labels.to_numpy(zero_copy_only=False).astype(np.int64))
    return np.concatenate([np.empty(0, np.int64), *found])


def read_image_folder(folder: Path) -> RawImages:
    """Read ``train/<class>/*`` and ``test/<class>/*`` as torchvision's ``ImageFolder`` does.

    Classes are numbered in the order of their names. Files without a usual image ending are passed over.

    Args:
        folder: where ``train`` and ``test`` are.

    Returns:
        The images, grey if all are grey, else RGB; kept in the cache folder.

    Raises:
        DataError: a folder is missing or has no images, the splits have different classes, an image cannot be decoded
            or has another size.
    """
    samples = {split: _samples(folder / split) for split in ("train", "test")}
    names = {split: {path.relative_to(folder / split).parts[0] for path, _ in samples[split]} for split in samples}
    if names["train"] != names["test"]:
        odd = ", ".join(sorted(names["train"] ^ names["test"]))
        raise DataError(f"data.root: {folder}: train and test must have the same classes; only one of them has {odd}")

    def decode() -> RawImages:
        splits = []
        for found in samples.values():
            labels = np.array([label for _, label in found], np.int64)
            splits.append((_stack((str(path), path) for path, _ in found), labels))
        return _together(folder, splits, len(names["train"]))

    return kept("image_folder", folder, [path for found in samples.values() for path, _ in found], decode)


def _samples(folder: Path) -> list[tuple[Path, int]]:
    # Here, as torchvision takes seconds to import.
    from torchvision.datasets import ImageFolder

    try:
        return [(Path(path), label) for path, label in ImageFolder(folder).samples]
    except OSError as error:
        raise DataError(f"data.root: expected images in {folder}/<class>/ ({error})") from error


def _stack(images: Named) -> Pixels:
    """Return ``(n, C, H, W)`` decoded images; grey ones among colour ones get three equal channels."""
    found: list[Pixels] = []
    for where, content in images:
        found.append(decoded(where, content))
        if found[-1].shape[1:] != found[0].shape[1:]:
            size, first = found[-1].shape[1:], found[0].shape[1:]
            raise DataError(f"data.root: {where}: expected {first} pixels as in the first image, got {size}; resize it")
    if not found:
        return np.empty((0, 1, 1, 1), np.uint8)
    stacked = np.empty((len(found), max(map(len, found)), *found[0].shape[1:]), np.uint8)
    for row, image in enumerate(found):
        stacked[row] = image
    return stacked


def decoded(where: str, content: bytes | Path) -> Pixels:
    """Return one image ``(C, H, W)``, C = 1 for grey and 3 for colour.

    Args:
        where: names the image in an error.
        content: the encoded image, or its file.

    Raises:
        DataError: it is no image, is damaged, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            if image.mode not in GREY_MODES | COLOUR_MODES:
                raise DataError(f"data.root: {where}: expected 8 bits a channel, got an image of mode {image.mode}")
            grey = image.mode in GREY_MODES
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"data.root: {where} is not a readable image ({error})") from error
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _together(folder: Path, splits: list[tuple[Pixels, Labels]], classes: int | None) -> RawImages:
    (train, train_labels), (test, test_labels) = splits
    if not (len(train) and len(test)):
        raise DataError(f"data.root: {folder} has {len(train)} training and {len(test)} test images; expected some")
    if train.shape[2:] != test.shape[2:]:
        raise DataError(
            f"data.root: {folder}: training images are {train.shape[2:]} pixels, test images {test.shape[2:]}"
        )
    channels = max(train.shape[1], test.shape[1])
    train, test = (
        np.repeat(pixels, channels, axis=1) if pixels.shape[1] < channels else pixels for pixels in (train, test)
    )
    if classes is None:
        classes = int(train_labels.max()) + 1
        missing = set(range(classes)) - set(train_labels.tolist())
        if missing:
            raise DataError(
                f"data.root: {folder}: training labels must number the classes from 0 without gaps; "
                f"the largest is {classes - 1}, none is {min(missing)}"
            )
    for split, labels in (("train", train_labels), ("test", test_labels)):
        check_labels(labels, classes, f"data.root: {folder}: {split} labels")
    return RawImages(train, train_labels, test, test_labels, classes)
