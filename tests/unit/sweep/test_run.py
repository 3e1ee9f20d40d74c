"""Running what is missing: resume, failures, interrupts, and what a row holds."""

from __future__ import annotations

import datetime
import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.unit.sweep.factory import BreaksAt, InterruptedAfter, comparable, problem_file, run, tiny

from unrolled.records.provenance import git_state
from unrolled.records.schema import COLUMNS
from unrolled.sweep.run import MixedBackendsWarning, run_sweep
from unrolled.sweep.tasks import TASKS
from unrolled.sweep.todo import RunSettings, duration
from unrolled.sweep.trial import packs_of, trials_of
from unrolled.training.fit import fit

GRID = ("network.width=0,4", "seed=0,1", "optim.lr=0.1,0.01")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Records of the grid, run at once."""
    return run(tiny(*GRID), tmp_path_factory.mktemp("whole"))[1]


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any call of a task an error."""
    monkeypatch.setitem(TASKS, "fit", BreaksAt(4))


def test_all_trials_are_recorded_once(tmp_path: Path) -> None:
    summary, records = run(tiny(*GRID), tmp_path)
    assert (summary.asked, summary.present, summary.counts, summary.failures) == (8, 0, {"finished": 8}, [])
    assert summary.seconds > 0
    assert set(records["trial"]) == {trial.name for trial in trials_of(tiny(*GRID))}
    assert len(records) == 8
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_a_second_call_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = run(tiny(*GRID), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    for width in (0, 4):
        monkeypatch.setitem(TASKS, "fit", BreaksAt(width))
        summary, after = run(tiny(*GRID), tmp_path)
        assert (summary.present, summary.counts) == (8, {})
        pd.testing.assert_frame_equal(after, before)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()} == files


def test_a_partial_store_is_completed(tmp_path: Path, whole: pd.DataFrame) -> None:
    run(tiny("network.width=0,4", "seed=1", "optim.lr=0.01"), tmp_path)
    summary, records = run(tiny(*GRID), tmp_path)
    assert (summary.asked, summary.present, summary.counts) == (8, 2, {"finished": 6})
    pd.testing.assert_frame_equal(comparable(records), comparable(whole))


@pytest.mark.parametrize("max_pack", [1, 3])
def test_a_result_does_not_depend_on_its_pack(tmp_path: Path, whole: pd.DataFrame, max_pack: int) -> None:
    _, records = run(tiny(*GRID), tmp_path, max_pack=max_pack)
    assert records["pack"].nunique() > whole["pack"].nunique()
    pd.testing.assert_frame_equal(comparable(records), comparable(whole))


PACKABLE = {
    "seed": "0,1",
    "data.rows_seed": "null,3",
    "data.rows_named": "",  # follows from the data, no key of a config
    "solver.steps": "1,4",
    "solver.step_size": "0.5,1.0",
    "solver.learn_step_size": "true,false",
    "optim.lr": "0.1,0.01",
    "optim.weight_decay": "0,0.1",
}
"""Two values of everything that may differ inside a pack of fits."""


def test_all_that_is_packable_is_tried() -> None:
    assert set(PACKABLE) == TASKS["fit"].packable


@pytest.mark.parametrize("name", [name for name, values in PACKABLE.items() if values])
def test_what_may_differ_inside_a_pack_changes_each_trial_as_it_does_alone(tmp_path: Path, name: str) -> None:
    configs = tiny(f"{name}={PACKABLE[name]}")
    _, together = run(configs, tmp_path / "together")
    _, alone = run(configs, tmp_path / "alone", max_pack=1)
    assert together["pack"].nunique() == 1
    assert alone["pack"].nunique() == 2
    pd.testing.assert_frame_equal(comparable(together), comparable(alone))
    assert together["train_loss"].nunique() == 2


def test_a_pack_that_raises_leaves_failed_rows_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: pd.DataFrame
) -> None:
    monkeypatch.setitem(TASKS, "fit", BreaksAt(4))
    summary, records = run(tiny(*GRID), tmp_path)
    assert summary.counts == {"finished": 4, "failed": 4}
    failed = records[records["network.width"] == 4]
    assert list(failed["status"]) == ["failed"] * 4
    assert list(failed["error"]) == ["RuntimeError: broken on purpose"] * 4
    assert failed["train_loss"].isna().all()
    assert list(records[records["network.width"] == 0]["status"]) == ["finished"] * 4
    ((pack, error),) = summary.failures
    assert {pack} == set(failed["pack"])
    assert error == "RuntimeError: broken on purpose"

    mended = BreaksAt(-1)
    monkeypatch.setitem(TASKS, "fit", mended)
    again, records = run(tiny(*GRID), tmp_path)
    assert (again.present, again.counts, again.failures, mended.packs) == (4, {"finished": 4}, [], 1)
    pd.testing.assert_frame_equal(comparable(records), comparable(whole))


