"""Selections that figures and claims share."""

from __future__ import annotations

import pandas as pd
import pytest
from tests.unit.records.factory import record, rows

from unrolled.records.schema import REQUIRED
from unrolled.records.select import CELL, best_runs, of_experiment


def test_the_lowest_training_loss_of_a_cell_and_seed_counts() -> None:
    frame = rows(
        record("a", optim_lr=0.01, train_loss=2.0),
        record("b", optim_lr=0.001, train_loss=1.0),
        record("c", optim_name="sgd", train_loss=3.0),
    )
    assert list(best_runs(frame)["trial"]) == ["b"]


@pytest.mark.parametrize(
    "other",
    [
        {"solver_name": "nag"},
        {"solver_steps": 6},
        {"network_width": 0},
        {"data_n_train": 50},
        {"solver_learn_step_size": True},
        {"seed": 1},
    ],
)
def test_what_names_a_cell_keeps_its_own_best_run(other: dict[str, object]) -> None:
    frame = rows(record("a", train_loss=2.0), record("b", train_loss=1.0, **other))
    assert set(best_runs(frame)["trial"]) == {"a", "b"}


def test_every_column_of_a_cell_was_tried() -> None:
    assert set(CELL) == {
        "solver.name", "solver.steps", "network.width", "data.n_train", "solver.learn_step_size"
    }  # fmt: skip


def test_diverged_failed_and_lossless_rows_are_passed_over() -> None:
    frame = rows(
        record("a", status="diverged", train_loss=0.1),
        record("b", status="failed", train_loss=0.2),
        record("c", train_loss=None),
        record("d", train_loss=4.0),
    )
    assert list(best_runs(frame)["trial"]) == ["d"]
    assert best_runs(frame.iloc[:3]).empty


def test_ties_and_order_do_not_matter() -> None:
    frame = rows(*(record(name, seed=seed, train_loss=1.0) for name, seed in (("c", 1), ("b", 0), ("a", 0), ("d", 1))))
    expected = best_runs(frame)
    assert list(expected["trial"]) == ["a", "c"]
    for seed in range(5):
        pd.testing.assert_frame_equal(best_runs(frame.sample(frac=1, random_state=seed)), expected)


def test_rows_of_an_experiment_keep_their_order() -> None:
    frame = rows(
        record("b", experiments=["reasoning/rnn", "reasoning/generalization"]),
        record("c", experiments=["reasoning/rnn_other"]),
        record("a", experiments=["reasoning/rnn"]),
    )
    found = of_experiment(frame, "reasoning/rnn")
    assert list(found["trial"]) == ["b", "a"]
    assert list(found.index) == [0, 1]
    assert of_experiment(frame, "reasoning/none").empty


def test_an_empty_table_stays_empty() -> None:
    empty = pd.DataFrame(columns=list(REQUIRED))
    assert of_experiment(empty, "reasoning/rnn").empty
    assert best_runs(empty).empty
