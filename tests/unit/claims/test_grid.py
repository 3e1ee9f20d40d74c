"""Cells of the grid, paired by seed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.factory import GENERALIZATION, LEARNED_STEP, all_experiments, as_claimed, changed, records

from unrolled.claims.grid import Grid, trials_of


def test_steps_are_those_that_all_solvers_have() -> None:
    gd = records(GENERALIZATION, solvers=["gd"], steps=[1, 2, 5], widths=[16])
    nag = records(GENERALIZATION, solvers=["nag"], steps=[2, 5, 9], widths=[16, 32])
    grid = Grid(pd.concat([gd, nag], ignore_index=True), [GENERALIZATION])
    assert grid.steps("gap", 16, ["gd", "nag"]) == [2, 5]
    assert grid.steps("gap", 32, ["gd", "nag"]) == []
    assert grid.widths() == [16, 32]


def test_best_run_counts_and_diverged_and_missing_values_do_not() -> None:
    good = records(GENERALIZATION, changed(as_claimed, gap=lambda *_: 1.0), steps=[2], widths=[16], seeds=[0, 1, 2])
    worse = records(GENERALIZATION, lr=1e-3, steps=[2], widths=[16], seeds=[0, 1, 2])
    worse["train_loss"] += 1.0
    diverged = worse.assign(trial=worse["trial"].str[::-1], status="diverged", train_loss=-1.0, gap=1e9)
    good.loc[good["seed"] == 2, "gap"] = math.nan
    grid = Grid(pd.concat([worse, diverged, good], ignore_index=True), [GENERALIZATION])
    expected = good[(good["solver.name"] == "gd") & (good["seed"] < 2)].set_index("seed")["gap"]
    pd.testing.assert_series_equal(grid.values("gap", 16, "gd", 2), expected, check_names=False)


def test_differences_are_paired_by_seed() -> None:
    frame = records(GENERALIZATION, steps=[2, 5], widths=[16], seeds=range(5))
    frame = frame[~((frame["seed"] == 1) & (frame["solver.name"] == "gd") & (frame["solver.steps"] == 5))]
    grid = Grid(frame.sample(frac=1, random_state=0), [GENERALIZATION])
    difference = grid.between_solvers("gap", 16, 5, "gd", "nag")
    assert list(difference.index) == [0, 2, 3, 4]
    truth = as_claimed("gd", 5, 16)["gap"] - as_claimed("nag", 5, 16)["gap"]
    # The luck of a seed (2.0) cancels; six times the noise that stays (1e-5 sqrt 2) is left.
    np.testing.assert_allclose(difference, truth, atol=1e-4)
    assert list(grid.between_steps("gap", 16, "gd", 5, 2).index) == [0, 2, 3, 4]
    assert grid.complete("gap", 16, [("gd", 2), ("gd", 5)]).shape == (4, 2)


def test_missing_cells_are_empty() -> None:
    grid = Grid(records(GENERALIZATION, steps=[2], widths=[16]), [GENERALIZATION])
    assert grid.values("gap", 16, "gd", 99).empty
    assert grid.values("no such metric", 16, "gd", 2).empty
    assert grid.steps("no such metric", 16, ["gd"]) == []


@pytest.mark.parametrize("frame", [pd.DataFrame(), records(GENERALIZATION, steps=[2], widths=[16])])
def test_no_records_of_the_experiment(frame: pd.DataFrame) -> None:
    grid = Grid(frame, [LEARNED_STEP])
    assert grid.widths() == []
    assert grid.steps("gap", 16, ["gd", "nag"]) == []


def test_learned_and_fixed_steps_are_kept_apart() -> None:
    frame = all_experiments()
    frame["experiments"] = [[GENERALIZATION, LEARNED_STEP]] * len(frame)
    # The RNN has no step size to learn: its flag may be missing.
    flag = frame["solver.learn_step_size"].astype(object)
    frame["solver.learn_step_size"] = flag.where(frame["solver.name"] != "rnn", None)
    learned = trials_of(frame, [LEARNED_STEP], learned_step=True)
    fixed = trials_of(frame, [LEARNED_STEP], learned_step=False)
    assert set(learned["solver.learn_step_size"]) == {True}
    assert len(learned) + len(fixed) == len(frame)
    assert len(trials_of(frame, [LEARNED_STEP, GENERALIZATION])) == len(frame)


def test_two_best_runs_of_a_seed_are_an_error() -> None:
    frame = records(GENERALIZATION, steps=[2], widths=[16])
    twin = frame.assign(**{"data.n_train": 50, "trial": frame["trial"].str[::-1]})
    with pytest.raises(ValueError, match=r"one value of data\.n_train, got 50, 100"):
        Grid(pd.concat([frame, twin], ignore_index=True), [GENERALIZATION])


def test_constant_must_be_one_value() -> None:
    frame = records(GENERALIZATION, steps=[2], widths=[16])
    assert Grid(frame, [GENERALIZATION]).constant("data.smoothness", ["gd"]) == 1.0
    frame.loc[0, "data.smoothness"] = 2.0
    with pytest.raises(ValueError, match=r"data\.smoothness: expected one value"):
        Grid(frame, [GENERALIZATION]).constant("data.smoothness", ["gd"])
