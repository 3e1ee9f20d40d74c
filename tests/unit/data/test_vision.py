import gzip
import hashlib
import os
import pickle
import shutil
import socket
import stat
import struct
import tarfile
import urllib.error

import numpy as np
import pytest
import scipy.io
from tests.unit.data.images import SHARED, needs, raw_images, same, write_parquet
from torchvision import datasets

from unrolled.data import folders, vision
from unrolled.data.quadratic import DataError
from unrolled.data.vision import PUBLIC_SETS, read_public

# More rows than channels or pixels a side, so that no two axes can be mistaken for each other.
SHAPES = {"fashion_mnist": (1, 28, 28), "cifar10": (3, 32, 32), "cifar100": (3, 32, 32), "svhn": (3, 32, 32)}
NAMES = sorted(SHAPES)


def images_of(name):
    channels, *size = SHAPES[name]
    return raw_images(n=40, m=35, channels=channels, classes=PUBLIC_SETS[name].classes, size=tuple(size))


def md5(file):
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def write_idx(root, raw, monkeypatch):
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    sums = []
    for part, pixels, labels in (("train", raw.train, raw.train_labels), ("t10k", raw.test, raw.test_labels)):
        for kind, values in (("images-idx3", pixels[:, 0]), ("labels-idx1", labels.astype(np.uint8))):
            file = folder / f"{part}-{kind}-ubyte"
            head = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
            file.write_bytes(head + values.tobytes())
            packed = file.with_suffix(".gz")
            packed.write_bytes(gzip.compress(file.read_bytes()))
            sums.append((packed.name, md5(packed)))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", sums)


def write_batches(root, raw, monkeypatch, *, hundred):
    kind = datasets.CIFAR100 if hundred else datasets.CIFAR10
    folder = root / kind.base_folder
    folder.mkdir(parents=True)

    def dump(name, entry):
        (folder / name).write_bytes(pickle.dumps(entry))
        return [name, md5(folder / name)]

    key = "fine_labels" if hundred else "labels"
    lists = {}
    for which, pixels, labels in (("train", raw.train, raw.train_labels), ("test", raw.test, raw.test_labels)):
        names = [name for name, _ in getattr(kind, f"{which}_list")]
        parts = np.array_split(np.arange(len(pixels)), len(names))
        lists[which] = [
            dump(name, {"data": pixels[rows].reshape(len(rows), -1), key: labels[rows].tolist()})
            for name, rows in zip(names, parts, strict=True)
        ]
        monkeypatch.setattr(kind, f"{which}_list", lists[which])
    meta = dump(kind.meta["filename"], {kind.meta["key"]: [str(i) for i in range(raw.classes)]})
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": meta[1]})
    with tarfile.open(root / kind.filename, "w:gz") as archive:
        archive.add(folder, kind.base_folder)
    monkeypatch.setattr(kind, "tgz_md5", md5(root / kind.filename))


