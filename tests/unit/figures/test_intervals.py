from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unrolled.figures.intervals import mean_intervals

WIDTH_TOLERANCE = 0.15
"""A bootstrap interval of 60 normal values against 1.96 sd / sqrt(n): the factor (n-1)/n and 2000 resamples."""


def _normal(cells: int, seeds: int) -> pd.DataFrame:
    values = np.random.default_rng(7).standard_normal((cells, seeds)) + np.arange(cells)[:, None]
    return pd.DataFrame({"k": np.repeat(np.arange(cells), seeds), "loss": values.ravel()})


def test_mean_and_n_equal_a_plain_loop():
    rows = _normal(3, 5)
    rows.loc[[0, 6], "loss"] = [np.nan, np.inf]
    table = mean_intervals(rows, "loss", ["k"])
    for line in table.itertuples():
        values = [v for k, v in zip(rows["k"], rows["loss"], strict=True) if k == line.k and np.isfinite(v)]
        assert line.n == len(values)
        assert line.mean == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert table["n"].tolist() == [4, 4, 5]


def test_interval_has_the_width_of_the_normal_one():
    rows = _normal(4, 60)
    table = mean_intervals(rows, "loss", ["k"])
    expected = 2 * 1.96 * rows.groupby("k")["loss"].std().to_numpy() / np.sqrt(60)
    np.testing.assert_allclose(table["high"] - table["low"], expected, rtol=WIDTH_TOLERANCE)
    assert ((table["low"] < table["mean"]) & (table["mean"] < table["high"])).all()


def test_equal_seeds_give_a_point_and_one_seed_gives_no_interval():
    rows = pd.DataFrame({"k": [1, 1, 1, 2], "loss": [3.0, 3.0, 3.0, 4.0]})
    table = mean_intervals(rows, "loss", ["k"])
    assert table.loc[0, ["low", "high"]].tolist() == [3.0, 3.0]
    assert table.loc[1, ["low", "high"]].isna().all()


def test_order_of_rows_does_not_change_a_bit():
    rows = _normal(5, 9)
    shuffled = rows.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(
        mean_intervals(rows, "loss", ["k"]), mean_intervals(shuffled, "loss", ["k"]), check_exact=True
    )


def test_missing_column_is_named():
    with pytest.raises(ValueError, match="records lack loss"):
        mean_intervals(pd.DataFrame({"k": [1]}), "loss", ["k"])
