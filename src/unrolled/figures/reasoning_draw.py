"""Drawing of the reasoning-layer figures: one function a figure, from records and a grid of axes to the axes drawn.

Notation of the labels: k solver steps, s step size, mu and L the ends of the spectrum of Q, theta the weights of the
eigenvalue net, star the true energy, n training rows.

Reference:
    Chen, Zhang, Reisinger, Song, "Understanding Deep Architectures with Reasoning Layer", NeurIPS 2020
    (arXiv 2006.13401).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unrolled.figures.curves import (
    count_axis,
    faint_curve,
    least_squares_factor,
    legend_above,
    log_if_wide,
    measured_curve,
    predicted_curve,
    problem_constants,
    share_vertical,
    shared_value,
    solvers_in,
    steps_axis,
    symlog_if_wide,
    theory_values,
    width_title,
    widths_in,
)
from unrolled.figures.intervals import mean_intervals
from unrolled.figures.spec import AxesGrid, UndrawableError
from unrolled.figures.style import OKABE_ITO, SOLVER_STYLES
from unrolled.solvers.properties import convergence, stab_times_cvg, step_range

PREDICTED_SOLVERS = ("gd", "nag")
"""Solvers with closed forms; a trained RNN cell has none."""

GAP_LABEL = "generalisation gap\n(dimensionless)"

_PROPERTIES = (
    ("cvg", "cvg", "convergence", r"$\mathrm{Cvg}(k)$ (dimensionless)"),
    ("stab", "stab", "stability to a change of $Q$", r"$\mathrm{Stab}(k)$ (dimensionless)"),
    ("stab_b", "stab", "stability to a change of $b$", r"$\mathrm{Stab}_b(k)$ (dimensionless)"),
    ("sens", "sens", "sensitivity to $s$", r"$\mathrm{Sens}(k)$ (dimensionless)"),
)
"""Column prefix of exact and measured values, of the rate, panel title, label."""


def panels_by_width(rows: pd.DataFrame) -> tuple[int, int]:
    """Return one row with a panel for every hidden width."""
    return 1, len(widths_in(rows))


def panels_with_rnn(rows: pd.DataFrame) -> tuple[int, int]:
    """Return a row of panels by width, and a second one where there are RNN layers, whose gap has another scale."""
    return (2 if "rnn" in set(rows["solver.name"]) else 1), len(widths_in(rows))


def panels_by_steps(rows: pd.DataFrame) -> tuple[int, int]:
    """Return one row a hidden width and one column a number of steps."""
    return len(widths_in(rows)), rows["solver.steps"].nunique()


def four_panels(rows: pd.DataFrame) -> tuple[int, int]:
    """Return two rows of two panels, whatever the records."""
    return 2, 2


def one_step_size(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows at one step size: 1/L where it is there, else the middle one.

    Args:
        rows: records of task ``properties``.

    Raises:
        UndrawableError: no row has a step size, or the rows are of several problems.
    """
    sizes = sorted(rows["solver.step_size"].dropna().unique())
    if not sizes:
        raise UndrawableError("the records of task properties have no solver.step_size")
    wanted = 1.0 / shared_value(rows, "data.smoothness")
    chosen = wanted if wanted in sizes else sizes[len(sizes) // 2]
    return rows[rows["solver.step_size"] == chosen]


def algorithm_properties(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw convergence, both stabilities and sensitivity against k: exact, measured, and the paper's rate.

    A rate is known up to a constant; here it is the ratio of the largest exact value to the largest value of the
    rate over the k of the records, one constant a panel and solver.

    Args:
        rows: records of task ``properties`` at one step size, see :func:`one_step_size`.
        axes: ``(2, 2)`` panels.

    Returns:
        The same axes.
    """
    for ax, (exact, rate, title, label) in zip(axes.flat, _PROPERTIES, strict=True):
        for solver in solvers_in(rows):
            style = SOLVER_STYLES[solver]
            own = rows[rows["solver.name"] == solver].sort_values("solver.steps")
            k, curve, paper = own["solver.steps"], own[f"{exact}_exact"], own[f"{rate}_rate"]
            constant = float(curve.max() / paper.max())
            ax.plot(k, curve, color=style.color, ls=style.linestyle, label=f"{style.label} exact")
            predicted_curve(ax, k, constant * paper, style, f"{style.label} rate of the paper × one constant")
            measured = {"color": style.color, "marker": style.marker, "ls": "None", "mfc": "white", "mew": 0.9}
            ax.plot(k, own[f"{exact}_measured"], label=f"{style.label} measured on the layer", **measured)
        ax.set(title=title, ylabel=label)
        steps_axis(ax)
    log_if_wide([axes.flat[0]], rows["cvg_exact"])
    legend_above(axes, 2)
    return axes


def training_error(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the training error against k, one panel a hidden width, with Cvg(k) scaled to the first point.

    Args:
        rows: best runs with a fixed step size; RNN layers where there are any.
        axes: ``(1, widths)`` panels.

    Returns:
        The same axes.
    """
    label = "training error,\nmean " + r"$\Vert y_\theta - y^*\Vert_2$ (dimensionless)"
    return _error_against_steps(rows, axes, "train_loss", label)


def representation_error(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the distance of the learned to the true quadratic form against k, with Cvg(k) scaled to the first point.

    Args:
        rows: best runs with a fixed step size.
        axes: ``(1, widths)`` panels.

    Returns:
        The same axes.
    """
    label = "representation error,\nmean " + r"$\Vert Q_\theta - Q^*\Vert_2$ (dimensionless)"
    return _error_against_steps(rows, axes, "representation_error", label)


def _error_against_steps(rows: pd.DataFrame, axes: AxesGrid, column: str, label: str) -> AxesGrid:
    table = mean_intervals(rows, column, ["network.width", "solver.name", "solver.steps"])
    problem = problem_constants(rows[rows["solver.name"].isin(PREDICTED_SOLVERS)])
    for ax, width in zip(axes.flat, widths_in(rows), strict=True):
        for solver, own in _curves(table, width):
            style = SOLVER_STYLES[solver]
            measured_curve(ax, own, "solver.steps", style)
            if solver in PREDICTED_SOLVERS:
                k = np.arange(own["solver.steps"].min(), own["solver.steps"].max() + 1)
                prediction = theory_values(convergence, solver, k, problem)
                scaled = prediction * (own["mean"].iloc[0] / prediction[0])
                predicted_curve(ax, k, scaled, style, f"{style.label}: Cvg$(k)$, scaled to the first point")
        ax.set_title(width_title(width))
        steps_axis(ax)
    axes.flat[0].set_ylabel(label)
    log_if_wide(axes.flat, table["mean"])
    # A scaled prediction that leaves the measurement behind must not squeeze it: the axis ends below the last point.
    share_vertical(axes.flat, lowest=0.5 * float(table["mean"].min()))
    legend_above(axes, 3 if "rnn" in set(rows["solver.name"]) else 2)
    return axes


def generalization_gap(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the gap against k, one panel a hidden width: gap_excess in front, raw gap faint, Stab Cvg scaled.

    The prediction's factor is fitted by least squares to the means of ``gap_excess``, one a panel and solver.
    RNN layers stand in a second row, whose axis is symmetric-logarithmic where the range needs it.

    Args:
        rows: best runs with a fixed step size; RNN layers where there are any.
        axes: ``(1, widths)`` panels, or ``(2, widths)`` with RNN layers.

    Returns:
        The same axes.
    """
    by = ["network.width", "solver.name", "solver.steps"]
    excess, raw = mean_intervals(rows, "gap_excess", by), mean_intervals(rows, "gap", by)
    problem = problem_constants(rows[rows["solver.name"].isin(PREDICTED_SOLVERS)])
    for column, width in enumerate(widths_in(rows)):
        ax = axes[0, column]
        for solver, own in _curves(excess, width, PREDICTED_SOLVERS):
            _gap_with_prediction(ax, own, dict(_curves(raw, width)).get(solver, own[:0]), solver, problem)
        ax.set_title(width_title(width))
        steps_axis(ax)
    if len(axes) > 1:
        _gap_with_rnn(axes[1], excess, raw, widths_in(rows))
    for row in axes:
        row[0].set_ylabel(GAP_LABEL)
    legend_above(axes, 3 if "rnn" in set(rows["solver.name"]) else 2)
    return axes


def _gap_with_prediction(
    ax: Axes, excess: pd.DataFrame, raw: pd.DataFrame, solver: str, problem: tuple[float, float, float]
) -> None:
    """Draw one solver's gap and its prediction in one panel."""
    style = SOLVER_STYLES[solver]
    measured_curve(ax, excess, "solver.steps", style, f"{style.label}: excess gap")
    faint_curve(ax, raw, "solver.steps", style, f"{style.label}: raw gap")
    at_points = theory_values(stab_times_cvg, solver, excess["solver.steps"], problem)
    factor = least_squares_factor(at_points, excess["mean"].to_numpy(float))
    k = np.arange(excess["solver.steps"].min(), excess["solver.steps"].max() + 1)
    prediction = factor * theory_values(stab_times_cvg, solver, k, problem)
    predicted_curve(ax, k, prediction, style, f"{style.label}: Stab$(k)\\cdot$Cvg$(k)$, scaled")
    ax.axhline(0.0, color=OKABE_ITO["black"], lw=0.6)


def _gap_with_rnn(axes: np.ndarray, excess: pd.DataFrame, raw: pd.DataFrame, widths: list[int]) -> None:
    """Draw the second row: the RNN layer's gap with those of GD and NAG at its own numbers of steps."""
    steps = sorted(excess.loc[excess["solver.name"] == "rnn", "solver.steps"].unique())
    for ax, width in zip(axes, widths, strict=True):
        curves = dict(_curves(excess[excess["solver.steps"].isin(steps)], width))
        if "rnn" not in curves:
            ax.text(0.5, 0.5, "no RNN values", transform=ax.transAxes, ha="center", va="center")
        for solver, own in curves.items():
            style = SOLVER_STYLES[solver]
            measured_curve(ax, own, "solver.steps", style, f"{style.label}: excess gap")
            if solver == "rnn":
                raws = dict(_curves(raw, width)).get(solver, own[:0])
                faint_curve(ax, raws, "solver.steps", style, f"{style.label}: raw gap")
        ax.axhline(0.0, color=OKABE_ITO["black"], lw=0.6)
        ax.set_title(f"{width_title(width)}, with RNN")
        steps_axis(ax)
    symlog_if_wide(axes, excess[excess["solver.steps"].isin(steps)])


def learned_step_size(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the learned step size against k with every seed as a dot and the borders of the admissible range.

    Args:
        rows: best runs with a learned step size.
        axes: ``(1, widths)`` panels.

    Returns:
        The same axes.
    """
    rows = rows[rows["solver.name"].isin(PREDICTED_SOLVERS)]
    table = mean_intervals(rows, "learned_step", ["network.width", "solver.name", "solver.steps"])
    mu, L = shared_value(rows, "data.strong_convexity"), shared_value(rows, "data.smoothness")
    low = shared_value(rows, "solver.min_step_size")
    for ax, width in zip(axes.flat, widths_in(rows), strict=True):
        for solver, own in _curves(table, width):
            style = SOLVER_STYLES[solver]
            seeds = rows[(rows["network.width"] == width) & (rows["solver.name"] == solver)]
            dots = {"ls": "None", "marker": ".", "ms": 3, "color": style.color, "alpha": 0.3}
            ax.plot(seeds["solver.steps"], seeds["learned_step"], **dots)
            measured_curve(ax, own, "solver.steps", style)
            _, high = step_range(solver, mu, L, low)
            ax.axhline(high, color=style.color, ls=":", lw=1.2, label=f"{style.label}: upper border of the range")
        ax.axhline(low, color=OKABE_ITO["black"], ls=":", lw=1.2, label="lower border $c_0$, both")
        ax.set_title(width_title(width))
        steps_axis(ax)
    axes.flat[0].set_ylabel("learned step size $s$\n(dimensionless)")
    share_vertical(axes.flat)
    legend_above(axes, 3)
    return axes


def gap_against_n(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the gap against the number of training rows with the bound's n^(-1/2), one panel a k and hidden width.

    Args:
        rows: best runs of the sweep over training-set sizes.
        axes: ``(widths, numbers of steps)`` panels.

    Returns:
        The same axes.
    """
    by = ["network.width", "solver.steps", "solver.name", "data.n_train"]
    excess, raw = mean_intervals(rows, "gap_excess", by), mean_intervals(rows, "gap", by)
    steps = sorted(int(k) for k in rows["solver.steps"].unique())
    for row, width in zip(axes, widths_in(rows), strict=True):
        for ax, k in zip(row, steps, strict=True):
            raws = dict(_curves(raw[raw["solver.steps"] == k], width))
            for solver, own in _curves(excess[excess["solver.steps"] == k], width):
                _gap_over_rows(ax, own, raws.get(solver, own[:0]), solver)
            ax.axhline(0.0, color=OKABE_ITO["black"], lw=0.6)
            ax.set(title=f"$k$ = {k}, {width_title(width)}", xlabel="training rows $n$ (count)")
            count_axis(ax, sorted(rows["data.n_train"].unique()))
        row[0].set_ylabel(GAP_LABEL)
    legend_above(axes, 2)
    return axes


def _gap_over_rows(ax: Axes, excess: pd.DataFrame, raw: pd.DataFrame, solver: str) -> None:
    style = SOLVER_STYLES[solver]
    measured_curve(ax, excess, "data.n_train", style, f"{style.label}: excess gap")
    faint_curve(ax, raw, "data.n_train", style, f"{style.label}: raw gap")
    n = excess["data.n_train"].to_numpy(float)
    factor = least_squares_factor(n**-0.5, excess["mean"].to_numpy(float))
    dense = np.geomspace(n.min(), n.max(), 50)
    predicted_curve(ax, dense, factor * dense**-0.5, style, f"{style.label}: $n^{{-1/2}}$, scaled")


def _curves(
    table: pd.DataFrame, width: int, solvers: tuple[str, ...] = tuple(SOLVER_STYLES)
) -> list[tuple[str, pd.DataFrame]]:
    """Return (solver, its rows of the table) for one hidden width, in the order of legends."""
    own = table[table["network.width"] == width]
    return [(name, part) for name in solvers if not (part := own[own["solver.name"] == name]).empty]
