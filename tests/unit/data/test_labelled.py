import dataclasses

import numpy as np
import pytest

from unrolled.data.labelled import CHUNK, LabelledImages, RawImages, check_labels, digest, standardised
from unrolled.data.quadratic import DataError
from unrolled.data.streams import generator

# Inputs are float32 numbers of order 1: a few units in the last place.
ROUNDING = 1e-6


def raw_images(n=30, m=7, channels=3, classes=4, largest=255):
    draw = generator(0, "problems")
    pixels = [draw.integers(0, largest + 1, (rows, channels, 5, 6), dtype=np.uint8) for rows in (n, m)]
    labels = [np.arange(rows) % classes for rows in (n, m)]
    return RawImages(pixels[0], labels[0], pixels[1], labels[1], classes, largest)


@pytest.fixture
def data():
    return standardised(raw_images(), "some")


# More rows than are counted together, so that chunks join.
@pytest.mark.parametrize(("n", "channels", "largest"), [(30, 3, 255), (2 * CHUNK + 5, 1, 16)])
def test_standardising_is_the_plain_formula_on_training_statistics(n, channels, largest):
    raw = raw_images(n, channels=channels, largest=largest)
    data = standardised(raw, "some")
    scaled = raw.train.astype(np.float64) / largest
    mean, deviation = scaled.mean((0, 2, 3), keepdims=True)[0], scaled.std((0, 2, 3), keepdims=True)[0]
    assert np.allclose(data.train_inputs, (scaled - mean) / deviation, atol=ROUNDING)
    assert np.allclose(data.test_inputs, (raw.test / largest - mean) / deviation, atol=ROUNDING)
    assert np.allclose(data.mean, mean.ravel(), atol=ROUNDING)
    assert np.allclose(data.deviation, deviation.ravel(), atol=ROUNDING)
    pixels = data.mean[:, None, None] + data.deviation[:, None, None] * data.test_inputs
    assert np.allclose(pixels * largest, raw.test, atol=largest * ROUNDING)
    assert (data.shape, data.population, data.classes) == ((channels, 5, 6), n, 4)
    assert {x.dtype for x in (data.train_inputs, data.test_inputs)} == {np.dtype(np.float32)}


def test_a_constant_channel_is_an_error():
    raw = raw_images()
    raw.train[:, 1] = 9
    with pytest.raises(DataError, match=r"some: channel 1 .* is constant"):
        standardised(raw, "some")


def test_standardising_leaves_the_raw_images_alone():
    raw = raw_images()
    before = raw.checksum()
    data = standardised(raw, "some")
    data.train_inputs[:] = 0
    data.train_labels[:] = 0
    assert raw.checksum() == before


@pytest.mark.parametrize("array", ["train", "train_labels", "test", "test_labels"])
def test_the_checksum_sees_every_array_and_number(array):
    raw, other = raw_images(), raw_images()
    assert raw.checksum() == other.checksum() == standardised(raw, "some").checksum
    getattr(other, array)[-1] ^= 1
    assert raw.checksum() != other.checksum()
    for change in ({"classes": 5}, {"largest": 254}):
        assert dataclasses.replace(raw, **change).checksum() != raw.checksum()


def test_the_digest_sees_shapes_types_and_order():
    x = np.arange(6, dtype=np.int64)
    found = {digest(x), digest(x.reshape(2, 3)), digest(x.astype(np.float64)), digest(x[::-1]), digest(x[:3], x[3:])}
    assert len(found) == 5
    assert digest(x.reshape(2, 3).T) == digest(np.ascontiguousarray(x.reshape(2, 3).T))


def test_training_rows_are_those_of_the_seeds_stream_nested_and_distinct(data):
    rows = data.training_rows(10, 3)
    assert rows.dtype == np.int64
    assert np.array_equal(rows, generator(3, "rows").permutation(30)[:10])
    assert np.array_equal(data.training_rows(4, 3), rows[:4])
    assert len(set(data.training_rows(30, 0).tolist())) == 30
    assert not np.array_equal(data.training_rows(10, 0), rows)


@pytest.mark.parametrize("n", [0, 31])
def test_more_rows_than_there_are_is_an_error(data, n):
    with pytest.raises(DataError, match=f"data.n_train: some has 1 to 30 training rows, got {n}"):
        data.training_rows(n, 0)


def test_given_arrays_become_a_data_set_with_a_checksum_of_their_values():
    x, y = np.arange(24.0).reshape(6, 1, 2, 2), [0, 1, 2, 0, 1, 2]
    data = LabelledImages.from_arrays("mine", x, np.array(y), x[:3], np.array(y[:3]), 3)
    assert data.train_inputs.dtype == np.float32
    assert data.train_labels.dtype == np.int64
    assert (data.mean.tolist(), data.deviation.tolist()) == ([0], [1])
    again = LabelledImages.from_arrays("other name", x, np.array(y), x[:3], np.array(y[:3]), 3)
    changed = LabelledImages.from_arrays("mine", x, np.array(y), x[:3] + 1, np.array(y[:3]), 3)
    assert data.checksum == again.checksum != changed.checksum


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_inputs": lambda x: np.where(x > 1, np.nan, x).astype(np.float32)}, "training inputs .* not finite"),
        ({"test_inputs": lambda x: np.where(x > 1, np.inf, x).astype(np.float32)}, "test inputs .* not finite"),
        ({"test_inputs": lambda x: np.where(x > 1, -np.inf, x).astype(np.float32)}, "test inputs .* not finite"),
        ({"train_inputs": lambda x: x.astype(np.float64)}, r"expected float32 \(n, C, H, W\), got float64"),
        ({"train_inputs": lambda x: x[:, 0]}, r"got float32 \(30, 5, 6\)"),
        ({"test_inputs": lambda x: x[:0]}, r"got float32 \(0, 3, 5, 6\)"),
        ({"train_labels": lambda y: y[:-1]}, r"training labels: expected int64 \(30,\), got int64 \(29,\)"),
        ({"train_labels": lambda y: y.astype(np.int32)}, "got int32"),
        ({"train_labels": lambda y: y + 1}, "training labels: expected 0 to 3, got 4"),
        ({"test_labels": lambda y: y - 1}, "test labels: expected 0 to 3, got -1"),
        ({"test_inputs": lambda x: x[..., :4]}, r"inputs are \(3, 5, 6\) \(C, H, W\), test inputs \(3, 5, 4\)"),
        ({"classes": lambda k: 1}, "at least 2 classes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error_that_names_the_set(data, change, message):
    ((name, do),) = change.items()
    with pytest.raises(DataError, match=f"some: .*{message}"):
        dataclasses.replace(data, **{name: do(getattr(data, name))})


def test_labels_at_both_ends_of_the_range_are_fine():
    check_labels(np.array([0, 3]), 4, "here")
    with pytest.raises(DataError, match="here: expected 0 to 3, got 4"):
        check_labels(np.array([0, 4]), 4, "here")
