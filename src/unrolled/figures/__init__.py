"""Figures: one function a figure, from records only, with n, interval and provenance in every file."""

from unrolled.figures.render import THEORIES, FigureFile, figures_of, render_figures
from unrolled.figures.save import read_metadata, save_figure
from unrolled.figures.spec import Figure, UndrawableError
from unrolled.figures.style import SOLVER_STYLES, figure_style

__all__ = [
    "SOLVER_STYLES",
    "THEORIES",
    "Figure",
    "FigureFile",
    "UndrawableError",
    "figure_style",
    "figures_of",
    "read_metadata",
    "render_figures",
    "save_figure",
]