def test_an_interrupt_between_packs_loses_nothing(tmp_path: Path, whole: pd.DataFrame) -> None:
    settings, seen = RunSettings(tmp_path, "smoke", max_pack=2), []

    def interrupt(rows: pd.DataFrame) -> None:
        seen.append(rows)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(trials_of(tiny(*GRID)), settings, on_pack=interrupt, say=lambda line: None)
    assert len(settings.store.load()) == 4
    summary, records = run(tiny(*GRID), tmp_path, max_pack=2)
    assert (summary.present, summary.counts) == (4, {"finished": 4})
    pd.testing.assert_frame_equal(comparable(records), comparable(whole))


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_an_interrupted_pack_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: pd.DataFrame, chunks: int
) -> None:
    with monkeypatch.context() as patch:
        # Chunks of one epoch, so that there is something to interrupt in four.
        patch.setitem(fit.__globals__, "CHUNK_SECONDS", 0.0)
        patch.setitem(TASKS, "fit", InterruptedAfter(chunks))
        with pytest.raises(KeyboardInterrupt):
            run(tiny(*GRID), tmp_path)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert torch.load(checkpoint, weights_only=True)["state"]["epoch"] == chunks
    assert RunSettings(tmp_path, "smoke").store.load().empty
    _, records = run(tiny(*GRID), tmp_path)
    pd.testing.assert_frame_equal(comparable(records), comparable(whole))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_checkpoint_is_what_the_pack_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[float] = []
    configs = tiny("seed=0,1")
    with monkeypatch.context() as patch:
        patch.setitem(fit.__globals__, "CHUNK_SECONDS", 0.0)
        patch.setitem(TASKS, "fit", InterruptedAfter(3))
        with pytest.raises(KeyboardInterrupt):
            run(configs, tmp_path)
    monkeypatch.setitem(run_sweep.__globals__, "_updater", lambda bar, share: parts.append)
    run(configs, tmp_path)
    assert parts == [3 / 4, 1 / 4]


def test_callbacks_see_the_rows_as_they_are_stored(tmp_path: Path) -> None:
    seen: list[pd.DataFrame] = []
    settings = RunSettings(tmp_path, "smoke")
    run_sweep(trials_of(tiny(*GRID)), settings, on_pack=seen.append, say=lambda line: None)
    assert len(seen) == 2
    stored = settings.store.load()
    for rows in seen:
        (pack,) = set(rows["pack"])
        same = stored[stored["pack"] == pack].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows.sort_values("trial").reset_index(drop=True), same)


def test_rows_that_are_there_serve_another_experiment_too(tmp_path: Path, no_training: None) -> None:
    configs = tiny("network.width=0", "seed=0,1")
    named = [config | {"experiment": "reasoning/generalization"} for config in configs]
    run(named, tmp_path)
    also = [config | {"experiment": "reasoning/training_size"} for config in configs[:1]]
    summary, records = run([*named, *also], tmp_path)
    assert (summary.present, summary.counts) == (2, {})
    one = trials_of(also)[0].name
    for name, experiments in zip(records["trial"], records["experiments"], strict=True):
        more = ["reasoning/training_size"] if name == one else []
        assert list(experiments) == ["reasoning/generalization", *more]


# The columns that records promise, beside the flattened config.
PROMISED = {
    "trial", "experiments", "theory", "scale", "status", "error", "seed", "train_loss", "test_loss", "gap", "backend",
    "wall_s", "pack", "git_commit", "git_dirty", "torch", "device", "started_at",
}  # fmt: skip


