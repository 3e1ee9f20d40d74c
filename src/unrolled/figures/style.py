"""One look for all figures: colour-blind palette, one style a solver, no trace left in matplotlib's settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
"""Okabe and Ito's eight colours, told apart under every common colour blindness."""

PAGE_WIDTH = 6.9
"""Width of a figure in inches: two columns of a paper, so that the type below is read at its nominal size."""

HASH_SALT = "unrolled"
"""Salt of the ids inside an SVG file; matplotlib draws a random one otherwise, and bytes would differ."""

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine has it
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.6,
    "figure.facecolor": "white",
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": HASH_SALT,
}


@dataclass(frozen=True)
class SolverStyle:
    """How one solver, or one kind of net, looks in every figure.

    Args:
        label: name in legends.
        color: hexadecimal colour of :data:`OKABE_ITO`.
        marker: matplotlib marker.
        linestyle: matplotlib line style of measured curves; theory is drawn dotted in the same colour.
    """

    label: str
    color: str
    marker: str
    linestyle: str


SOLVER_STYLES = {
    "gd": SolverStyle("GD", OKABE_ITO["blue"], "o", "-"),
    "nag": SolverStyle("NAG", OKABE_ITO["vermillion"], "s", "--"),
    "rnn": SolverStyle("RNN", OKABE_ITO["green"], "^", "-."),
}
"""Style by ``solver.name``, in the order of legends."""

INFERENCE_STYLES = {
    "block_prox": SolverStyle("block proximal gradient", OKABE_ITO["blue"], "o", "-"),
    "ista": SolverStyle("ISTA", OKABE_ITO["vermillion"], "s", "--"),
    "fista": SolverStyle("FISTA", OKABE_ITO["green"], "^", "-."),
    "admm": SolverStyle("ADMM", OKABE_ITO["purple"], "D", ":"),
}
"""Style by ``solver.name`` of a hybrid net's inference, in the order of legends."""

KIND_STYLES = {
    "chain": SolverStyle("chain", OKABE_ITO["blue"], "o", "-"),
    "residual": SolverStyle("residual", OKABE_ITO["vermillion"], "s", "--"),
    "residual_all": SolverStyle("residual, every layer", OKABE_ITO["orange"], "D", "--"),
    "dense": SolverStyle("dense", OKABE_ITO["green"], "^", "-."),
    "chain_front": SolverStyle("chain, analysis form", OKABE_ITO["sky"], "o", ":"),
    "residual_front": SolverStyle("residual, analysis form", OKABE_ITO["purple"], "s", ":"),
    "dense_front": SolverStyle("dense, analysis form", OKABE_ITO["black"], "^", ":"),
}
"""Style by ``network.skip``, in the order of legends."""

THEORY_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.3}
"""Line of a prediction, in the colour of the solver that it speaks about."""


@contextmanager
def figure_style() -> Iterator[None]:
    """Apply the style inside a ``with`` block and restore every setting after it.

    It starts from matplotlib's defaults, so that a ``matplotlibrc`` of the user cannot change a byte.

    Example:
        >>> before = mpl.rcParams["font.size"]
        >>> with figure_style():
        ...     mpl.rcParams["svg.hashsalt"]
        'unrolled'
        >>> mpl.rcParams["font.size"] == before
        True
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield
