"""Packs beside each other in worker processes: the same records, and nothing lost when something ends early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from tests.unit.sweep.factory import comparable, run, tiny
from tests.unit.sweep.mishaps import BAD, Mishap, Slow
from tests.unit.sweep.test_frames_tasks import frames

from unrolled.config.check import Flat
from unrolled.sweep import workers as module
from unrolled.sweep.run import run_sweep
from unrolled.sweep.tasks import TASKS
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import packs_of, trials_of
from unrolled.sweep.workers import worker_count

ROOT = Path(__file__).resolve().parents[3]
GRID = (f"network.widths=8,{BAD},16x8", "seed=0,1", "optim.lr=0.01")
LONG = ("network.widths=8,12x8", "optim.epochs=60", "optim.lr=0.01")

REFERENCES: dict[tuple[str, ...], pd.DataFrame] = {}


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., pd.DataFrame]:
    """Return what the records of some classifiers are without workers, to be called before a task is replaced."""

    def records(*overrides: str) -> pd.DataFrame:
        if overrides not in REFERENCES:
            found = run(frames(*overrides), tmp_path_factory.mktemp("alone"), workers=1)[1]
            REFERENCES[overrides] = comparable(found)
        return REFERENCES[overrides]

    return records


def test_workers_leave_the_same_records(
    tmp_path: Path, alone: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside them a task that takes all cores, which runs in this process."""
    expected = alone(*GRID)
    monkeypatch.setitem(TASKS, "classify", Mishap("warn"))
    settings, seen = RunSettings(tmp_path, "smoke", workers=2), []
    with pytest.warns(UserWarning, match="seen in a worker"):
        summary = run_sweep(trials_of([*frames(*GRID), *tiny()]), settings, on_pack=seen.append, say=None)
    assert (summary.counts, summary.complete) == ({"finished": 7}, True)
    records = settings.store.load()
    own = comparable(records[records["task"] == "classify"])[expected.columns]
    # Beside a fit a column of integers holds gaps, so its type is another one.
    pd.testing.assert_frame_equal(own, expected, check_dtype=False)
    assert sum(map(len, seen)) == 7
    assert not list((tmp_path / "leases").glob("*.json"))
    assert not list((tmp_path / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("raise", "RuntimeError: broken on purpose"),
        ("kill", "WorkerDied: the process that ran this pack was killed by SIGKILL, as the system does when memory"),
    ],
)
def test_a_mishap_costs_its_own_pack_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Callable[..., pd.DataFrame], what: str, error: str
) -> None:
    expected = alone(*GRID)
    with monkeypatch.context() as patch:
        patch.setitem(TASKS, "classify", Mishap(what))
        summary, records = run(frames(*GRID), tmp_path, workers=2)
    assert summary.counts == {"finished": 4, "failed": 2}
    failed = records[records["status"] == "failed"]
    assert set(failed["network.widths"]) == {BAD}
    assert failed["error"].str.startswith(error).all()
    assert [text.startswith(error) for _, text in summary.failures] == [True]
    assert not list((tmp_path / "leases").glob("*.json"))
    again, records = run(frames(*GRID), tmp_path, workers=1)
    assert (again.present, again.counts) == (4, {"finished": 2})
    pd.testing.assert_frame_equal(comparable(records), expected, check_dtype=False)


def test_a_death_is_told_by_its_status() -> None:
    assert "ended with status 3; run.workers=1" in module._death(3)
    assert "was killed by SIGSEGV; run.workers=1" in module._death(-signal.SIGSEGV)


def test_on_error_stop_starts_no_further_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that fails is the costliest, so it is the first; one runs beside it, and ends after it."""
    monkeypatch.setitem(TASKS, "classify", Mishap("raise", tmp_path / "mark"))
    configs = frames(f"network.widths={BAD},8,4,2", "optim.lr=0.01")
    summary, records = run(configs, tmp_path / "results", workers=2, on_error="stop")
    assert summary.counts == {"failed": 1, "finished": 1}
    assert len(records) == 2
    assert summary.not_started == 2
    assert set(records["status"]) <= {"failed", "finished"}


def when(ready: Callable[[], bool], act: Callable[[], object]) -> None:
    """Act, from another thread, as soon as something is so."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()

    threading.Thread(target=watch, daemon=True).start()


