"""The bench's results: flat JSON, a table for the terminal, and one HTML page made from that JSON alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from unrolled.bench.meanings import SECTIONS, meaning_of
from unrolled.bench.plots import PLOTS, draw
from unrolled.records.atomic import replacing

Figures = Mapping[str, object]


def write_bench(figures: Figures, path: Path) -> str:
    """Write the figures as flat JSON and as a page beside it, each atomically, and return them as a table.

    Args:
        figures: name -> number or text.
        path: file to replace, like ``results/bench.json``; the page's name is the same with ``.html``.

    Returns:
        One line a figure.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n")
    with replacing(path.with_suffix(".html")) as temporary:
        temporary.write_text(render_page(figures), encoding="utf-8")
    width = max(map(len, figures))
    return "\n".join(f"{name:{width}}  {shown(value)}" for name, value in figures.items())


def render_page(figures: Figures) -> str:
    """Return the page; the same figures give the same text.

    Args:
        figures: the content of ``bench.json``.
    """
    rows = [(meaning_of(name), shown(value)) for name, value in figures.items()]
    sections = [
        (title, text, [(meaning, value) for meaning, value in rows if meaning.section == title])
        for title, text in SECTIONS.items()
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files(__package__) / "template.html").read_text(encoding="utf-8"))
    return template.render(
        figures=figures,
        shown=shown,
        sections=[section for section in sections if section[2]],
        plots=[(caption, base64.b64encode(draw(pair, figures)).decode("ascii")) for caption, pair in PLOTS.items()],
    )


def shown(value: object) -> str:
    """Return a value as table and page show it: four significant digits, whole numbers in full.

    Example:
        >>> shown(1122.911), shown(0.00312349), shown(2040000000), shown("native-16")
        ('1,123', '0.003123', '2,040,000,000', 'native-16')
    """
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
