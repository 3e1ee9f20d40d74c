"""The command that adds minimum potentials to a table, and the same in one line of Python."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import potential
from tests.entrypoints.conftest import Shell

from unrolled.app import guarded
from unrolled.frames import build, minimum_potential

TABLE = "kind,input,widths,kernel,stride,grid,note\nchain,3072,8x16x32x64,,,,figure\nresidual,3,2x2x4,3,1x1x2,6,\n"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def run(in_process: Callable[..., int], *arguments: str | Path) -> int:
    return in_process(lambda: guarded(potential.main), *arguments)


def test_a_table_goes_to_the_standard_output_or_a_file(
    in_process: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("nets.csv").write_text(TABLE)
    assert run(in_process, "nets.csv") == 0
    printed = capsys.readouterr().out
    first, second = rows(printed)
    assert float(first["F_min"]) == minimum_potential(build("chain", 3072, (8, 16, 32, 64))).f
    assert (first["note"], first["status"], second["widths"]) == ("figure", "exact", "2x2x4")
    Path("out.csv").write_text("something older and much longer than what will be there\n" * 99)
    assert run(in_process, "nets.csv", "-o", "out.csv") == 0
    assert Path("out.csv").read_text() == printed
    assert {path.name for path in tmp_path.iterdir()} == {"nets.csv", "out.csv"}
    # Its own output is a table of structures, too, and may be replaced.
    assert run(in_process, "out.csv", "--out", "out.csv") == 0
    assert Path("out.csv").read_text() == printed


def test_a_wrong_line_stops_it_before_anything_is_computed_or_written(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(potential, "with_potentials", lambda *_: pytest.fail("computed"))
    Path("nets.csv").write_text(TABLE + "chain,3,8x0,,,,\n")
    Path("out.csv").write_text("older\n")
    assert run(in_process, "nets.csv", "-o", "out.csv") == 2
    streams = capsys.readouterr()
    assert not streams.out
    assert streams.err.startswith("error: nets.csv, line 4, column widths: width of layer 2: expected")
    assert streams.err.count("\n") == 1
    assert Path("out.csv").read_text() == "older\n"
    assert run(in_process, "nets.csv", "-o", ".") == 2
    assert "expected a file to write, got a folder" in capsys.readouterr().err


def test_the_command_itself_gives_status_and_one_line(shell: Shell) -> None:
    (shell.folder / "nets.csv").write_text(TABLE.replace("residual", "ring"))
    done = shell.script("potential.py", "nets.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("error: nets.csv, line 3, column kind: expected one of chain")
    assert done.stderr.count("\n") == 1
