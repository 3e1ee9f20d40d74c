"""What a run shows, against the same numbers computed one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from unrolled.tracking.content import (
    cell_labels,
    config_of,
    content_of,
    curve_quantiles,
    fingerprint,
    pack_of,
    summary_of,
    trial_table,
)

MakeRows = Callable[..., pd.DataFrame]

# The quantiles of both sides are linear interpolations of the same float64 numbers: only rounding may differ.
ROUNDING = 1e-12


def test_curves_are_the_quantiles_over_finished_seeds(make_rows: MakeRows) -> None:
    rows = make_rows()
    curves = curve_quantiles(rows)
    assert curves.index.tolist() == [0, 1, 2, 5, 10]
    assert curves.shape[1] == 4 * 3
    for (k, lr), cell in rows[rows["status"] == "finished"].groupby(["solver.steps", "optim.lr"]):
        losses = np.array(cell["curve_train_loss"].tolist())
        for label, level in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
            expected = [np.quantile(losses[:, epoch], level) for epoch in range(5)]
            found = curves[f"train_loss/nag k={k} width=16 lr={lr}/{label}"]
            np.testing.assert_allclose(found, expected, rtol=ROUNDING)


def test_diverged_trials_are_counted_but_not_mixed_in(make_rows: MakeRows) -> None:
    rows = make_rows()
    without = rows[rows["status"] == "finished"]
    pd.testing.assert_frame_equal(curve_quantiles(rows), curve_quantiles(without))
    # The opposite would show: as a finished trial the same curve moves the upper quantile far away.
    mixed = curve_quantiles(rows.assign(status="finished"))
    assert mixed.to_numpy().max() > 1e29 > curve_quantiles(rows).to_numpy().max()
    assert summary_of(rows)["trials_diverged"] == 1
    assert config_of(rows)["seeds_per_cell"]["nag k=10 width=16 lr=0.01"] == 2


def test_curves_of_different_lengths_leave_gaps(make_rows: MakeRows) -> None:
    rows = make_rows()
    short = rows["optim.lr"] == 0.01
    for column in ("curve_epoch", "curve_train_loss"):
        rows[column] = [
            np.array(values)[:3] if cut else np.array(values) for cut, values in zip(short, rows[column], strict=True)
        ]
    curves = curve_quantiles(rows)
    assert curves["train_loss/nag k=5 width=16 lr=0.01/median"].isna().tolist() == [False, False, False, True, True]
    assert curves["train_loss/nag k=5 width=16 lr=0.0005/median"].notna().all()


def test_labels_name_whatever_varies_but_seeds(make_rows: MakeRows) -> None:
    rows = make_rows()
    assert cell_labels(rows).nunique() == 4
    rows["data.n_train"] = [50, 100] * 6
    rows["data.file"] = ["a/b"] * 6 + [None] * 6
    labels = cell_labels(rows)
    assert labels[0] == "nag k=5 width=16 lr=0.01 n=50 file=a-b"
    assert labels[11] == "nag k=10 width=16 lr=0.0005 n=100"


def test_config_tells_constant_from_varying_settings(make_rows: MakeRows) -> None:
    config = config_of(make_rows())
    assert config["solver"] == {"name": "nag", "step_size": 1.0, "learn_step_size": False}
    assert config["data"] == {"name": "quadratic", "n_train": 100}
    assert config["varies"] == {
        "seed": [0, 1, 2],
        "data": {"rows_seed": [0.0, 1.0, 2.0]},
        "solver": {"steps": [5, 10]},
        "optim": {"lr": [0.0005, 0.01]},
    }
    assert config["optim"] == {"name": "adam"}
    assert (config["theory"], config["git_dirty"], config["pack"]) == ("reasoning", False, "0123456789abcdef")


def test_trial_table_holds_every_scalar_and_no_nan(make_rows: MakeRows) -> None:
    rows = make_rows()
    table = trial_table(rows)
    assert not {"curve_epoch", "curve_train_loss", "error", "data.root"} & set(table)
    assert table["experiments"].iloc[0] == "reasoning/generalization, reasoning/training_size"
    diverged = rows["status"] == "diverged"
    assert table.loc[diverged, "train_loss"].tolist() == [None]
    assert table.loc[~diverged, "train_loss"].tolist() == rows.loc[~diverged, "train_loss"].tolist()


def test_properties_have_no_curves_and_no_medians(property_rows: pd.DataFrame) -> None:
    content = content_of(property_rows)
    assert content.curves.empty
    assert content.summary == {"trials_total": 3, "trials_finished": 3, "trials_diverged": 0, "trials_failed": 0}
    assert content.trials["cvg_exact"].tolist() == [0.9, 0.9**2, 0.9**5]
    assert content.name == "properties-fedcba98"


def test_fingerprint_sees_values_and_not_how_they_are_stored(make_rows: MakeRows) -> None:
    rows = make_rows()
    same = rows.iloc[::-1].astype({"solver.steps": float, "seed": float}).assign(extra=np.nan)
    same["curve_epoch"] = same["curve_epoch"].map(np.array)
    assert fingerprint(same) == fingerprint(rows)
    changed = rows.copy()
    changed.loc[3, "train_loss"] *= 1 + 1e-9
    assert fingerprint(changed) != fingerprint(rows)
    assert fingerprint(rows.iloc[1:]) != fingerprint(rows)


def test_rows_of_two_packs_or_none_are_refused(make_rows: MakeRows) -> None:
    with pytest.raises(ValueError, match="one pack, got packs"):
        pack_of(pd.concat([make_rows(), make_rows("aaaa")]))
    with pytest.raises(ValueError, match="one pack"):
        pack_of(make_rows().iloc[:0])
