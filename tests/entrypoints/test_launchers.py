"""The same sweep over every launcher gives the same tables, also when a worker is killed in the middle."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.entrypoints.conftest import ROOT, SCRIPTS, Shell, wait_for
from tests.unit.sweep.factory import TINY, comparable

from unrolled.records.schema import SCHEMA_VERSION
from unrolled.records.store import load_records

SWEEP = ("solver=gd,nag", "solver.steps=1,4", "seed=range(4)", "optim.lr=1e-2,1e-3", "hydra.launcher.max_pack=16")
TRIALS = 32

SETTINGS = {
    "joblib": ["+hydra.launcher.settings.n_jobs=2"],
    "submitit_local": ["+hydra.launcher.settings.timeout_min=5", "+hydra.launcher.settings.cpus_per_task=1"],
    "ray": [
        "+hydra.launcher.settings.ray.init.num_cpus=2",
        "+hydra.launcher.settings.ray.init.include_dashboard=false",
    ],
}
NEEDS_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: make ray")
LAUNCHERS = ["joblib", "submitit_local", pytest.param("ray", marks=NEEDS_RAY)]


def arguments(launcher: str, folder: Path, *more: str) -> list[str]:
    """The sweep's command line: everything it writes goes below one folder."""
    places = [f"run.folder={folder}", f"hydra.sweep.dir={folder}/multirun"]
    return ["-m", *TINY, *SWEEP, *places, f"hydra.launcher.over={launcher}", *SETTINGS.get(launcher, []), *more]


@pytest.fixture
def machine(launcher: str, shell: Shell) -> Shell:
    """The shell of a launcher: Ray talks to itself by this machine's own address, which the shell would refuse."""
    if launcher != "ray":
        return shell
    return Shell(shell.folder, shell.environment | {"PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"})


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> pd.DataFrame:
    """The sweep's table by Hydra's basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    done = Shell(folder, environment).script("train.py", *arguments("basic", folder / "out"))
    assert done.returncode == 0, done.stderr
    records = load_records(folder / "out" / "records")
    assert len(records) == TRIALS
    assert records["pack"].nunique() == 2
    return comparable(records)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_table_of_the_basic_one(launcher: str, machine: Shell, basic: pd.DataFrame) -> None:
    out = machine.folder / "out"
    done = machine.script("train.py", *arguments(launcher, out))
    assert done.returncode == 0, done.stderr
    assert f"32 trials: 0 already there, 32 to run in 2 packs over {launcher}" in done.stdout + done.stderr
    pd.testing.assert_frame_equal(comparable(load_records(out / "records")), basic)
    again = machine.script("train.py", *arguments(launcher, out))
    assert again.returncode == 0, again.stderr
    assert "32 trials: 32 already there, 0 to run" in again.stdout + again.stderr


LONG = ("optim.epochs=150000", "run.checkpoint_seconds=0.2", "run.threads=1")
"""Long enough for a worker to be killed in the middle of its pack, after a checkpoint."""


@pytest.fixture(scope="module")
def long_basic(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("long")
    done = Shell(folder, environment).script("train.py", *arguments("basic", folder / "out", *LONG))
    assert done.returncode == 0, done.stderr
    return comparable(load_records(folder / "out" / "records"))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_worker_costs_only_packs_in_flight(launcher: str, machine: Shell, long_basic: pd.DataFrame) -> None:
    out = machine.folder / "out"
    process = machine.start(sys.executable, SCRIPTS / "train.py", *arguments(launcher, out, *LONG))
    checkpoints = out / "checkpoints"
    wait_for(lambda: any(checkpoints.glob("*.pt")), process, seconds=100)
    victim = worker_of(out)
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr[-3000:]
    if launcher == "ray":  # it starts a lost job again by itself
        assert "Task _run_job failed. There are 3 retries remaining" in stdout + stderr
    else:
        assert f"{launcher} lost a worker" in stdout + stderr
        assert "are submitted again, after a lost worker" in stdout + stderr
    pd.testing.assert_frame_equal(comparable(load_records(out / "records")), long_basic)
    assert not list(checkpoints.glob("*.pt"))


def worker_of(out: Path) -> int:
    """The process that holds a lease, which is running a pack."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for file in sorted((out / "leases").glob("*.json")):
            try:
                return int(file.read_text().split("process ")[1].split()[0])
            except (FileNotFoundError, IndexError):
                continue
    raise AssertionError("no worker holds a lease")


def test_a_worker_that_cannot_write_is_named_and_loses_nothing(shell: Shell, basic: pd.DataFrame) -> None:
    """A full disk: the file system of the results takes no more bytes, in the middle of a sweep over joblib."""
    out = shell.folder / "out"
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "limited"]  # files of at most 8 KiB: no record fits
    small = "hydra.launcher.max_pack=2"
    done = shell.run(*limited, sys.executable, SCRIPTS / "train.py", *arguments("joblib", out, small))
    assert done.returncode == 2
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert line.startswith("error: 32 of 32 trials failed: StoreError: cannot write ")
    assert "File too large; free space or choose another results folder" in line
    assert not list((out / "records").glob("*"))
    done = shell.script("train.py", *arguments("joblib", out))
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(comparable(load_records(out / "records")), basic)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_results_folder_is_one_clear_error(shell: Shell) -> None:
    out = shell.folder / "out"
    out.mkdir()
    out.chmod(0o555)
    done = shell.script("train.py", *arguments("joblib", out, f"hydra.sweep.dir={shell.folder}/multirun"))
    assert done.returncode == 2
    assert "StoreError: cannot write" in done.stderr
    out.chmod(0o755)


def test_an_out_of_range_value_in_trial_7312_stops_everything_before_it_begins(shell: Shell) -> None:
    values = [f"{i}e-6" for i in range(1, 10_201)]
    values[7_311] = "-1"
    out = shell.folder / "out"
    done = shell.script("train.py", "-m", *TINY, f"run.folder={out}", f"optim.lr={','.join(values)}")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: optim.lr: given -1.0, allowed: a finite number > 0 (trial 7,312 of 10,200: ")
    assert not list(shell.folder.iterdir())


def test_a_store_of_a_newer_schema_is_left_alone(shell: Shell) -> None:
    out = shell.folder / "out"
    first = shell.script("train.py", *arguments("basic", out, "seed=0", "solver=gd"))
    assert first.returncode == 0, first.stderr
    (path,) = (out / "records").glob("*.parquet")
    table = pq.read_table(path)
    newer = str(SCHEMA_VERSION + 1)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"unrolled_schema": newer.encode()}), path)
    before = path.read_bytes()
    done = shell.script("train.py", *arguments("basic", out))
    assert done.returncode == 2
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert f"was written with record schema {newer}, this version reads up to {SCHEMA_VERSION}: update" in line
    assert path.read_bytes() == before
    assert list((out / "records").iterdir()) == [path]


def test_trials_that_are_there_serve_another_experiment_over_a_launcher_too(shell: Shell) -> None:
    out = shell.folder / "out"
    names = ("reasoning/generalization", "reasoning/training_size")
    for name in names:
        more = (f"experiment={name}", "scale=smoke", "data.n_train=10", "network.width=4", "optim.epochs=4")
        done = shell.script("train.py", *arguments("basic", out, *more, "optim=adam", "seed=0,1"))
        assert done.returncode == 0, done.stderr
    assert "16 trials: 16 already there, 0 to run" in done.stdout
    assert [sorted(row) for row in load_records(out / "records")["experiments"]] == [sorted(names)] * 16
