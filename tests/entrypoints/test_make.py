"""The targets: what they call, and what those say that are not built."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scripts import parity
from tests.entrypoints.conftest import ROOT, Shell
from tests.unit.sweep.factory import save_problems

from unrolled.app import guarded
from unrolled.data.quadratic import generate

Call = Callable[..., int]

TARGETS = "setup reproduce figures claims report test lint bench parity reference clean"
CALLS = {
    "reproduce": "scripts/reproduce.py --scale paper --theory reasoning --launcher basic",
    "figures": "scripts/plot.py --results results/paper --theory reasoning",
    "claims": "scripts/check_claims.py --results results/paper --theory reasoning",
    "report": "scripts/report.py --results results/paper --theory reasoning",
    "bench": "scripts/bench.py",
    "reference": "scripts/reference.py --results results/paper",
    "test": "-m pytest -n logical --maxprocesses 4 --dist worksteal",
    "lint": ".venv/bin/mypy",
}


def test_help_lists_every_target_with_what_it_does(project: Shell) -> None:
    done = project.make("help")
    assert done.returncode == 0
    listed = dict(re.findall(r"^(\w+) {2,}(.+)$", done.stdout, flags=re.MULTILINE))
    assert set(listed) >= set(TARGETS.split())
    assert done.stdout == project.make().stdout


@pytest.mark.parametrize("target", CALLS)
def test_a_target_calls_its_script_with_the_variables(project: Shell, target: str) -> None:
    done = project.make("-n", target, "SCALE=paper", "THEORY=reasoning", "LAUNCHER=basic")
    assert done.returncode == 0, done.stderr
    assert CALLS[target] in done.stdout
    scripts = re.findall(r"scripts/\w+\.py", done.stdout)
    assert all((ROOT / script).is_file() for script in scripts)


def test_the_defaults_are_laptop_all_and_basic(project: Shell) -> None:
    done = project.make("-n", "reproduce")
    assert "--scale laptop --theory all --launcher basic" in done.stdout


def test_test_includes_style_and_types(project: Shell) -> None:
    out = project.make("-n", "test").stdout
    assert out.index("ruff check .") < out.index("ruff format --check .") < out.index("mypy") < out.index("-m pytest")


def test_without_an_environment_the_first_thing_is_to_make_one(project: Shell) -> None:
    out = project.make("-n", "figures", "VENV=fresh").stdout
    assert out.index("-m venv fresh") < out.index("-r requirements.lock") < out.index("scripts/plot.py")
    assert "-m venv" not in project.make("-n", "figures").stdout


def test_an_old_python_is_refused_with_the_version_it_takes(project: Shell, tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    # The check runs in the given interpreter, so this one claims to be old and then runs it.
    pretend = 'import sys; sys.version_info = type("V", (tuple,), {"major": 3, "minor": 9})((3, 9)); exec(sys.argv[1])'
    old.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -c \'{pretend}\' "$1"\n')
    old.chmod(0o755)
    done = project.make("setup", "VENV=fresh", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "is 3.9" in done.stderr
    assert not (project.folder / "fresh").exists()


@pytest.mark.parametrize("target", ["dashboard", "notebooks", "compare"])
def test_a_target_that_is_not_built_says_so_and_fails(project: Shell, target: str) -> None:
    done = project.make(target)
    assert done.returncode == 2
    assert f"make {target} is not built yet" in done.stderr


def test_an_unknown_target_fails(project: Shell) -> None:
    assert project.make("nonsense").returncode == 2


@pytest.fixture(scope="module")
def own_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small reference with numbers worked out by hand: after one step from 0 the layer's answer is s b."""
    folder = tmp_path_factory.mktemp("reference")
    problems, rows = generate(150), np.arange(100)
    save_problems(folder / "reasoning_dataset.npz", problems, train_index_seed100=rows)
    error = np.linalg.norm(problems.linear - problems.solution, axis=1)
    train, gap = error[rows].mean(), error.mean() - error[rows].mean()
    lines = [f"{name},1,{hidden},100,2,{train:.3f},{gap:.3f}" for name in ("gd", "nag") for hidden in (0, 16)]
    header = "algorithm,steps,hidden,seed,epochs,train_loss,gap"
    (folder / "reasoning_authors.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


def test_parity_compares_row_by_row_and_ends_with_the_count(project: Shell, own_reference: Path) -> None:
    done = project.make("parity", f"REFERENCE={own_reference}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "parity: 4 of 4"
    assert sum(line.endswith("agrees") for line in done.stdout.splitlines()) == 4


def test_parity_fails_where_a_number_is_off(
    in_process: Call, own_reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reasoning_dataset.npz").symlink_to(own_reference / "reasoning_dataset.npz")
    header, first, *rest = (own_reference / "reasoning_authors.csv").read_text().splitlines()
    *setting, train, gap = first.split(",")
    wrong = ",".join([*setting, f"{float(train) + 0.01:.3f}", gap])
    (tmp_path / "reasoning_authors.csv").write_text("\n".join([header, wrong, *rest]) + "\n")
    assert in_process(lambda: guarded(parity.main), tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "parity: 3 of 4"
    assert sum("differs in train" in line for line in lines) == 1


def test_parity_without_a_reference_says_what_it_needs(
    project: Shell, in_process: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = project.make("parity")
    assert done.returncode == 2
    assert "make parity needs REFERENCE=<folder with reasoning_dataset.npz and reasoning_authors.csv>" in done.stdout
    assert in_process(lambda: guarded(parity.main), tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: REFERENCE: expected reasoning_dataset.npz and reasoning_authors.csv in ")
