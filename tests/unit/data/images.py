"""Small image data sets in the layouts that users have."""

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unrolled.data.labelled import RawImages
from unrolled.data.streams import generator

SHARED = Path(os.environ.get("UNROLLED_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")


def needs(*parts):
    """Skip a test where a file of the public data sets is not there."""
    path = SHARED.joinpath(*parts)
    return pytest.mark.skipif(not path.exists(), reason=f"no {path} (set UNROLLED_DATA)")


def raw_images(n=12, m=6, channels=3, classes=3, size=(5, 6)):
    draw = generator(1, "problems")
    pixels = [draw.integers(0, 256, (rows, channels, *size), dtype=np.uint8) for rows in (n, m)]
    labels = [np.arange(rows) % classes for rows in (n, m)]
    return RawImages(pixels[0], labels[0], pixels[1], labels[1], classes)


def picture(pixels):
    """The Pillow image of (C, H, W) pixels."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def png(pixels):
    file = io.BytesIO()
    picture(pixels).save(file, format="PNG")
    return file.getvalue()


def table(pixels, labels, image="img", label="label", kind=None):
    structs = [
        {"bytes": x if isinstance(x, bytes | None) else png(x), "path": f"{i}.png"} for i, x in enumerate(pixels)
    ]
    kind = kind or pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({image: pa.array(structs, kind), label: pa.array(labels)})


def write_parquet(folder, raw, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(raw.train, raw.train_labels, **columns), folder / "train.parquet")
    pq.write_table(table(raw.test, raw.test_labels, **columns), folder / "test.parquet")


def write_folder(folder, raw):
    for split, pixels, labels in (("train", raw.train, raw.train_labels), ("test", raw.test, raw.test_labels)):
        for row, (x, y) in enumerate(zip(pixels, labels, strict=True)):
            place = folder / split / "abcdefghij"[y]
            place.mkdir(parents=True, exist_ok=True)
            picture(x).save(place / f"{row:02d}.png")


def same(a, b):
    names = ("train", "train_labels", "test", "test_labels")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names) and a.classes == b.classes
