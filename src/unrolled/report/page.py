"""Write the report: what was claimed, what came out, on which runs, in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from unrolled.figures.render import figures_of
from unrolled.figures.save import read_metadata, trials_digest
from unrolled.figures.spec import Figure, UndrawableError
from unrolled.records.atomic import replacing
from unrolled.report.deviations import deviations
from unrolled.report.errors import ReportError
from unrolled.report.settings import duration, experiments_in, seconds, settings_table, unfinished, value_list
from unrolled.report.theories import THEORY_TEXTS

BADGES = {
    "reproduced": ("yes", "✓"),
    "partly": ("part", "◐"),
    "not reproduced": ("no", "✗"),
    "not run": ("none", "○"),
}
"""CSS class and sign of each verdict, in the order of the summary; the sign says it without colour."""


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    Args:
        figure: what it is and what the paper says.
        image: PNG as base64; None where it was not drawn.
        caption: text below the picture.
        note: why there is no picture, or that it is out of date; empty otherwise.
    """

    figure: Figure
    image: str | None
    caption: str
    note: str


def write_report(
    frame: pd.DataFrame, claims: Sequence[Mapping[str, Any]], figures: Path, out: Path, scale: str, theory: str
) -> Path:
    """Write the report of one scale as one HTML file.

    The same records, claims and figures give the same bytes: the page does not hold the time of its making.

    Args:
        frame: records, one row a trial.
        claims: the objects of ``claims.json``; those of other theories are left out.
        figures: folder with ``<theory>/<name>.png``.
        out: the file to write, like ``results/laptop/report/index.html``; its folder is made.
        scale: name of the scale.
        theory: one theory, or ``all``.

    Returns:
        ``out``.

    Raises:
        ReportError: there is no record of the theory.
        ValueError: unknown theory.
    """
    wanted = figures_of(theory)
    rows = frame if theory == "all" else frame[frame["theory"] == theory]
    if rows.empty:
        raise ReportError(f"no records of theory {theory}: run `make reproduce SCALE={scale} THEORY={theory}` first")
    rows = rows.sort_values("trial", kind="stable").reset_index(drop=True)
    chosen = [claim for claim in claims if theory in ("all", claim["theory"])]
    page = _template().render(
        scale=scale,
        theory=theory,
        texts=[text for name, text in THEORY_TEXTS.items() if theory in ("all", name)],
        claims=chosen,
        summary=[(verdict, count) for verdict in BADGES if (count := _count(chosen)[verdict])],
        badges=BADGES,
        pictures=[picture(figure, rows, figures) for figure in wanted],
        settings=settings_table(rows),
        unfinished=unfinished(rows),
        deviations=deviations(rows, theory),
        origin=origin(rows),
        experiments=experiments_in(rows),
    )
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def picture(figure: Figure, frame: pd.DataFrame, folder: Path) -> Picture:
    """Return a figure's picture, or the reason why there is none.

    Args:
        figure: which figure.
        frame: records, to tell whether the file still shows them.
        folder: folder with ``<theory>/<name>.png``.
    """
    path = folder / figure.theory / f"{figure.name}.png"
    try:
        rows = figure.select(frame)
    except UndrawableError as error:
        return Picture(figure, None, "", str(error))
    if not path.is_file():
        return Picture(figure, None, "", "the picture has not been drawn yet: run `make figures`")
    metadata = read_metadata(path)
    current = metadata["digest"] == trials_digest(set(rows["trial"].astype(str)))
    note = "" if current else "This picture shows other records than this page: run `make figures`, then `make report`."
    return Picture(figure, base64.b64encode(path.read_bytes()).decode("ascii"), metadata["caption"], note)


def origin(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return where the records come from, as heading and value.

    Args:
        frame: records, one row a trial.
    """
    dirty = frame["git_dirty"].eq(True).sum()
    started = frame["started_at"].dropna().astype(str)
    return [
        ("commit", value_list(frame["git_commit"])),
        ("uncommitted changes", f"in {dirty:,} of {len(frame):,} trials" if dirty else "none"),
        ("torch", value_list(frame["torch"])),
        ("device", value_list(frame["device"])),
        ("backend", value_list(frame["backend"])),
        ("trials", f"{len(frame):,} in {frame['pack'].nunique():,} packs"),
        ("machine time", f"{duration(seconds(frame))} (sum over packs)"),
        ("first and last start (UTC)", f"{started.min()[:19]} to {started.max()[:19]}" if len(started) else "unknown"),
        ("digest of the trials", trials_digest(frame["trial"].astype(str))),
    ]


def number(value: object) -> str:
    """Return a number with three significant digits, and a dash where there is none.

    Example:
        >>> number(0.123456), number(None), number(float("nan")), number(-2)
        ('0.123', '–', '–', '−2')
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "–"
    return f"{value:.3g}".replace("-", "−")


def _count(claims: Sequence[Mapping[str, Any]]) -> Counter[str]:
    unknown = sorted({str(claim["verdict"]) for claim in claims} - set(BADGES))
    if unknown:
        raise ReportError(f"unknown verdict {', '.join(unknown)}: expected one of {', '.join(BADGES)}")
    return Counter(str(claim["verdict"]) for claim in claims)


def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    return environment.from_string((files(__package__) / "template.html").read_text(encoding="utf-8"))
