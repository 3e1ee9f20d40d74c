"""Figures, claims, report and runs again, each from the records of the smoke run alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import check_claims, plot, report, track
from tests.entrypoints.conftest import ROOT, Reproduced

from unrolled.claims import CLAIMS
from unrolled.figures import THEORIES
from unrolled.records.store import load_records

Call = Callable[..., int]


@pytest.fixture(scope="module")
def results(smoke: Reproduced, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with records and nothing else; the tests of this module share it."""
    folder = tmp_path_factory.mktemp("again") / "smoke"
    shutil.copytree(smoke.results / "records", folder / "records")
    return folder


def test_plot_draws_every_figure_again(in_process: Call, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process(plot.main, "--results", results, "--theory", "reasoning") == 0
    lines = capsys.readouterr().out.splitlines()
    drawn = {path.stem for path in (results / "figures").rglob("*.png")}
    assert drawn == set(THEORIES["reasoning"])
    assert len(lines) == len(drawn)
    assert all(line.startswith("drawn ") for line in lines)


def test_check_claims_writes_the_same_verdicts_again(
    in_process: Call, results: Path, smoke: Reproduced, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process(check_claims.main, "--results", results) == 0
    again = (results / "claims.json").read_bytes()
    assert again == (smoke.results / "claims.json").read_bytes()
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in CLAIMS)


def test_report_writes_a_page(
    in_process: Call, smoke: Reproduced, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "smoke"
    shutil.copytree(smoke.results / "records", results / "records")
    shutil.copyfile(smoke.results / "claims.json", results / "claims.json")
    assert in_process(report.main, "--results", results) == 0
    page = results / "report" / "index.html"
    assert capsys.readouterr().out.strip() == str(page)
    assert "R1" in page.read_text()


def test_a_broken_ledger_is_told(in_process: Call, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = results.parent / "broken"
    shutil.copytree(results / "records", broken / "records")
    (broken / "claims.json").write_text("{")
    assert in_process(report.main, "--results", broken) == 1
    assert "is not valid JSON" in capsys.readouterr().err


def test_track_writes_one_run_a_pack_and_skips_it_the_next_time(
    in_process: Call, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    kept = sorted((results / "records").glob("*.parquet"))[:2]
    (tmp_path / "records").mkdir()
    for path in kept:
        shutil.copyfile(path, tmp_path / "records" / path.name)
    packs = set(load_records(tmp_path / "records")["pack"])
    for written, skipped in ((2, 0), (0, 2)):
        assert in_process(track.main, "--records", tmp_path / "records") == 0
        assert f"W&B runs (offline): {written} written, {skipped} up to date" in capsys.readouterr().out
    assert {path.name.rsplit("-", 1)[1] for path in (tmp_path / "wandb").glob("offline-run-*")} == packs


@pytest.mark.parametrize(
    ("main", "option", "status"),
    [
        (plot.main, "--results", 1),
        (report.main, "--results", 1),
        (check_claims.main, "--results", 2),
        (track.main, "--records", 1),
    ],
    ids=["plot", "report", "check_claims", "track"],
)
def test_without_records_the_line_says_what_to_run(
    main: Callable[[], int],
    option: str,
    status: int,
    in_process: Call,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert in_process(main, option, tmp_path / "nothing") == status
    (line,) = capsys.readouterr().err.splitlines()
    assert "no records in" in line
    assert "run" in line.split("nothing")[-1]
    assert not (tmp_path / "nothing").exists()


def test_no_script_but_the_runners_trains() -> None:
    for name in ("plot", "check_claims", "report", "track"):
        assert "run_configs" not in (ROOT / "scripts" / f"{name}.py").read_text()
        assert "sweep" not in (ROOT / "scripts" / f"{name}.py").read_text()


def test_the_ledger_is_plain_json(smoke: Reproduced) -> None:
    entries = json.loads((smoke.results / "claims.json").read_text())
    keys = "id theory paper place statement metric effect low high n rule verdict records"
    assert all(list(entry) == keys.split() for entry in entries)