def write_mat(root, raw, monkeypatch):
    root.mkdir(parents=True, exist_ok=True)
    sums = dict(datasets.SVHN.split_list)
    for split, pixels, labels in (("train", raw.train, raw.train_labels), ("test", raw.test, raw.test_labels)):
        file = root / f"{split}_32x32.mat"
        # The file says 10 for the digit 0.
        scipy.io.savemat(file, {"X": pixels.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        sums[split] = [sums[split][0], file.name, md5(file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", sums)


def write_own(name, root, raw, monkeypatch):
    """Write torchvision's layout, unpacked files and archives, and make torchvision expect these files."""
    if name == "fashion_mnist":
        write_idx(root, raw, monkeypatch)
    elif name == "svhn":
        write_mat(root, raw, monkeypatch)
    else:
        write_batches(root, raw, monkeypatch, hundred=name == "cifar100")


def remove_unpacked(name, root):
    for file in PUBLIC_SETS[name].unpacked:
        (root / file).unlink()


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def no_network(monkeypatch, cache):
    """Every request fails at once; the list holds what was asked for."""
    asked = []

    def refuse(request, *args, **kwargs):
        asked.append(request.full_url)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return asked


def unpacked_again(*args):
    raise AssertionError("the archives were unpacked a second time")


def permission_bits(monkeypatch):
    """Let the permission bits decide what is writable: the tests may run as root, who may write everywhere."""
    monkeypatch.setattr(folders.os, "access", lambda path, how: bool(os.stat(path).st_mode & stat.S_IWUSR))


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_own_files_are_read_and_the_folder_left_alone(name, tmp_path, monkeypatch, no_network):
    raw, root = images_of(name), tmp_path / "root"
    write_own(name, root, raw, monkeypatch)
    before = everything(root)
    assert same(read_public(name, root), raw)
    assert everything(root) == before
    assert not no_network


@pytest.mark.parametrize("name", [name for name in NAMES if PUBLIC_SETS[name].archives])
def test_archives_are_unpacked_elsewhere_once_and_without_a_network(name, tmp_path, monkeypatch, no_network):
    raw, root = images_of(name), tmp_path / "root"
    write_own(name, root, raw, monkeypatch)
    remove_unpacked(name, root)
    before = everything(root)
    assert same(read_public(name, root, download=False), raw)
    with monkeypatch.context() as patch:
        patch.setattr(vision, "_unpacked_elsewhere", unpacked_again)
        assert same(read_public(name, root, download=False), raw)
    assert everything(root) == before
    assert not no_network


@pytest.mark.parametrize("name", [name for name in NAMES if PUBLIC_SETS[name].archives])
def test_a_damaged_archive_is_an_error_and_never_written_over(name, tmp_path, monkeypatch, no_network):
    root = tmp_path / "root"
    write_own(name, root, images_of(name), monkeypatch)
    remove_unpacked(name, root)
    file = root / PUBLIC_SETS[name].archives[-1]
    file.write_bytes(file.read_bytes()[:-20])
    before = everything(root)
    with pytest.raises(DataError, match=f"data.root: {file} is damaged; delete it and get it again from http"):
        read_public(name, root)
    assert everything(root) == before
    assert not no_network


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("index", [0, -1])
def test_damaged_files_are_an_error_that_says_what_to_do(name, index, tmp_path, monkeypatch):
    root = tmp_path / "root"
    write_own(name, root, images_of(name), monkeypatch)
    file = root / PUBLIC_SETS[name].unpacked[index]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"data.root: the files of {name} in {root} are damaged .*; delete .* again"):
        read_public(name, root)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inner", ["{name}", "{name}/data", "{name}/{name}", "."])
def test_parquet_files_are_found_in_the_sets_folder_or_the_root(name, inner, tmp_path):
    # All 100 classes need not be there: the number of classes is the set's.
    raw = images_of(name)
    write_parquet(tmp_path / inner.format(name=name), raw)
    assert same(read_public(name, tmp_path, download=False), raw)


def test_torchvisions_files_come_before_parquet(tmp_path, monkeypatch):
    raw = images_of("cifar10")
    write_parquet(tmp_path / "cifar10", raw_images(n=20, classes=10, size=(32, 32)))
    assert len(read_public("cifar10", tmp_path).train) == 20
    write_own("cifar10", tmp_path, raw, monkeypatch)
    assert same(read_public("cifar10", tmp_path), raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (raw_images(classes=10), r"expected training images of \(3, 32, 32\) \(C, H, W\), got \(3, 5, 6\)"),
        (raw_images(channels=1, classes=10, size=(32, 32)), r"got \(1, 32, 32\)"),
        (raw_images(n=20, classes=11, size=(32, 32)), "labels: expected 0 to 9, got 10"),
    ],
)
def test_another_data_set_in_its_place_is_an_error(raw, message, tmp_path):
    write_parquet(tmp_path, raw)
    with pytest.raises(DataError, match=f"data.root: .*{message}"):
        read_public("cifar10", tmp_path, download=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_set_that_is_nowhere_is_one_error_with_the_way_to_get_it(name, tmp_path, no_network):
    spec = PUBLIC_SETS[name]
    for root in (tmp_path / "missing", tmp_path):
        with pytest.raises(DataError) as caught:
            read_public(name, root, download=False)
        message = str(caught.value)
        for part in (
            f"no {name} in {root}",
            spec.address,
            f"{spec.megabytes} MB",
            "data.download=true",
            "UNROLLED_DATA",
        ):
            assert part in message
    assert not no_network
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_download_is_one_error_with_its_reason(name, tmp_path, no_network):
    with pytest.raises(DataError) as caught:
        read_public(name, tmp_path / "new")
    message = str(caught.value)
    assert no_network
    parts = (f"no {name} in {tmp_path / 'new'}", PUBLIC_SETS[name].address, "failed: ", "no network in tests")
    for part in parts:
        assert part in message
    assert "data.download" not in message
    assert "\n" not in message


@pytest.mark.parametrize("read_only", [False, True])
def test_a_download_goes_into_the_root_or_into_the_cache_if_that_is_read_only(read_only, tmp_path, monkeypatch, cache):
    raw, root, site = images_of("cifar10"), tmp_path / "root", tmp_path / "site"
    write_own("cifar10", site, raw, monkeypatch)
    root.mkdir()
    if read_only:
        permission_bits(monkeypatch)
        root.chmod(0o555)
    calls = []

    def fetch(url, filename, **kwargs):
        calls.append((url, socket.getdefaulttimeout()))
        shutil.copy(site / "cifar-10-python.tar.gz", filename)

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", fetch)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, max_hops: url)
    for _ in range(2):
        assert same(read_public("cifar10", root), raw)
    # Asked for once, and with a limit on the silence of the network, which is lifted again.
    assert calls == [(datasets.CIFAR10.url, vision.NETWORK_SECONDS)]
    assert socket.getdefaulttimeout() is None
    place = cache / "data" if read_only else root
    assert (place / "cifar-10-batches-py" / "test_batch").is_file()
    assert bool(list(root.iterdir())) is not read_only


@needs("FashionMNIST", "raw", "train-images-idx3-ubyte.gz")
def test_the_true_fashion_mnist_is_read_through_torchvision(tmp_path):
    shutil.copytree(SHARED / "FashionMNIST", tmp_path / "FashionMNIST", copy_function=shutil.copyfile)
    for folder in (tmp_path / "FashionMNIST", tmp_path / "FashionMNIST" / "raw"):
        folder.chmod(0o755)
    ours = read_public("fashion_mnist", tmp_path, download=False)
    assert not list(tmp_path.rglob("*-ubyte"))
    theirs = [datasets.FashionMNIST(tmp_path, train=train, download=True) for train in (True, False)]
    assert np.array_equal(ours.train[:, 0], theirs[0].data.numpy())
    assert np.array_equal(ours.test_labels, theirs[1].targets.numpy())
    # Now unpacked: read as it is, with the same result.
    assert same(read_public("fashion_mnist", tmp_path, download=False), ours)
    assert np.bincount(ours.train_labels).tolist() == [6000] * 10


@needs("cifar10", "test.parquet")
def test_the_true_cifar10_is_read_from_parquet(tmp_path):
    # The test rows in both places: decoding 50,000 images takes longer than a test should.
    (tmp_path / "cifar10").mkdir()
    for split in ("train", "test"):
        (tmp_path / "cifar10" / f"{split}.parquet").symlink_to(SHARED / "cifar10" / "test.parquet")
    raw = read_public("cifar10", tmp_path, download=False)
    assert raw.test.shape == (10_000, 3, 32, 32)
    assert np.bincount(raw.test_labels).tolist() == [1000] * 10
    assert np.array_equal(raw.train, raw.test)
    # The means of CIFAR-10's channels that everyone uses are .491, .482, .447, of its training rows.
    assert np.allclose(raw.test.mean((0, 2, 3)) / 255, [0.491, 0.482, 0.447], atol=0.01)
