"""Drawing of the figures on hybrid nets under attack: one function a figure, from records to the axes drawn.

Notation of the labels: k sweeps of the solver in the net, eps the radius of a perturbation in units of the raw inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unrolled.figures.curves import count_axis, legend_above, measured_curve
from unrolled.figures.hybrid_draw import SEQUENTIAL, SWEEPS_LABEL, bottom_labels, from_zero, sweeps_axis, widen_single
from unrolled.figures.hybrid_tables import (
    NORMS,
    at_radius,
    data_sets,
    list_means,
    middle_radius,
    norms_in,
    solvers_in,
    sweeps_in,
)
from unrolled.figures.intervals import mean_intervals
from unrolled.figures.spec import AxesGrid
from unrolled.figures.style import INFERENCE_STYLES, OKABE_ITO, SolverStyle

_DATA_SET_CURVES = (
    ("clean", "clean test error", OKABE_ITO["blue"]),
    ("linf", rf"PGD error, {NORMS['linf']}", OKABE_ITO["vermillion"]),
    ("l2", rf"PGD error, {NORMS['l2']}", OKABE_ITO["orange"]),
    ("gap_error", "gap: test - training error", OKABE_ITO["green"]),
)
"""Quantity, label and colour of the curves in the figure of data sets."""


def panels_of_attacks(rows: pd.DataFrame) -> tuple[int, int]:
    """Return a row for every data set with a panel for every (solver, norm)."""
    return len(data_sets(rows)), len(solvers_in(rows)) * len(norms_in(rows))


def robustness(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw accuracy under attack against the radius: PGD solid, FGSM dotted, a colour a k.

    Args:
        rows: best runs of attacked nets.
        axes: ``(data sets, solvers x norms)`` panels.

    Returns:
        The same axes.
    """
    columns = [(solver, norm) for solver in solvers_in(rows) for norm in norms_in(rows)]
    looks = _depth_looks(sweeps_in(rows))
    for line, data in zip(axes, data_sets(rows), strict=True):
        for ax, (solver, norm) in zip(line, columns, strict=True):
            own = rows[(rows["data.name"] == data) & (rows["solver.name"] == solver)]
            for attack in ("pgd", "fgsm"):
                table = list_means(own, f"attack_{norm}", f"robust_{attack}_{norm}")
                for k, look in looks.items():
                    curve = table[table["solver.steps"] == k]
                    _accuracy(ax, curve, look, solid=attack == "pgd")
            ax.set_ylim(0, 1)
            ax.set_title(f"{data}, {NORMS[norm]}\n{INFERENCE_STYLES[solver].label}")
            if ax is not line[0]:
                ax.tick_params(labelleft=False)
        line[0].set_ylabel("accuracy (share of rows)")
    bottom_labels(axes, r"radius $\epsilon$ (input units)")
    axes.flat[0].plot([], [], color="#777777", ls=":", lw=1.1, label="FGSM (PGD: solid)")
    legend_above(axes, 6)
    return axes


def _depth_looks(sweeps: Sequence[int]) -> dict[int, SolverStyle]:
    """Return a look for every k: k = 1 stands out, the others go from dark to light."""
    deeper = [k for k in sweeps if k > 1]
    shades = mpl.colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, max(1, len(deeper))))
    looks = {1: SolverStyle("$k$ = 1, feed-forward", OKABE_ITO["vermillion"], "s", "--")} if 1 in sweeps else {}
    for k, shade in zip(deeper, shades, strict=False):
        looks[k] = SolverStyle(f"$k$ = {k}", mpl.colors.to_hex(shade), "o", "-")
    return looks


def _accuracy(ax: Axes, curve: pd.DataFrame, look: SolverStyle, *, solid: bool) -> None:
    """Draw 1 - error against the radius."""
    accuracy = curve.assign(mean=1 - curve["mean"], low=1 - curve["high"], high=1 - curve["low"])
    if solid:
        measured_curve(ax, accuracy, "position", look)
    else:
        ax.plot(accuracy["position"], accuracy["mean"], color=look.color, ls=":", lw=1.1)


