import random
from importlib.metadata import version

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from unrolled.data import bundled
from unrolled.data.bundled import digits, global_random_states_kept, mnist1d
from unrolled.data.labelled import digest, standardised


def draws():
    """One draw from each global random state."""
    return random.random(), np.random.rand(), torch.rand(1).item()


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def draw_and_fail():
    draws()
    raise RuntimeError("stop")


def test_global_random_states_are_kept_even_by_an_error():
    before = states()
    with pytest.raises(RuntimeError, match="stop"), global_random_states_kept():
        draw_and_fail()
    assert states() == before
    draws()
    assert states() != before


def test_mnist1d_has_the_packages_sizes_and_is_standardised_before_the_split():
    data = mnist1d()
    assert data.shape == (1, 1, 40)
    assert (len(data.train_labels), len(data.test_labels), data.classes) == (4000, 1000, 10)
    assert data.train_inputs.dtype == np.float32
    both = np.concatenate([data.train_inputs, data.test_inputs]).astype(np.float64)
    # float32 rounding of 200,000 values of order 1.
    assert abs(both.mean()) < 1e-6
    assert abs(both.std() - 1) < 1e-6
    assert np.bincount(np.concatenate([data.train_labels, data.test_labels])).tolist() == [500] * 10


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    bundled._mnist1d.cache_clear()
    yield tmp_path / "cache" / "computed"
    bundled._mnist1d.cache_clear()


def test_mnist1d_is_the_same_whatever_the_global_states_and_leaves_them(monkeypatch, empty_cache):
    first = mnist1d()
    monkeypatch.setattr(bundled, "_read", lambda place: None)
    bundled._mnist1d.cache_clear()
    draws()
    before = states()
    second = mnist1d()
    assert states() == before
    assert np.array_equal(first.train_inputs, second.train_inputs)
    assert np.array_equal(first.test_inputs, second.test_inputs)
    assert np.array_equal(first.train_labels, second.train_labels)


def test_mnist1d_is_computed_once_for_all_processes(monkeypatch, empty_cache):
    first = mnist1d()
    bundled._mnist1d.cache_clear()
    monkeypatch.setattr(bundled, "_make_mnist1d", lambda: pytest.fail("computed"))
    second = mnist1d()
    for name in ("train_inputs", "train_labels", "test_inputs", "test_labels"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: data[:-5000] + b"x" + data[-4999:]])
def test_a_damaged_copy_of_mnist1d_is_made_anew(empty_cache, damage):
    first = mnist1d()
    (kept,) = empty_cache.glob("*.npz")
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    bundled._mnist1d.cache_clear()
    assert np.array_equal(mnist1d().train_inputs, first.train_inputs)
    bundled._mnist1d.cache_clear()
    assert bundled._read(kept) is not None


def test_mnist1d_does_without_a_cache_folder(empty_cache):
    empty_cache.parent.write_text("a file where the folder should be")
    assert mnist1d().train_inputs.any()


def test_other_versions_of_what_computes_mnist1d_keep_a_copy_of_their_own(monkeypatch, empty_cache):
    mnist1d()
    bundled._mnist1d.cache_clear()
    monkeypatch.setattr(np, "__version__", "0.0")
    mnist1d()
    assert len(list(empty_cache.glob("*.npz"))) == 2


def test_mnist1d_is_the_data_set_its_checksum_names():
    # Labels are integers from NumPy's frozen legacy stream; the inputs' last bits may differ between machines.
    data = mnist1d()
    assert data.checksum == f"generated:mnist1d {version('mnist1d')}, seed 42"
    assert data.train_labels[:12].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1, 6, 9]
    assert np.allclose(data.train_inputs[0, 0, 0, :3], [-0.33200567, -0.47191037, -0.77869708], atol=1e-6)


def test_each_call_gives_arrays_of_its_own():
    data = mnist1d()
    data.train_inputs[:] = 0
    data.train_labels[:] = 0
    assert mnist1d().train_inputs.any()
    assert mnist1d().train_labels.any()


def test_digits_are_split_once_and_for_all_by_classes():
    raw = digits()
    assert raw.train.shape == (1297, 1, 8, 8)
    assert raw.test.shape == (500, 1, 8, 8)
    assert (raw.largest, raw.train.max(), raw.classes) == (16, 16, 10)
    found = load_digits()
    # Every digit once: sorted rows of both parts are the sorted rows of the source.
    rows = [np.c_[x.reshape(len(x), -1), y] for x, y in ((raw.train, raw.train_labels), (raw.test, raw.test_labels))]
    source = np.c_[found.data, found.target]
    assert np.array_equal(np.array(sorted(np.vstack(rows).tolist())), np.array(sorted(source.tolist())))
    share = np.bincount(raw.test_labels) / np.bincount(found.target)
    # Stratified: each class gives its share of 500 test rows, up to one row of some 178.
    assert np.abs(share - 500 / 1797).max() < 1 / 170


def test_the_split_of_the_digits_does_not_change():
    # Of the test labels alone, which any other split would change.
    assert digest(digits().test_labels).startswith("sha256:cd16def87875")


def test_digits_are_standardised_by_their_training_rows():
    data = standardised(digits(), "digits")
    assert abs(data.train_inputs.mean(dtype=np.float64)) < 1e-6
    assert abs(data.train_inputs.std(dtype=np.float64) - 1) < 1e-6
    assert abs(data.test_inputs.mean(dtype=np.float64)) > 1e-6
