from __future__ import annotations

from pathlib import Path

import pytest

from unrolled.bench import sweeps
from unrolled.bench.empty import EmptyPacking
from unrolled.bench.planning import STAGES, bench_planning, fill, nested
from unrolled.bench.sweeps import BASIC, bench_sweeps, wall
from unrolled.bench.timing import FULL, QUICK
from unrolled.config.check import flatten
from unrolled.launch import TrainPacking
from unrolled.records.store import RecordStore
from unrolled.sweep.expand import expand


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that take 1 s and 1 ms a trial, over Hydra's basic launcher 200 ms a trial."""
    monkeypatch.setattr(sweeps, "wall", lambda n, *overrides: 1 + (n - 1) * (0.2 if overrides == BASIC else 0.001))


@pytest.mark.usefixtures("linear")
def test_overhead_is_what_each_further_trial_takes() -> None:
    figures = bench_sweeps(FULL)
    assert figures == {
        "sweep_startup_s": 1,
        "sweep_overhead_ms_per_trial_100": pytest.approx(1),
        "sweep_overhead_ms_per_trial_1000": pytest.approx(1),
        "sweep_overhead_ms_per_trial": pytest.approx(1),
        "hydra_basic_startup_s": 1,
        "hydra_basic_overhead_ms_per_trial": pytest.approx(200),
        "hydra_basic_trials": 50,
        "sweep_overhead_ratio": pytest.approx(200),
    }


@pytest.mark.usefixtures("linear")
def test_without_a_large_sweep_its_figures_are_absent() -> None:
    figures = bench_sweeps(QUICK)
    assert "sweep_overhead_ms_per_trial_200" in figures
    assert not {"sweep_overhead_ms_per_trial", "sweep_overhead_ratio"} & set(figures)


def test_the_empty_app_runs_packed_and_over_the_basic_launcher() -> None:
    assert wall(3) > 0
    assert wall(2, *BASIC) > 0


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(RuntimeError, match="allowed: an integer >= 0"):
        wall(2, "seed=-1")


def test_a_pack_records_its_outcomes_in_one_file(tmp_path: Path) -> None:
    configs = [{"seed": seed, "store": str(tmp_path / "store")} for seed in range(3)]
    packing = EmptyPacking()
    assert packing.outcomes(configs) == {}
    packing.run(configs[:2])
    packing.run(configs[2:])
    assert len(list((tmp_path / "store").iterdir())) == 2
    assert set(packing.outcomes(configs)) == {"0", "1", "2"}


def test_a_filled_store_holds_every_trial(tmp_path: Path) -> None:
    configs = expand(["seed=0,1,2", "solver=gd,nag", f"run.folder={tmp_path}"])
    fill(RecordStore(tmp_path / "records"), configs)
    packing, whole = TrainPacking(), [nested(config) for config in configs]
    assert [flatten(config) for config in whole] == configs
    assert {packing.describe(config).name for config in whole} == set(packing.outcomes(whole))
    assert all(outcome.error is None for outcome in packing.outcomes(whole).values())


def test_the_parts_of_a_plan_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = bench_planning(QUICK)
    assert not list(tmp_path.iterdir())
    parts = [figures[f"sweep_plan_{stage}_s"] for stage in STAGES]
    assert figures.pop("sweep_plan_s_72") == pytest.approx(sum(parts))
    assert len(figures) == len(STAGES) + 1
