import numpy as np
import pytest
from tests.unit.data.images import SHARED, needs, raw_images, write_folder, write_parquet

from unrolled.data.bundled import digits
from unrolled.data.classification import BUNDLED, NAMES, labelled_checksum, load_labelled
from unrolled.data.labelled import standardised
from unrolled.data.quadratic import DataError

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def root(tmp_path):
    """A folder that holds a data set under every name that needs one, by parquet or as an image folder."""
    folder = tmp_path / "root"
    write_parquet(folder, raw_images())
    write_folder(folder, raw_images())
    for name in ("cifar10", "cifar100", "svhn"):
        write_parquet(folder / name, raw_images(n=20, classes=10, size=(32, 32)))
    write_parquet(folder / "fashion_mnist", raw_images(n=20, channels=1, classes=10, size=(28, 28)))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_every_name_gives_a_set_of_that_name_and_the_same_checksum_without_it(name, root):
    data = load_labelled(name, root, download=False)
    assert data.name == name
    assert data.checksum == labelled_checksum(name, root, download=False) == load_labelled(name, root).checksum
    assert data.classes == {"parquet": 3, "image_folder": 3, "cifar100": 100}.get(name, 10)
    # Standardised: every channel of the training inputs, up to float32 rounding; MNIST-1D with its test rows.
    tolerance = 1e-2 if name == "mnist1d" else 1e-5
    assert np.allclose(data.train_inputs.mean((0, 2, 3), dtype=np.float64), 0, atol=tolerance)
    assert np.allclose(data.train_inputs.std((0, 2, 3), dtype=np.float64), 1, atol=tolerance)


def test_checksums_differ_between_sets(root):
    assert len({labelled_checksum(name, root) for name in ("mnist1d", "digits", "parquet", "image_folder")}) == 4


@pytest.mark.parametrize("name", [*BUNDLED, "parquet"])
def test_loaded_arrays_are_the_callers_to_change(name, root):
    first = load_labelled(name, root)
    kept = first.train_inputs.copy()
    first.train_inputs[:] = 0
    first.test_labels[:] = 0
    second = load_labelled(name, root)
    assert np.array_equal(second.train_inputs, kept)
    assert second.test_labels.any()


def test_bundled_sets_need_no_folder(tmp_path):
    data = load_labelled("digits", tmp_path / "missing", download=False)
    assert np.array_equal(data.train_inputs, standardised(digits(), "digits").train_inputs)


def test_the_environment_says_where_data_are(root, monkeypatch):
    monkeypatch.setenv("UNROLLED_DATA", str(root))
    assert load_labelled("parquet").checksum == labelled_checksum("parquet", root)


@pytest.mark.parametrize("name", ["parquet", "image_folder"])
def test_a_missing_folder_is_an_error(name, tmp_path):
    with pytest.raises(DataError, match=f"data.root: expected a folder .*data.name={name}, nothing at .*missing"):
        load_labelled(name, tmp_path / "missing")


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(BUNDLED)))
def test_an_empty_folder_is_an_error(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data.root: .*empty"):
        load_labelled(name, tmp_path / "empty", download=False)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match=r"data.name: expected one of mnist1d, digits, .*, image_folder, got 'x'"):
        load_labelled("x")


@needs("FashionMNIST", "raw", "train-images-idx3-ubyte.gz")
def test_the_true_fashion_mnist_is_loaded_from_a_folder_that_is_not_written_to():
    before = sorted((SHARED / "FashionMNIST").rglob("*"))
    data = load_labelled("fashion_mnist", SHARED)
    assert sorted((SHARED / "FashionMNIST").rglob("*")) == before
    assert (data.shape, data.population, len(data.test_labels)) == ((1, 28, 28), 60_000, 10_000)
    # As published with the data set: mean .2860, standard deviation .3530 of the training pixels.
    assert np.allclose([data.mean[0], data.deviation[0]], [0.2860, 0.3530], atol=1e-4)
