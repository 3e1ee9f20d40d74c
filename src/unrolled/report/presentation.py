"""Everything that is made from records, in one call: figures, verdicts, the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from unrolled.claims import evaluate_claims, table, write_claims
from unrolled.figures import render_figures
from unrolled.report.page import write_report


def present(frame: pd.DataFrame, folder: Path, scale: str, theory: str, say: Callable[[str], None] = print) -> str:
    """Draw figures, test claims and write the report.

    Figures whose files already show these records are left as they are.

    Args:
        frame: records, one row a trial.
        folder: results of one scale, where figures, ``claims.json`` and the report go.
        scale: its name.
        theory: whose figures are drawn and verdicts returned, or ``all``; ledger and report hold all.
        say: prints a line.

    Returns:
        The table of verdicts.

    Raises:
        ReportError: there are no records.
    """
    for figure in render_figures(frame, folder / "figures", theory, again=False):
        if figure.reason:
            say(f"not drawn: {figure.name}: {figure.reason}")
    claims = evaluate_claims(frame)
    write_claims(claims, folder / "claims.json")
    entries, page = [claim.entry() for claim in claims], folder / "report" / "index.html"
    say(f"report: {write_report(frame, entries, folder / 'figures', page, scale, 'all')}")
    return table([claim for claim in claims if theory in ("all", claim.claim.theory)])
