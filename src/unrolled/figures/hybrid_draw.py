"""Drawing of the figures on training and inference of hybrid nets: from records and axes to the axes drawn.

Notation of the labels: k sweeps of the solver in the net, s the factor on its safe step, E the objective of inference
with its minimum E*, w* its minimiser, min F the minimum of the deep frame potential over all weights of a structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FixedLocator, NullLocator

from unrolled.figures.curves import count_axis, legend_above, measured_curve
from unrolled.figures.frames_tables import kinds_in, lowest_potentials, trained_nets
from unrolled.figures.hybrid_tables import (
    data_sets,
    list_means,
    solvers_in,
    sweeps_in,
)
from unrolled.figures.intervals import mean_intervals
from unrolled.figures.spec import AxesGrid, UndrawableError
from unrolled.figures.style import INFERENCE_STYLES, KIND_STYLES, OKABE_ITO

SWEEPS_LABEL = "sweeps $k$ (count)"
ERRORS = {
    "train_error": "training error (share of rows)",
    "test_error": "test error (share of rows)",
    "gap": "gap (nats)",
}
"""Metric and label of a panel."""

SEQUENTIAL = "cividis"
"""Colour scale that is even in lightness and told apart under every common colour blindness."""

FLOOR = 1e-8
"""Relative objectives and distances below this are rounding of 32-bit numbers and are not drawn."""


def three_panels_a_data_set(rows: pd.DataFrame) -> tuple[int, int]:
    """Return a row of three panels for every data set."""
    return len(data_sets(rows)), 3


def unrolling_depth(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw training error, test error and gap against the number of sweeps, a line a solver.

    Args:
        rows: best runs.
        axes: ``(data sets, 3)`` panels.

    Returns:
        The same axes.
    """
    by = ["data.name", "solver.name", "solver.steps"]
    tables = {metric: mean_intervals(rows, metric, by) for metric in ERRORS}
    for line, data in zip(axes, data_sets(rows), strict=True):
        for ax, (metric, label) in zip(line, ERRORS.items(), strict=True):
            own = tables[metric][tables[metric]["data.name"] == data]
            for solver in solvers_in(rows):
                measured_curve(ax, own[own["solver.name"] == solver], "solver.steps", INFERENCE_STYLES[solver])
            sweeps_axis(ax, rows)
            from_zero(ax)
            ax.set(title=data, ylabel=label)
    bottom_labels(axes, SWEEPS_LABEL)
    legend_above(axes, 4)
    return axes


def sweeps_axis(ax: Axes, rows: pd.DataFrame) -> None:
    """Make the horizontal axis one of sweeps: logarithmic, with plain numbers at the k of the rows."""
    count_axis(ax, sweeps_in(rows))
    widen_single(ax, sweeps_in(rows))


def widen_single(ax: Axes, values: Sequence[float]) -> None:
    """Give a logarithmic axis with a single value a range around it."""
    if len(values) == 1:
        ax.set_xlim(0.5 * values[0], 2.0 * values[0])


def from_zero(ax: Axes) -> None:
    """Let the vertical axis start at 0 where all values are positive."""
    if ax.get_ylim()[0] > 0 or min(_heights(ax), default=0.0) >= 0:
        ax.set_ylim(bottom=0)


def _heights(ax: Axes) -> list[float]:
    return [float(y) for line in ax.lines for y in np.asarray(line.get_ydata(), float) if np.isfinite(y)]


def bottom_labels(axes: AxesGrid, label: str) -> None:
    """Label the horizontal axes of the lowest row of panels."""
    for ax in axes[-1]:
        ax.set_xlabel(label)


def panels_of_heat(rows: pd.DataFrame) -> tuple[int, int]:
    """Return two rows a data set, test error and gap, with a column for every solver."""
    return 2 * len(data_sets(rows)), len(solvers_in(rows))


