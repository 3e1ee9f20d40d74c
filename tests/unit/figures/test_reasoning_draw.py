"""Every plotted mean against a plain loop over the records, and every prediction against the closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from tests.unit.figures.factory import MU, L, synthetic_records

from unrolled.figures.curves import new_drawing
from unrolled.figures.reasoning import FIGURES
from unrolled.figures.style import SOLVER_STYLES, figure_style
from unrolled.solvers import properties

SAME = 1e-12
"""Two orders of summation of at most four float64 values."""

LABELS = {name: style.label for name, style in SOLVER_STYLES.items()}


def _draw(name: str, frame: pd.DataFrame) -> np.ndarray:
    figure = FIGURES[name]
    rows = figure.select(frame)
    with figure_style():
        _, axes = new_drawing(*figure.layout(rows))
        assert figure.draw(rows, axes) is axes
    return axes


def _line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def _means(frame: pd.DataFrame, experiment: str, column: str, x: str, **fixed: object) -> dict[float, float]:
    """Mean over seeds of the run with the lowest training loss, by plain loops."""
    best: dict[tuple, dict] = {}
    for row in frame.to_dict("records"):
        if experiment not in row["experiments"] or row["status"] != "finished":
            continue
        if any(row[key.replace("__", ".")] != value for key, value in fixed.items()):
            continue
        key = (row[x], row["seed"])
        if key not in best or row["train_loss"] < best[key]["train_loss"]:
            best[key] = row
    groups: dict[float, list[float]] = {}
    for (at, _), row in best.items():
        groups.setdefault(float(at), []).append(row[column])
    return {at: sum(values) / len(values) for at, values in sorted(groups.items())}


def _assert_curve(ax: Axes, label: str, expected: dict[float, float]) -> None:
    x, y = _line(ax, label)
    assert len(expected) > 1
    assert x.tolist() == list(expected)
    np.testing.assert_allclose(y, list(expected.values()), rtol=SAME)


@pytest.mark.parametrize(("name", "column"), [("training_error", "train_loss"), ("representation_error",) * 2])
def test_error_curves_are_means_of_best_runs(records, name, column):
    axes = _draw(name, records)
    for ax, width in zip(axes.flat, (0, 16), strict=True):
        for solver in ("gd", "nag"):
            expected = _means(
                records, "reasoning/generalization", column, "solver.steps", solver__name=solver, network__width=width
            )
            _assert_curve(ax, LABELS[solver], expected)
            k, predicted = _line(ax, f"{LABELS[solver]}: Cvg$(k)$, scaled to the first point")
            cvg = np.array([properties.convergence(solver, int(i), 1.0, MU, L) for i in k])
            np.testing.assert_allclose(predicted, cvg / cvg[0] * expected[1.0], rtol=1e-9)


def test_training_error_shows_the_rnn_where_it_ran(records):
    ax = _draw("training_error", records).flat[1]
    fixed = {"solver__name": "rnn", "network__width": 16}
    _assert_curve(ax, "RNN", _means(records, "reasoning/rnn", "train_loss", "solver.steps", **fixed))
    without = _draw("training_error", records[records["solver.name"] != "rnn"])
    assert all(line.get_label() != "RNN" for ax in without.flat for line in ax.get_lines())


def test_gap_panels_show_excess_raw_and_prediction(records):
    axes = _draw("generalization_gap", records)
    assert axes.shape == (2, 2)
    for ax, width in zip(axes[0], (0, 16), strict=True):
        for solver in ("gd", "nag"):
            fixed = {"solver__name": solver, "network__width": width}
            excess, raw = (
                _means(records, "reasoning/generalization", column, "solver.steps", **fixed)
                for column in ("gap_excess", "gap")
            )
            _assert_curve(ax, f"{LABELS[solver]}: excess gap", excess)
            _assert_curve(ax, f"{LABELS[solver]}: raw gap", raw)
            k, predicted = _line(ax, f"{LABELS[solver]}: Stab$(k)\\cdot$Cvg$(k)$, scaled")
            shape = np.array([properties.stab_times_cvg(solver, int(i), 1.0, MU, L) for i in k])
            at = np.isin(k, list(excess))
            factor = np.linalg.lstsq(shape[at][:, None], np.array(list(excess.values())), rcond=None)[0][0]
            np.testing.assert_allclose(predicted, factor * shape, rtol=1e-9, atol=1e-12)


def test_gap_of_the_rnn_stands_in_the_second_row(records):
    axes = _draw("generalization_gap", records)
    expected = _means(records, "reasoning/rnn", "gap_excess", "solver.steps", solver__name="rnn", network__width=16)
    _assert_curve(axes[1, 1], "RNN: excess gap", expected)
    assert _draw("generalization_gap", records[records["solver.name"] != "rnn"]).shape == (1, 2)


def test_a_width_without_rnn_says_so(records):
    partial = records[(records["solver.name"] != "rnn") | (records["network.width"] == 16)]
    axes = _draw("generalization_gap", partial)
    assert [text.get_text() for text in axes[1, 0].texts] == ["no RNN values"]
    assert not axes[1, 1].texts


def test_properties_are_drawn_from_the_records(records):
    axes = _draw("algorithm_properties", records)
    rows = records[(records["task"] == "properties") & (records["solver.step_size"] == 1.0)]
    for ax, (exact, rate) in zip(
        axes.flat, (("cvg", "cvg"), ("stab", "stab"), ("stab_b", "stab"), ("sens", "sens")), strict=True
    ):
        for solver in ("gd", "nag"):
            own = rows[rows["solver.name"] == solver].sort_values("solver.steps")
            k, curve = _line(ax, f"{LABELS[solver]} exact")
            assert k.tolist() == own["solver.steps"].tolist()
            np.testing.assert_array_equal(curve, own[f"{exact}_exact"])
            np.testing.assert_array_equal(
                _line(ax, f"{LABELS[solver]} measured on the layer")[1], own[f"{exact}_measured"]
            )
            predicted = _line(ax, f"{LABELS[solver]} rate of the paper × one constant")[1]
            assert predicted.max() == pytest.approx(curve.max(), rel=SAME)
            ratio = predicted / own[f"{rate}_rate"].to_numpy()
            np.testing.assert_allclose(ratio, ratio[0], rtol=SAME)


def test_learned_steps_and_the_borders_of_their_range():
    frame = synthetic_records(steps=(1, 2, 5, 10, 20), widths=(16,), seeds=range(3))
    ax = _draw("learned_step_size", frame).flat[0]
    for solver, border in (("gd", 2 / (MU + L)), ("nag", 4 / (MU + 3 * L))):
        expected = _means(frame, "reasoning/learned_step", "learned_step", "solver.steps", solver__name=solver)
        _assert_curve(ax, LABELS[solver], expected)
        high = _line(ax, f"{LABELS[solver]}: upper border of the range")[1]
        np.testing.assert_allclose(high, border, rtol=1e-12)
    np.testing.assert_allclose(_line(ax, "lower border $c_0$, both")[1], 0.1, rtol=1e-12)


def test_gap_against_n_with_the_square_root_law():
    frame = synthetic_records(steps=(1, 2, 3, 4, 5), widths=(16,), seeds=range(3))
    axes = _draw("gap_against_n", frame)
    assert axes.shape == (1, 2)
    for ax, k in zip(axes.flat, (2, 5), strict=True):
        fixed = {"solver__name": "nag", "solver__steps": k}
        expected = _means(frame, "reasoning/training_size", "gap_excess", "data.n_train", **fixed)
        _assert_curve(ax, "NAG: excess gap", expected)
        n, predicted = _line(ax, "NAG: $n^{-1/2}$, scaled")
        np.testing.assert_allclose(predicted * np.sqrt(n), predicted[0] * np.sqrt(n[0]), rtol=1e-9)


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_has_symbol_and_unit(records, name):
    axes = _draw(name, records)
    for ax in axes.flat:
        assert "$" in ax.get_xlabel()
        assert "(dimensionless)" in ax.get_xlabel() or "(count)" in ax.get_xlabel()
    for row in axes:
        assert "(dimensionless)" in row[0].get_ylabel()
