"""Write a figure as PNG and SVG with its provenance inside, whole or not at all, and read the provenance back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from PIL import Image

from unrolled.records.atomic import replacing

FORMATS = ("png", "svg")
PACKAGE = Path(__file__).resolve().parents[1]

_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"


def trials_digest(trials: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted trial hashes, one a line: the name of a selection of records.

    Example:
        >>> trials_digest(["b", "a"]) == trials_digest(["a", "b"])
        True
    """
    return hashlib.sha256("\n".join(sorted(trials)).encode()).hexdigest()


def provenance(rows: pd.DataFrame) -> dict[str, Any]:
    """Return what a figure's file says about the records it shows.

    Args:
        rows: the records that were drawn.

    Returns:
        ``trial_count``, ``digest`` (see :func:`trials_digest`), ``git_commits``, ``git_dirty`` (True where any run came
        from changed files), ``experiments`` and ``trials`` (sorted hashes).
    """
    trials = sorted(set(rows["trial"].astype(str)))
    return {
        "trial_count": len(trials),
        "digest": trials_digest(trials),
        "git_commits": _distinct(rows, "git_commit"),
        "git_dirty": bool(rows["git_dirty"].eq(True).any()) if "git_dirty" in rows else False,
        "experiments": sorted({name for names in rows["experiments"] for name in names}),
        "trials": trials,
    }


@lru_cache(maxsize=1)
def _drawing_code() -> str:
    """Return a digest of all that can change a picture but records: this room, the theories' curves, matplotlib."""
    rooms = ("figures", "solvers", "frames", "records")
    sources = [path for room in rooms for path in sorted((PACKAGE / room).rglob("*.py"))]
    sources += sorted((PACKAGE / "figures").rglob("*.csv"))
    digest = hashlib.sha256(matplotlib.__version__.encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint(rows: pd.DataFrame, caption: str) -> str:
    """Return a digest of everything a picture depends on: its records' values, its caption and the drawing code.

    Args:
        rows: the records shown.
        caption: the text below them.
    """
    digest = hashlib.sha256(_drawing_code().encode() + caption.encode())
    for name in sorted(rows.columns):
        column = rows[name]
        nested = column.map(lambda value: isinstance(value, (list, np.ndarray))).any()
        values = column.map(_list_bytes) if nested else column
        digest.update(name.encode())
        digest.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _list_bytes(value: object) -> bytes | None:
    """Return the entries of a list as bytes; a missing list is None or, after a join of tables, NaN."""
    return b"".join(str(x).encode() for x in value) if isinstance(value, (list, np.ndarray)) else None


def is_current(stem: Path, mark: str) -> bool:
    """Whether both files of a figure are there and carry this fingerprint."""
    try:
        return all(read_metadata(stem.with_name(f"{stem.name}.{f}")).get("fingerprint") == mark for f in FORMATS)
    except (OSError, ValueError, ElementTree.ParseError):
        return False


def save_figure(figure: Drawing, stem: Path, rows: pd.DataFrame, caption: str) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.svg``, each by one atomic rename.

    Equal figures and records give equal bytes: no date is written, and the SVG's ids come from a fixed salt
    (call it inside :func:`unrolled.figures.style.figure_style`).

    Args:
        figure: what to write; its layout is final after the call.
        stem: path without suffix; its folder is made.
        rows: the records shown, for the provenance.
        caption: the text below the figure, stored as the file's description.

    Returns:
        The two paths, PNG first.

    Raises:
        OSError: the folder cannot be written.
    """
    FigureCanvasAgg(figure)
    # Lay out once for both formats: matplotlib would draw every figure twice for each.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    source = json.dumps(provenance(rows) | {"fingerprint": fingerprint(rows, caption)}, sort_keys=True)
    fields = {"Title": stem.name, "Description": caption, "Source": source}
    paths = []
    for suffix in FORMATS:
        # Anything matplotlib adds by itself (date, its own version) would tie the bytes to a moment or a machine.
        extra: dict[str, Any] = {"Date": None, "Creator": "unrolled"} if suffix == "svg" else {"Software": "unrolled"}
        path = stem.with_name(f"{stem.name}.{suffix}")
        with replacing(path) as temporary:
            figure.savefig(temporary, format=suffix, metadata={**fields, **extra})
        paths.append(path)
    return paths


def read_metadata(path: Path) -> dict[str, Any]:
    """Return what :func:`save_figure` wrote into a PNG or SVG file.

    Args:
        path: a file that :func:`save_figure` wrote.

    Returns:
        The keys of :func:`provenance`, ``fingerprint``, ``title`` and ``caption``.

    Raises:
        ValueError: the file is neither format or carries no provenance.
    """
    if path.suffix == ".png":
        with Image.open(path) as image:
            fields = {str(key).lower(): str(value) for key, value in image.info.items()}
    elif path.suffix == ".svg":
        fields = {}
        for node in ElementTree.parse(path).iter():
            if node.tag.startswith(_DUBLIN_CORE):
                # The first title is the figure's; the creator's name stands in another below it.
                fields.setdefault(node.tag.removeprefix(_DUBLIN_CORE), "".join(node.itertext()).strip())
    else:
        raise ValueError(f"{path}: expected a .png or .svg file of a figure")
    if "source" not in fields:
        raise ValueError(f"{path} carries no provenance: draw it again with scripts/plot.py")
    return {**json.loads(fields["source"]), "title": fields["title"], "caption": fields["description"]}


def _distinct(rows: pd.DataFrame, column: str) -> list[str]:
    return sorted(set(rows[column].dropna().astype(str))) if column in rows else []
