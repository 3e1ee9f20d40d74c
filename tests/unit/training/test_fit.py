import importlib
import warnings

import pytest

from unrolled.training.checkpoint import UnreadableCheckpointWarning, load_checkpoint, save_checkpoint
from unrolled.training.fit import BackendWarning, choose_backend, discard_checkpoint, fit
from unrolled.training.native.build import NativeUnavailableError

from .factory import EVERY_BACKEND, Job, assert_same_states, needs_native, varied

room = importlib.import_module("unrolled.training.fit")  # the package's own name `fit` is the function
JOB, MEMBERS = Job("nag", 4, "adam", epochs=9), varied(5)


@pytest.fixture
def small_chunks(monkeypatch):
    """One epoch between two looks at progress, whatever the machine's speed."""
    monkeypatch.setattr(room, "CHUNK_SECONDS", 0.0)


def run(backend, checkpoint=None, on_epochs=lambda epochs: None, job=JOB, **options):
    runner = job.backend(MEMBERS, backend)
    return fit(runner, job.settings(MEMBERS), job.start(MEMBERS), checkpoint=checkpoint, on_epochs=on_epochs, **options)


class StopAfter:
    """Raise when told of a chunk for the ``calls``-th time."""

    def __init__(self, calls, error=KeyboardInterrupt):
        self.calls, self.error, self.epochs = calls, error, []

    def __call__(self, epochs):
        self.epochs.append(epochs)
        if len(self.epochs) == self.calls:
            raise self.error


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("cuts", [(9,), (1, 9), (4, 9), (8, 9), (1, 2, 3, 4, 5, 6, 7, 8, 9), (5, 5, 9)])
def test_where_a_fit_is_cut_changes_no_bit(cuts, optimizer, backend):
    job = Job("gd", 4, optimizer, epochs=9)
    runner, settings, state = job.backend(MEMBERS, backend), job.settings(MEMBERS), job.start(MEMBERS)
    for until in cuts:
        state = runner.advance(settings, state, until)
    assert state.epoch == 9
    assert_same_states(state, job.train(MEMBERS, backend))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("seconds", [0.0, 1e-4, 60.0])
def test_fit_chooses_its_chunks_freely(seconds, backend, monkeypatch):
    monkeypatch.setattr(room, "CHUNK_SECONDS", seconds)
    told = []
    assert_same_states(run(backend, on_epochs=told.append), JOB.train(MEMBERS, backend))
    assert sum(told) == 9
    if seconds == 0.0:
        assert told == [1] * 9
    if seconds == 60.0:
        assert told == [1, 4, 4]  # grows fourfold at most


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("calls", [1, 2, 6, 9])
def test_an_interrupted_fit_goes_on_where_it_stood(calls, backend, small_chunks, tmp_path):
    path, stop, told = tmp_path / "pack.pt", StopAfter(calls), []
    with pytest.raises(KeyboardInterrupt):
        run(backend, path, stop)
    # The chunk that was being reported counts as not done.
    assert path.exists() == (calls > 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = run(backend, path, told.append)
    assert_same_states(state, JOB.train(MEMBERS, backend))
    assert sum(told) == 9
    assert told == ([1] * 9 if calls == 1 else [calls - 1] + [1] * (10 - calls))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_a_fit_that_is_killed_goes_on_from_its_last_checkpoint(backend, small_chunks, tmp_path):
    path, told = tmp_path / "pack.pt", []
    # Not an interrupt: as with a killed process, nothing is saved on the way out.
    with pytest.raises(SystemError):
        run(backend, path, StopAfter(7, SystemError), checkpoint_seconds=0.0)
    assert_same_states(run(backend, path, told.append), JOB.train(MEMBERS, backend))
    assert told == [6, 1, 1, 1]
    assert path.exists()
    discard_checkpoint(path)
    assert not path.exists()
    discard_checkpoint(path)


def test_no_checkpoint_is_written_before_its_time_or_without_a_path(small_chunks, tmp_path):
    with pytest.raises(SystemError):
        run("eager", tmp_path / "pack.pt", StopAfter(7, SystemError), checkpoint_seconds=3600.0)
    with pytest.raises(KeyboardInterrupt):
        run("eager", None, StopAfter(7))
    assert list(tmp_path.iterdir()) == []


def test_the_final_state_is_no_checkpoint(small_chunks, tmp_path):
    # Its last epoch is judged; to go on from it would judge that epoch twice.
    path = tmp_path / "pack.pt"
    run("eager", path, checkpoint_seconds=0.0, key="k")
    assert load_checkpoint(path, "k eager").epoch == 8


def test_another_fits_checkpoint_means_a_fresh_start(small_chunks, tmp_path):
    path, told = tmp_path / "pack.pt", []
    with pytest.raises(KeyboardInterrupt):
        run("eager", path, StopAfter(5), key="other trials")
    with pytest.warns(UnreadableCheckpointWarning, match="it belongs to other trials eager"):
        state = run("eager", path, told.append, key="these trials")
    assert told == [1] * 9
    assert_same_states(state, JOB.train(MEMBERS, "eager"))


def test_a_truncated_checkpoint_means_a_fresh_start(small_chunks, tmp_path):
    path, told = tmp_path / "pack.pt", []
    save_checkpoint(path, JOB.train(MEMBERS, "eager", until=4), " eager")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.warns(UnreadableCheckpointWarning, match="this fit starts anew"):
        state = run("eager", path, told.append)
    assert told == [1] * 9
    assert_same_states(state, JOB.train(MEMBERS, "eager"))


@needs_native
@pytest.mark.parametrize(("first", "second"), [("native", "eager"), ("eager", "native")])
def test_another_backends_checkpoint_is_not_used(first, second, small_chunks, tmp_path):
    path, told = tmp_path / "pack.pt", []
    with pytest.raises(KeyboardInterrupt):
        run(first, path, StopAfter(5), key="k")
    with pytest.warns(UnreadableCheckpointWarning, match=f"it belongs to k {first}"):
        state = run(second, path, told.append, key="k")
    assert told == [1] * 9
    assert_same_states(state, JOB.train(MEMBERS, second))


def unavailable(*arguments):
    raise NativeUnavailableError("no C compiler found")


def test_without_a_compiler_auto_falls_back_with_a_warning_and_native_refuses(monkeypatch):
    monkeypatch.setattr(room, "NativeReasoning", unavailable)
    ensemble = JOB.ensemble(MEMBERS)
    with pytest.warns(BackendWarning, match="fused torch, some six times slower: no C compiler found"):
        assert choose_backend("auto", ensemble).name == "fused"
    with pytest.raises(NativeUnavailableError, match="no C compiler found"):
        choose_backend("native", ensemble)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_backend("eager", ensemble).name == "eager"


@needs_native
def test_auto_is_native_where_it_can_be_had():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_backend("auto", JOB.ensemble(MEMBERS)).name in ("native-8", "native-16")


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match=r"run\.backend: expected one of auto, native, fused, eager, got 'cuda'"):
        choose_backend("cuda", JOB.ensemble(MEMBERS))
