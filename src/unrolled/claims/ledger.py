"""The ledger: every claim that is tested, its evaluation on records, and the files and table that show the outcome."""

from __future__ import annotations

import hashlib
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unrolled.claims import frames, hybrid, reasoning
from unrolled.claims.claim import Cell, Claim, Verdict, explain, judge, summarise
from unrolled.claims.grid import MixedRecordsError, trials_of
from unrolled.claims.statistics import Interval
from unrolled.records.atomic import replacing

CLAIMS: dict[str, Claim] = {**reasoning.CLAIMS, **frames.CLAIMS, **hybrid.CLAIMS}
"""Every claim, id -> claim, in the order of the ledger."""

CELL_COLUMNS = ("claim", "part", "solver", "width", "k", "effect", "low", "high", "n", "holds")
TABLE_WIDTH = 120


@dataclass(frozen=True)
class ClaimResult:
    """A claim with what the records say about it.

    Attributes:
        claim: the claim.
        interval: effect with its 95 % interval over seeds, or what the claim's rule says; NaN and n = 0 where not run.
        verdict: the outcome.
        note: which places were tested, or why nothing was.
        cells: every tested condition, and those reported beside.
        trials: hashes of the trials read, sorted.
    """

    claim: Claim
    interval: Interval
    verdict: Verdict
    note: str
    cells: tuple[Cell, ...]
    trials: tuple[str, ...]

    def entry(self) -> dict[str, object]:
        """Return the ledger entry: plain values only, None for a number that does not exist."""
        claim, interval = self.claim, self.interval
        digest = hashlib.sha256("\n".join(self.trials).encode()).hexdigest() if self.trials else None
        return {
            "id": claim.id,
            "theory": claim.theory,
            "paper": claim.paper,
            "place": claim.place,
            "statement": claim.statement,
            "metric": f"{claim.metric}; {self.note}",
            "effect": _number(interval.effect),
            "low": _number(interval.low),
            "high": _number(interval.high),
            "n": interval.n,
            "rule": claim.rule,
            "verdict": str(self.verdict),
            "records": {"experiments": list(claim.experiments), "trials": len(self.trials), "digest": digest},
        }


def evaluate_claims(frame: pd.DataFrame, theory: str = "all") -> list[ClaimResult]:
    """Test the claims of a theory on records.

    Args:
        frame: records, one row a trial; experiments may be absent or partial.
        theory: name of a theory, or ``all``.

    Returns:
        One result a claim, in the ledger's order. A claim whose records are missing is in it as not run.

    Raises:
        ValueError: no claim belongs to that theory.
    """
    known = sorted({claim.theory for claim in CLAIMS.values()})
    if theory not in ("all", *known):
        raise ValueError(f"theory: expected all or one of {', '.join(known)}, got {theory!r}")
    return [_evaluate(claim, frame) for claim in CLAIMS.values() if theory in ("all", claim.theory)]


def _evaluate(claim: Claim, frame: pd.DataFrame) -> ClaimResult:
    rows = trials_of(frame, claim.experiments)
    missing = [name for name in claim.experiments if trials_of(frame, [name]).empty]
    mixed = ""
    try:
        cells = tuple(claim.evaluate(frame)) if len(rows) else ()
    except MixedRecordsError as error:
        cells, mixed = (), f": {error}"
    verdict = judge(cells)
    interval = summarise(cells)
    note = explain(cells) + mixed + (f"; no records of {', '.join(missing)}" if missing else "")
    return ClaimResult(claim, interval, verdict, note, cells, tuple(sorted(rows["trial"])) if len(rows) else ())


def write_claims(results: Sequence[ClaimResult], path: Path) -> tuple[Path, Path]:
    """Write the ledger and, beside it, every tested condition; each file appears whole or not at all.

    Args:
        results: of :func:`evaluate_claims`.
        path: the ledger (``claims.json``); the cells go to ``claims_cells.csv`` in the same folder. Both are replaced.

    Returns:
        The two paths: ledger, cells.
    """
    path = Path(path)
    ledger = json.dumps([result.entry() for result in results], indent=2, ensure_ascii=False, allow_nan=False)
    cells = path.with_name("claims_cells.csv")
    _replace(path, ledger + "\n")
    _replace(cells, cell_table(results).to_csv(index=False, lineterminator="\n"))
    return path, cells


def cell_table(results: Sequence[ClaimResult]) -> pd.DataFrame:
    """Return every condition of every claim, one a row.

    Args:
        results: of :func:`evaluate_claims`.

    Returns:
        Table with the columns of :data:`CELL_COLUMNS`; ``holds`` is empty for conditions that do not count or that
        have fewer than two seeds.
    """
    rows = [
        (
            result.claim.id,
            cell.label,
            cell.solver,
            cell.width,
            cell.k,
            cell.interval.effect,
            cell.interval.low,
            cell.interval.high,
            cell.interval.n,
            cell.holds,
        )
        for result in results
        for cell in result.cells
    ]
    types = {"width": "Int64", "k": "Int64", "n": "Int64", "holds": "boolean"}
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS)).astype(types)


def table(results: Sequence[ClaimResult]) -> str:
    """Return the verdicts as plain text for a terminal, at most 120 columns wide.

    Args:
        results: of :func:`evaluate_claims`.

    Returns:
        A header and one line a claim: id, verdict, effect [low, high], n, statement (shortened).
    """
    lines = [_line("id", "verdict", "effect [low, high]", "n", "statement")]
    for result in results:
        interval = result.interval
        known = math.isfinite(interval.effect)
        effect = f"{interval.effect:.3g} [{interval.low:.3g}, {interval.high:.3g}]" if known else "-"
        lines.append(_line(result.claim.id, result.verdict, effect, str(interval.n), result.claim.statement))
    return "\n".join(lines)


def _line(name: str, verdict: str, effect: str, n: str, statement: str) -> str:
    start = f"{name:<4} {verdict:<14} {effect:<31} {n:>3}  "
    return (start + textwrap.shorten(statement, TABLE_WIDTH - len(start), placeholder=" ...")).rstrip()


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _replace(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
