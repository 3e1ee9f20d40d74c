"""A small application with the packing protocol, run as a user would: in processes, over several launchers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

APP = """
import json, os, signal, sys, time
from pathlib import Path
import hydra
from hydra_plugins.packed import Description, Outcome, packed

STORE = Path(__file__).parent / "store"

class Squares:
    def describe(self, config):
        if config["x"] < 0:
            raise ValueError(f"x: given {config['x']}, allowed: >= 0")
        return Description(f"{config['kind']}-{config['x']}-{config['seed']}", {"x", "seed"}, cost=config["x"])
    def name(self, config): return self.describe(config).name
    def begin(self, configs): pass
    def outcomes(self, configs):
        failed = {f.stem: Outcome(error=f.read_text(), final=True) for f in STORE.glob("*.failed")}
        return failed | {f.stem: Outcome(json.loads(f.read_text())) for f in STORE.glob("*.json")}
    def run(self, configs):
        STORE.mkdir(exist_ok=True)
        mark = STORE / f"{time.time_ns()}-{os.getpid()}.pack"
        mark.write_text(json.dumps([self.name(c) for c in configs]))
        for config in configs:
            if config["kind"] == "bad":
                raise RuntimeError("this kind is bad")
            if config["kind"] == "deadly" and config["x"] == 2 and len(list(STORE.glob("*.pack"))) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if config["kind"] == "poison" and config["x"] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            if config["kind"] == "poison":
                time.sleep(0.3)
            (STORE / f"{self.name(config)}.json").write_text(json.dumps(config["x"] ** 2))

@hydra.main(version_base="1.3", config_path="conf", config_name="main")
@packed(Squares())
def main(config):
    return config.x**2

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults:
  - _self_
  - override hydra/sweeper: packed
  - override hydra/launcher: packed
x: 1
seed: 0
kind: good
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "main.yaml").write_text(CONFIG)
    return tmp_path


def sweep(app: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "app.py", "-m", f"hydra.sweep.dir={app}/sweep", *overrides]
    return subprocess.run(command, cwd=app, capture_output=True, text=True, timeout=100, check=False)


def packs(app: Path) -> list[list[str]]:
    return [json.loads(f.read_text()) for f in sorted((app / "store").glob("*.pack"))]


def results(app: Path) -> dict[str, int]:
    return {f.stem: json.loads(f.read_text()) for f in (app / "store").glob("*.json")}


def test_trials_are_packed_by_what_may_differ(app: Path) -> None:
    done = sweep(app, "x=1,2,3", "seed=range(4)", "kind=good,fine", "hydra.launcher.max_pack=5")
    assert done.returncode == 0, done.stderr
    assert sorted(map(len, packs(app))) == [2, 2, 5, 5, 5, 5]
    assert all(len({name.split("-")[0] for name in pack}) == 1 for pack in packs(app))
    assert results(app) == {f"{k}-{x}-{s}": x**2 for k in ("good", "fine") for x in (1, 2, 3) for s in range(4)}


def test_finished_trials_are_skipped_and_repeated_ones_run_once(app: Path) -> None:
    assert sweep(app, "x=1,2").returncode == 0
    done = sweep(app, "x=1,2,3,3")
    assert done.returncode == 0, done.stderr
    assert packs(app) == [["good-1-0", "good-2-0"], ["good-3-0"]]
    assert "3 trials: 2 already there, 1 to run in 1 packs over basic" in done.stdout + done.stderr


def test_every_trial_is_checked_before_any_runs(app: Path) -> None:
    done = sweep(app, "x=1,2,-3")
    assert done.returncode != 0
    assert "x: given -3, allowed: >= 0" in done.stderr
    assert not (app / "store").exists()


