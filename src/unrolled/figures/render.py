"""Draw every figure whose records exist, and say of the others why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unrolled.figures import frames, hybrid, reasoning
from unrolled.figures.curves import add_caption, new_drawing
from unrolled.figures.save import FORMATS, fingerprint, is_current, save_figure
from unrolled.figures.spec import Figure, UndrawableError
from unrolled.figures.style import figure_style

THEORIES: dict[str, dict[str, Figure]] = {
    reasoning.THEORY: reasoning.FIGURES,
    frames.THEORY: frames.FIGURES,
    hybrid.THEORY: hybrid.FIGURES,
}
"""Figures by theory and name."""


@dataclass(frozen=True)
class FigureFile:
    """What became of one figure.

    Args:
        name: the figure's name.
        theory: its theory.
        paths: the files written, PNG first; empty where it was not drawn.
        caption: the text below it; empty where it was not drawn.
        reason: why it was not drawn; None where it was.
    """

    name: str
    theory: str
    paths: tuple[Path, ...]
    caption: str
    reason: str | None


def figures_of(theory: str) -> list[Figure]:
    """Return the figures of one theory, or of all.

    Args:
        theory: a key of :data:`THEORIES`, or ``all``.

    Raises:
        ValueError: unknown theory.
    """
    if theory != "all" and theory not in THEORIES:
        raise ValueError(f"unknown theory {theory!r}: expected all, {', '.join(THEORIES)}")
    chosen = THEORIES.values() if theory == "all" else [THEORIES[theory]]
    return [figure for family in chosen for figure in family.values()]


def render_figures(frame: pd.DataFrame, folder: Path, theory: str = "all", *, again: bool = True) -> list[FigureFile]:
    """Draw the figures of a theory into ``folder/<theory>/<name>.png`` and ``.svg``.

    Args:
        frame: all records, one row a trial, in any order.
        folder: where the figures go, like ``results/laptop/figures``.
        theory: which figures; ``all`` for every theory.
        again: draw also those whose files already show these records, drawn by this code.

    Returns:
        One entry a figure in the order of the report, drawn or not. Files of a figure that cannot be drawn are
        removed: they would show records that are no longer there.

    Raises:
        ValueError: unknown theory.
        OSError: the folder cannot be written.
    """
    return [_render(figure, frame, folder / figure.theory / figure.name, again) for figure in figures_of(theory)]


def _render(figure: Figure, frame: pd.DataFrame, stem: Path, again: bool) -> FigureFile:
    try:
        rows = figure.select(frame)
        caption = figure.caption(rows)
        if not again and is_current(stem, fingerprint(rows, caption)):
            paths = tuple(stem.with_name(f"{stem.name}.{suffix}") for suffix in FORMATS)
            return FigureFile(figure.name, figure.theory, paths, caption, None)
        with figure_style():
            drawing, axes = new_drawing(*figure.layout(rows))
            figure.draw(rows, axes)
            add_caption(drawing, caption)
            paths = tuple(save_figure(drawing, stem, rows, caption))
    except UndrawableError as error:
        for suffix in FORMATS:
            stem.with_name(f"{stem.name}.{suffix}").unlink(missing_ok=True)
        return FigureFile(figure.name, figure.theory, (), "", str(error))
    return FigureFile(figure.name, figure.theory, paths, caption, None)
