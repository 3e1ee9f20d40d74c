from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.unit.bench.factory import bench_figures

from unrolled.bench.plots import PLOTS, Draw, draw, draw_cores, draw_grid, draw_memory, draw_overhead, draw_steps

DRAWS = [call for pair in PLOTS.values() for call in pair]


def lines(call: Draw, figures: dict[str, object]) -> dict[str, list[tuple[float, float]]]:
    ax = call(Figure().add_subplot(), figures)
    return {
        str(line.get_label()): [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in ax.lines
    }


@pytest.mark.parametrize("call", DRAWS, ids=lambda call: call.__name__)
def test_every_plot_names_both_axes_and_takes_its_points_from_the_figures(call: Draw) -> None:
    figures = bench_figures()
    ax = call(Figure().add_subplot(), figures)
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    known = {*figures.values(), 1.0}
    measured = [line for line in ax.lines if line.get_label() != "ideal"]
    assert measured
    assert all(float(y) in known for line in measured for y in np.asarray(line.get_ydata(), dtype=float))


def test_points_stand_at_the_number_in_their_name() -> None:
    figures = bench_figures()
    assert lines(draw_steps, figures)["NAG"] == [(k, figures[f"trainer_us_k_{k}_nag"]) for k in (1, 3, 10, 30)]
    assert lines(draw_memory, figures)["trained a pack"][-1] == (1024, figures["pack_peak_mb"])
    assert lines(draw_overhead, figures)["packed"][-1] == (10_000, figures["sweep_overhead_ms_per_trial"])
    assert lines(draw_overhead, figures)["Hydra's basic"] == [(50, figures["hydra_basic_overhead_ms_per_trial"])]
    assert len(lines(draw_grid, figures)) == 4


def test_one_core_has_no_speed_up_to_show() -> None:
    figures = {name: value for name, value in bench_figures().items() if "cores" not in name}
    assert lines(draw_cores, figures)["pack of 256"] == [(1, 1)]


def test_the_same_figures_give_the_same_bytes() -> None:
    pair = next(iter(PLOTS.values()))
    assert draw(pair, bench_figures()) == draw(pair, bench_figures())
