import os
import stat
import threading
from pathlib import Path

import pytest

from unrolled.data import folders
from unrolled.data.folders import alone, cache_folder, data_folder, download_folder, writable
from unrolled.training.native import build


@pytest.mark.parametrize("given", [{"UNROLLED_CACHE": "/given"}, {"XDG_CACHE_HOME": "/user"}, {}])
def test_there_is_one_cache_folder_for_data_and_compiled_code(monkeypatch, given):
    for name in ("UNROLLED_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == build.cache_folder()


def test_the_data_folder_is_the_given_one_else_the_environments_else_in_the_cache(monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", "/cache")
    monkeypatch.setenv("UNROLLED_DATA", "/data")
    assert data_folder("/mine") == Path("/mine")
    assert data_folder("~/mine") == Path.home() / "mine"
    assert data_folder(None) == Path("/data")
    monkeypatch.delenv("UNROLLED_DATA")
    assert data_folder(None) == Path("/cache/data")


def test_a_folder_is_writable_if_it_or_its_nearest_parent_is(tmp_path, monkeypatch):
    assert writable(tmp_path)
    assert writable(tmp_path / "new" / "er")
    (tmp_path / "file").touch()
    assert not writable(tmp_path / "file" / "below")
    # By the permission bits, since the tests may run as root, who may write everywhere.
    monkeypatch.setattr(folders.os, "access", lambda path, how: bool(os.stat(path).st_mode & stat.S_IWUSR))
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    assert not writable(locked)
    assert not writable(locked / "below")
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    assert download_folder(locked) == tmp_path / "cache" / "data"
    assert download_folder(tmp_path / "open") == tmp_path / "open"


def test_one_at_a_time_holds_the_lock(tmp_path):
    inside, most = [], []

    def work():
        with alone(tmp_path / "made" / "x"):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_work_goes_on_where_no_lock_can_be_had(tmp_path):
    (tmp_path / "file").touch()
    done = []
    with alone(tmp_path / "file" / "below" / "x"):
        done.append(True)
    assert done
