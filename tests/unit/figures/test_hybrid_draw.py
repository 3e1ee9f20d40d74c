"""Every plotted point against a plain loop over the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from tests.unit.claims.hybrid_factory import DEPTH, RADII, ROBUST, STEP, WIDTH, hybrid_records

from unrolled.figures.curves import new_drawing
from unrolled.figures.hybrid import FIGURES
from unrolled.figures.spec import UndrawableError
from unrolled.figures.style import INFERENCE_STYLES, KIND_STYLES, OKABE_ITO, figure_style


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return hybrid_records(steps=(1, 4, 16), sizes=(0.5, 1.0), widths=(32, 64), seeds=range(2))


def drawn(name: str, frame: pd.DataFrame) -> np.ndarray:
    figure = FIGURES[name]
    rows = figure.select(frame)
    with figure_style():
        _, axes = new_drawing(*figure.layout(rows))
        return figure.draw(rows, axes)


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = (own for own in ax.lines if own.get_label() == label)
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def own_rows(records: pd.DataFrame, experiment: str, **wanted: object) -> list[dict[str, object]]:
    return [
        row
        for row in records.to_dict("records")
        if experiment in row["experiments"]
        and row["task"] == "hybrid"
        and all(row[key.replace("__", ".")] == value for key, value in wanted.items())
    ]


def mean(rows: list[dict[str, object]], column: str, entry: int | None = None) -> float:
    values = [row[column] if entry is None else row[column][entry] for row in rows]  # type: ignore[index]
    assert len(values) == 2, "two seeds"
    return float(np.mean(values))  # type: ignore[arg-type]


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


def test_robust_accuracy_is_one_minus_the_error(records: pd.DataFrame) -> None:
    axes = drawn("robustness", records)
    assert [ax.get_title().split(", ")[0] for ax in axes[:, 0]] == ["digits", "mnist1d"]
    ax = axes[0, 3]
    assert "ell_2" in ax.get_title()
    assert ax.get_title().endswith("FISTA")
    for k, label in ((1, "$k$ = 1, feed-forward"), (16, "$k$ = 16")):
        x, y = line(ax, label)
        assert x.tolist() == list(RADII["l2"])
        rows = own_rows(records, ROBUST, data__name="digits", solver__name="fista", solver__steps=k)
        expected = [1 - mean(rows, "robust_pgd_l2", i) for i in range(5)]
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        colour = next(own.get_color() for own in ax.lines if own.get_label() == label)
        (dotted,) = (own for own in ax.lines if own.get_color() == colour and own.get_linestyle() == ":")
        expected = [1 - mean(rows, "robust_fgsm_l2", i) for i in range(5)]
        np.testing.assert_allclose(dotted.get_ydata(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("colour", "column", "entry"),
    [
        ("blue", "test_error", None),
        ("vermillion", "robust_pgd_linf", 2),
        ("orange", "robust_pgd_l2", 2),
        ("green", "gap_error", None),
    ],
)
def test_data_sets_show_errors_at_the_middle_radius(
    records: pd.DataFrame, colour: str, column: str, entry: int | None
) -> None:
    ax = drawn("data_sets", records).flat[1]
    assert ax.get_title().startswith("mnist1d\nradius")
    style = INFERENCE_STYLES["fista"]
    (found,) = (own for own in ax.lines if own.get_color() == OKABE_ITO[colour] and own.get_marker() == style.marker)
    for k, value in zip(found.get_xdata(), found.get_ydata(), strict=True):
        rows = own_rows(records, ROBUST, data__name="mnist1d", solver__name="fista", solver__steps=k)
        assert value == pytest.approx(mean(rows, column, entry), rel=1e-12)


def test_masking_shows_steps_random_search_and_the_far_radius(records: pd.DataFrame) -> None:
    far = records["robust_far_linf"].where(records["solver.name"] != "fista", records["robust_far_linf"] * 0.5)
    axes = drawn("masking", records.assign(robust_far_linf=far))
    ax = axes[0, 1]
    assert ax.get_title() == "digits, FISTA\nat the far radius: error ≥ 0.50"
    x, y = line(ax, "$k$ = 4")
    assert x.tolist() == [1, 5, 20, 50]
    rows = own_rows(records, ROBUST, data__name="digits", solver__name="fista", solver__steps=4)
    np.testing.assert_allclose(y, [mean(rows, "robust_by_steps_linf", i) for i in range(4)], rtol=1e-12)
    colour = next(own.get_color() for own in ax.lines if own.get_label() == "$k$ = 4")
    (level,) = (own for own in ax.lines if own.get_color() == colour and own.get_linestyle() == ":")
    assert level.get_ydata()[0] == pytest.approx(mean(rows, "robust_random_linf", 2), rel=1e-12)
