"""Drawn panels of the figures on hybrid nets and what a plain loop over the records expects in them; for tests only."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from unrolled.figures.curves import new_drawing
from unrolled.figures.hybrid import FIGURES
from unrolled.figures.style import figure_style


def drawn(name: str, frame: pd.DataFrame) -> np.ndarray:
    figure = FIGURES[name]
    rows = figure.select(frame)
    with figure_style():
        _, axes = new_drawing(*figure.layout(rows))
        return figure.draw(rows, axes)


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = (own for own in ax.lines if own.get_label() == label)
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def own_rows(records: pd.DataFrame, experiment: str, **wanted: object) -> list[dict[str, object]]:
    return [
        row
        for row in records.to_dict("records")
        if experiment in row["experiments"]
        and row["task"] == "hybrid"
        and all(row[key.replace("__", ".")] == value for key, value in wanted.items())
    ]


def mean(rows: list[dict[str, object]], column: str, entry: int | None = None) -> float:
    values = [row[column] if entry is None else row[column][entry] for row in rows]  # type: ignore[index]
    assert len(values) == 2, "two seeds"
    return float(np.mean(values))  # type: ignore[arg-type]
