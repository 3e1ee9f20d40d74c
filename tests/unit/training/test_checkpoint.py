import os
import warnings

import pytest
import torch

from unrolled.training.checkpoint import UnreadableCheckpointWarning, load_checkpoint, save_checkpoint

from .factory import Job, assert_same_states, varied

JOB, MEMBERS = Job(optimizer="adam"), varied(3)


@pytest.fixture(scope="module")
def state():
    return JOB.train(MEMBERS, "eager", until=4)


def test_a_checkpoint_gives_the_state_back(state, tmp_path):
    path = tmp_path / "new" / "folder" / "pack.pt"
    save_checkpoint(path, state, "a key")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_checkpoint(path, "a key")
    assert loaded.epoch == 4
    assert type(loaded.epoch) is int
    assert list(loaded.weights) == list(state.weights)  # the order is that of the native kernel's parameters
    assert list(loaded.moments) == list(state.moments)
    assert_same_states(loaded, state)
    assert [file.name for file in path.parent.iterdir()] == ["pack.pt"]


def test_no_checkpoint_is_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_checkpoint(tmp_path / "absent.pt", "a key") is None


def test_another_fits_checkpoint_is_not_used(state, tmp_path):
    path = tmp_path / "pack.pt"
    save_checkpoint(path, state, "one key")
    with pytest.warns(UnreadableCheckpointWarning, match=r"pack\.pt is not used \(it belongs to one key\)"):
        assert load_checkpoint(path, "another key") is None
    assert not path.exists()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(bytes(range(256)) * 20)


def foreign(path):
    torch.save([1, 2], path)


def lacks_a_field(path):
    content = torch.load(path, weights_only=True)
    del content["state"]["curve"]
    torch.save(content, path)


def knows_more(path):
    content = torch.load(path, weights_only=True)
    content["state"]["unknown"] = 1
    torch.save(content, path)


@pytest.mark.parametrize("damage", [truncate, empty, garbage, foreign, lacks_a_field, knows_more])
def test_a_damaged_checkpoint_is_set_aside_with_a_warning(damage, state, tmp_path):
    path = tmp_path / "pack.pt"
    save_checkpoint(path, state, "a key")
    damage(path)
    with pytest.warns(UnreadableCheckpointWarning, match=r"pack\.pt is not used .*this fit starts anew"):
        assert load_checkpoint(path, "a key") is None
    assert not path.exists()


class MakesAFolder:
    """Unpickling it runs code."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_checkpoint_runs_no_code(tmp_path):
    path, folder = tmp_path / "pack.pt", tmp_path / "made"
    torch.save({"key": "a key", "state": MakesAFolder(folder)}, path)
    with pytest.warns(UnreadableCheckpointWarning, match=r"pack\.pt is not used"):
        assert load_checkpoint(path, "a key") is None
    assert not folder.exists()


def test_a_failed_write_keeps_the_old_checkpoint(state, tmp_path, monkeypatch):
    path = tmp_path / "pack.pt"
    save_checkpoint(path, state, "a key")

    def full_disk(content, file):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(path, JOB.start(MEMBERS), "a key")
    assert load_checkpoint(path, "a key").epoch == 4
    assert [file.name for file in tmp_path.iterdir()] == ["pack.pt"]
