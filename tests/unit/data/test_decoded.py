import os

import numpy as np
import pytest
from tests.unit.data.images import raw_images, same

from unrolled.data import decoded
from unrolled.data.decoded import NotKeptWarning, kept

RAW = raw_images()


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source"
    file.write_bytes(b"encoded")
    return file


@pytest.fixture
def counted(cache, source):
    """Call ``kept`` on the source; the list grows by one at each decoding."""
    calls = []

    def decode():
        calls.append(1)
        return RAW

    return calls, lambda: kept("some", source.parent, [source], decode)


def the_file(cache):
    (file,) = (cache / "decoded").glob("*.npz")
    return file


def test_the_second_call_reads_what_the_first_kept(cache, counted):
    calls, get = counted
    assert same(get(), RAW)
    again = get()
    assert same(again, RAW)
    assert (again.classes, again.largest, again.checksum()) == (RAW.classes, RAW.largest, RAW.checksum())
    assert len(calls) == 1
    assert not list(cache.rglob("*.tmp"))


def test_changed_sources_are_decoded_again_into_the_same_file(cache, counted, source):
    calls, get = counted
    get()
    first = the_file(cache)
    stat = source.stat()
    source.write_bytes(b"ENCODED")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    get()
    assert len(calls) == 2
    source.write_bytes(b"longer than before")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    get()
    assert len(calls) == 3
    assert the_file(cache) == first


def test_another_version_of_the_decoder_decodes_again(counted, monkeypatch):
    calls, get = counted
    get()
    monkeypatch.setattr(decoded, "DECODER_VERSION", 1000)
    get()
    assert len(calls) == 2


def test_equal_names_in_other_folders_are_kept_apart(cache, counted, tmp_path):
    calls, get = counted
    get()
    other = tmp_path / "other" / "source"
    other.parent.mkdir()
    other.write_bytes(b"encoded")
    assert len(kept("some", other.parent, [other], lambda: raw_images(n=15)).train) == 15
    assert same(get(), RAW)
    assert len(calls) == 1


def flip_a_pixel(file):
    content = bytearray(file.read_bytes())
    content[content.find(RAW.train.tobytes()) + 100] ^= 1
    file.write_bytes(content)


def lose_an_array(file):
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "test"}
    np.savez(file, **arrays)


def change_a_type(file):
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(file, **arrays | {"train": arrays["train"].astype(np.int16)})


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"not an archive"),
        flip_a_pixel,
        lose_an_array,
        change_a_type,
    ],
    ids=["half", "empty", "text", "bit", "array", "type"],
)
def test_a_damaged_file_is_made_anew(cache, counted, damage):
    calls, get = counted
    get()
    damage(the_file(cache))
    assert same(get(), RAW)
    assert same(get(), RAW)
    assert len(calls) == 2


def test_a_write_that_fails_leaves_nothing_and_the_images_are_had(cache, counted, monkeypatch):
    calls, get = counted

    def full(file, **arrays):
        file.write(b"begun")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(decoded.np, "savez", full)
        with pytest.warns(NotKeptWarning, match=r"some is decoded anew .*disk full.*set UNROLLED_CACHE"):
            assert same(get(), RAW)
    assert not [file for file in cache.rglob("*") if file.is_file() and file.suffix != ".lock"]
    get()
    assert len(calls) == 2
    assert the_file(cache)


def test_a_cache_folder_that_cannot_be_made_costs_time_only(cache, counted):
    cache.write_text("a file where the folder should be")
    calls, get = counted
    for _ in range(2):
        with pytest.warns(NotKeptWarning):
            assert same(get(), RAW)
    assert len(calls) == 2
