"""Pieces that figures are drawn from: a measured curve with its band, a prediction, a grid of panels, a legend."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, ScalarFormatter

from unrolled.figures.spec import AxesGrid, UndrawableError, first_axes
from unrolled.figures.style import PAGE_WIDTH, SOLVER_STYLES, THEORY_LINE, SolverStyle

WIDE_RANGE = 30.0
"""Ratio of largest to smallest value from which an axis is logarithmic: below, a linear one shows all of it."""

CAPTION_CHARACTERS = 128
"""Characters a line of the caption holds at 7 points on :data:`~unrolled.figures.style.PAGE_WIDTH` inches."""

STEPS_LABEL = "solver steps $k$ (dimensionless)"


def new_drawing(rows: int, columns: int) -> tuple[Drawing, AxesGrid]:
    """Return an empty figure of page width and its grid of panels, without touching matplotlib's global state.

    Args:
        rows: rows of panels.
        columns: columns of panels.

    Returns:
        Figure and object array ``(rows, columns)`` of axes.
    """
    drawing = Drawing(figsize=(PAGE_WIDTH, 2.35 * rows + 0.75), layout="constrained")
    axes = drawing.subplots(rows, columns, squeeze=False)
    return drawing, axes


def add_caption(drawing: Drawing, caption: str) -> None:
    """Write the caption below the panels, inside the picture.

    Args:
        drawing: figure with constrained layout, which makes room for it.
        caption: any length; it is wrapped.
    """
    # "n = 20" and "95 %" stay on one line: textwrap does not break at a no-break space.
    joined = re.sub(r"(\w) = (\S)", "\\1\u00a0=\u00a0\\2", caption).replace(" %", "\u00a0%")
    text = "\n".join(textwrap.wrap(joined, CAPTION_CHARACTERS, break_long_words=False))
    drawing.supxlabel(text, x=0.012, ha="left", fontsize=7.0, color="#333333", linespacing=1.35)


def legend_above(axes: AxesGrid, columns: int) -> None:
    """Put one legend for all panels above them, every label once, in the order of drawing.

    Args:
        axes: the panels.
        columns: columns of the legend.
    """
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure = first_axes(axes).get_figure()
    if figure is not None and handles:
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=columns)


def measured_curve(ax: Axes, table: pd.DataFrame, x: str, style: SolverStyle, label: str | None = None) -> None:
    """Draw means with markers and the interval as a band.

    Args:
        ax: panel.
        table: output of :func:`~unrolled.figures.intervals.mean_intervals`, sorted by ``x``.
        x: column of the horizontal axis.
        style: the solver's style.
        label: entry in the legend; the solver's name by default.
    """
    ax.plot(
        table[x], table["mean"], color=style.color, marker=style.marker, ls=style.linestyle, label=label or style.label
    )
    ax.fill_between(table[x], table["low"], table["high"], color=style.color, alpha=0.2, linewidth=0)


def faint_curve(ax: Axes, table: pd.DataFrame, x: str, style: SolverStyle, label: str) -> None:
    """Draw means as a thin pale line without markers, for a quantity that stands behind the main one."""
    ax.plot(
        table[x],
        table["mean"],
        color=style.color,
        ls=style.linestyle,
        marker=_single_marker(len(table)),
        lw=1.0,
        alpha=0.35,
        label=label,
    )


def predicted_curve(ax: Axes, x: Iterable[float], y: Iterable[float], style: SolverStyle, label: str) -> None:
    """Draw a prediction: dotted, without markers, in the solver's colour."""
    values = list(y)
    ax.plot(list(x), values, color=style.color, marker=_single_marker(len(values)), label=label, **THEORY_LINE)


def _single_marker(points: int) -> str:
    """Return a marker for a curve of one point, which has no line, and none otherwise."""
    return "_" if points == 1 else "None"


def least_squares_factor(prediction: np.ndarray, measured: np.ndarray) -> float:
    """Return the c that minimises sum (measured - c prediction)^2: the one free number of a scaled prediction.

    Args:
        prediction: values at the measured points, not all 0.
        measured: values of the same shape.

    Example:
        >>> least_squares_factor(np.array([1.0, 2.0]), np.array([3.0, 6.0]))
        3.0
    """
    weight = float(np.sum(prediction**2))
    return float(np.sum(prediction * measured)) / weight if weight > 0 else 0.0


@lru_cache(maxsize=4096)
def _evaluate(function: Callable[..., float], solver: str, k: int, s: float, mu: float, L: float) -> float:
    return float(function(solver, k, s, mu, L))


