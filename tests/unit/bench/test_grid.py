from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from unrolled.bench import grid
from unrolled.bench.grid import bench_grid, extrapolated, grouped, sample, trial_steps
from unrolled.bench.timing import QUICK, Workload
from unrolled.sweep.expand import expand
from unrolled.sweep.tasks import TASKS


@pytest.fixture(scope="module")
def configs() -> list[dict[str, Any]]:
    return [TASKS["fit"].resolve(config)[0] for config in expand(list(grid.GRID))]


def test_the_grid_is_the_papers(configs: list[dict[str, Any]]) -> None:
    groups = grouped(configs)
    assert len(configs) == 20_400
    assert Counter(map(len, groups.values())) == {1700: 12}
    assert trial_steps(configs) == 20_400 * 100_000


@pytest.mark.parametrize("each", [1, 16, 60])
def test_a_sample_has_as_many_trials_of_every_k_spread_over_seeds_and_rates(
    configs: list[dict[str, Any]], each: int
) -> None:
    group = grouped(configs)["nag", 32, "adam"]
    chosen = sample(group, each)
    counts = Counter(config["solver.steps"] for config in chosen)
    assert set(counts) == {config["solver.steps"] for config in group}
    assert set(counts.values()) == {each}
    assert len({(c["solver.steps"], c["seed"], c["optim.lr"]) for c in chosen}) == len(chosen)
    if each > 1:
        assert len({config["optim.lr"] for config in chosen}) == 5
        assert len({config["seed"] for config in chosen}) >= min(each, 20) // 2


def test_a_sample_is_never_larger_than_its_group(configs: list[dict[str, Any]]) -> None:
    group = grouped(configs)["gd", 0, "sgd"]
    assert len(sample(group, 10_000)) == len(group)


def test_the_hours_add_up_over_groups() -> None:
    found = extrapolated({"a": 2.0, "b": 4.0}, {"a": 10**9, "b": 2 * 10**9})
    assert found["paper_grid_hours"] == pytest.approx((2e3 + 8e3) / 3600)
    assert found["paper_grid_trial_steps"] == 3 * 10**9
    assert found["paper_grid_us_per_trial_step"] == pytest.approx(10 / 3)


def test_another_device_is_named_and_gets_its_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No card is needed: what would run on it is recorded and takes a second an epoch."""
    seen: set[tuple[str, int]] = set()

    def run(self: Workload, epochs: int) -> tuple[float, int]:
        seen.add((self.context.device, len(self.configs)))
        return 3.0 + epochs, 0

    monkeypatch.setattr(Workload, "run", run)
    figures = bench_grid(QUICK, "cuda")
    assert seen == {("cuda", 17 * grid.GPU_TRIALS)}
    assert all(name.endswith("_gpu") for name in figures)
    assert figures["paper_grid_hours_gpu"] == pytest.approx(12 * 1700 * 50_000 / 1020 / 3600)
    assert figures["paper_grid_linearity_gpu"] == pytest.approx(1.0)
    assert figures["paper_grid_setup_hours_gpu"] == pytest.approx(12 * 1700 * 3 / 1020 / 3600)