def step_heatmap(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw test error and gap over sweeps and step size, one panel a solver; a row shares its colours.

    Args:
        rows: best runs.
        axes: ``(2 x data sets, solvers)`` panels.

    Returns:
        The same axes.
    """
    sweeps, sizes = sweeps_in(rows), sorted(rows["solver.step_size"].dropna().unique())
    by = ["data.name", "solver.name", "solver.step_size", "solver.steps"]
    for i, data in enumerate(data_sets(rows)):
        for j, metric in enumerate(("test_error", "gap")):
            table = mean_intervals(rows, metric, by)
            own, line = table[table["data.name"] == data], axes[2 * i + j]
            ends = (float(own["mean"].min()), float(own["mean"].max()))
            image = None
            for ax, solver in zip(line, solvers_in(rows), strict=True):
                here = own[own["solver.name"] == solver].set_index(["solver.step_size", "solver.steps"])["mean"]
                values = np.array([[here.get((size, k), np.nan) for k in sweeps] for size in sizes])
                image = _heat(ax, values, ends)
                ax.set_xticks(range(len(sweeps)), [f"{k}" for k in sweeps])
                ax.set_yticks(range(len(sizes)), [f"{size:g}" for size in sizes] if ax is line[0] else [])
                ax.set_title(f"{data}\n{INFERENCE_STYLES[solver].label}" if j == 0 else "")
            line[0].set_ylabel("step size $s$ (factor)")
            drawing = axes.flat[0].get_figure()
            if image is not None and isinstance(drawing, Drawing):
                drawing.colorbar(image, ax=list(line), label=ERRORS[metric], aspect=14, pad=0.01)
    bottom_labels(axes, SWEEPS_LABEL)
    return axes


def _heat(ax: Axes, values: np.ndarray, ends: tuple[float, float]) -> Any:
    """Draw a matrix with its numbers in it; cells without a run stay white."""
    ax.grid(visible=False)
    image = ax.imshow(values, cmap=SEQUENTIAL, vmin=ends[0], vmax=ends[1], aspect="auto", origin="lower")
    middle = 0.5 * (ends[0] + ends[1])
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < middle else "black"  # the scale goes from dark to light
            text = f"{value:.2f}".removeprefix("0") if 0 <= value < 1 else f"{value:.2g}"
            ax.text(column, row, text, ha="center", va="center", fontsize=6.0, color=colour)
    ax.tick_params(length=0)
    return image


def width_skip(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw test error, gap and minimum potential against the width, a line a kind of skip connections.

    Args:
        rows: best runs, and records of minimum potentials where there are any.
        axes: ``(data sets, 3)`` panels.

    Returns:
        The same axes.

    Raises:
        UndrawableError: the nets are given by the widths of all their layers.
    """
    nets = trained_nets(rows).dropna(subset=["network.width"])
    if nets.empty:
        raise UndrawableError("no net in the records has network.width: set it in place of network.widths")
    minima = _minima(rows)
    nets = nets.drop(columns="f_min", errors="ignore").merge(minima, on=["structure", "parameters"], how="left")
    widths = sorted(int(width) for width in nets["network.width"].unique())
    by = ["data.name", "network.skip", "network.width"]
    tables = [mean_intervals(nets, metric, by) for metric in ("test_error", "gap")]
    for line, data in zip(axes, data_sets(rows), strict=True):
        for kind in kinds_in(nets):
            style = KIND_STYLES[kind]
            for ax, table in zip(line, tables, strict=False):
                own = table[(table["data.name"] == data) & (table["network.skip"] == kind)]
                measured_curve(ax, own, "network.width", style)
            own = nets[(nets["data.name"] == data) & (nets["network.skip"] == kind)]
            own = own.dropna(subset=["f_min"]).drop_duplicates("network.width").sort_values("network.width")
            look = {"color": style.color, "marker": style.marker, "ls": style.linestyle}
            line[2].plot(own["network.width"], own["f_min"], **look)
        if minima.empty:
            line[2].text(0.5, 0.5, "no minima in the records", transform=line[2].transAxes, ha="center", va="center")
        labels = (ERRORS["test_error"], ERRORS["gap"], "min $F$ (dimensionless)")
        for ax, label in zip(line, labels, strict=True):
            count_axis(ax, widths)
            ax.set_xlim(widths[0] / 1.2, widths[-1] * 1.2)
            from_zero(ax)
            ax.set(title=data, ylabel=label)
    bottom_labels(axes, "units a layer (count)")
    legend_above(axes, 4)
    return axes


def _minima(rows: pd.DataFrame) -> pd.DataFrame:
    known = "f_min" in rows and rows["f_min"].notna().any()
    return lowest_potentials(rows) if known else pd.DataFrame(columns=["structure", "parameters", "f_min"])


def two_panels_a_data_set(rows: pd.DataFrame) -> tuple[int, int]:
    """Return a row of two panels for every data set."""
    return len(data_sets(rows)), 2


def inference(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw objective and distance to the minimiser over the sweeps of trained nets of one k, run beyond k.

    Args:
        rows: best runs of one k, see :func:`~unrolled.figures.hybrid_tables.one_depth`.
        axes: ``(data sets, 2)`` panels.

    Returns:
        The same axes.
    """
    labels = ("relative objective\n$(E - E^*) / (E(0) - E^*)$", "distance to the minimiser\n$|w - w^*| / |w^*|$")
    (k,) = sweeps_in(rows)
    tables = [list_means(rows, "inference_sweep", f"inference_{name}") for name in ("objective", "distance")]
    for line, data in zip(axes, data_sets(rows), strict=True):
        for ax, label, table in zip(line, labels, tables, strict=True):
            own = table[(table["data.name"] == data) & (table["mean"] > FLOOR)]
            for solver in solvers_in(rows):
                curve = own[own["solver.name"] == solver]
                style = INFERENCE_STYLES[solver]
                ax.plot(curve["position"], curve["mean"], color=style.color, ls=style.linestyle, label=style.label)
                band = curve.assign(low=curve["low"].clip(lower=FLOOR))
                ax.fill_between(band["position"], band["low"], band["high"], color=style.color, alpha=0.2, lw=0)
            ax.axvline(k, color=OKABE_ITO["black"], ls="-", lw=0.8, label=f"$k$ = {k}, the sweeps of the net")
            ax.set_yscale("log")
            ax.yaxis.set_minor_locator(NullLocator())
            _sweep_positions(ax, own["position"])
            ax.set(title=f"{data}, nets trained with $k$ = {k}", ylabel=label)
    bottom_labels(axes, "sweep of the solver on the trained net (count)")
    legend_above(axes, 3)
    return axes


def _sweep_positions(ax: Axes, positions: pd.Series) -> None:
    """Make the horizontal axis logarithmic from 1 on, with room for sweep 0."""
    last = float(max(positions.max(), 2.0)) if len(positions) else 2.0
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    steps = (1.0, 2.0, 5.0) if last <= 200 else (1.0,)
    decades = [step * 10.0**i for i in range(int(np.log10(last)) + 1) for step in steps]
    shown = [0.0, *(tick for tick in decades if tick <= last)]
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(-0.15, 1.15 * last)