def test_a_row_explains_itself(tmp_path: Path) -> None:
    file = problem_file(tmp_path / "p.npz")
    overrides = ("seed=100", "data.rows_seed=100", f"data.file={file}", "solver=nag", "optim=sgd", "optim.lr=0.02")
    (config,) = tiny(*overrides)
    before = datetime.datetime.now(datetime.UTC)
    _, records = run([config | {"experiment": "reasoning/rnn"}], tmp_path, backend="eager")
    row = records.iloc[0]
    assert set(records.columns) >= PROMISED | set(COLUMNS)
    assert row["trial"] == trials_of([config])[0].name
    assert list(row["experiments"]) == ["reasoning/rnn"]
    assert (row["theory"], row["scale"], row["task"], row["status"]) == ("reasoning", "smoke", "fit", "finished")
    for name, value in config.items():
        if name.partition(".")[0] in ("seed", "data", "network", "solver", "optim") and value is not None:
            assert row[name] == value, name
    for name in ("data.root", "network.widths", "network.depth", "network.skip", "error", "diverged_epoch"):
        assert pd.isna(row[name]), name
    assert row["optim.batch_size"] == 5
    assert row["gap"] == pytest.approx(row["test_loss"] - row["train_loss"], abs=1e-12)
    assert row["gap_excess"] == pytest.approx(row["gap"] - row["gap_true"], abs=1e-12)
    assert list(row["curve_epoch"]) == [0, 1, 2, 3, 4]
    assert row["curve_train_loss"][int(row["best_epoch"])] == pytest.approx(row["train_loss"], rel=1e-5)
    assert row["curve_train_loss"].min() == row["curve_train_loss"][int(row["best_epoch"])]
    assert row["backend"] == "eager"
    assert 0 < row["wall_s"] < 60
    assert row["pack"] == packs_of(trials_of([config]), 256)[0].name
    found = [None if pd.isna(row[name]) else row[name] for name in ("git_commit", "git_dirty")]
    assert found == list(git_state())
    assert row["torch"] == str(torch.__version__)
    assert row["device"].startswith("cpu: ")
    assert before <= datetime.datetime.fromisoformat(row["started_at"]) + datetime.timedelta(milliseconds=1)
    assert not any(name.partition(".")[0] in ("run", "tracker") for name in records.columns)


def test_a_diverged_trial_is_recorded_without_numbers_and_not_run_again(tmp_path: Path) -> None:
    configs = tiny("optim=sgd", "optim.lr=1e-2,1e38", "solver.steps=5")
    summary, records = run(configs, tmp_path)
    assert summary.counts == {"finished": 1, "diverged": 1}
    row = records[records["status"] == "diverged"].iloc[0]
    assert row["optim.lr"] == 1e38
    assert "not finite" in row["error"]
    assert row[["train_loss", "test_loss", "gap", "gap_true", "gap_excess", "representation_error"]].isna().all()
    assert np.isfinite(row["curve_train_loss"]).all()
    again, _ = run(configs, tmp_path)
    assert (again.present, again.counts) == (2, {})


def test_properties_share_a_table_with_fits(tmp_path: Path) -> None:
    _, records = run(tiny("seed=0,1") + tiny("task=properties", "solver=gd,nag", "solver.steps=1,2"), tmp_path)
    layers = records[records["task"] == "properties"]
    assert len(layers) == 4
    assert layers["train_loss"].isna().all()
    assert layers["network.width"].isna().all()
    names = [f"{p}_{kind}" for p, kind in itertools.product(("cvg", "stab", "sens"), ("exact", "rate", "measured"))]
    assert layers[names].notna().all(axis=None)


def test_the_opening_line_says_how_much_there_is_to_do(tmp_path: Path) -> None:
    lines: list[str] = []
    trials = trials_of(tiny(*GRID))
    run_sweep(trials, RunSettings(tmp_path, "smoke"), say=lines.append)
    run_sweep(trials, RunSettings(tmp_path, "smoke"), say=lines.append)
    assert lines[0].startswith("8 trials: 0 already there, 8 to run in 2 packs, about ")
    assert lines[1] == "8 trials: 8 already there, 0 to run"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (40, "40 s"), (200, "3 min"), (5000, "83 min"), (9000, "2.5 h")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_backend_that_takes_over_in_mid_sweep_is_told(tmp_path: Path) -> None:
    run(tiny("seed=0"), tmp_path, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tiny("seed=0,1"), tmp_path, backend="eager")
    said = "fit gd: computed by fused, earlier trials of this sweep by eager: they agree to rounding only"
    with pytest.warns(MixedBackendsWarning, match=said):
        run(tiny("seed=0,1,2"), tmp_path, backend="fused")


def test_a_worker_with_one_pack_sees_the_backend_of_the_others(tmp_path: Path) -> None:
    one, other = ([config | {"experiment": "reasoning/rnn"} for config in tiny(f"seed={seed}")] for seed in (0, 1))
    run(one, tmp_path, backend="eager")
    with pytest.warns(MixedBackendsWarning, match="computed by fused, earlier trials of this sweep by eager"):
        run(other, tmp_path, backend="fused")


def test_on_error_stop_starts_no_further_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "fit", BreaksAt(0))
    summary, records = run(tiny(*GRID), tmp_path, on_error="stop", max_pack=4)
    assert (summary.counts, summary.not_started, summary.complete) == ({"failed": 4}, 4, False)
    assert len(records) == 4
    monkeypatch.setitem(TASKS, "fit", BreaksAt(-1))
    summary, _ = run(tiny(*GRID), tmp_path, on_error="stop")
    assert (summary.counts, summary.complete) == ({"finished": 8}, True)
