"""Tables of structures with their minimum deep frame potentials: from one CSV file to another.

Columns that are read: ``kind``, ``input`` (dimension, or channels), ``widths`` like 8x16x32, and for convolutional nets
``kernel`` and ``stride``, one number for all layers or one a layer like 1x2x1, and ``grid``, the side of the input.
Empty cells stand for 1. All other columns are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from unrolled.frames.minimum import Minimum, minimum_potential
from unrolled.frames.structure import Structure, build, parse_numbers
from unrolled.records.atomic import replacing

REQUIRED, OPTIONAL = ("kind", "input", "widths"), ("grid", "stride", "kernel")
SINGLE = ("input", "grid")
"""Columns whose cells hold one number."""

MOST_PARAMETERS = 2**27
"""Filter weights of the largest structure that is searched: 1 GB in float64, of which a search holds many copies."""


class TableError(ValueError):
    """The table cannot be read or written; the message names file, line and column."""


def read_structures(path: Path) -> tuple[pd.DataFrame, list[Structure]]:
    """Return a table and the structure of each of its lines; nothing is computed before all of them are read.

    Args:
        path: CSV file in UTF-8 whose first line names the columns. Blank lines are left out.

    Returns:
        Every column as text, in the order of the file, and one structure a row.

    Raises:
        TableError: no such file, no CSV, missing columns, no lines, or a cell that gives no structure.
    """
    frame, lines = _read(path)
    structures = [
        _structure({str(name): str(cell) for name, cell in row.items()}, f"{path}, line {line}")
        for line, row in zip(lines, frame.to_dict("records"), strict=True)
    ]
    return frame, structures


def with_potentials(frame: pd.DataFrame, structures: Sequence[Structure]) -> pd.DataFrame:
    """Return a table with the minimum potentials of its rows, as text that gives back every digit.

    ``N`` and ``F2_min``, ``F2_lower`` are totals over the grid, F_min = sqrt(F2_min / N); columns of these names that
    the table has already are replaced. Equal structures are computed once; a bar on the terminal shows how many are
    done.

    Args:
        frame: the table.
        structures: one a row.
    """
    distinct = tqdm(dict.fromkeys(structures), desc="minimum potentials", unit="structure", disable=None)
    found = {structure: _cells(minimum_potential(structure)) for structure in distinct}
    cells = pd.DataFrame([found[structure] for structure in structures], index=frame.index)
    return frame.assign(**{str(name): cells[name] for name in cells})


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV; the file appears whole or not at all, and replaces an older one.

    Raises:
        TableError: the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror}): give a file in a folder of yours") from error


def _cells(minimum: Minimum) -> dict[str, str]:
    return {
        "N": str(minimum.pairs),
        "F2_min": repr(float(minimum.f2)),
        "F_min": repr(float(minimum.f)),
        "F2_lower": repr(float(minimum.lower.value)),
        "status": minimum.status,
    }


def _read(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Return the table as text and the number of each row's first line in the file."""
    try:
        # Without a header, as pandas would rename equal columns and take surplus cells for an index.
        cells = pd.read_csv(
            path, header=None, dtype=str, na_filter=False, skip_blank_lines=False, encoding="utf-8-sig"
        ).fillna("")
    except pd.errors.EmptyDataError as error:
        raise TableError(f"{path}: expected a first line with the names of the columns, got an empty file") from error
    except pd.errors.ParserError as error:
        reason = str(error).rsplit("C error: ", maxsplit=1)[-1].strip()
        raise TableError(f"{path}: expected as many cells in each line as in the first ({reason})") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: expected text in UTF-8, byte {error.start} is something else") from error
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}): give a CSV file of structures") from error
    breaks = sum(cells[column].str.count("\n") for column in cells)
    lines = pd.Series(range(1, len(cells) + 1)) + breaks.cumsum().shift(fill_value=0)
    frame = cells.iloc[1:].set_axis(_header(path, [name.strip() for name in cells.iloc[0]]), axis=1)
    filled = (frame != "").any(axis=1)
    if not filled.any():
        raise TableError(f"{path}: expected at least one structure below the names of the columns, got none")
    return frame[filled].reset_index(drop=True), lines.iloc[1:][filled].tolist()


def _header(path: Path, names: list[str]) -> list[str]:
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise TableError(
            f"{path}, line 1: expected columns {', '.join(REQUIRED)} (and {', '.join(OPTIONAL)} where nets are "
            f"convolutional), separated by commas; {', '.join(missing)} missing in {', '.join(names)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{path}, line 1: expected different names of columns, got {', '.join(twice)} more than once")
    return names


def _structure(cells: Mapping[str, str], place: str) -> Structure:
    """Return the structure of a line; each column is tried by itself, so that an error names the one that is wrong."""
    kind = "chain"
    numbers: dict[str, tuple[int, ...]] = dict.fromkeys(("input", "widths", *OPTIONAL), (1,))
    for column in (*REQUIRED, *OPTIONAL):
        text = cells.get(column, "").strip()
        try:
            if column == "kind":
                kind = text
            elif text or column in REQUIRED:
                numbers[column] = _numbers(column, text)
            structure = build(
                kind, numbers["input"][0], numbers["widths"],
                kernels=numbers["kernel"], strides=numbers["stride"], grid=numbers["grid"][0],
            )  # fmt: skip
        except ValueError as error:
            raise TableError(f"{place}, column {column}: {str(error).removeprefix(f'{column}: ')}") from error
    if structure.parameters > MOST_PARAMETERS:
        raise TableError(
            f"{place}, column widths: expected a structure of at most {MOST_PARAMETERS:,} filter weights, got "
            f"{structure.parameters:,}"
        )
    return structure


def _numbers(column: str, text: str) -> tuple[int, ...]:
    """Return the numbers of a cell; one alone may end in .0, as where a table with empty cells was saved again."""
    if column not in SINGLE:
        return parse_numbers(column, re.sub(r"^(\d+)\.0+$", r"\1", text))
    if not re.fullmatch(r"\d+(\.0+)?", text):
        raise ValueError(f"expected one whole number, got {text!r}")
    return (int(text.split(".")[0]),)