def test_an_unknown_launcher_is_told_before_expansion(app: Path) -> None:
    done = sweep(app, "x=1,-2", "hydra.launcher.over=slrum")
    assert done.returncode != 0
    assert "hydra.launcher.over: given 'slrum', allowed: basic, joblib" in done.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.launcher.max_pack=0", "hydra.launcher.max_pack: given 0, allowed: an integer >= 1 or null"),
        ("hydra.sweeper.max_batch_size=-1", "hydra.sweeper.max_batch_size: given -1, allowed: an integer >= 1 or null"),
        ("hydra.launcher.on_error=maybe", "hydra.launcher.on_error: given 'maybe', allowed: continue, stop"),
        ("hydra.launcher.attempts=0", "hydra.launcher.attempts: given 0, allowed: an integer >= 1"),
        ("+hydra.launcher.settings.foo=1", "hydra.launcher.settings: Key 'foo' "),
        ("x=range(3,3)", "x: given range(3,3), which is empty"),
    ],
)
def test_bad_settings_are_told(app: Path, override: str, message: str) -> None:
    done = sweep(app, override)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_failed_pack_is_named_and_the_others_run(app: Path) -> None:
    done = sweep(app, "kind=bad,good", "x=1,2")
    assert done.returncode != 0
    assert "2 of 4 trials failed: RuntimeError: this kind is bad (2 trials, first: kind=bad x=1)" in done.stderr
    assert results(app) == {"good-1-0": 1, "good-2-0": 4}


def test_on_error_stop_starts_no_further_pack(app: Path) -> None:
    done = sweep(app, "kind=bad,good", "hydra.launcher.on_error=stop")
    assert done.returncode != 0
    assert results(app) == {}
    assert "not started: an earlier pack failed" in done.stderr


def test_joblib_gives_what_basic_gives(app: Path) -> None:
    done = sweep(app, "x=range(6)", "hydra.launcher.over=joblib", "hydra.launcher.max_pack=2",
                 "+hydra.launcher.settings.n_jobs=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert results(app) == {f"good-{x}-0": x**2 for x in range(6)}
    assert len(packs(app)) == 3


def test_a_killed_worker_costs_only_the_packs_in_flight(app: Path) -> None:
    """The first pack's worker kills itself in the middle; joblib then loses its pool and every returned value."""
    done = sweep(app, "kind=deadly", "x=1,2,3,4", "hydra.launcher.over=joblib", "+hydra.launcher.settings.n_jobs=2",
                 "hydra.launcher.max_pack=4")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert results(app) == {f"deadly-{x}-0": x**2 for x in (1, 2, 3, 4)}
    assert packs(app)[1:] == [["deadly-2-0", "deadly-3-0", "deadly-4-0"]]
    assert "lost a worker" in done.stdout + done.stderr


def test_a_dry_run_tells_and_writes_nothing(app: Path) -> None:
    done = sweep(app, "x=range(6)", "kind=good,fine", "hydra.launcher.dry_run=true", "hydra.launcher.max_pack=4")
    assert done.returncode == 0, done.stderr
    told = "12 trials: 0 already there, 12 to run in 4 packs over basic; nothing runs, as hydra.launcher.dry_run is on"
    assert told in done.stdout + done.stderr
    assert sorted(path.name for path in app.iterdir()) == ["app.py", "conf"]


def test_a_dry_run_needs_the_protocol(app: Path) -> None:
    (app / "app.py").write_text(APP.replace("@packed(Squares())\n", ""))
    done = sweep(app, "x=1,2", "hydra/sweeper=basic", "hydra.launcher.dry_run=true")
    assert done.returncode != 0
    assert "hydra.launcher.dry_run: given true, allowed for applications that are packed" in done.stderr


def test_a_trial_has_a_folder_only_when_asked_for(app: Path) -> None:
    assert sweep(app, "x=1,2").returncode == 0
    assert not list((app / "sweep").glob("good-*"))
    assert (app / "sweep" / "multirun.yaml").exists()
    assert sweep(app, "x=1,2", "hydra.launcher.trial_folders=true").returncode == 0
    folders = sorted(path.name for path in (app / "sweep").glob("good-*"))
    assert folders == ["good-1-0", "good-2-0"]
    assert yaml.safe_load((app / "sweep" / "good-2-0" / ".hydra" / "config.yaml").read_text())["x"] == 2
    assert yaml.safe_load((app / "sweep" / "good-2-0" / ".hydra" / "overrides.yaml").read_text()) == ["x=2"]


def test_a_failure_that_is_final_is_reported_and_not_repeated(app: Path) -> None:
    (app / "store").mkdir()
    (app / "store" / "good-1-0.failed").write_text("it broke yesterday")
    done = sweep(app, "x=1,2")
    assert done.returncode != 0
    assert "1 of 2 trials failed: it broke yesterday" in done.stderr
    assert packs(app) == [["good-2-0"]]


def test_a_folder_that_cannot_be_written_is_told(app: Path) -> None:
    (app / "sweep").write_text("a file")
    done = sweep(app, "x=1,2")
    assert done.returncode != 0
    assert "hydra.sweep.dir: cannot write" in done.stderr
    assert not (app / "store").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["+hydra.launcher.settings.n_jobs=many"], "hydra.launcher.settings: Value 'many' of type 'str' could not"),
        (["+hydra.launcher.settings.jobs=2"], "hydra.launcher.settings: Key 'jobs' not in"),
    ],
)
def test_settings_of_the_wrapped_launcher_are_checked_before_anything_runs(
    app: Path, settings: list[str], message: str
) -> None:
    done = sweep(app, "x=1,-2", "hydra.launcher.over=joblib", *settings)  # -2 is not reached
    assert done.returncode != 0
    assert message in done.stderr
    assert "the settings of joblib are n_jobs, backend" in done.stderr