def theory_values(
    function: Callable[..., float], solver: str, steps: Iterable[float], problem: tuple[float, float, float]
) -> np.ndarray:
    """Return a closed form of :mod:`unrolled.solvers.properties` at several numbers of steps.

    Args:
        function: called as ``function(solver, k, s, mu, L)``.
        solver: ``gd`` or ``nag``.
        steps: numbers of steps k.
        problem: (s, mu, L), see :func:`problem_constants`.

    Returns:
        Array with one value a k.
    """
    return np.array([_evaluate(function, solver, int(k), *problem) for k in steps])


def problem_constants(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Return the step size s, the strong convexity mu and the smoothness L that rows share.

    Args:
        rows: records of one problem and one fixed step size.

    Returns:
        (s, mu, L).

    Raises:
        UndrawableError: the rows hold several values of one of them.
    """
    return (
        shared_value(rows, "solver.step_size"),
        shared_value(rows, "data.strong_convexity"),
        shared_value(rows, "data.smoothness"),
    )


def shared_value(rows: pd.DataFrame, column: str) -> float:
    """Return the one value that a column has in all rows.

    Raises:
        UndrawableError: the column has none or several values, so a mean over the rows would mix problems.
    """
    values = sorted(set(rows[column].dropna().astype(float))) if column in rows else []
    if len(values) != 1:
        raise UndrawableError(f"expected one value of {column} in the records, got {values or 'none'}: split the runs")
    return values[0]


def solvers_in(rows: pd.DataFrame) -> list[str]:
    """Return the solvers of the rows in the order of legends.

    Raises:
        UndrawableError: a solver has no style.
    """
    present = set(rows["solver.name"])
    unknown = sorted(present - set(SOLVER_STYLES))
    if unknown:
        raise UndrawableError(f"no style for solver {', '.join(unknown)}; known: {', '.join(SOLVER_STYLES)}")
    return [name for name in SOLVER_STYLES if name in present]


def widths_in(rows: pd.DataFrame) -> list[int]:
    """Return the hidden widths of the rows, ascending."""
    return sorted(int(width) for width in rows["network.width"].dropna().unique())


def width_title(width: int) -> str:
    """Return a panel's title for a hidden width.

    Example:
        >>> width_title(0), width_title(16)
        ('no hidden layer', 'hidden width 16')
    """
    return "no hidden layer" if width == 0 else f"hidden width {width}"


def log_if_wide(axes: Iterable[Axes], values: Iterable[float]) -> None:
    """Make the vertical axes logarithmic where positive values span more than :data:`WIDE_RANGE`."""
    finite = [value for value in values if np.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > WIDE_RANGE:
        for ax in axes:
            ax.set_yscale("log")


def symlog_if_wide(axes: Iterable[Axes], table: pd.DataFrame) -> None:
    """Make vertical axes that may hold negative values logarithmic away from 0, where the means need it.

    Args:
        axes: panels that share one scale.
        table: means with ``low`` and ``high``; the axis is linear up to the decade of their median size.
    """
    sizes = table["mean"].abs()
    sizes = sizes[sizes > 0]
    if sizes.empty or sizes.max() <= WIDE_RANGE * sizes.median():
        return
    threshold = 10.0 ** np.round(np.log10(sizes.median()))
    bottom = min(0.0, float(table["mean"].min()), float(table["low"].min()))
    top = 2.0 * max(float(table["mean"].max()), float(table["high"].max()))
    for ax in axes:
        ax.set_yscale("symlog", linthresh=threshold)
        ax.set_ylim(1.5 * bottom - 0.2 * threshold, top)


def share_vertical(axes: Iterable[Axes], lowest: float | None = None) -> None:
    """Give all panels the same vertical limits, so that heights compare across them.

    Args:
        axes: the panels.
        lowest: the axis does not reach below this.
    """
    panels = list(axes)
    limits = [ax.get_ylim() for ax in panels]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for ax in panels:
        ax.set_ylim(low if lowest is None else max(low, lowest), high)


def steps_axis(ax: Axes) -> None:
    """Label the horizontal axis as solver steps, with whole numbers; call it after drawing."""
    ax.set_xlabel(STEPS_LABEL)
    low, high = ax.get_xlim()
    if high - low < 2.0:  # a single k: matplotlib would zoom in until only fractions are left
        ax.set_xlim(0.5 * (low + high) - 1.0, 0.5 * (low + high) + 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def count_axis(ax: Axes, counts: Iterable[int]) -> None:
    """Make the horizontal axis logarithmic with plain numbers at the measured counts.

    Args:
        ax: panel.
        counts: where points are; at least one.
    """
    ax.set_xscale("log")
    ordered = sorted(counts)
    shown = ordered[:1]
    for count in ordered[1:]:
        if count >= 1.6 * shown[-1]:  # numbers closer than this would print over each other
            shown.append(count)
    ax.xaxis.set_major_locator(FixedLocator([float(count) for count in shown]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(ScalarFormatter())