def test_an_interrupt_saves_checkpoints_and_the_next_call_goes_on_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: Callable[..., pd.DataFrame]
) -> None:
    expected, marks, results = alone(*LONG), tmp_path / "marks", tmp_path / "results"
    marks.mkdir()
    with monkeypatch.context() as patch:
        # However much later the second worker starts, the first has most of a minute before it.
        patch.setitem(TASKS, "classify", Slow(marks, seconds=1.0))
        when(lambda: len(list(marks.iterdir())) == 2, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            run(frames(*LONG), results, workers=2)
    checkpoints = list((results / "checkpoints").iterdir())
    assert len(checkpoints) == 2
    assert all(0 < torch.load(path, weights_only=True)["state"]["epoch"] < 60 for path in checkpoints)
    assert not list((results / "leases").glob("*.json"))
    assert all(is_gone(int(mark.name)) for mark in marks.iterdir())
    summary, records = run(frames(*LONG), results, workers=1)
    assert summary.counts == {"finished": 2}
    pd.testing.assert_frame_equal(comparable(records), expected)
    assert not list((results / "checkpoints").iterdir())


def test_a_signal_to_a_worker_interrupts_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a batch system tells all processes of a job, and the worker is the first to answer."""
    monkeypatch.setitem(TASKS, "classify", Mishap("terminate"))
    with pytest.raises(KeyboardInterrupt):
        run(frames(f"network.widths={BAD},8", "optim.lr=0.01"), tmp_path, workers=2)
    records = RunSettings(tmp_path, "smoke").store.load()
    assert not set(records["status"]) - {"finished"}


def is_gone(process: int) -> bool:
    """Whether a process has ended; where nobody reaps orphans it stays as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


SWEEP = """
import sys
from pathlib import Path
from tests.unit.sweep.mishaps import Slow
from tests.unit.sweep.test_workers import LONG, frames
from tests.unit.sweep.factory import run
from unrolled.sweep.tasks import TASKS
folder = Path(sys.argv[1])
TASKS["classify"] = Slow(folder / "marks", seconds=1.0)
run(frames(*LONG), folder / "results", workers=2)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, tmp_path], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(list(marks.iterdir())) < 2:
        assert sweep.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = [int(mark.name) for mark in marks.iterdir()]
    assert sweep.pid not in workers
    assert not any(map(is_gone, workers))
    sweep.kill()
    sweep.wait()
    deadline = time.monotonic() + 20  # they have fifty seconds of work left
    while not all(map(is_gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(is_gone, workers))


def test_the_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(configs: list[Flat], seconds: float | None = 100.0, **options: object) -> int:
        settings = RunSettings(tmp_path, "smoke", **options)  # type: ignore[arg-type]
        packs = packs_of(trials_of(configs), 256)
        return worker_count(packs, settings, {} if seconds is None else {"classify": seconds, "fit": 1000.0})

    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: set(range(8)))
    three, fits = frames("network.widths=8,12,16"), tiny("network.width=2,3,4,5")
    assert count(three) == 3
    assert count(frames("network.widths=range(1,12)")) == 8
    assert count(three, threads=4) == 2
    assert count(three, threads=16) == 1
    assert count(three, workers=2) == 2
    assert count(three, workers=5) == 3
    assert count(three, workers=1) == 1
    assert count(three, seconds=1.0) == 1  # not worth it
    assert count(three, seconds=1.0, workers=2) == 2  # unless asked for
    assert count(three, seconds=float("nan")) == 1
    assert count(three, seconds=None) == 1
    assert count(three, device="cuda") == 1
    assert count([*three, *fits]) == 3
    assert count(fits) == count(fits, workers=4) == 1
