from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.factory import synthetic_records

from unrolled.figures.reasoning import FIGURES
from unrolled.figures.spec import UndrawableError


def test_selection_holds_the_better_of_two_rates_for_every_cell_and_seed(records):
    chosen = FIGURES["representation_error"].select(records)
    fits = records[[e == ["reasoning/generalization"] for e in records["experiments"]]]
    fits = fits[fits["status"] == "finished"]
    best: dict[tuple, float] = {}
    for row in fits.to_dict("records"):
        key = (row["solver.name"], row["solver.steps"], row["network.width"], row["seed"])
        best[key] = min(best.get(key, np.inf), row["train_loss"])
    found = {
        (r["solver.name"], r["solver.steps"], r["network.width"], r["seed"]): r["train_loss"]
        for r in chosen.to_dict("records")
    }
    assert found == best


def test_selection_does_not_depend_on_the_order_of_rows(records):
    figure = FIGURES["training_error"]
    shuffled = records.sample(frac=1.0, random_state=0)
    pd.testing.assert_frame_equal(figure.select(records), figure.select(shuffled))


def test_properties_are_taken_at_one_step_size(records):
    rows = FIGURES["algorithm_properties"].select(records)
    assert set(rows["solver.step_size"]) == {1.0}
    assert set(rows["task"]) == {"properties"}


def test_caption_says_n_trials_and_commit(records):
    figure = FIGURES["representation_error"]
    rows = figure.select(records)
    caption = figure.caption(rows)
    assert "n = 4 training seeds" in caption
    assert f"{len(rows)} trials, commit 0123456." in caption
    assert "(s = 1)" in caption
    fewer = rows.drop(rows.index[0])
    assert "n = 3 to 4 training seeds" in figure.caption(fewer)
    assert "n = 1 training seed, so no interval" in figure.caption(rows[rows["seed"] == 0])
    assert "with uncommitted changes" in figure.caption(rows.assign(git_dirty=True))
    assert "2 commits" in figure.caption(rows.assign(git_commit=["a" * 40] + ["b" * 40] * (len(rows) - 1)))


def test_reasons_name_the_cause():
    frame = synthetic_records(steps=(2,), widths=(16,), seeds=(0,))
    figure = FIGURES["training_error"]
    with pytest.raises(UndrawableError, match=r"no records of reasoning/generalization: run `python scripts/train.py"):
        figure.select(frame[frame["solver.name"] == "rnn"])
    with pytest.raises(UndrawableError, match=r"no usable run .* \(\d+ failed\)"):
        figure.select(frame.assign(status="failed"))
    with pytest.raises(UndrawableError, match="no finite value of train_loss"):
        figure.select(frame.assign(train_loss=np.inf))
    with pytest.raises(UndrawableError, match="no records"):
        figure.select(frame.iloc[:0])
