from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unrolled.figures.curves import (
    add_caption,
    count_axis,
    least_squares_factor,
    log_if_wide,
    new_drawing,
    problem_constants,
    share_vertical,
    shared_value,
    solvers_in,
    steps_axis,
    symlog_if_wide,
    theory_values,
)
from unrolled.figures.spec import UndrawableError
from unrolled.solvers.properties import convergence


def test_least_squares_factor_agrees_with_a_general_solver():
    rng = np.random.default_rng(0)
    prediction, measured = rng.random(9), rng.random(9)
    expected = np.linalg.lstsq(prediction[:, None], measured, rcond=None)[0][0]
    assert least_squares_factor(prediction, measured) == pytest.approx(expected, rel=1e-12)
    assert least_squares_factor(np.zeros(3), measured[:3]) == 0.0


def test_theory_values_of_gd_are_its_geometric_law():
    values = theory_values(convergence, "gd", [1, 4, 9], (1.0, 0.1, 1.0))
    np.testing.assert_allclose(values, 0.9 ** np.array([1, 4, 9]), rtol=1e-9)


def test_mixed_problems_are_refused():
    rows = pd.DataFrame({"solver.step_size": [1.0, 0.5], "data.strong_convexity": 0.1, "data.smoothness": 1.0})
    assert problem_constants(rows[:1]) == (1.0, 0.1, 1.0)
    with pytest.raises(UndrawableError, match=r"expected one value of solver\.step_size"):
        problem_constants(rows)
    with pytest.raises(UndrawableError, match="got none"):
        shared_value(rows, "absent")


def test_unknown_solver_lists_the_known_ones():
    assert solvers_in(pd.DataFrame({"solver.name": ["rnn", "gd"]})) == ["gd", "rnn"]
    with pytest.raises(UndrawableError, match="no style for solver adam; known: gd, nag, rnn"):
        solvers_in(pd.DataFrame({"solver.name": ["gd", "adam"]}))


def test_logarithmic_only_where_the_range_needs_it():
    _, axes = new_drawing(1, 3)
    for ax, values in zip(axes.flat, ([1.0, 5.0], [0.01, 5.0, np.nan], [-1.0, 500.0]), strict=True):
        log_if_wide([ax], values)
    assert [ax.get_yscale() for ax in axes.flat] == ["linear", "log", "linear"]


def test_symmetric_logarithm_keeps_negative_values_in_view():
    _, axes = new_drawing(1, 2)
    means = pd.DataFrame({"mean": [-0.5, 1.0, 300.0]})
    wide = means.assign(low=means["mean"] - 0.5, high=means["mean"] + 0.5)
    symlog_if_wide(axes.flat[:1], wide)
    symlog_if_wide(axes.flat[1:], wide[:2])
    assert [ax.get_yscale() for ax in axes.flat] == ["symlog", "linear"]
    low, high = axes.flat[0].get_ylim()
    assert low < -1.0
    assert high > 300.5


def test_panels_share_limits_down_to_a_bound():
    _, axes = new_drawing(1, 2)
    axes.flat[0].set_ylim(1, 4)
    axes.flat[1].set_ylim(0.1, 2)
    share_vertical(axes.flat)
    assert {ax.get_ylim() for ax in axes.flat} == {(0.1, 4)}
    share_vertical(axes.flat, lowest=0.5)
    assert {ax.get_ylim() for ax in axes.flat} == {(0.5, 4)}


def test_ticks_are_whole_numbers():
    _, axes = new_drawing(1, 2)
    axes.flat[0].plot([2], [1])
    steps_axis(axes.flat[0])
    ticks = axes.flat[0].get_xticks()
    assert np.array_equal(ticks, np.round(ticks))
    axes.flat[1].plot([50, 1000], [1, 2])
    count_axis(axes.flat[1], [50, 60, 100, 1000])
    assert axes.flat[1].get_xticks().tolist() == [50, 100, 1000]


def test_caption_keeps_n_on_one_line():
    drawing, _ = new_drawing(1, 1)
    for padding in range(100, 140):
        add_caption(drawing, "x" * padding + " n = 20 seeds, 95 % interval")
        lines = drawing.get_supxlabel().replace("\u00a0", " ").split("\n")
        assert any("n = 20" in line for line in lines)
        assert any("95 %" in line for line in lines)
