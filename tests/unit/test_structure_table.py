"""Tables of structures: what is read, what is added, and what a wrong cell is told."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import unrolled.structure_table as module
from unrolled.frames.minimum import minimum_potential
from unrolled.frames.structure import Structure, build
from unrolled.structure_table import MOST_PARAMETERS, TableError, read_structures, with_potentials, write_table

HEADER = "kind,input,widths,kernel,stride,grid\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nets.csv"
    path.write_text(text, encoding="utf-8")
    return path


def structures(tmp_path: Path, text: str) -> list[Structure]:
    return read_structures(table(tmp_path, text))[1]


def test_every_line_gives_its_structure(tmp_path: Path) -> None:
    lines = [
        "chain,3072,8x16x32,,,",
        "dense_front,5,4x4x4,1,1,1",
        "residual,3,4x4x8,3,1x1x2,8",
        "chain,3,4x8,3x1,2,8.0",
    ]
    assert structures(tmp_path, HEADER + "\n".join(lines)) == [
        build("chain", 3072, (8, 16, 32)),
        build("dense_front", 5, (4, 4, 4)),
        build("residual", 3, (4, 4, 8), kernels=3, strides=(1, 1, 2), grid=8),
        build("chain", 3, (4, 8), kernels=(3, 1), strides=2, grid=8),
    ]


def test_columns_come_in_any_order_with_others_between(tmp_path: Path) -> None:
    frame, found = read_structures(table(tmp_path, "note, widths ,kind,input\nNA,4x8,chain,3\n,2,dense,01\n"))
    assert found == [build("chain", 3, (4, 8)), build("dense", 1, (2,))]
    assert list(frame) == ["note", "widths", "kind", "input"]
    assert frame["note"].tolist() == ["NA", ""]  # as it was, and not a missing value
    assert frame["input"].tolist() == ["3", "01"]


def test_results_are_added_in_full(tmp_path: Path) -> None:
    frame, found = read_structures(
        table(tmp_path, HEADER[:-1] + ",note\nchain,9,2x3x5,,,,a\nresidual,1,2x2x4,3,,6,b\n")
    )
    added = with_potentials(frame, found)
    assert list(added) == [*frame, "N", "F2_min", "F_min", "F2_lower", "status"]
    assert added[list(frame)].equals(frame)
    for structure, (_, row) in zip(found, added.iterrows(), strict=True):
        expected = minimum_potential(structure)
        assert int(row["N"]) == expected.pairs
        assert (float(row["F2_min"]), float(row["F_min"])) == (expected.f2, expected.f)
        assert float(row["F2_lower"]) == expected.lower.value
        assert row["status"] == expected.status


def test_equal_structures_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Structure] = []

    def counted(structure: Structure) -> object:
        seen.append(structure)
        return minimum_potential(structure, restarts=0)

    monkeypatch.setattr(module, "minimum_potential", counted)
    frame, found = read_structures(table(tmp_path, HEADER + "chain,4,2x3,,,\nchain,4,3x2,,,\nchain,4,2x3,1,1,1\n"))
    added = with_potentials(frame, found)
    assert seen == [build("chain", 4, (2, 3)), build("chain", 4, (3, 2))]
    assert added["F2_min"][0] == added["F2_min"][2]
    assert added["N"][0] == added["N"][2]


def test_a_table_with_results_gets_new_ones_in_place(tmp_path: Path) -> None:
    frame, found = read_structures(table(tmp_path, "N,kind,input,widths,status\n7,chain,4,2x3,old\n"))
    added = with_potentials(frame, found)
    assert list(added) == ["N", "kind", "input", "widths", "status", "F2_min", "F_min", "F2_lower"]
    assert (added["N"][0], added["status"][0]) == ("20", "exact")


def test_a_written_table_is_read_again(tmp_path: Path) -> None:
    frame, found = read_structures(table(tmp_path, 'kind,input,widths,note\nchain,4,2x3,"a, ""b""\nc"\n'))
    out = tmp_path / "folder" / "out.csv"
    write_table(frame, out)
    assert read_structures(out)[0].equals(frame)
    assert [p.name for p in out.parent.iterdir()] == ["out.csv"]
    with out.open(newline="") as file:
        assert list(csv.reader(file))[1] == ["chain", "4", "2x3", 'a, "b"\nc']
    assert len(found) == 1


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("ring,3,4,,,", "kind", "expected one of chain, residual, residual_all, dense, .* got 'ring'"),
        (",3,4,,,", "kind", "expected one of .* got ''"),
        ("chain,,4,,,", "input", "expected one whole number, got ''"),
        ("chain,0,4,,,", "input", "expected a whole number >= 1, got 0"),
        ("chain,-3,4,,,", "input", "expected one whole number, got '-3'"),
        ("chain,3x3,4,,,", "input", "expected one whole number, got '3x3'"),
        ("chain,3,,,,", "widths", "expected whole numbers joined by x, like 8x16x32, got ''"),
        ("chain,3,4x0x8,,,", "widths", "width of layer 2: expected a whole number >= 1, got 0"),
        ("chain,3,4-8,,,", "widths", "joined by x, .* got '4-8'"),
        ("chain,3,4.5,,,", "widths", "joined by x, .* got '4.5'"),
        ("chain,3,20000x20000,,,", "widths", f"at most {MOST_PARAMETERS:,} filter weights, got 400,060,000"),
        ("chain,3,4x8,3,,", "kernel", "layer 1: kernel 3 and stride 1 need a grid"),
        ("chain,3,4x8,5,1,4", "kernel", "layer 1: expected a kernel of at most 4, .* got 5"),
        ("chain,3,4x8,3,2x1,4", "kernel", "layer 2: expected a kernel of at most 2, .* got 3"),
        ("chain,3,4x8,3x3x3,1,8", "kernel", "one for all or one a layer .2., got 3"),
        ("chain,3,4x8,three,1,8", "kernel", "got 'three'"),
        ("chain,3,4x8,3,2,6", "stride", "layer 2: expected a stride that divides the side 3 .* got 2"),
        ("chain,3,4x8,3,0,6", "stride", "stride of layer 1: expected a whole number >= 1, got 0"),
        ("chain,3,4x8,3,1,0", "grid", "expected a whole number >= 1, got 0"),
        ("chain,3,4x8,3,1,8x8", "grid", "expected one whole number, got '8x8'"),
    ],
)
def test_a_wrong_cell_is_named_by_file_line_and_column(tmp_path: Path, line: str, column: str, says: str) -> None:
    path = table(tmp_path, f"{HEADER}chain,3,4,,,\n\n{line}\n")
    with pytest.raises(TableError, match=rf"^{path}, line 4, column {column}: .*{says}") as caught:
        read_structures(path)
    assert "\n" not in str(caught.value)


def test_lines_are_those_of_the_file_where_cells_have_several(tmp_path: Path) -> None:
    path = table(tmp_path, 'note,kind,input,widths\n"two\nlines",chain,3,4\n,,,\nx,chain,3,zero\n')
    with pytest.raises(TableError, match="line 5, column widths"):
        read_structures(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a first line with the names of the columns, got an empty file"),
        (HEADER, "expected at least one structure below"),
        (HEADER + "\n,,,,,\n", "expected at least one structure below"),
        ("kind,input\nchain,3\n", "line 1: expected columns kind, input, widths .*widths missing in kind, input"),
        ("kind;input;widths\nchain;3;4\n", "separated by commas; kind, input, widths missing in kind;input;widths"),
        ("kind,input,widths,kind\nchain,3,4,chain\n", "line 1: expected different names of columns, got kind more"),
        ("kind,input,widths\nchain,3,4\nchain,3,4,8\n", "as many cells .*Expected 3 fields in line 3, saw 4"),
    ],
)
def test_a_table_of_the_wrong_form_is_told(tmp_path: Path, text: str, says: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(TableError, match=rf"^{path}.*{says}") as caught:
        read_structures(path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_or_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none.csv: cannot be read .No such file"):
        read_structures(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"cannot be read .Is a directory"):
        read_structures(tmp_path)
    path = tmp_path / "latin.csv"
    path.write_bytes(b"kind,input,widths,note\nchain,3,4,caf\xe9\n")
    with pytest.raises(TableError, match="expected text in UTF-8"):
        read_structures(path)
    frame, _ = read_structures(table(tmp_path, "kind,input,widths\nchain,3,4\n"))
    with pytest.raises(TableError, match="cannot be written"):
        write_table(frame, tmp_path / "nets.csv" / "out.csv")


def test_marks_of_other_programs_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "nets.csv"
    path.write_bytes(b"\xef\xbb\xbfkind,input,widths\r\nchain,3,4x8\r\n")
    assert read_structures(path)[1] == [build("chain", 3, (4, 8))]
