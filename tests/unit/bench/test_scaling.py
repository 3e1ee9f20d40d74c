from __future__ import annotations

import pytest

from unrolled.bench import scaling
from unrolled.bench.scaling import bench_cores, bench_mixed_widths, bench_scaling
from unrolled.bench.timing import QUICK, Workload


@pytest.fixture
def by_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs that cost their blocks of 16 trials times one and the width, over the cores."""

    def run(self: Workload, epochs: int) -> tuple[float, int]:
        blocks = -(-len(self.configs) // 16)
        return epochs * blocks * (1 + self.configs[0]["network.width"]) / (self.context.threads or 1), 0

    monkeypatch.setattr(Workload, "run", run)


@pytest.mark.usefixtures("by_lanes")
def test_every_series_has_its_points() -> None:
    figures = bench_scaling(QUICK)
    assert len(figures) == 5 + 4 * 2 + 4 * 2
    assert figures["trainer_us_trials_16"] == pytest.approx(17 / (16 * 2) * 1e6)
    assert figures["trainer_us_trials_1"] == pytest.approx(17 / 2 * 1e6)
    assert figures["trainer_us_width_64_nag"] == pytest.approx(4 * 65 / (64 * 2) * 1e6)


@pytest.mark.usefixtures("by_lanes")
def test_speed_up_is_over_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "cores", lambda: 4)
    assert bench_cores(QUICK) == {
        "trainer_speedup_2_cores": pytest.approx(2),
        "trainer_speedup_4_cores": pytest.approx(4),
    }
    monkeypatch.setattr(scaling, "cores", lambda: 1)
    assert bench_cores(QUICK) == {}


@pytest.mark.usefixtures("by_lanes")
def test_mixing_pays_where_lanes_would_be_empty() -> None:
    figures = bench_mixed_widths(QUICK)
    assert figures["width_packing_ratio_1"] == pytest.approx(33 / (1 + 17 + 33))
    assert figures["width_packing_ratio_64"] == pytest.approx(12 * 33 / (4 * (1 + 17 + 33)))
