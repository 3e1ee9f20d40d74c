"""One trial and sweeps through Hydra's own command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import train as script
from tests.entrypoints.conftest import Shell
from tests.unit.sweep.factory import TINY, problem_file, tiny

from unrolled.app import guarded
from unrolled.config.schema import register
from unrolled.records.store import load_records
from unrolled.sweep.trial import trial_of

Call = Callable[..., int]


def test_one_trial_is_run_recorded_and_printed(shell: Shell) -> None:
    done = shell.script("train.py", *TINY, "seed=0", "scale=smoke")
    assert done.returncode == 0, done.stderr
    (row,) = load_records(shell.folder / "results" / "smoke" / "records").to_dict("records")
    trial = trial_of(tiny("seed=0")[0]).name
    assert row["trial"] == trial
    assert f"trial {trial} finished: train_loss {row['train_loss']:.6g}, " in done.stdout
    assert done.stdout.splitlines()[0].startswith("1 trials: 0 already there, 1 to run")
    assert [path.name for path in shell.folder.iterdir()] == ["results"]
    assert shell.network_attempts == ""


def test_a_sweep_runs_with_hydras_own_launcher(shell: Shell) -> None:
    sweep = ("seed=0,1", "solver=gd,nag", "hydra/sweeper=basic", "hydra/launcher=basic")
    done = shell.script("train.py", "-m", *TINY, "scale=smoke", *sweep)
    assert done.returncode == 0, done.stderr
    records = load_records(shell.folder / "results" / "smoke" / "records")
    assert set(records["trial"]) == {trial_of(config).name for config in tiny("seed=0,1", "solver=gd,nag")}
    assert set(records["status"]) == {"finished"}


def test_the_config_can_be_shown_without_running(
    in_process: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register()
    assert in_process(lambda: guarded(script.main), *TINY, "seed=7", "--cfg", "job") == 0
    assert "seed: 7" in capsys.readouterr().out.splitlines()
    assert not list(tmp_path.iterdir())


def test_a_bad_value_at_the_end_of_a_sweep_stops_the_command_with_one_line_and_status_2(shell: Shell) -> None:
    done = shell.script("train.py", "-m", *TINY, "solver.steps=1,2,-3")
    said = "error: solver.steps: given -3, allowed: an integer >= 0 (trial 3 of 3: "
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith(said)
    assert not list(shell.folder.iterdir())


BAD = {
    "negative seed": (["seed=-1"], "seed: given -1, allowed: an integer >= 0"),
    "unknown key": (["foo=1"], "foo: given '1', but there is no such key"),
    "unknown key with +": (["+foo=1"], "foo: given 1, but there is no such key"),
    "removed key": (["~seed"], "seed: given nothing, allowed: an integer >= 0"),
    "wrong type": (["solver.steps=abc"], "solver.steps: given 'abc', allowed: an integer >= 0"),
    "wrong type last": (["-m", "seed=0,1,x"], "seed: given 'x', allowed: an integer >= 0"),
    "unknown solver last": (["-m", "solver=gd,foo"], "solver: given 'foo', allowed: one of admm, block_prox"),
    "unknown experiment last": (["-m", "experiment=reasoning/rnn,reasoning/foo"], "experiment: given 'reasoning/foo'"),
    "mu above L last": (["-m", "data.strong_convexity=0.1,1.5"], "data.strong_convexity: given 1.5, allowed: below"),
    "n last": (["-m", "data.n_train=10,61"], "data.n_train: given 61, allowed: 1 to data.population = 60"),
    "lr last": (["-m", "optim.lr=0.1,nan"], "optim.lr: given nan, allowed: a finite number > 0"),
    "learned step last": (
        ["-m", "solver.learn_step_size=true", "solver.step_size=1,2"],
        "solver.step_size: given 2, allowed for a learned step of gd: strictly between 0.1 and 1.81818",
    ),
    "rnn with a learned step last": (
        ["-m", "solver.learn_step_size=true", "solver=gd,rnn"],
        "solver.learn_step_size: given true, allowed with solver rnn: false",
    ),
    "missing file": (["data.file=nowhere.npz"], "data.file: expected an .npz file of quadratic problems, nothing at"),
    "missing word": (["foo"], ""),
    "sweep without -m": (["seed=0,1"], "Ambiguous value for argument 'seed=0,1'"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_trains_nothing(
    what: str, in_process: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = BAD[what]
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(script, "run_configs", forbidden)
    flags = [a for a in arguments if a == "-m"]  # Hydra wants them first
    assert in_process(lambda: guarded(script.main), *flags, *TINY, *arguments[len(flags) :]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"error: {said}")
    assert not list(tmp_path.rglob("*.parquet"))


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("a trial was begun")


def test_what_only_the_data_can_tell_is_told_before_the_first_trial_of_a_sweep(
    in_process: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = problem_file(tmp_path / "p.npz")
    monkeypatch.setattr(script, "run_configs", forbidden)
    assert in_process(lambda: guarded(script.main), "-m", *TINY, f"data.file={file}", "data.n_train=10,61") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: data.n_train: expected 1 to 60 (the population), got 61 (trial 2 of 2: ")
