"""Two sweeps over one store at once: no trial runs twice, nothing is lost, a dead one's work is taken over."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.unit.sweep.factory import BreaksAt, comparable, tiny

from unrolled.config.check import Flat
from unrolled.sweep import run as module
from unrolled.sweep.run import Summary, run_sweep
from unrolled.sweep.tasks import TASKS, FitTask, Metrics
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.todo import plan_sweep as todo_of
from unrolled.sweep.trial import trials_of

GRID = ("network.width=2,3,4,5", "seed=0,1", "optim.lr=0.1,0.01")


def run(configs: list[Flat], folder: Path, **options: Any) -> tuple[Summary, pd.DataFrame]:
    """Run without an estimate of time, which may call the task as well."""
    settings = RunSettings(folder, "smoke", **options)
    return run_sweep(trials_of(configs), settings, say=None), settings.store.load()


class Slow(FitTask):
    """Fits, slowly enough for sweeps to meet, and keeps a list of what it ran."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds, self.ran = seconds, []  # type: ignore[var-annotated]

    def run(self, configs: Any, context: Any) -> list[Metrics]:
        self.ran += [trial.name for trial in trials_of(configs)]
        time.sleep(self.seconds)
        return super().run(configs, context)


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


def at_once(*sweeps: Any) -> None:
    threads = [threading.Thread(target=sweep) for sweep in sweeps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_together_they_run_every_trial_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, alone = run(tiny(*GRID), tmp_path / "alone")
    slow, configs = Slow(), tiny(*GRID)
    monkeypatch.setitem(TASKS, "fit", slow)
    summaries: list[Any] = []

    def sweep(max_pack: int) -> None:
        summaries.append(run(configs, tmp_path / "both", max_pack=max_pack)[0])

    at_once(lambda: sweep(4), lambda: sweep(3), lambda: sweep(4))
    assert sorted(slow.ran) == sorted(alone["trial"])
    pd.testing.assert_frame_equal(comparable(RunSettings(tmp_path / "both", "smoke").store.load()), comparable(alone))
    assert all(summary.complete for summary in summaries)
    assert sum(summary.counts.get("finished", 0) for summary in summaries) == 16
    for summary in summaries:
        assert summary.present + summary.counts.get("finished", 0) + summary.elsewhere == 16
    assert sum(summary.elsewhere for summary in summaries) > 0
    assert not list((tmp_path / "both" / "leases").glob("*.json"))


def test_what_another_sweep_ran_serves_this_ones_experiment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "fit", Slow())
    names = ("reasoning/rnn", "reasoning/generalization")
    asked = [[config | {"experiment": name} for config in tiny(*GRID)] for name in names]
    at_once(*(lambda configs=configs: run(configs, tmp_path) for configs in asked))
    experiments = RunSettings(tmp_path, "smoke").store.load()["experiments"]
    assert [sorted(row) for row in experiments] == [sorted(names)] * 16


def test_the_work_of_a_killed_sweep_is_taken_over(tmp_path: Path) -> None:
    """A process dies while it holds trials that this sweep waits for."""
    trials = trials_of(tiny(*GRID))
    held = [trial.name for trial in trials[:5]]
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json, sys, time; from pathlib import Path; from unrolled.records.leases import Leases\n"
            "lease = Leases(Path(sys.argv[1])).take(json.loads(sys.argv[2]))\n"
            "print('taken', flush=True); time.sleep(60)",
            tmp_path / "leases",
            json.dumps(held),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "taken\n"
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        if line.startswith("waiting"):
            done = set(settings.store.load()["trial"])
            assert done == {trial.name for trial in trials[5:]}  # all others are finished by now
            holder.kill()

    settings = RunSettings(tmp_path, "smoke")
    summary = run_sweep(trials, settings, say=hear)
    assert "waiting for 5 trials that another process is running" in said
    assert (summary.counts, summary.elsewhere) == ({"finished": 16}, 0)
    assert set(settings.store.load()["status"]) == {"finished"}


def test_what_failed_elsewhere_is_reported_and_not_tried_at_once_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(Slow):
        def run(self, configs: Any, context: Any) -> list[Metrics]:
            self.ran.append("pack")
            time.sleep(0.2)
            raise RuntimeError("broken on purpose")

    breaks = Breaks()
    monkeypatch.setitem(TASKS, "fit", breaks)
    summaries: list[Any] = []
    configs = tiny("seed=0,1")
    at_once(*[lambda: summaries.append(run(configs, tmp_path)[0])] * 2)
    assert breaks.ran == ["pack"]
    assert sorted(error for summary in summaries for _, error in summary.failures) == [
        "RuntimeError: broken on purpose",
        "RuntimeError: broken on purpose (in another process)",
    ]
    assert not any(summary.complete for summary in summaries)
    run(tiny("seed=0,1"), tmp_path)
    assert breaks.ran == ["pack", "pack"]  # a later call tries again


def test_packs_that_another_sweep_has_finished_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs, said = tiny(*GRID), []
    settings = RunSettings(tmp_path, "smoke", max_pack=1)
    todo = todo_of(trials_of(configs), settings)
    run(configs, tmp_path)
    monkeypatch.setattr(module, "plan_sweep", lambda *_: todo)  # made before the other sweep began
    monkeypatch.setattr(module.time, "sleep", lambda seconds: said.append(f"slept {seconds}"))
    summary = run_sweep(trials_of(configs), settings, say=None)
    assert (summary.counts, summary.elsewhere, said) == ({}, 16, [])


def test_what_others_finished_counts_as_done_when_a_failure_stops_this_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = tiny(*GRID)
    settings = RunSettings(tmp_path, "smoke", max_pack=1, on_error="stop")
    todo = todo_of(trials_of(configs), settings)
    first = todo.packs[0].trials[0]
    run([config for config in configs if trials_of([config])[0].name != first.name], tmp_path)
    monkeypatch.setattr(module, "plan_sweep", lambda *_: todo)
    monkeypatch.setitem(TASKS, "fit", BreaksAt(first.config["network.width"]))
    summary = run_sweep(trials_of(configs), settings, say=None)
    assert (summary.counts, summary.elsewhere, summary.not_started) == ({"failed": 1}, 15, 0)
