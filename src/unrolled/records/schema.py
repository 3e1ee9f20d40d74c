"""Columns of a record and their types: one row a trial."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised by hand when a reader of the old form would misread the new one."""

STATUSES = ("finished", "diverged", "failed")

_text, _int, _float, _bool = pa.string(), pa.int64(), pa.float64(), pa.bool_()

COLUMNS: dict[str, pa.DataType] = {
    "trial": _text,
    "experiments": pa.list_(_text),
    "theory": _text,
    "scale": _text,
    "task": _text,
    "task_version": _int,
    "data_checksum": _text,
    "status": _text,
    "error": _text,
    "seed": _int,
    "data.name": _text,
    "data.root": _text,
    "data.file": _text,
    "data.n_train": _int,
    "data.rows_seed": _int,
    "network.name": _text,
    "network.width": _int,
    "network.widths": _text,
    "network.depth": _int,
    "network.skip": _text,
    "network.kernel": _text,
    "network.stride": _text,
    "network.groups": _int,
    "solver.name": _text,
    "solver.steps": _int,
    "solver.step_size": _float,
    "solver.learn_step_size": _bool,
    "solver.step_rule": _text,
    "solver.first_step": _text,
    "solver.differentiation": _text,
    "optim.name": _text,
    "optim.lr": _float,
    "optim.weight_decay": _float,
    "optim.epochs": _int,
    "optim.batch_size": _int,
    "optim.patience": _int,
    "optim.potential_weight": _float,
    "optim.potential": _text,
    "attack.linf": _float,
    "attack.l2": _float,
    "attack.steps": _int,
    "attack.restarts": _int,
    "attack.rows": _int,
    "train_loss": _float,
    "test_loss": _float,
    "gap": _float,
    "best_epoch": _int,
    "curve_epoch": pa.list_(_int),
    "curve_train_loss": pa.list_(_float),
    "diverged_epoch": _int,
    "backend": _text,
    "wall_s": _float,
    "pack": _text,
    "git_commit": _text,
    "git_dirty": _bool,
    "torch": _text,
    "device": _text,
    "started_at": _text,
}
"""Columns every record has; a task may add its own metrics, whose types pyarrow infers."""

REQUIRED = ("trial", "experiments", "theory", "status", "seed", "pack")


def to_table(rows: pd.DataFrame) -> pa.Table:
    """Convert rows to an arrow table with the fixed column types.

    Args:
        rows: one row a trial; columns of :data:`COLUMNS` that are absent are filled with null.

    Returns:
        Table with the fixed columns first, then the task's own metrics.

    Raises:
        ValueError: a status is not one of :data:`STATUSES`, or a value does not fit its column's type.
    """
    unknown = sorted(set(rows["status"]) - set(STATUSES))
    if unknown:
        raise ValueError(f"status: expected one of {', '.join(STATUSES)}, got {unknown}")
    arrays, fields = [], []
    for name in [*COLUMNS, *(c for c in rows.columns if c not in COLUMNS)]:
        values = [_plain(v) for v in rows[name]] if name in rows else [None] * len(rows)
        try:
            if COLUMNS.get(name) == _int:
                values = [_whole(v) for v in values]
            array = pa.array(values, type=COLUMNS.get(name))
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise ValueError(f"column {name}: expected {COLUMNS.get(name)}; {error}") from error
        # A metric that no trial of this pack has still gets a numeric column, so that packs concatenate.
        if pa.types.is_null(array.type):
            array = array.cast(_float)
        arrays.append(array)
        fields.append(pa.field(name, array.type))
    metadata = {"unrolled_schema": str(SCHEMA_VERSION)}
    return pa.table(arrays, schema=pa.schema(fields, metadata=metadata))


def _whole(value: object) -> object:
    """Refuse a fraction, which arrow would cut off in silence; whole floats come from columns with gaps."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"got {value!r}")
    return value


def _plain(value: object) -> object:
    """Turn pandas' missing markers into None and leave everything else as it is."""
    if value is None or isinstance(value, (list, tuple, str)):
        return value
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0:
        return value.tolist()
    return None if pd.isna(value) else value
