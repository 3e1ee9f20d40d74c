import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.unit.data.images import picture, png, raw_images, same, table, write_folder, write_parquet

from unrolled.data.layouts import decoded, find_parquet, read_image_folder, read_parquet
from unrolled.data.quadratic import DataError

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("image", "label"), [("img", "label"), ("image", "fine_label"), ("photo", "kind")])
def test_parquet_gives_the_images_that_were_written(tmp_path, channels, image, label):
    raw = raw_images(channels=channels)
    write_parquet(tmp_path, raw, image=image, label=label)
    assert same(read_parquet(tmp_path), raw)


def test_parts_of_a_split_are_joined_in_order_and_large_columns_read(tmp_path):
    raw = raw_images(n=12)
    kind = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])
    for part, rows in enumerate((slice(0, 5), slice(5, 12))):
        whole = table(raw.train[rows], raw.train_labels[rows].astype(np.int16), kind=kind)
        pq.write_table(whole, tmp_path / f"train-0000{part}-of-00002.parquet", row_group_size=3)
    pq.write_table(table(raw.test, raw.test_labels), tmp_path / "test-00000-of-00001.parquet")
    assert same(read_parquet(tmp_path), raw)
    (tmp_path / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"has 1 of 2 files like train-00001-of-00002.parquet"):
        find_parquet(tmp_path)


def test_of_several_columns_of_a_type_the_usual_name_decides(tmp_path):
    raw = raw_images()
    write_parquet(tmp_path, raw, label="fine_label")
    for split in ("train", "test"):
        file = tmp_path / f"{split}.parquet"
        whole = pq.read_table(file)
        whole = whole.append_column("coarse_label", pa.array([0] * len(whole)))
        pq.write_table(whole.append_column("thumbnail", whole["img"]), file)
    assert same(read_parquet(tmp_path), raw)


def rewrite(file, change):
    pq.write_table(change(pq.read_table(file)), file)


def both_names(columns):
    return columns.append_column("image", columns["img"])


