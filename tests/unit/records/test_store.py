"""A store that outlives crashes: round trip, atomic writes, bad files, duplicates."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.records.factory import record, rows
from tests.unit.sweep.factory import comparable, run, tiny

from unrolled.records import store as module
from unrolled.records.schema import COLUMNS, REQUIRED, SCHEMA_VERSION, to_table
from unrolled.records.store import RecordStore, StoreError, UnreadableRecordWarning, load_records


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "records")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_back(store: RecordStore) -> None:
    value = np.nextafter(0.1, 1)
    path = store.write(rows(record("b", train_loss=value, seed=0), record("a", status="diverged", train_loss=None)))
    assert path == store.folder / "reasoning-p.parquet"
    frame = load_records(store.folder)
    assert list(frame["trial"]) == ["a", "b"]
    assert frame.loc[1, "train_loss"] == value
    assert frame.loc[1, "seed"] == 0
    assert np.isnan(frame.loc[0, "train_loss"])
    assert list(frame.loc[1, "experiments"]) == ["reasoning/generalization"]
    assert list(frame.loc[1, "curve_train_loss"]) == [2.0, 1.0]
    assert set(frame.columns) >= set(COLUMNS)
    assert names_in(store.folder) == [path.name]


def test_an_absent_or_empty_folder_is_an_empty_table(store: RecordStore) -> None:
    for _ in range(2):
        frame = store.load()
        assert frame.empty
        assert set(REQUIRED) <= set(frame.columns)
        store.folder.mkdir(exist_ok=True)


def test_packs_with_different_columns_make_one_table(store: RecordStore) -> None:
    store.write(rows(record("a", cvg_exact=0.5)))
    store.write(rows(record("b", pack="q", **{"data.rows_seed": 3})))
    frame = store.load()
    assert frame["cvg_exact"].isna().tolist() == [False, True]
    assert frame["data.rows_seed"].isna().tolist() == [True, False]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_of_several_rows_of_a_trial_the_finished_and_then_the_latest_counts(
    store: RecordStore, order: tuple[int, ...]
) -> None:
    attempts = [
        record("a", status="finished", train_loss=1.0, started_at="2026-01-01T00:00:00.000+00:00"),
        record("a", status="finished", train_loss=2.0, started_at="2026-01-02T00:00:00.000+00:00"),
        record("a", status="failed", train_loss=None, started_at="2026-01-03T00:00:00.000+00:00"),
    ]
    for place, index in enumerate(order):
        store.write(rows(attempts[index] | {"pack": f"p{place}"}))
    (row,) = store.load().to_dict("records")
    assert (row["status"], row["train_loss"]) == ("finished", 2.0)


def test_a_failed_row_counts_until_there_is_a_better_one(store: RecordStore) -> None:
    store.write(rows(record("a", status="failed", error="RuntimeError: x", train_loss=None)))
    assert list(store.load()["error"]) == ["RuntimeError: x"]
    store.write(rows(record("a", pack="q", status="diverged", train_loss=None, started_at="2020-01-01")))
    assert list(store.load()["status"]) == ["diverged"]


def test_writing_a_pack_again_replaces_its_file(store: RecordStore) -> None:
    store.write(rows(record("a", status="failed")))
    store.write(rows(record("a")))
    assert len(names_in(store.folder)) == 1
    assert list(store.load()["status"]) == ["finished"]


def test_experiments_are_added_once_and_only_where_asked(store: RecordStore) -> None:
    store.write(rows(record("a"), record("b")))
    store.write(rows(record("c", pack="q")))
    before = (store.folder / "reasoning-q.parquet").stat().st_mtime_ns
    assert store.add_experiment(["a", "nobody"], "reasoning/a_new_one") == 1
    assert store.add_experiment(["a"], "reasoning/a_new_one") == 0
    frame = store.load().set_index("trial")
    assert list(frame.loc["a", "experiments"]) == ["reasoning/a_new_one", "reasoning/generalization"]
    assert list(frame.loc["b", "experiments"]) == ["reasoning/generalization"]
    assert list(frame.loc["a", "curve_train_loss"]) == [2.0, 1.0]
    assert (store.folder / "reasoning-q.parquet").stat().st_mtime_ns == before


# Files that are no records, each by what is done to a good one.
DAMAGE = {
    "truncated": lambda good: good[: len(good) // 2],
    "cut at the end": lambda good: good[:-1],
    "garbage": lambda good: bytes(range(256)) * 8,
    "garbage inside": lambda good: good[:100] + b"\xff" * (len(good) - 200) + good[-100:],
    "empty": lambda good: b"",
    "text": lambda good: b"hello\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_bad_file_is_set_aside_with_a_warning_that_names_it(store: RecordStore, damage: str) -> None:
    store.write(rows(record("good", pack="q")))
    path = store.write(rows(record("a")))
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.warns(UnreadableRecordWarning, match=r"reasoning-p\.parquet cannot be read .* will run again"):
        frame = store.load()
    assert list(frame["trial"]) == ["good"]
    assert names_in(store.folder) == ["reasoning-p.unreadable", "reasoning-q.parquet"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(store.load()["trial"]) == ["good"]


def test_a_second_bad_file_of_the_same_name_does_not_overwrite_the_first(store: RecordStore) -> None:
    for content in (b"one", b"two"):
        store.folder.mkdir(exist_ok=True)
        (store.folder / "reasoning-p.parquet").write_bytes(content)
        with pytest.warns(UnreadableRecordWarning):
            store.load()
    kept = {path.read_bytes() for path in store.folder.glob("*.unreadable*")}
    assert kept == {b"one", b"two"}


@pytest.mark.parametrize("foreign", [{"x": [1, 2]}, {name: ["a"] for name in REQUIRED}])
def test_a_table_of_another_origin_is_set_aside(store: RecordStore, foreign: dict[str, list[object]]) -> None:
    store.folder.mkdir()
    pq.write_table(pa.table(foreign), store.folder / "reasoning-p.parquet")
    with pytest.warns(UnreadableRecordWarning, match="not a record file"):
        assert store.load().empty


def test_trials_of_a_bad_file_run_again(tmp_path: Path) -> None:
    configs = tiny("network.width=0,4", "seed=0,1")
    _, before = run(configs, tmp_path)
    damaged = sorted((tmp_path / "records").glob("*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:500])
    with pytest.warns(UnreadableRecordWarning, match=damaged.name):
        summary, after = run(configs, tmp_path)
    assert (summary.present, summary.counts) == (2, {"finished": 2})
    pd.testing.assert_frame_equal(comparable(after), comparable(before))


def test_a_newer_schema_is_an_error_and_the_file_stays(store: RecordStore) -> None:
    path = store.write(rows(record("a")))
    table = pq.read_table(path).replace_schema_metadata({"unrolled_schema": str(SCHEMA_VERSION + 1)})
    pq.write_table(table, path)
    with pytest.raises(StoreError, match=rf"record schema {SCHEMA_VERSION + 1}, this version reads up to"):
        store.load()
    assert names_in(store.folder) == [path.name]


def test_a_file_in_place_of_the_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*records/reasoning-p\.parquet: .* results folder"):
        RecordStore(tmp_path / "records").write(rows(record()))
    assert (tmp_path / "records").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everything, so there is nothing to refuse")
def test_missing_rights_are_errors(store: RecordStore) -> None:
    path = store.write(rows(record("a")))
    store.folder.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot write"):
            store.write(rows(record("b")))
        path.chmod(0o000)
        with pytest.raises(StoreError, match="give this user the right to read it"):
            store.load()
    finally:
        store.folder.chmod(0o700)


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.write(rows(record("a", train_loss=1.0)))

    def full_disk(table: pa.Table, where: Path, **options: object) -> None:
        Path(where).write_bytes(b"half of a")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.pq, "write_table", full_disk)
    with pytest.raises(StoreError, match=r"No space left on device.*free space"):
        store.write(rows(record("a", train_loss=2.0)))
    assert names_in(store.folder) == [path.name]
    assert list(store.load()["train_loss"]) == [1.0]


def test_a_crash_half_way_leaves_a_file_that_readers_pass_over(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing up
        with pytest.raises(SystemExit):
            store.write(rows(record("a")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.load().empty
    store.write(rows(record("a")))
    assert names_in(store.folder)[-1:] == ["reasoning-p.parquet"]


def test_a_reader_never_sees_half_of_a_file(store: RecordStore) -> None:
    big = rows(*(record(f"{i:05}", train_loss=float(i)) for i in range(300)))
    table = to_table(big)
    store.write(big)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store._replace(store.folder / "reasoning-p.parquet", table)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a file set aside would warn
            assert [len(store.load()) for _ in range(30)] == [300] * 30
    finally:
        stop.set()
        writer.join()
    assert names_in(store.folder) == ["reasoning-p.parquet"]
