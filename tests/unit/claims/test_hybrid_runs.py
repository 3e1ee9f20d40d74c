"""Runs of hybrid nets: names, what is held, and tables without gaps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import DEPTH, ROBUST, WIDTH, as_read, net, trained

from unrolled.claims.grid import MixedRecordsError
from unrolled.claims.hybrid_runs import HybridRuns, aligned, curves, side_by_side, trained_trials

AXES = ["solver.name", "solver.steps"]


def frame_of(*parts: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])


def small(**columns: object) -> pd.DataFrame:
    return frame_of(trained(DEPTH, net("digits"), "digits", solvers=["ista"], steps=[1, 4], seeds=[0, 1, 2], **columns))


def test_the_best_rate_counts() -> None:
    other = small(**{"optim.lr": 1e-4, "train_loss": 9.0}).assign(trial=lambda rows: rows["trial"].str[::-1])
    runs = HybridRuns(pd.concat([other, small()], ignore_index=True), DEPTH).runs
    assert set(runs["optim.lr"]) == {1e-3}
    assert len(runs) == 6


@pytest.mark.parametrize("column", ["optim.epochs", "solver.first_step", "solver.differentiation", "attack.linf"])
def test_variations_that_are_no_axis_are_refused(column: str) -> None:
    frame = small(**{column: 1})
    frame[column] = [1, 2, *frame[column][2:]]
    with pytest.raises(MixedRecordsError, match=f"{DEPTH} on digits: expected one value of {column}, got 1, 2"):
        HybridRuns(frame, DEPTH)


def test_nets_are_named_by_what_tells_them_apart() -> None:
    one = trained(WIDTH, net("mnist1d"), "mnist1d", steps=[4])
    two = [row for width in (16, 32) for row in trained(WIDTH, net("digits", width=width), "digits", steps=[4])]
    names = [name for name, _ in HybridRuns(frame_of(one, two), WIDTH).nets()]
    assert names == ["digits, chain 64: 16x16x16", "digits, chain 64: 32x32x32", "mnist1d"]
    alike = frame_of(one, [row | {"parameters": 7, "trial": str(row["trial"])[::-1]} for row in one])
    names = [name for name, _ in HybridRuns(alike, WIDTH).nets()]
    assert names[0] == "mnist1d, chain 40: 32x32x32 (7 parameters)"


def test_two_runs_at_one_place_are_refused() -> None:
    runs = HybridRuns(small(), DEPTH)
    runs.require_one(runs.runs, AXES)
    with pytest.raises(MixedRecordsError, match=r"one run for each \(solver.name, seed\), got several"):
        runs.require_one(runs.runs, ["solver.name"])


def test_without_records_there_is_nothing() -> None:
    for frame in (pd.DataFrame(), small().assign(status="failed"), small().drop(columns="structure")):
        assert trained_trials(frame, [DEPTH]).empty
        assert list(HybridRuns(frame, DEPTH).nets()) == []
    assert aligned(small(), AXES, ["gap", "nothing"])["gap"].empty


def test_a_cell_counts_where_all_metrics_are_there() -> None:
    frame = frame_of(trained(DEPTH, net("digits"), "digits", solvers=["ista", "fista"], steps=[1, 4], seeds=[0, 1, 2]))
    lost = frame.index[(frame["solver.name"] == "ista") & (frame["solver.steps"] == 4) & (frame["seed"] == 1)]
    frame.loc[lost, "gap"] = np.inf
    tables = aligned(frame, AXES, ["convergence", "gap"])
    for table in tables.values():
        assert list(table.columns) == [("fista", 1), ("fista", 4), ("ista", 1)]
        assert list(table.index) == [0, 1, 2]
    joined = side_by_side(tables["convergence"], tables["gap"])
    assert joined.shape == (3, 6)
    place = (frame["solver.name"] == "fista") & (frame["solver.steps"] == 4)
    np.testing.assert_array_equal(joined[:, 4], frame[place].sort_values("seed")["gap"])


@pytest.mark.parametrize("stored", [lambda frame: frame, as_read])
def test_lists_become_a_table_over_seeds(stored) -> None:
    frame = stored(frame_of(trained(ROBUST, net("digits"), "digits", solvers=["ista"], steps=[4], attack=True)))
    table = curves(frame, "attack_linf", "robust_pgd_linf")
    assert list(table.columns) == [0.0, 0.05, 0.1, 0.15, 0.2]
    assert list(table.index) == [0, 1, 2, 3]
    np.testing.assert_array_equal(table.loc[2], frame.set_index("seed").loc[2, "robust_pgd_linf"])
    without = frame.assign(attack_linf=None)
    assert curves(without, "attack_linf", "robust_pgd_linf").empty
    assert curves(frame.drop(columns="attack_linf"), "attack_linf", "robust_pgd_linf").empty


def test_other_radii_are_refused() -> None:
    rows = trained(ROBUST, net("digits"), "digits", solvers=["ista"], steps=[4], attack=True)
    rows[0]["attack_linf"] = [0.0, 1.0, 2.0, 3.0, 4.0]
    with pytest.raises(MixedRecordsError, match="attack_linf: expected the same entries"):
        curves(frame_of(rows), "attack_linf", "robust_pgd_linf")
