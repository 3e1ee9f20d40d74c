"""The ledger's commands, dry runs, two sweeps at once, and sweeps that are killed again and again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from tests.entrypoints.conftest import SCRIPTS, Shell
from tests.unit.sweep.factory import TINY, comparable

from unrolled.records.store import load_records

SMALL = ("reasoning/rnn", *TINY, "scale=smoke", "network.width=0,4", "solver.steps=1,2", "seed=0,1", "optim.lr=0.01")


def test_status_explain_and_retry(shell: Shell) -> None:
    empty = shell.script("sweep.py", "status", *SMALL)
    assert empty.returncode == 0, empty.stderr
    assert "reasoning/rnn" in empty.stdout
    assert "nothing like it was run yet" in empty.stdout
    assert not list(shell.folder.iterdir())
    done = shell.script("train.py", "-m", "experiment=reasoning/rnn", *SMALL[1:], "seed=0")
    assert done.returncode == 0, done.stderr
    status = shell.script("sweep.py", "status", *SMALL).stdout.splitlines()
    assert status[0] == "results/smoke"
    columns, (row, *_) = status[1].split(), [line.split() for line in status[2:]]
    counts = dict(zip(columns, row[1:], strict=False))
    assert (counts["finished"], counts["missing"]) == (str(int(counts["trials"]) // 2),) * 2
    lines = shell.script("sweep.py", "explain", *SMALL, "--state", "missing").stdout.splitlines()
    assert len(lines) == int(counts["missing"])
    assert all("will run: it has no record" in line for line in lines)
    one = shell.script("sweep.py", "explain", *SMALL, "--trial", lines[0].split()[0][:10]).stdout.splitlines()
    assert one[0].split()[0] == lines[0].split()[0]
    none = shell.script("sweep.py", "retry", *SMALL)
    assert (none.returncode, none.stdout) == (0, f"none of {counts['trials']} trials is failed\n")


def test_retry_runs_the_failed_trials_alone(shell: Shell) -> None:
    """The backend that was asked for cannot be had: its trials fail, and only those run again."""
    sweep = ("-m", *TINY, "experiment=reasoning/rnn", "scale=smoke", "network.width=0", "solver.steps=1", "seed=0")
    uncompiled = {"CC": "/bin/false", "UNROLLED_CACHE": str(shell.folder / "cache")}
    done = Shell(shell.folder, shell.environment | uncompiled).script("train.py", *sweep, "run.backend=native")
    assert done.returncode == 2
    records = load_records(shell.folder / "results" / "smoke" / "records")
    failed = int((records["status"] == "failed").sum())
    assert failed > 0
    words = ("reasoning/rnn", *TINY, "scale=smoke", "network.width=0", "solver.steps=1", "seed=0,1")
    dry = shell.script("sweep.py", "retry", *words, "--dry-run")
    assert len(dry.stdout.splitlines()) == failed
    assert "will run again: it failed with NativeUnavailableError" in dry.stdout
    left = shell.script("train.py", *sweep, "run.retry_failed=false")
    assert left.returncode == 2
    assert "NativeUnavailableError" in left.stderr
    again = shell.script("sweep.py", "retry", *words)
    assert again.returncode == 0, again.stderr
    assert f"{failed} trials: 0 were there; now: {failed} finished" in again.stdout
    assert len(load_records(shell.folder / "results" / "smoke" / "records")) == failed  # seed 1 was not run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "reasoning/foo"], "experiment: given 'reasoning/foo'"),
        (["explain", "reasoning/rnn", "scale=smoke", "--trial", "zz"], "--trial: given 'zz', allowed: the hash"),
        (["status", "reasoning/rnn", "solver.steps=-1"], "solver.steps: given -1, allowed: an integer >= "),
    ],
)
def test_bad_words_are_told_in_one_line(shell: Shell, words: list[str], said: str) -> None:
    done = shell.script("sweep.py", *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {said}")


def test_reproduce_can_say_what_it_would_do(shell: Shell) -> None:
    done = shell.script("reproduce.py", "--scale", "smoke", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "nothing was run, as --dry-run was given"
    assert "reasoning/generalization" in done.stdout
    assert not list(shell.folder.iterdir())


GRID = ("-m", *TINY, "scale=smoke", "solver=gd,nag", "network.width=0,2,4,8", "seed=range(8)", "optim.lr=0.1,0.01")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> pd.DataFrame:
    """The grid's table by one uninterrupted sweep."""
    shell = Shell(tmp_path_factory.mktemp("whole"), environment)
    done = shell.script("train.py", *GRID, "optim.epochs=3000")
    assert done.returncode == 0, done.stderr
    return comparable(load_records(shell.folder / "results" / "smoke" / "records"))


def test_two_sweeps_at_once_share_the_work(shell: Shell, table: pd.DataFrame) -> None:
    sweeps = [
        shell.start(sys.executable, SCRIPTS / "train.py", *GRID, "optim.epochs=3000", f"hydra.sweep.dir=m{i}",
                    f"hydra.launcher.max_pack={size}")
        for i, size in enumerate((16, 8))
    ]  # fmt: skip
    for process in sweeps:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    folder = shell.folder / "results" / "smoke" / "records"
    files = [pd.read_parquet(path, columns=["trial"]) for path in folder.glob("*.parquet")]
    assert sum(map(len, files)) == len(table)  # no trial was run twice
    pd.testing.assert_frame_equal(comparable(load_records(folder)), table)


def test_a_sweep_killed_at_five_moments_ends_with_the_same_records(shell: Shell, table: pd.DataFrame) -> None:
    moments, packs = random.Random(0), "hydra.launcher.max_pack=8"
    sweep = (SCRIPTS / "train.py", *GRID, "optim.epochs=3000", "run.checkpoint_seconds=0.1", "run.threads=1", packs)
    results, killed = shell.folder / "results" / "smoke", 0
    for _ in range(5):
        process = shell.start(sys.executable, *sweep)
        while process.poll() is None and not list((results / "leases").glob("*.json")):
            time.sleep(0.01)  # until a pack runs
        try:
            process.communicate(timeout=moments.uniform(0, 0.6))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += 1
    done = shell.run(sys.executable, *sweep)
    assert done.returncode == 0, done.stderr
    assert killed > 0
    pd.testing.assert_frame_equal(comparable(load_records(results / "records")), table)
