"""Every plotted point against a plain loop over the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import DEPTH, STEP, WIDTH, hybrid_records
from tests.unit.figures.hybrid_panels import drawn, line, mean, own_rows

from unrolled.figures.spec import UndrawableError
from unrolled.figures.style import INFERENCE_STYLES, KIND_STYLES


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return hybrid_records(steps=(1, 4, 16), sizes=(0.5, 1.0), widths=(32, 64), seeds=range(2))


@pytest.mark.parametrize("solver", ["block_prox", "admm"])
@pytest.mark.parametrize(("column", "metric"), [(0, "train_error"), (1, "test_error"), (2, "gap")])
def test_depth_curves_are_means_over_seeds(records: pd.DataFrame, solver: str, column: int, metric: str) -> None:
    ax = drawn("unrolling_depth", records)[1, column]
    x, y = line(ax, INFERENCE_STYLES[solver].label)
    assert x.tolist() == [1, 4, 16]
    wanted = {"data__name": "mnist1d", "solver__name": solver}
    for k, value in zip(x, y, strict=True):
        assert value == pytest.approx(mean(own_rows(records, DEPTH, **wanted, solver__steps=k), metric), rel=1e-12)
    assert ax.get_title() == "mnist1d"
    assert ax.get_ylim()[0] == 0


def test_heat_maps_hold_means_at_their_place(records: pd.DataFrame) -> None:
    lost = (records["solver.name"] == "ista") & (records["solver.steps"] == 4) & (records["solver.step_size"] == 0.5)
    axes = drawn("step_heatmap", records[~lost])
    assert axes.shape == (2, 4)
    values = np.asarray(axes[1, 1].images[0].get_array(), float)
    for row, size in enumerate((0.5, 1.0)):
        for column, k in enumerate((1, 4, 16)):
            rows = own_rows(records[~lost], STEP, solver__name="ista", solver__steps=k, solver__step_size=size)
            expected = mean(rows, "gap") if rows else np.nan
            np.testing.assert_allclose(values[row, column], expected, rtol=1e-12)
    assert np.isnan(values[0, 1])
    assert len(axes[1, 1].texts) == 5, "a cell without a run has no number"
    scales = {ax.images[0].get_clim() for ax in axes[0]}
    assert len(scales) == 1, "a row shares its colours"
    assert axes[0, 1].get_title() == "mnist1d\nISTA"


@pytest.mark.parametrize("kind", ["chain", "residual", "dense"])
def test_width_curves_stand_beside_the_minima(records: pd.DataFrame, kind: str) -> None:
    axes = drawn("width_skip", records)
    x, y = line(axes[0, 1], KIND_STYLES[kind].label)
    assert x.tolist() == [32, 64]
    for width, gap in zip(x, y, strict=True):
        rows = own_rows(records, WIDTH, data__name="digits", network__skip=kind, network__width=width)
        assert gap == pytest.approx(mean(rows, "gap"), rel=1e-12)
    minima = records[(records["task"] == "minimum") & (records["data.name"] == "digits")]
    expected = minima[minima["network.skip"] == kind].sort_values("network.width")["f_min"]
    (potential,) = (found for found in axes[0, 2].lines if found.get_color() == KIND_STYLES[kind].color)
    np.testing.assert_allclose(potential.get_ydata(), expected, rtol=1e-12)


def test_nets_without_one_width_give_a_reason(records: pd.DataFrame) -> None:
    with pytest.raises(UndrawableError, match=r"no net in the records has network\.width"):
        drawn("width_skip", records.assign(**{"network.width": np.nan}))


def test_width_says_where_minima_are_missing(records: pd.DataFrame) -> None:
    axes = drawn("width_skip", records[records["task"] != "minimum"])
    assert [text.get_text() for text in axes[0, 2].texts] == ["no minima in the records"]


@pytest.mark.parametrize(("column", "metric"), [(0, "inference_objective"), (1, "inference_distance")])
def test_inference_runs_beyond_k_down_to_rounding(records: pd.DataFrame, column: int, metric: str) -> None:
    ax = drawn("inference", records)[0, column]
    x, y = line(ax, INFERENCE_STYLES["ista"].label)
    rows = own_rows(records, DEPTH, data__name="digits", solver__name="ista", solver__steps=16)
    sweeps = list(rows[0]["inference_sweep"])  # type: ignore[call-overload]
    expected = {sweep: mean(rows, metric, i) for i, sweep in enumerate(sweeps)}
    expected = {sweep: value for sweep, value in expected.items() if value > 1e-8}
    assert x.tolist() == list(expected)
    assert x.max() > 16
    np.testing.assert_allclose(y, list(expected.values()), rtol=1e-12)
    assert line(ax, "$k$ = 16, the sweeps of the net")[0].tolist() == [16, 16]
    assert ax.get_yscale() == "log"
