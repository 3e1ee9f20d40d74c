"""The ledger's files, its table, and the script that writes them."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from scripts.check_claims import main
from tests.unit.claims.factory import GENERALIZATION, all_experiments, records

from unrolled.claims import CLAIMS, ClaimResult, Verdict, evaluate_claims, table, write_claims
from unrolled.records.store import RecordStore

KEYS = ["id", "theory", "paper", "place", "statement", "metric", "effect", "low", "high", "n", "rule", "verdict"]
KEYS += ["records"]


@pytest.fixture(scope="module")
def results() -> list[ClaimResult]:
    return evaluate_claims(all_experiments())


@pytest.fixture(scope="module")
def partial() -> list[ClaimResult]:
    """Two k of one width: some claims run, others have no records."""
    return evaluate_claims(records(GENERALIZATION, steps=[2, 5], widths=[16]))


def strict(text: str) -> list[dict]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_claim_has_a_result(results: list[ClaimResult], partial: list[ClaimResult]) -> None:
    for outcome in (results, partial, evaluate_claims(pd.DataFrame())):
        assert [result.claim.id for result in outcome] == list(CLAIMS)


def test_without_records_nothing_is_run() -> None:
    for result in evaluate_claims(pd.DataFrame()):
        assert result.verdict is Verdict.NOT_RUN
        assert "no records of" in result.note
        assert all(name in result.note for name in result.claim.experiments)


def test_single_seed_says_why_it_is_not_run() -> None:
    for result in evaluate_claims(all_experiments(seeds=[3]), "reasoning"):
        assert result.verdict is Verdict.NOT_RUN
        assert "fewer than 2 paired seeds" in result.entry()["metric"]


def test_theory_is_chosen_by_name() -> None:
    assert len(evaluate_claims(pd.DataFrame(), "reasoning")) == 8
    assert len(evaluate_claims(pd.DataFrame(), "frames")) == 9
    assert len(evaluate_claims(pd.DataFrame(), "hybrid")) == 6
    with pytest.raises(ValueError, match="expected all or one of frames, hybrid, reasoning, got 'magic'"):
        evaluate_claims(pd.DataFrame(), "magic")


def test_ledger_is_strict_json_with_the_fixed_keys(partial: list[ClaimResult], tmp_path: Path) -> None:
    path, _ = write_claims(partial, tmp_path / "new" / "claims.json")
    entries = strict(path.read_text(encoding="utf-8"))
    assert all(list(entry) == KEYS for entry in entries)
    by_id = {entry["id"]: entry for entry in entries}
    assert by_id["R1"]["verdict"] == "reproduced"
    assert "k tested: 2, 5" in by_id["R1"]["metric"]
    assert by_id["R7"]["verdict"] == "not run"
    assert [by_id["R7"][key] for key in ("effect", "low", "high", "n")] == [None, None, None, 0]
    assert "no records of reasoning/learned_step" in by_id["R7"]["metric"]


def test_records_name_the_trials(results: list[ClaimResult]) -> None:
    frame = all_experiments()
    trials = sorted(frame.loc[[GENERALIZATION in names for names in frame["experiments"]], "trial"])
    digest = hashlib.sha256("\n".join(trials).encode()).hexdigest()
    entry = results[0].entry()
    assert entry["records"] == {"experiments": [GENERALIZATION], "trials": len(trials), "digest": digest}


def test_same_records_in_another_order_give_the_same_files(tmp_path: Path) -> None:
    frame = records(GENERALIZATION, steps=[1, 2, 5], widths=[16])
    first = write_claims(evaluate_claims(frame), tmp_path / "a" / "claims.json")
    second = write_claims(evaluate_claims(frame.sample(frac=1, random_state=1)), tmp_path / "b" / "claims.json")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_cells_are_written_beside(results: list[ClaimResult], tmp_path: Path) -> None:
    _, cells = write_claims(results, tmp_path / "claims.json")
    assert cells == tmp_path / "claims_cells.csv"
    with cells.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["claim", "part", "solver", "width", "k", "effect", "low", "high", "n", "holds"]
    assert len(rows) == sum(len(result.cells) for result in results)
    first = next(row for row in rows if row["claim"] == "R1" and row["part"] == "error" and row["k"] == "10")
    assert (first["solver"], first["width"], first["n"], first["holds"]) == ("gd - nag", "0", "6", "True")
    assert {row["holds"] for row in rows if row["part"].startswith("raw gap")} == {""}


def test_files_are_replaced_whole(partial: list[ClaimResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = write_claims(partial, tmp_path / "claims.json")
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_claims([], path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["claims.json", "claims_cells.csv"]


def test_table_fits_a_terminal(results: list[ClaimResult], partial: list[ClaimResult]) -> None:
    for outcome in (results, partial):
        lines = table(outcome).splitlines()
        assert len(lines) == 1 + len(CLAIMS)
        assert max(map(len, lines)) <= 120
        assert [line.split()[0] for line in lines[1:]] == list(CLAIMS)
    assert "not run" in table(partial)
    assert f"{results[0].interval.effect:.3g} [" in table(results)


def test_script_writes_the_ledger_and_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = records(GENERALIZATION, steps=[2, 5], widths=[16]).assign(pack="p" * 16, started_at="2020-01-01T00:00:00")
    RecordStore(tmp_path / "records").write(frame)
    assert main(["--results", str(tmp_path), "--theory", "reasoning"]) == 0
    assert "R1   reproduced" in capsys.readouterr().out
    assert len(strict((tmp_path / "claims.json").read_text())) == 8


def test_script_needs_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "records") in error
    assert "run the experiments first" in error
    assert not (tmp_path / "claims.json").exists()
