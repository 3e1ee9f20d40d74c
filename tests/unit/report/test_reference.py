"""Tables of the committed reference: means over seeds of best runs, lists entry by entry, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import ROBUST, as_read, hybrid_records

from unrolled.records.select import HYBRID_CELL
from unrolled.report.errors import ReportError
from unrolled.report.reference import TABLES, cell_means, write_reference


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return as_read(hybrid_records())


def test_a_cell_has_mean_spread_and_number_of_seeds(records: pd.DataFrame) -> None:
    hybrid = records[records["task"] == "hybrid"]
    whole = cell_means(hybrid, TABLES["hybrid"])
    assert not whole.duplicated([name for name in TABLES["hybrid"].cell if name in whole]).any()
    table = cell_means(hybrid[[ROBUST in names for names in hybrid["experiments"]]], TABLES["hybrid"])
    attacked = records[[ROBUST in names for names in records["experiments"]]]
    one = attacked.iloc[0]
    own = attacked[(attacked[list(HYBRID_CELL)] == one[list(HYBRID_CELL)]).all(axis=1)]
    (row,) = table[(table[list(HYBRID_CELL)] == one[list(HYBRID_CELL)]).all(axis=1)].to_dict("records")
    assert row["n"] == own["seed"].nunique() > 1
    assert row["test_error_mean"] == pytest.approx(own["test_error"].mean())
    assert row["test_error_sd"] == pytest.approx(own["test_error"].std())
    middle = np.mean([values[2] for values in own["robust_pgd_linf"]])
    assert row["robust_pgd_linf_2_mean"] == pytest.approx(middle)


def test_a_run_without_figures_is_no_reference(records: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="is not a whole run: expected records, claims and figures"):
        write_reference(records, tmp_path, tmp_path / "reference")


def test_it_says_where_it_comes_from(records: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "figures" / "hybrid").mkdir(parents=True)
    for name in ("figures/hybrid/depth.png", "claims.json", "claims_cells.csv"):
        (tmp_path / name).write_bytes(b"x")
    written = write_reference(records, tmp_path, tmp_path / "reference")
    names = {str(path.relative_to(tmp_path / "reference")) for path in written}
    assert names >= {"figures/hybrid/depth.png", "claims.json", "hybrid_cells.csv", "provenance.json"}
    origin = json.loads((tmp_path / "reference" / "provenance.json").read_text())
    assert origin["trial_count"] == records["trial"].nunique()
    assert origin["git_commits"] == sorted(set(records["git_commit"]))
