"""Every experiment, found by glob: it composes at every scale, explains itself, and runs one small step."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from unrolled.config.check import Flat, check, experiment_names
from unrolled.config.schema import CONFIGS
from unrolled.data import DataError
from unrolled.data.classification import BUNDLED
from unrolled.sweep.expand import expand
from unrolled.sweep.run import run_sweep
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import trials_of

FILES = sorted((CONFIGS / "experiment").rglob("*.yaml"))
NAMES = [str(path.relative_to(CONFIGS / "experiment").with_suffix("")) for path in FILES]
SCALES = sorted(path.stem for path in (CONFIGS / "scale").glob("*.yaml"))

SMALL = {
    "quadratic": {"optim.epochs": 2, "data.population": 50, "data.n_train": 10},
    "images": {"optim.epochs": 2, "data.n_train": 40, "optim.batch_size": 20},
    "filters": {"network.width": 1},
}
"""What makes a trial of any experiment take milliseconds, by its data, or by the structure that is minimised."""


def test_there_are_experiments_and_the_three_scales() -> None:
    assert len(NAMES) >= 5
    assert experiment_names() == NAMES
    assert SCALES == ["laptop", "paper", "smoke"]


@lru_cache
def expanded(name: str, scale: str) -> list[Flat]:
    return expand([f"experiment={name}", f"scale={scale}", "tracker=disabled"])


def without_download(config: Flat) -> Flat:
    return config if config["data.name"] == "quadratic" else config | {"data.download": False}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_it_expands_to_checked_configs_at_every_scale(name: str, scale: str) -> None:
    configs = expanded(name, scale)
    assert len(configs) > 1
    assert {c["experiment"] for c in configs} == {name}
    assert {c["theory"] for c in configs} == {name.split("/")[0]}
    assert {c["scale.name"] for c in configs} == {scale}
    # A sweep that names a trial twice has a key in it that changes nothing.
    some = [without_download(config) for config in configs[:: max(1, len(configs) // 500)]]
    try:
        trials = trials_of(some)
    except DataError as error:
        if {c["data.name"] for c in some} <= {"quadratic", *BUNDLED}:
            raise
        pytest.skip(f"a data set to download is not here: {error}")
    assert len(trials) == len(some)


@pytest.mark.parametrize("name", NAMES)
def test_scales_grow(name: str) -> None:
    smoke, laptop, paper = (len(expanded(name, scale)) for scale in ("smoke", "laptop", "paper"))
    assert smoke <= laptop <= paper
    assert smoke <= 200


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_its_file_is_short_and_opens_with_the_command_that_runs_it(path: Path) -> None:
    name = str(path.relative_to(CONFIGS / "experiment").with_suffix(""))
    lines = path.read_text().splitlines()
    assert len(lines) < 25
    assert lines[0] == "# @package _global_"
    assert lines[1] == f"# python scripts/train.py -m experiment={name}"
    assert lines[2].startswith("# ")
    content = yaml.safe_load(path.read_text())
    assert content["experiment"] == name
    assert content["hydra"]["sweeper"]["params"]


def few(configs: list[Flat]) -> list[Flat]:
    """Some trials from all over a sweep, the first and the last among them, made small."""
    chosen = [*configs[:: max(1, len(configs) // 4)], configs[-1]]
    return [check(config | SMALL[kind_of(config)]) for config in chosen]


def kind_of(config: Flat) -> str:
    """How a trial is made small."""
    if config["task"] == "minimum" and config["network.widths"] is None:
        return "filters"
    return "quadratic" if config["data.name"] == "quadratic" else "images"


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_one_small_step_to_finished_rows(name: str, tmp_path: Path) -> None:
    trials = trials_of(few(expanded(name, "smoke")))
    settings = RunSettings(tmp_path, "smoke")
    summary = run_sweep(trials, settings, say=None)  # an estimate of its time would run some of it first
    records = settings.store.load()
    assert summary.failures == []
    assert list(records["status"]) == ["finished"] * len(trials)
    assert all(list(experiments) == [name] for experiments in records["experiments"])
    assert records["error"].isna().all()
    metrics = {
        "fit": ["train_loss", "test_loss", "gap"],
        "properties": ["cvg_exact", "stab_exact"],
        "classify": ["train_loss", "test_error", "f_trained"],
        "minimum": ["f_min"],
        "hybrid": ["train_loss", "test_error", "convergence", "stability", "inference_own"],
    }[records.loc[0, "task"]]
    assert records[metrics].notna().all(axis=None)