def panels_by_data(rows: pd.DataFrame) -> tuple[int, int]:
    """Return panels for all data sets, at most three in a row."""
    count = len(data_sets(rows))
    return -(-count // 3), min(count, 3)


def all_data_sets(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw clean error, error under PGD at the middle radius and gap in error against k, one panel a data set.

    Args:
        rows: best runs of attacked nets.
        axes: one panel a data set.

    Returns:
        The same axes.
    """
    names = data_sets(rows)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for ax, data in zip(axes.flat, names, strict=False):
        own = rows[rows["data.name"] == data]
        for name, label, colour in _DATA_SET_CURVES:
            table = _over_sweeps(own, name)
            for solver in solvers_in(rows):
                style = INFERENCE_STYLES[solver]
                curve = table[table["solver.name"] == solver] if len(table) else table
                look = SolverStyle(label, colour, style.marker, style.linestyle)
                if len(curve):
                    measured_curve(ax, curve, "solver.steps", look, label="_in the key below")
        sweeps_axis(ax, rows)
        from_zero(ax)
        ax.set(title=_radii_title(data, own), xlabel=SWEEPS_LABEL)
    for ax in axes[:, 0]:
        ax.set_ylabel("share of test rows")
    _key(axes.flat[0], rows)
    legend_above(axes, 3)
    return axes


def _key(ax: Axes, rows: pd.DataFrame) -> None:
    """Add entries for the legend: a colour for every quantity that was drawn, a line for every solver."""
    measured = {"clean", "gap_error", *norms_in(rows)}
    for name, label, colour in _DATA_SET_CURVES:
        if name in measured:
            ax.plot([], [], color=colour, lw=2.5, label=label)
    for solver in solvers_in(rows):
        style = INFERENCE_STYLES[solver]
        ax.plot([], [], color="#777777", marker=style.marker, ls=style.linestyle, label=style.label)


def _over_sweeps(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return means by solver and k of a metric, or of the error under PGD in a norm; empty where not measured."""
    if name not in NORMS:
        return mean_intervals(rows, "test_error" if name == "clean" else name, ["solver.name", "solver.steps"])
    if name not in norms_in(rows):
        return pd.DataFrame()
    return at_radius(list_means(rows, f"attack_{name}", f"robust_pgd_{name}"), middle_radius(rows, name))


def _radii_title(data: str, rows: pd.DataFrame) -> str:
    radii = ", ".join(f"{NORMS[norm]} {middle_radius(rows, norm):.3g}" for norm in norms_in(rows))
    return f"{data}\nradius {radii}"


def panels_of_masking(rows: pd.DataFrame) -> tuple[int, int]:
    """Return a row for every data set with a panel for every solver."""
    return len(data_sets(rows)), len(solvers_in(rows))


def masking(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the error under PGD against its steps, with random search of the same radius as a level.

    Args:
        rows: best runs of attacked nets.
        axes: ``(data sets, solvers)`` panels.

    Returns:
        The same axes.
    """
    looks = _depth_looks(sweeps_in(rows))
    means = list_means(rows, "attack_steps", "robust_by_steps_linf")
    steps = sorted(int(n) for n in means["position"].unique())
    for line, data in zip(axes, data_sets(rows), strict=True):
        for ax, solver in zip(line, solvers_in(rows), strict=True):
            own = rows[(rows["data.name"] == data) & (rows["solver.name"] == solver)]
            here = means[(means["data.name"] == data) & (means["solver.name"] == solver)]
            for k, look in looks.items():
                measured_curve(ax, here[here["solver.steps"] == k], "position", look)
            _levels(ax, own, looks)
            count_axis(ax, steps)
            widen_single(ax, steps)
            ax.set_ylim(0, 1.02)
            ax.set_title(f"{data}, {INFERENCE_STYLES[solver].label}\n{_far_note(own)}")
        line[0].set_ylabel("error (share of rows)")
    bottom_labels(axes, "PGD steps (count)")
    axes.flat[0].plot([], [], color="#777777", ls=":", lw=1.1, label="random search")
    legend_above(axes, 6)
    return axes


def _levels(ax: Axes, rows: pd.DataFrame, looks: dict[int, SolverStyle]) -> None:
    """Draw the error under random search at the middle radius as a dotted level for every k."""
    table = list_means(rows, "attack_linf", "robust_random_linf")
    if table.empty:
        return
    for k, error in at_radius(table, middle_radius(rows, "linf"))[["solver.steps", "mean"]].itertuples(index=False):
        ax.axhline(error, color=looks[int(k)].color, ls=":", lw=1.1)


def _far_note(rows: pd.DataFrame) -> str:
    """Return the words on the error at the far radius."""
    far = rows["robust_far_linf"].astype(float).dropna() if "robust_far_linf" in rows else pd.Series(dtype=float)
    return f"at the far radius: error ≥ {far.min():.2f}" if len(far) else "far radius not measured"