def blank(columns):
    return table([None, *[b"x"] * (len(columns) - 1)], columns["label"].to_pylist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("img"), "train.parquet: expected one column of a struct .*; it has label: int64"),
        (lambda t: t.drop_columns("label"), "train.parquet: expected one column of integers"),
        (lambda t: t.set_column(1, "label", t["label"].cast(pa.float64())), "one column of integers.*label: double"),
        (both_names, "expected one column of a struct .*or one named img or image among several"),
        (lambda t: t.append_column("fine_label", t["label"]), "one column of integers, or one named label"),
        (lambda t: t.append_column("id", t["label"]).rename_columns(["img", "kind", "id"]), "one column of integers"),
        (lambda t: t.set_column(1, "label", pa.array([None] * len(t), pa.int64())), "rows of column label are empty"),
        (lambda t: t.set_column(1, "label", pa.array([-1] * len(t))), "labels: expected 0 to"),
        (lambda t: t.set_column(1, "label", pa.array([1, 2] * (len(t) // 2))), "from 0 without gaps.* none is 0"),
        (blank, "train.parquet, row 0: the image has no bytes"),
        (lambda t: table([b"not an image"] * len(t), t["label"].to_pylist()), "row 0 is not a readable image"),
        (lambda t: t.slice(0, 0), "has 0 training and 6 test images"),
    ],
)  # fmt: skip
def test_a_parquet_file_of_something_else_is_an_error(tmp_path, change, message):
    write_parquet(tmp_path, raw_images())
    rewrite(tmp_path / "train.parquet", change)
    with pytest.raises(DataError, match=f"data.root: .*{message}"):
        read_parquet(tmp_path)


def test_test_labels_must_be_among_the_training_classes(tmp_path):
    raw = raw_images()
    raw.test_labels[0] = 3
    write_parquet(tmp_path, raw)
    with pytest.raises(DataError, match=r"test labels: expected 0 to 2, got 3"):
        read_parquet(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_parquet_file_is_an_error_that_names_it(tmp_path, keep):
    write_parquet(tmp_path, raw_images())
    file = tmp_path / "test.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataError, match=f"data.root: {file} is not a readable parquet file .*get it again"):
        read_parquet(tmp_path)


def test_damage_inside_a_parquet_file_is_an_error_that_names_it(tmp_path):
    write_parquet(tmp_path, raw_images())
    file = tmp_path / "train.parquet"
    content = bytearray(file.read_bytes())
    content[4:400] = bytes(396)
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"data.root: {file}"):
        read_parquet(tmp_path)


def test_a_folder_without_one_of_the_splits_says_what_it_has(tmp_path):
    write_parquet(tmp_path, raw_images())
    (tmp_path / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"expected train\*.parquet and test\*.parquet, .* has 1 and 0 of them"):
        read_parquet(tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_folder_gives_its_images_class_by_class(tmp_path, channels):
    raw = raw_images(channels=channels)
    write_folder(tmp_path, raw)
    (tmp_path / "train" / "a" / "notes.txt").write_text("passed over")
    found = read_image_folder(tmp_path)
    for split in ("train", "test"):
        pixels, labels = getattr(raw, split), getattr(raw, f"{split}_labels")
        order = np.argsort(labels, kind="stable")
        assert np.array_equal(getattr(found, split), pixels[order])
        assert np.array_equal(getattr(found, f"{split}_labels"), labels[order])


def test_an_added_image_is_seen(tmp_path):
    raw = raw_images()
    write_folder(tmp_path, raw)
    assert len(read_image_folder(tmp_path).train) == 12
    picture(raw.train[0]).save(tmp_path / "train" / "c" / "new.png")
    found = read_image_folder(tmp_path)
    assert len(found.train) == 13
    assert np.array_equal(found.train[-1], raw.train[0])


def test_grey_images_among_colour_ones_get_three_equal_channels(tmp_path):
    raw = raw_images()
    write_folder(tmp_path, raw)
    grey = raw_images(channels=1).train[0]
    picture(grey).save(tmp_path / "train" / "a" / "00.png")
    assert np.array_equal(read_image_folder(tmp_path).train[0], np.repeat(grey, 3, axis=0))
    for file in (tmp_path / "test").rglob("*.png"):
        picture(grey).save(file)
    assert np.array_equal(read_image_folder(tmp_path).test[0], np.repeat(grey, 3, axis=0))


def break_image(folder):
    (folder / "train" / "b" / "01.png").write_text("no image")


def truncate_image(folder):
    file = folder / "train" / "b" / "01.png"
    file.write_bytes(file.read_bytes()[:60])


def resize_image(folder):
    picture(raw_images(size=(5, 7)).train[0]).save(folder / "train" / "b" / "01.png")


def resize_test(folder):
    for file in (folder / "test").rglob("*.png"):
        picture(raw_images(size=(8, 8)).train[0]).save(file)


def empty_class(folder):
    (folder / "train" / "d").mkdir()


def extra_class(folder):
    (folder / "test" / "d").mkdir()
    (folder / "test" / "a" / "00.png").rename(folder / "test" / "d" / "00.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (break_image, "train/b/01.png is not a readable image"),
        (truncate_image, "train/b/01.png is not a readable image"),
        (resize_image, r"train/b/01.png: expected \(5, 6\) pixels as in the first image, got \(5, 7\)"),
        (resize_test, r"training images are \(5, 6\) pixels, test images \(8, 8\)"),
        (empty_class, "expected images in .*train/<class>/.*classes d"),
        (extra_class, "must have the same classes; only one of them has d"),
    ],
)
def test_a_spoilt_image_folder_is_an_error_that_names_the_file(tmp_path, spoil, message):
    write_folder(tmp_path, raw_images())
    spoil(tmp_path)
    with pytest.raises(DataError, match=f"data.root: .*{message}"):
        read_image_folder(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"data.root: expected images in .*train/<class>/"):
        read_image_folder(tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"data.root: expected images in .*train/<class>/"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3)]
)
def test_eight_bit_modes_are_grey_or_colour(mode, channels):
    file = io.BytesIO()
    Image.fromarray(raw_images().train[0].transpose(1, 2, 0)).convert(mode).save(file, "TIFF")
    assert decoded("here", file.getvalue()).shape == (channels, 5, 6)


def test_more_bits_are_an_error():
    file = io.BytesIO()
    Image.fromarray(np.full((5, 6), 40_000, np.uint16)).save(file, "PNG")
    with pytest.raises(DataError, match="here: expected 8 bits a channel, got an image of mode I"):
        decoded("here", file.getvalue())


def test_a_picture_too_large_to_be_one_is_an_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"here is not a readable image .*decompression bomb"):
        decoded("here", png(raw_images().train[0]))
