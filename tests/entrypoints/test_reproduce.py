"""Reproduce at smoke scale: everything is there, a second call trains nothing, and nothing can break it half way."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from scripts import reproduce
from tests.entrypoints.conftest import SCRIPTS, Reproduced, Shell, wait_for
from tests.unit.sweep.factory import UNREPEATABLE, BreaksAt, comparable

from unrolled.app import guarded, run_configs
from unrolled.claims import CLAIMS, evaluate_claims, table
from unrolled.config.check import experiment_names
from unrolled.figures import THEORIES
from unrolled.records.store import load_records
from unrolled.report import presentation
from unrolled.sweep import expand
from unrolled.sweep.tasks import TASKS

Call = Callable[..., int]


def test_it_ends_well_without_network_account_or_terminal(smoke: Reproduced) -> None:
    assert smoke.done.returncode == 0, smoke.done.stderr
    assert smoke.shell.network_attempts == ""
    assert "error" not in smoke.done.stderr.lower()
    assert "Traceback" not in smoke.done.stderr


def test_an_attempt_to_use_the_network_would_have_been_seen(environment: dict[str, str], tmp_path: Path) -> None:
    shell = Shell(tmp_path, environment | {"NETWORK_LOG": str(tmp_path / "log")})
    done = shell.run(sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 1)")
    assert "no network: 192.0.2.1" in done.stderr
    assert shell.network_attempts == "192.0.2.1\n"


def test_every_trial_of_every_experiment_is_finished(smoke: Reproduced) -> None:
    records = load_records(smoke.results / "records")
    assert set(records["status"]) == {"finished"}
    assert {name for names in records["experiments"] for name in names} == set(experiment_names())
    assert set(records["scale"]) == {"smoke"}
    assert not list(smoke.results.rglob("*.tmp"))
    assert not list((smoke.results / "checkpoints").glob("*"))


def test_figures_verdicts_report_and_runs_are_there(smoke: Reproduced) -> None:
    for theory, figures in THEORIES.items():
        for name in figures:
            for suffix in ("png", "svg"):
                assert (smoke.results / "figures" / theory / f"{name}.{suffix}").stat().st_size > 1000
    entries = json.loads((smoke.results / "claims.json").read_text())
    assert [entry["id"] for entry in entries] == list(CLAIMS)
    assert {f"R{i}" for i in range(1, 9)} <= set(CLAIMS)
    assert {entry["verdict"] for entry in entries} <= {"reproduced", "partly", "not reproduced", "not run"}
    page = (smoke.results / "report" / "index.html").read_text()
    assert all(f">{name}<" in page or name in page for name in CLAIMS)
    packs = set(load_records(smoke.results / "records")["pack"])
    runs = [path.name for path in (smoke.results / "wandb").glob("offline-run-*")]
    assert {name.rsplit("-", 1)[1] for name in runs} == packs


def test_the_output_tells_verdicts_and_counts(smoke: Reproduced) -> None:
    lines = smoke.done.stdout.splitlines()
    trials = len(load_records(smoke.results / "records"))
    assert any(line.startswith(f"{trials} trials: 0 already there, {trials} to run in ") for line in lines)
    assert all(any(line.split()[:1] == [name] for line in lines) for name in CLAIMS)
    assert any(line.startswith(f"{trials} trials: 0 were there; now: {trials} finished (") for line in lines)
    assert any(line.startswith("report: results/smoke/report/index.html") for line in lines)


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def test_a_second_call_trains_and_draws_nothing_and_says_the_same(
    smoke: Reproduced,
    in_process: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(smoke.shell.folder, tmp_path / "again", symlinks=True)
    results = folder / "results" / "smoke"
    monkeypatch.chdir(folder)
    before = [snapshot(results / part) for part in ("records", "figures", "wandb")]
    claims = (results / "claims.json").read_bytes()
    for task in TASKS.values():
        monkeypatch.setattr(type(task), "run", forbidden)
    assert in_process(lambda: guarded(reproduce.main), "--scale", "smoke") == 0
    assert [snapshot(results / part) for part in ("records", "figures", "wandb")] == before
    assert (results / "claims.json").read_bytes() == claims
    out = capsys.readouterr().out
    assert "now: nothing to do" in out
    verdicts = [line for line in smoke.done.stdout.splitlines() if line.split()[:1] and line.split()[0] in CLAIMS]
    assert all(verdict in out.splitlines() for verdict in verdicts)


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("something was trained")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--theory", "neurashed"],
            "THEORY: given 'neurashed', which is not built yet; built: frames, hybrid, reasoning, all",
        ),
        (
            ["--launcher", "ray"],
            "LAUNCHER: given 'ray', allowed: basic, joblib, submitit_local, submitit_slurm "
            "(pip install hydra-ray-launcher)",
        ),
        (["seed=-1"], "seed: given -1, allowed: an integer >= 0"),
        (["optim.lr=0.1,nan"], "optim.lr: given nan, allowed: a finite number > 0"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is(
    arguments: list[str],
    said: str,
    in_process: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    installed = ["basic", "joblib", "submitit_local", "submitit_slurm"]  # whatever this machine has
    monkeypatch.setattr("hydra_plugins.packed._launcher.known_launchers", lambda: installed)
    assert in_process(lambda: guarded(reproduce.main), "--scale", "smoke", *arguments) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")
    assert not list(tmp_path.iterdir())


def test_an_unknown_scale_names_the_known_ones(in_process: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        in_process(reproduce.main, "--scale", "huge")
    assert caught.value.code == 2
    assert "'smoke', 'laptop', 'paper'" in capsys.readouterr().err


FEW = (
    "--theory",
    "reasoning",
    "tracker=disabled",
    "seed=0",
    "solver.steps=2",
    "optim.lr=0.01",
    "optim.epochs=3",
    "data.n_train=20",
)


def test_a_failed_pack_fails_the_command_after_the_others_ended_and_is_named(
    in_process: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(TASKS, "fit", BreaksAt(0))
    monkeypatch.setattr(presentation, "render_figures", lambda *_, **__: [])  # takes seconds and is no part of this
    assert in_process(lambda: guarded(reproduce.main), "--scale", "smoke", *FEW) == 1
    records = load_records(tmp_path / "results" / "smoke" / "records")
    failed = records["status"] == "failed"
    assert set(records.loc[failed, "network.width"]) == {0}
    assert set(records.loc[~failed, "status"]) == {"finished"}
    packs = set(records.loc[failed, "pack"])
    last = capsys.readouterr().out.splitlines()[-len(packs) :]
    assert set(last) == {f"FAILED pack {pack}: RuntimeError: broken on purpose" for pack in packs}
    assert (tmp_path / "results" / "smoke" / "report" / "index.html").exists()


# Interrupted at every turn: Ctrl-C, then a kill, then a damaged file, each time the same command.

OVERRIDES = (
    "tracker=disabled", "seed=0,1", "network.width=16", "solver.steps=2,5", "optim.lr=0.01", "optim.epochs=600",
    "run.max_pack=4", "run.checkpoint_seconds=0.05",
)  # fmt: skip


@dataclass(frozen=True)
class Interrupted:
    """What was seen of three calls of one command.

    Args:
        shell: where they ran.
        counts: records after each call.
        status: of the first.
        told: error output of the first.
        damaged: the file that was damaged before the third.
        done: the third.
    """

    shell: Shell
    counts: tuple[int, int, int]
    status: int
    told: str
    damaged: str
    done: object


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Interrupted:
    shell = Shell(tmp_path_factory.mktemp("interrupted"), environment)
    command = (sys.executable, SCRIPTS / "reproduce.py", "--scale", "smoke", "--theory", "reasoning", *OVERRIDES)
    folder = shell.folder / "results" / "smoke"

    def files() -> list[Path]:
        return sorted((folder / "records").glob("*.parquet"))

    process = shell.start(*command)
    wait_for(lambda: bool(files()), process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    first, status = len(files()), process.returncode
    process = shell.start(*command)
    wait_for(lambda: len(files()) > first, process)
    process.kill()
    process.communicate(timeout=60)
    second, damaged = len(files()), files()[0]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    done = shell.run(*command)
    return Interrupted(shell, (first, second, len(files())), status, told, damaged.name, done)


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(interrupted: Interrupted) -> None:
    assert interrupted.status == 130
    assert interrupted.told.strip().splitlines()[-1] == (
        "stopped: all finished packs are recorded; the same command goes on from there"
    )
    assert "Traceback" not in interrupted.told


def test_it_was_really_interrupted_twice(interrupted: Interrupted) -> None:
    first, second, whole = interrupted.counts
    assert 0 < first < second < whole


def test_a_damaged_record_file_is_set_aside_with_a_warning(interrupted: Interrupted) -> None:
    warned = [line for line in interrupted.done.stderr.splitlines() if line.startswith("warning: ")]
    assert any(interrupted.damaged in line and "its trials will run again" in line for line in warned)
    aside = interrupted.shell.folder / "results" / "smoke" / "records" / interrupted.damaged
    assert aside.with_suffix(".unreadable").exists()
    assert aside.exists()


def test_after_kills_and_damage_the_tables_are_those_of_an_uninterrupted_run(
    interrupted: Interrupted, tmp_path: Path
) -> None:
    assert interrupted.done.returncode == 0, interrupted.done.stderr
    configs = [
        config | {"run.folder": str(tmp_path), "run.max_pack": 256}
        for name in experiment_names()
        if name.startswith("reasoning/")
        for config in expand([f"experiment={name}", "scale=smoke", *OVERRIDES])
    ]
    run_configs(configs, lambda line: None)
    whole = load_records(tmp_path / "records")
    found = load_records(interrupted.shell.folder / "results" / "smoke" / "records")
    assert set(UNREPEATABLE) < set(whole.columns)
    pd.testing.assert_frame_equal(comparable(found), comparable(whole))


def test_variations_of_an_experiment_beside_its_trials_change_nothing(smoke: Reproduced, tmp_path: Path) -> None:
    """They are recorded under the experiment's name, but only its own trials are reproduced."""
    copied = tmp_path / "results"
    shutil.copytree(smoke.results, copied)
    place = [f"run.folder={copied}", "tracker=disabled"]
    before = (copied / "claims_cells.csv").read_text()
    varied = expand(["experiment=reasoning/generalization", "scale=smoke", "solver.step_size=0.5", "seed=0", *place])
    assert run_configs(varied, say=None).counts == {"finished": len(varied)}
    assert "not run" in table(evaluate_claims(load_records(copied / "records")))
    done = smoke.shell.run(sys.executable, str(SCRIPTS / "reproduce.py"), "--scale", "smoke", *place)
    assert done.returncode == 0, done.stderr
    assert (copied / "claims_cells.csv").read_text() == before
