"""Types of the columns."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.records.factory import record, rows

from unrolled.records.schema import COLUMNS, REQUIRED, SCHEMA_VERSION, to_table

DESIGN = (
    "trial experiments theory scale status error seed data.name data.root data.file data.n_train data.rows_seed "
    "network.name network.width network.widths network.depth network.skip solver.name solver.steps solver.step_size "
    "solver.learn_step_size optim.name optim.lr optim.weight_decay optim.epochs optim.batch_size train_loss test_loss "
    "gap backend wall_s pack git_commit git_dirty torch device started_at"
)
"""The columns that the design promises to every reader."""


def test_the_promised_columns_are_there_with_fixed_types() -> None:
    assert set(COLUMNS) >= set(DESIGN.split())
    assert set(COLUMNS) >= set(REQUIRED)
    table = to_table(rows(record()))
    assert table.column_names[: len(COLUMNS)] == list(COLUMNS)
    assert {name: table.schema.field(name).type for name in COLUMNS} == COLUMNS
    assert table.schema.metadata == {b"unrolled_schema": str(SCHEMA_VERSION).encode()}


def test_metrics_of_a_task_come_after_the_fixed_columns() -> None:
    table = to_table(rows(record(cvg_exact=0.5, note="x", count=3)))
    assert table.column_names[len(COLUMNS) :] == ["cvg_exact", "note", "count"]
    assert table.to_pylist()[0]["cvg_exact"] == 0.5


def test_missing_values_of_every_kind_are_null() -> None:
    table = to_table(rows(record(train_loss=np.nan, error=None, solver_steps=np.nan, extra=None)))
    assert table["train_loss"].null_count == table["error"].null_count == table["solver.steps"].null_count == 1
    # A metric that no trial of the pack has is numeric, so that packs with and without it concatenate.
    assert table.schema.field("extra").type == pa.float64()


def test_nothing_is_rounded() -> None:
    value = np.nextafter(0.1, 1)
    assert to_table(rows(record(train_loss=value)))["train_loss"][0].as_py() == value


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"status": "done"}, r"status: expected one of finished, diverged, failed, got \['done'\]"),
        ({"solver_steps": 2.5}, r"column solver.steps: expected int64"),
        ({"seed": "zero"}, r"column seed: expected int64"),
        ({"train_loss": "low"}, r"column train_loss: expected double"),
    ],
)
def test_values_that_do_not_fit_are_refused(columns: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_table(rows(record(**columns)))
