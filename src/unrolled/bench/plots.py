"""Small plots of the bench: every point is a figure of ``bench.json``."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from unrolled.figures.style import OKABE_ITO, PAGE_WIDTH, SOLVER_STYLES, figure_style

Figures = Mapping[str, object]
HEIGHT = 2.5
STEP = "µs a trial-step"


def series(figures: Figures, pattern: str) -> dict[int, float]:
    r"""Return the numbers of a family of figures by the number in their names, in its order.

    Args:
        figures: name -> value.
        pattern: regular expression whose one group is that number.

    Example:
        >>> series({"us_16": 2.0, "us_4": 3.0, "other_1": 9.0}, r"us_(\d+)")
        {4: 3.0, 16: 2.0}
    """
    found = {int(m[1]): float(str(value)) for key, value in figures.items() if (m := re.fullmatch(pattern, key))}
    return dict(sorted(found.items()))


def draw_trials(ax: Axes, figures: Figures) -> Axes:
    """Draw the time of a trial-step over the trials of a pack."""
    _line(ax, series(figures, r"trainer_us_trials_(\d+)"), "blue")
    return _named(ax, "trials in the pack", STEP, log=True)


def draw_cores(ax: Axes, figures: Figures) -> Axes:
    """Draw the speed-up over cores, beside the ideal."""
    points = {1: 1.0} | series(figures, r"trainer_speedup_(\d+)_cores")
    _line(ax, points, "blue", label="pack of 256")
    ax.plot(list(points), list(points), ":", color=OKABE_ITO["black"], label="ideal")
    ax.set_xticks(list(points))
    ax.set_ylim(bottom=0)
    ax.legend()
    return _named(ax, "cores", "speed-up over one core")


def draw_steps(ax: Axes, figures: Figures) -> Axes:
    """Draw the time of a trial-step over k, for both solvers."""
    return _by_solver(ax, figures, r"trainer_us_k_(\d+)_{}", "solver steps k")


def draw_widths(ax: Axes, figures: Figures) -> Axes:
    """Draw the time of a trial-step over hidden units, for both solvers."""
    return _by_solver(ax, figures, r"trainer_us_width_(\d+)_{}", "hidden units")


def draw_overhead(ax: Axes, figures: Figures) -> Axes:
    """Draw the overhead of a trial over the size of the sweep, beside Hydra's basic launcher."""
    points = series(figures, r"sweep_overhead_ms_per_trial_(\d+)")
    if "sweep_overhead_ms_per_trial" in figures:
        points[10_000] = float(str(figures["sweep_overhead_ms_per_trial"]))
    _line(ax, points, "blue", label="packed")
    basic = (int(str(figures["hydra_basic_trials"])), float(str(figures["hydra_basic_overhead_ms_per_trial"])))
    ax.plot(*basic, "s", color=OKABE_ITO["vermillion"], label="Hydra's basic")
    ax.legend()
    return _named(ax, "trials of the sweep", "ms a trial", log=True)


def draw_memory(ax: Axes, figures: Figures) -> Axes:
    """Draw the peak memory over the trials of a pack, beside that of the imports."""
    points = series(figures, r"pack_peak_mb_(\d+)") | {1024: float(str(figures["pack_peak_mb"]))}
    _line(ax, points, "blue", label="trained a pack")
    ax.axhline(float(str(figures["import_mb"])), ls=":", color=OKABE_ITO["black"], label="imports alone")
    ax.set_xscale("log")
    ax.set_ylim(bottom=0)
    ax.legend(loc="lower right")
    return _named(ax, "trials in the pack", "peak memory (MB)")


def draw_mixed(ax: Axes, figures: Figures) -> Axes:
    """Draw what mixing widths would cost over the trials of each width."""
    _line(ax, series(figures, r"width_packing_ratio_(\d+)"), "blue", label="one masked pack / three packs")
    ax.axhline(1.0, ls=":", color=OKABE_ITO["black"], label="equal")
    ax.set_ylim(bottom=0)
    ax.set_xscale("log")
    ax.legend()
    return _named(ax, "trials of each width", "ratio of times")


def draw_grid(ax: Axes, figures: Figures) -> Axes:
    """Draw the time of a trial-step of every group of the paper's grid."""
    for solver, style in SOLVER_STYLES.items():
        for optimizer, dash in (("adam", "-"), ("sgd", ":")):
            points = series(figures, rf"paper_grid_us_{solver}_(\d+)_{optimizer}")
            if points:
                label = f"{style.label}, {'Adam' if optimizer == 'adam' else 'SGD'}"
                ax.plot(*zip(*points.items(), strict=True), dash, color=style.color, marker=style.marker, label=label)
                ax.set_xticks(list(points))
    ax.set_ylim(bottom=0)
    ax.legend()
    return _named(ax, "hidden units", STEP)


Draw = Callable[[Axes, Figures], Axes]

PLOTS: dict[str, tuple[Draw, Draw]] = {
    "Time of a trial-step against steps (left) and hidden units (right), packs of 64 on one core.": (
        draw_steps,
        draw_widths,
    ),
    "Time of a trial-step against the size of the pack on one core (left), and speed-up on more cores (right).": (
        draw_trials,
        draw_cores,
    ),
    "Overhead of a trial in sweeps whose trials do nothing (left), and peak memory of a process (right).": (
        draw_overhead,
        draw_memory,
    ),
    "What mixing widths in one pack would cost (left), and the groups of the paper's grid on all cores (right).": (
        draw_mixed,
        draw_grid,
    ),
}
"""Caption -> what is drawn side by side."""


def draw(pair: tuple[Draw, Draw], figures: Figures) -> bytes:
    """Return two plots side by side as PNG.

    Args:
        pair: what draws each of them.
        figures: name -> value.
    """
    with figure_style():
        figure = Figure(figsize=(PAGE_WIDTH, HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        for ax, call in zip(figure.subplots(1, 2), pair, strict=True):
            call(ax, figures)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": "unrolled"})
    return buffer.getvalue()


def _line(ax: Axes, points: Mapping[int, float], color: str, label: str = "") -> None:
    ax.plot(list(points), list(points.values()), "o-", color=OKABE_ITO[color], label=label)


def _by_solver(ax: Axes, figures: Figures, pattern: str, x: str) -> Axes:
    for solver, style in SOLVER_STYLES.items():
        points = series(figures, pattern.format(solver))
        if points:
            ax.plot(
                list(points),
                list(points.values()),
                style.linestyle,
                color=style.color,
                marker=style.marker,
                label=style.label,
            )
            ax.set_xticks(list(points))
    ax.set_ylim(bottom=0)
    ax.legend()
    return _named(ax, x, STEP)


def _named(ax: Axes, x: str, y: str, log: bool = False) -> Axes:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if log:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    if ax.get_xscale() == "log":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return ax
