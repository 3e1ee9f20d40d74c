"""The ledger: every state with its reason, counts by experiment, and the time that is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.sweep.factory import BreaksAt, problem_file, run, tiny

from unrolled.data.quadratic import generate
from unrolled.records.leases import Leases
from unrolled.sweep import reasoning_tasks, tasks
from unrolled.sweep.ledger import STATES, Ledger
from unrolled.sweep.tasks import TASKS, FitTask
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import trials_of


def ledger(folder: Path, *overrides: str, **options: object) -> Ledger:
    return Ledger(trials_of(tiny(*overrides)), RunSettings(folder, "smoke", **options))  # type: ignore[arg-type]


def states(found: Ledger) -> list[str]:
    return [entry.state for entry in found.entries]


def test_an_empty_store_has_everything_missing(tmp_path: Path) -> None:
    found = ledger(tmp_path, "seed=0,1")
    assert states(found) == ["missing"] * 2
    assert all(entry.runs and entry.reason == "will run: it has no record" for entry in found.entries)
    assert found.status().loc["(no experiment)", "to do"] == "not known: nothing like it was run yet"
    assert not list(tmp_path.iterdir())


def test_finished_and_missing(tmp_path: Path) -> None:
    run(tiny("seed=0"), tmp_path)
    found = ledger(tmp_path, "seed=0,1")
    assert states(found) == ["finished", "missing"]
    assert [entry.runs for entry in found.entries] == [False, True]
    assert found.entries[0].reason.startswith("will not run: finished (20")
    table = found.status()
    assert list(table.columns) == ["trials", *STATES, "others", "to do"]
    row = table.loc["(no experiment)"]
    assert (row["trials"], row["finished"], row["missing"], row["to do"]) == (2, 1, 1, "about 1 s")
    lines = found.lines(found.entries)
    assert "seed=0" in lines[0]
    assert lines[1].endswith("the most similar record differs in data.rows_seed, seed")
    assert ledger(tmp_path, "seed=0").status().loc["(no experiment)", "to do"] == "nothing"


def test_failed_trials_run_again_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "fit", BreaksAt(4))
    run(tiny("seed=0"), tmp_path)
    (again,) = ledger(tmp_path, "seed=0").entries
    assert (again.state, again.runs) == ("failed", True)
    assert again.reason == "will run again: it failed with RuntimeError: broken on purpose"
    (left,) = ledger(tmp_path, "seed=0", retry_failed=False).entries
    assert (left.state, left.runs) == ("failed", False)
    mended = BreaksAt(-1)
    monkeypatch.setitem(TASKS, "fit", mended)
    summary, _ = run(tiny("seed=0"), tmp_path, retry_failed=False)
    assert (mended.packs, summary.left_failed, summary.complete) == (0, 1, False)
    summary, _ = run(tiny("seed=0"), tmp_path)
    assert (mended.packs, summary.counts, summary.complete) == (1, {"finished": 1}, True)


def test_diverged_trials_have_their_result(tmp_path: Path) -> None:
    overrides = ("optim=sgd", "optim.lr=1e30", "optim.weight_decay=1e30", "optim.epochs=20")
    run(tiny(*overrides), tmp_path)
    (entry,) = ledger(tmp_path, *overrides).entries
    assert (entry.state, entry.runs) == ("diverged", False)
    assert entry.reason.startswith("will not run: the training loss was not finite after epoch")


def test_a_new_version_of_the_task_makes_records_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tiny("seed=0"), tmp_path)

    class Newer(FitTask):
        version = 7

    monkeypatch.setitem(tasks.TASKS, "fit", Newer())
    found = ledger(tmp_path, "seed=0,1")
    assert states(found) == ["stale", "missing"]
    assert found.entries[0].reason == "will run: its record is of version 1 of the task fit, which is now 7"
    assert found.entries[0].runs


def test_changed_data_make_records_stale_and_other_data_do_not(tmp_path: Path) -> None:
    file = problem_file(tmp_path / "p.npz")
    overrides = (f"data.file={file}", "data.rows_seed=100")
    run(tiny(*overrides), tmp_path)
    assert states(ledger(tmp_path, *overrides)) == ["finished"]
    assert states(ledger(tmp_path, "data.rows_seed=100")) == ["missing"]  # generated problems are other problems
    problems = generate(60, 2)
    arrays = {"u": problems.inputs, "q": problems.rotation, "b": problems.linear, "y_star": problems.solution}
    np.savez(file, eigenvalues=problems.eigenvalues, train_index_seed100=np.arange(10), **arrays)
    reasoning_tasks._problems.cache_clear()
    found = ledger(tmp_path, *overrides)
    assert states(found) == ["stale"]
    assert found.entries[0].reason.startswith("will run: its data has changed since it was recorded (checksum ")


def test_running_trials_are_left_to_their_process(tmp_path: Path) -> None:
    (trial,) = trials_of(tiny("seed=0"))
    lease = Leases(tmp_path / "leases").take([trial.name])
    (entry,) = ledger(tmp_path, "seed=0").entries
    assert (entry.state, entry.runs) == ("running", False)
    assert "has it" in entry.reason
    lease.release()
    assert states(ledger(tmp_path, "seed=0")) == ["missing"]


def test_experiments_are_counted_apart_and_variations_named(tmp_path: Path) -> None:
    base = ("experiment=reasoning/rnn", "solver.steps=1,2", "seed=0", "network.width=0,4", "optim.lr=0.01")
    run(tiny(*base), tmp_path)
    found = Ledger(
        trials_of([*tiny(*base[:2], *base[2:3], "network.width=0", "optim.lr=0.01"), *tiny("seed=5")]),
        RunSettings(tmp_path, "smoke"),
    )
    table = found.status()
    assert list(table.index) == ["reasoning/rnn", "(no experiment)", "together"]
    asked = len([e for e in found.entries if e.trial.experiments])
    row = table.loc["reasoning/rnn"]
    assert (row["trials"], row["finished"], row["others"]) == (asked, asked, asked)
    assert table.loc["together", "missing"] == 1


def test_records_of_unknown_tasks_are_passed_over(tmp_path: Path) -> None:
    _, records = run(tiny("seed=0"), tmp_path)
    RunSettings(tmp_path, "smoke").store.write(records.assign(trial="other", task="later", pack="other"))
    assert states(ledger(tmp_path, "seed=0,1")) == ["finished", "missing"]


def test_looking_writes_nothing(tmp_path: Path) -> None:
    run(tiny("seed=0"), tmp_path)
    (trial,) = trials_of(tiny("seed=1"))
    lease = Leases(tmp_path / "leases").take([trial.name])
    dead = tmp_path / "leases" / "dead.json"
    dead.write_text('{"holder": "process 1", "trials": ["a"]}')
    dead.with_suffix(".lock").touch()
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert states(ledger(tmp_path, "seed=0,1")) == ["finished", "running"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    lease.release()
