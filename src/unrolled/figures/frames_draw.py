"""Drawing of the figures on deep frames: one function a figure, from records and a grid of axes to the axes drawn.

Notation of the labels: F the deep frame potential, min F its minimum over all weights of a structure, mu the coherence,
G the Gram matrix of the normalised dictionary, lambda the weight of the potential in training, b the channels of the
first group of a convolutional net and n the blocks of each group.

Reference:
    Murdock, Lucey, CVPR 2020 (arXiv 2003.13866); Murdock, Cazenavette, Lucey (arXiv 2103.05804).
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from scipy.stats import spearmanr

from unrolled.figures.curves import legend_above, log_if_wide, measured_curve
from unrolled.figures.frames_tables import (
    KEY,
    MOST_PANELS,
    data_sets,
    errors_and_minima,
    kinds_in,
    lowest_potentials,
    paper_dots,
    potential_curves,
    trained_nets,
)
from unrolled.figures.spec import AxesGrid
from unrolled.figures.style import KIND_STYLES, OKABE_ITO

MINIMUM_LABEL = "minimum potential min $F$\n(dimensionless)"
ERROR_LABEL = "test error (share of images)"
PARAMETERS_LABEL = "network parameters (count)"

SEQUENTIAL = "cividis"
"""Colour scale that is even in lightness and told apart under every common colour blindness."""

DICTIONARIES: dict[str, dict[str, Any]] = {
    "random": {"color": OKABE_ITO["sky"], "marker": "x", "label": "random weights"},
    "plain": {"color": OKABE_ITO["vermillion"], "marker": "s", "label": r"trained, $\lambda$ = 0"},
    "regularised": {"color": OKABE_ITO["blue"], "marker": "o", "label": r"trained, $\lambda$ > 0"},
    "min": {"color": OKABE_ITO["black"], "marker": "^", "label": "minimum"},
}
"""Look of the four sorts of dictionaries, in the order of drawing."""


def panels_of_kinds(rows: pd.DataFrame) -> tuple[int, int]:
    """Return two rows, pattern and Gram matrix, for every four kinds."""
    kinds = len(rows)
    return 2 * -(-kinds // 4), min(kinds, 4)


def gram_patterns(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw for every kind which entries of the Gram matrix may be non-zero, and their size at the minimum.

    Args:
        rows: one row a kind, see :func:`~unrolled.figures.frames_tables.one_gram_shape`.
        axes: ``(2, kinds)`` panels, or more pairs of rows for more than four kinds.

    Returns:
        The same axes.
    """
    for ax in axes.flat:
        ax.set_axis_off()
    image, largest = None, max(_largest_off_diagonal(gram) for gram in rows["gram"])
    for i, row in enumerate(rows.to_dict("records")):
        top, column = 2 * (i // 4), i % 4
        sizes = np.asarray(row["gram_sizes"], int)
        shape = (int(sizes.sum()),) * 2
        pattern = np.asarray(row["gram_pattern"], float).reshape(shape)
        gram = np.ma.masked_where(pattern == 0, np.abs(np.asarray(row["gram"], float).reshape(shape)))
        _matrix(axes[top, column], pattern, sizes, "Greys", 2.5)
        image = _matrix(axes[top + 1, column], gram, sizes, SEQUENTIAL, largest)
        axes[top, column].set_title(KIND_STYLES[row["network.skip"]].label)
        axes[top, column].set_xlabel(f"{int(row['pairs']):,} pairs may meet")
        axes[top + 1, column].set_xlabel(f"min $F$ = {row['f_min']:.3f}")
    for top in range(0, len(axes), 2):
        axes[top, 0].set_ylabel("may be non-zero")
        axes[top + 1, 0].set_ylabel("$|G|$ at the minimum")
    drawing = axes.flat[0].get_figure()
    if image is not None and isinstance(drawing, Drawing):
        drawing.colorbar(image, ax=list(axes[1]), label="$|G|$ (dimensionless)", aspect=18, pad=0.01, extend="max")
        drawing.set_figheight(1.75 * len(axes) + 0.75)  # the panels are square and share the page's width
    return axes


def _largest_off_diagonal(gram: object) -> float:
    """Return the end of the colour scale: the diagonal of ones would leave the rest of the matrix dark."""
    values = np.asarray(gram, float)
    matrix = np.abs(values.reshape((round(values.size**0.5),) * 2))
    return max(0.1, float((matrix - np.diag(np.diag(matrix))).max()))


def _matrix(ax: Axes, values: np.ndarray, sizes: np.ndarray, colours: str, top: float) -> Any:
    """Draw a matrix over atoms with lines between the layers; masked entries stay white."""
    ax.set_axis_on()
    ax.grid(visible=False)
    ax.spines[["top", "right"]].set_visible(True)
    image = ax.imshow(values, cmap=colours, vmin=0.0, vmax=top, interpolation="nearest")
    for border in np.cumsum(sizes)[:-1] - 0.5:
        ax.axhline(border, color=OKABE_ITO["vermillion"], lw=0.5)
        ax.axvline(border, color=OKABE_ITO["vermillion"], lw=0.5)
    middles = np.cumsum(sizes) - sizes / 2 - 0.5
    names = [f"$w_{j}$" for j in range(1, len(sizes) + 1)]
    ax.set_xticks(middles, names)
    ax.set_yticks(middles, names)
    ax.tick_params(length=0)
    return image


def panels_by_data(rows: pd.DataFrame) -> tuple[int, int]:
    """Return panels for all data sets, at most three in a row."""
    count = len(data_sets(rows))
    return -(-count // 3), min(count, 3)


def coherence_and_potential(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw coherence against potential of random, trained and minimal dictionaries, one panel a data set.

    Args:
        rows: best runs of fully connected nets, and records of their minima.
        axes: one panel a data set.

    Returns:
        The same axes.
    """
    nets, lowest = trained_nets(rows), rows[rows["f_min"].notna()] if "f_min" in rows else rows.iloc[:0]
    for ax, data in _panels(axes, data_sets(rows)):
        own, least = nets[nets["data.name"] == data], lowest[lowest["data.name"] == data]
        plain = own["optim.potential_weight"] == 0
        _dictionaries(ax, least, "random", "random")
        _dictionaries(ax, own[plain], "trained", "plain")
        _dictionaries(ax, own[~plain], "trained", "regularised")
        _dictionaries(ax, least, "min", "min")
        ax.set(xscale="log", yscale="log", title=data, xlabel="potential $F$ (dimensionless)")
        ends = np.array(ax.get_xlim())
        ax.plot(ends, ends, color=OKABE_ITO["black"], ls=":", lw=1.2, label=r"$\mu$ = $F$, the least possible")
        ax.set_xlim(*ends)
        _plain_decades(ax)
    axes.flat[0].set_ylabel("coherence $\\mu$ (dimensionless)")
    legend_above(axes, 5)
    return axes


def _dictionaries(ax: Axes, rows: pd.DataFrame, state: str, look: str) -> None:
    """Draw one sort of dictionaries; a minimum of 0 has no place on a logarithmic axis and is left out."""
    columns = [f"f_{state}", f"coherence_{state}"]
    if not set(columns) <= set(rows.columns):
        return
    pairs = rows[columns].astype(float)
    pairs = pairs[(pairs > 0).all(axis=1)]
    style: dict[str, Any] = {"ls": "None", "ms": 3.2, "mew": 0.8, "mfc": "None", "alpha": 0.75, **DICTIONARIES[look]}
    if len(pairs):
        ax.plot(pairs[columns[0]], pairs[columns[1]], **style)


def panels_by_regularisation(rows: pd.DataFrame) -> tuple[int, int]:
    """Return one row a data set with a panel without and one with regularisation."""
    return len(data_sets(rows)), 2


def error_against_minimum(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the test error of fully connected nets against the minimum potential of their structures.

    Args:
        rows: best runs of fully connected nets, and records of their minima.
        axes: ``(data sets, 2)`` panels: without and with regularisation.

    Returns:
        The same axes.
    """
    table = errors_and_minima(rows)
    for line, data in zip(axes, data_sets(rows), strict=True):
        here = table[(table["data.name"] == data) & (table["f_min"] > 0)]
        size = np.log2(here["network_parameters"].astype(float)).to_numpy()
        scale = Normalize(size.min(initial=30.0), max(size.max(initial=0.0), size.min(initial=30.0) + 1))
        for ax, regularised in zip(line, (False, True), strict=True):
            own = here[(here["optim.potential_weight"] > 0) == regularised]
            if data == "cifar10":
                _paper_dots(ax, regularised)
            _scatter(ax, own, scale)
            ax.set_title(f"{data}, {_weights_in(own, regularised)}\n{_rank_correlation(own)}")
        if (figure := axes.flat[0].get_figure()) is not None and len(here):
            colours = mpl.cm.ScalarMappable(norm=scale, cmap=SEQUENTIAL)
            figure.colorbar(colours, ax=list(line), label="$\\log_2$ of parameters", aspect=18, pad=0.01)
        low, high = (f([ax.get_ylim()[i] for ax in line]) for i, f in ((0, min), (1, max)))
        for ax in line:
            ax.set_ylim(low, high)
        line[0].set_ylabel(ERROR_LABEL)
    for ax in axes[-1]:
        ax.set_xlabel(MINIMUM_LABEL.replace("\n", " "))
    legend_above(axes, 2)
    return axes


def _scatter(ax: Axes, table: pd.DataFrame, scale: Normalize) -> None:
    """Draw the nets of one panel with their intervals."""
    if table.empty:
        ax.text(0.5, 0.5, "no runs", transform=ax.transAxes, ha="center", va="center")
        return
    known = table.dropna(subset=["low", "high"])
    ax.vlines(known["f_min"], known["low"], known["high"], color="#777777", lw=0.7, zorder=2)
    colours = np.log2(table["network_parameters"].astype(float))
    ax.scatter(
        table["f_min"], table["mean"], c=colours, cmap=SEQUENTIAL, norm=scale, s=17, lw=0.3, ec="black", zorder=3
    )
    ax.set_xscale("log")
    _plain_decades(ax)


def _rank_correlation(table: pd.DataFrame) -> str:
    """Return the words on the rank correlation of minimum potential and error, and on n."""
    count = f"$n$ = {len(table)} nets"
    if len(table) < 3 or min(table["f_min"].nunique(), table["mean"].nunique()) < 2:
        return count
    return f"Spearman $\\rho$ = {spearmanr(table['f_min'], table['mean']).statistic:.2f}, {count}"


def _paper_dots(ax: Axes, regularised: bool) -> None:
    """Draw the dots of the papers' figure, which is of CIFAR-10."""
    suffix = "regularised" if regularised else "plain"
    dots = paper_dots()[[f"f_{suffix}", f"error_{suffix}"]].dropna()
    style: dict[str, Any] = {
        "ls": "None",
        "marker": "D",
        "ms": 2.6,
        "mfc": "None",
        "mew": 0.6,
        "color": OKABE_ITO["vermillion"],
    }
    ax.plot(dots[f"f_{suffix}"], dots[f"error_{suffix}"], label="the paper's dots (validation error)", **style)


def _weights_in(table: pd.DataFrame, regularised: bool) -> str:
    if not regularised:
        return "without regularisation"
    weights = sorted(table["optim.potential_weight"].unique())
    named = f" ($\\lambda$ = {', '.join(f'{weight:g}' for weight in weights)})" if weights else ""
    return f"with regularisation{named}"


def panels_of_efficiency(rows: pd.DataFrame) -> tuple[int, int]:
    """Return one row a data set with a panel for the potential and one for the error."""
    return len(data_sets(rows)), 2


def parameter_efficiency(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw minimum potential and test error of convolutional nets against their parameters, by kind.

    Args:
        rows: best runs without regularisation, and records of their minima.
        axes: ``(data sets, 2)`` panels.

    Returns:
        The same axes.
    """
    table = errors_and_minima(rows)
    for line, data in zip(axes, data_sets(rows), strict=True):
        own = table[table["data.name"] == data]
        for kind in kinds_in(own):
            style, nets = KIND_STYLES[kind], own[own["network.skip"] == kind].sort_values("network_parameters")
            look: dict[str, Any] = {
                "color": style.color,
                "marker": style.marker,
                "ls": "None",
                "ms": 3.8,
                "label": style.label,
            }
            for ax, column in zip(line, ("f_min", "mean"), strict=True):
                ax.plot(nets["network_parameters"], nets[column], **look)
                for _, wide in nets.groupby("network.width"):
                    ax.plot(wide["network_parameters"], wide[column], color=style.color, lw=0.6, alpha=0.5)
            line[1].vlines(nets["network_parameters"], nets["low"], nets["high"], color=style.color, lw=0.8)
        for ax, label in zip(line, (MINIMUM_LABEL, ERROR_LABEL), strict=True):
            ax.set(xscale="log", xlabel=PARAMETERS_LABEL, ylabel=label, title=data)
        log_if_wide([line[0]], own["f_min"])
        line[1].set_ylim(bottom=0)
    legend_above(axes, 4)
    return axes


def panels_of_depth(rows: pd.DataFrame) -> tuple[int, int]:
    """Return two rows, error and potential, a data set, with a column for every width b."""
    return 2 * len(data_sets(rows)), max(1, trained_nets(rows)["network.width"].nunique())


def depth(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw test error and minimum potential of convolutional nets against the blocks of a group, by kind and width.

    Args:
        rows: best runs without regularisation, and records of their minima.
        axes: ``(2 x data sets, widths)`` panels.

    Returns:
        The same axes.
    """
    table = errors_and_minima(rows).dropna(subset=["network.width", "network.depth"])
    widths = sorted(table["network.width"].unique())
    for i, data in enumerate(data_sets(rows)):
        own = table[table["data.name"] == data]
        errors, potentials = axes[2 * i], axes[2 * i + 1]
        for top, bottom, width in zip(errors, potentials, widths, strict=False):
            for kind in kinds_in(own):
                style = KIND_STYLES[kind]
                curve = own[(own["network.skip"] == kind) & (own["network.width"] == width)]
                curve = curve.sort_values("network.depth")
                measured_curve(top, curve, "network.depth", style)
                bottom.plot(
                    curve["network.depth"], curve["f_min"], color=style.color, marker=style.marker, ls=style.linestyle
                )
            top.set_title(f"{data}, $b$ = {int(width)}")
            for ax in (top, bottom):
                ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
            bottom.set_xlabel("blocks a group $n$ (count)")
        for line, label in ((errors, ERROR_LABEL), (potentials, MINIMUM_LABEL)):
            line[0].set_ylabel(label)
            top_limit = max(ax.get_ylim()[1] for ax in line)
            for ax in line:
                ax.set_ylim(0, top_limit)
    legend_above(axes, 4)
    return axes


def panels_of_structures(rows: pd.DataFrame) -> tuple[int, int]:
    """Return panels for the structures that were trained, at most three in a row."""
    count = min(MOST_PANELS, len(trained_nets(rows).drop_duplicates(["data.name", *KEY])))
    return -(-count // 3), min(count, 3)


def potential_in_training(rows: pd.DataFrame, axes: AxesGrid) -> AxesGrid:
    """Draw the potential during training for every weight, one panel a structure, above the minimum.

    Args:
        rows: best runs for several weights, and records of minima where there are any.
        axes: one panel a structure, at most :data:`~unrolled.figures.frames_tables.MOST_PANELS`.

    Returns:
        The same axes.
    """
    curves = potential_curves(rows)
    lowest = lowest_potentials(rows) if "f_min" in rows else pd.DataFrame(columns=[*KEY, "f_min"])
    weights = sorted(curves["optim.potential_weight"].unique())
    shades = [*mpl.colormaps[SEQUENTIAL](np.linspace(0.0, 0.9, max(1, sum(weight > 0 for weight in weights))))]
    shades = [OKABE_ITO["vermillion"]] * sum(weight == 0 for weight in weights) + shades
    panels = list(curves.groupby(["data.name", "parameters", "structure"], sort=True))[:MOST_PANELS]
    for ax, ((data, parameters, structure), own) in _panels(axes, panels):
        for weight, shade in zip(weights, shades, strict=False):
            curve = own[own["optim.potential_weight"] == weight]
            line = "--" if weight == 0 else "-"
            ax.plot(curve["epoch"], curve["mean"], color=shade, ls=line, label=f"$\\lambda$ = {weight:g}")
            ax.fill_between(curve["epoch"], curve["low"], curve["high"], color=shade, alpha=0.25, linewidth=0)
        floor = lowest.loc[(lowest["structure"] == structure) & (lowest["parameters"] == parameters), "f_min"]
        for value in floor:
            ax.axhline(value, color=OKABE_ITO["black"], ls=":", lw=1.2, label="minimum of the structure")
        ax.set(title=f"{data}, {structure}", xlabel="training epoch (count)")
    used = [ax for ax in axes.flat if ax.axison]
    log_if_wide(used, curves["mean"])
    used[0].set_ylabel("potential $F$ (dimensionless)")
    legend_above(axes, 6)
    return axes


def _panels(axes: AxesGrid, items: list[Any]) -> list[tuple[Axes, Any]]:
    """Return a panel for every item, and take away those that are left over."""
    for ax in axes.flat[len(items) :]:
        ax.set_axis_off()
    return list(zip(axes.flat, items, strict=False))


def _plain_decades(ax: Axes) -> None:
    """Label a logarithmic horizontal axis at 1, 2, 3 and 5 of every decade with plain numbers."""
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