@pytest.mark.skipif(shutil.which("srun") is not None, reason="this machine has Slurm")
def test_a_launcher_that_cannot_start_is_not_a_lost_worker(app: Path) -> None:
    done = sweep(app, "x=1,2", "hydra.launcher.over=submitit_slurm")
    assert done.returncode != 0
    assert 'submitit_slurm could not start any pack: RuntimeError: Could not detect "srun"' in done.stderr
    assert "submitted again" not in done.stdout + done.stderr


LAUNCHERS = ["joblib", "submitit_local"]

IMPATIENT = """
from submitit import Job

Job._results_timeout_s = 1
"""
"""Submitit looks 15 seconds for what a dead worker has not left, as some file systems are slow; this one is not."""


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_deadly_pack_takes_no_other_with_it(app: Path, launcher: str) -> None:
    """Its worker dies each time: the others all finish, also those that ran beside it, and it alone is given up."""
    jobs = ["+hydra.launcher.settings.n_jobs=2"] if launcher == "joblib" else []
    if launcher == "submitit_local":
        (app / "app.py").write_text(IMPATIENT + APP)
    done = sweep(
        app, "kind=poison", "x=range(8)", f"hydra.launcher.over={launcher}", "hydra.launcher.max_pack=1", *jobs
    )
    assert done.returncode != 0
    assert "1 of 8 trials failed: lost with its worker 3 times (1 trials, first: kind=poison x=0)" in done.stderr
    assert results(app) == {f"poison-{x}-0": x**2 for x in range(1, 8)}
    assert packs(app).count(["poison-0-0"]) == 3
    if launcher == "submitit_local":  # its other jobs live on when one has died, and are waited for
        assert all(packs(app).count([f"poison-{x}-0"]) == 1 for x in range(1, 8))
    assert not list((app / "sweep" / "packs").iterdir())


def test_a_failed_pack_is_not_run_again_when_another_one_is_lost(app: Path) -> None:
    done = sweep(app, "kind=bad,deadly", "x=2", "hydra.launcher.over=joblib", "+hydra.launcher.settings.n_jobs=1")
    assert done.returncode != 0
    assert "1 of 2 trials failed: RuntimeError: this kind is bad" in done.stderr
    assert packs(app).count(["bad-2-0"]) == 1


def test_a_dry_run_over_earlier_failures_succeeds(app: Path) -> None:
    (app / "store").mkdir()
    (app / "store" / "good-1-0.failed").write_text("it broke yesterday")
    done = sweep(app, "x=1,2", "hydra.launcher.dry_run=true")
    assert done.returncode == 0, done.stderr
