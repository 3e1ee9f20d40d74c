from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.frames_factory import frames_records

from unrolled.report.settings import duration, settings_table, unfinished, value_list


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([*range(1, 11), 12, 14, 30], "1–10, 12, 14, 30"),
        ([0.0, 1.0], "0, 1"),
        ([0.1, 1e-4, np.nan], "0.0001, 0.1"),
        ([np.True_, np.False_], "no, yes"),
        ([True], "yes"),
        (["nag", "gd", None], "gd, nag"),
        ([None, np.nan], "–"),
    ],
)
def test_value_lists_are_short_and_complete(values, expected):
    assert value_list(values) == expected


def test_value_list_takes_the_nullable_columns_of_parquet():
    assert value_list(pd.Series([2, None, 1, 3], dtype="Int64")) == "1–3"
    assert value_list(pd.Series([True, None], dtype="boolean")) == "yes"


def test_table_counts_trials_and_seconds_of_each_experiment(records):
    table = settings_table(records)
    rows = dict(table.rows)
    column = table.experiments.index("reasoning/generalization")
    own = records[[e == ["reasoning/generalization"] for e in records["experiments"]]]
    assert rows["trials finished"][column] == str(len(own) - 2)
    assert rows["trials diverged"][column] == rows["trials failed"][column] == "1"
    assert rows["machine time"][column] == duration(0.01 * len(own))
    assert rows["solver steps k"][column] == "2, 5"
    assert rows["training seeds"][column] == "0–2 (3)"
    assert rows["hidden width"][table.experiments.index("reasoning/properties")] == "–"


def test_a_trial_of_two_experiments_counts_in_both(records):
    both = records.head(1).assign(experiments=[["reasoning/a", "reasoning/b"]], status="finished")
    table = settings_table(both)
    assert table.experiments == ("reasoning/a", "reasoning/b")
    assert dict(table.rows)["trials finished"] == ("1", "1")


def test_what_did_not_finish_is_named(records):
    assert unfinished(records) == [
        "1 trial diverged (a loss was not finite): no part of any mean.",
        "1 trial failed: 1 × ValueError: test.",
    ]
    assert unfinished(records[records["status"] == "finished"]) == []
    many = records.head(7).assign(status="failed", error=[f"E{i}\ntrace" for i in range(7)])
    assert unfinished(many, most=2)[0].startswith("7 trials failed: 1 × E")
    assert unfinished(many, most=2)[0].endswith("and 5 other errors.")
    assert "trace" not in unfinished(many)[0]


def test_rows_of_frames_stand_beside_only_with_their_records(records):
    frames = frames_records(widest=(8, 16), filters=(4,), depths=(1, 3), seeds=range(2))
    before = dict(settings_table(records).rows)
    assert "data set" not in before
    table = settings_table(pd.concat([records, frames], ignore_index=True))
    rows = dict(table.rows)
    fully, grids = (table.experiments.index(f"frames/{name}") for name in ("fully_connected", "convolutional"))
    assert rows["data set"][fully] == "digits, mnist1d"
    assert rows["structures"][fully] == "20"
    assert rows["layer widths"][fully] == "10", "a number where naming all would fill the page"
    assert rows["potential weight λ"][fully] == "0, 0.01"
    assert rows["depth (blocks a group n, or layers after the first)"][grids] == "1, 3"
    assert rows["skip connections"][grids] == "chain, dense, residual"
    assert rows["solver steps k"][table.experiments.index("reasoning/generalization")] == "2, 5"
