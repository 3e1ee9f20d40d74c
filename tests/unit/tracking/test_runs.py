"""Runs written offline and read back with W&B's own reader; idempotence; no account, no network, no side effects."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unrolled.tracking import TrackerError, TrackerSettings, log_pack, log_records, logged_run
from unrolled.tracking.content import content_of

MakeRows = Callable[..., pd.DataFrame]

SOURCE = Path(__file__).parents[3] / "src"


def environment(home: Path) -> dict[str, str]:
    """This process's environment without any W&B setting or account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB") and name != "NETRC"}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(SOURCE)}


def inspect(folder: Path, *options: str) -> list[dict[str, Any]]:
    """Read a run back with ``wandb leet inspect``, which shares no code with this package."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, str(folder)]
    quiet = {**environment(folder), "WANDB_MODE": "offline"}
    done = subprocess.run(command, cwd=folder, env=quiet, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(done.stdout)] if "--summary" in options else [json.loads(x) for x in done.stdout.splitlines()]


def stored_table(folder: Path, summary: dict[str, Any]) -> pd.DataFrame:
    """The table that a run's summary points to."""
    stored = json.loads((folder / "files" / summary["trials"]["path"]).read_text())
    return pd.DataFrame(stored["data"], columns=stored["columns"], dtype=object)


def run_folders(tracker: TrackerSettings) -> list[str]:
    return sorted(path.name for path in tracker.directory.glob("*run-*"))


@pytest.fixture
def tracker(tmp_path: Path) -> TrackerSettings:
    return TrackerSettings(folder=tmp_path)


@pytest.fixture(scope="module")
def written(make_rows: MakeRows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that only is read."""
    folder = log_pack(make_rows(), TrackerSettings(folder=tmp_path_factory.mktemp("written")))
    assert folder is not None
    return folder


def test_offline_run_reads_back_equal(make_rows: MakeRows, written: Path) -> None:
    content = content_of(make_rows())
    records = inspect(written)

    (run,) = [record["run"] for record in records if record["type"] == "run"]
    assert (run["run_id"], run["project"]) == ("0123456789abcdef", "unrolled")
    assert (run["run_group"], run["job_type"]) == ("reasoning", "generalization+training_size")
    assert run["tags"] == ["reasoning/generalization", "reasoning/training_size", "smoke"]
    assert {k: v for k, v in run["config"]["update"].items() if k != "_wandb"} == content.config

    # JSON keeps every digit of a float64, so nothing here needs a tolerance.
    history = [record["history"]["item"] for record in records if record["type"] == "history"]
    points = pd.DataFrame([item for item in history if "epoch" in item]).set_index("epoch")
    for name, values in content.curves.items():
        assert points[name].tolist() == values.tolist()
    axes = {record["metric"]["name"]: record["metric"].get("step_metric") for record in records if "metric" in record}
    assert {axes[name.replace(".", r"\.")] for name in content.curves} == {"epoch"}

    # Where it took a second or more, its run time stands beside it.
    assert [record["exit"]["exit_code"] for record in records if record["type"] == "exit"] == [0]


def test_summary_and_table_read_back_equal(make_rows: MakeRows, written: Path) -> None:
    rows = make_rows()
    (shown,) = inspect(written, "--summary")
    assert shown["state"] == "finished"
    finished = rows[rows["status"] == "finished"]
    summary = shown["summary"]
    assert [summary[f"trials_{x}"] for x in ("total", "finished", "diverged", "failed")] == [12, 11, 1, 0]
    for name in ("train_loss", "gap", "gap_excess"):
        assert summary[f"{name}_median"] == np.median(finished[name])
    # Curves would otherwise be stored twice: as history and as their last value with each epoch.
    assert not [name for name in summary if name.startswith("train_loss/")]

    table = stored_table(written, summary)
    assert table["trial"].tolist() == rows["trial"].tolist()
    for name in ("train_loss", "gap", "seed", "solver.steps", "status", "diverged_epoch"):
        expected = [None if pd.isna(value) else value for value in rows[name]]
        assert table[name].tolist() == expected


def test_properties_without_curves_are_written(property_rows: pd.DataFrame, tracker: TrackerSettings) -> None:
    folder = log_pack(property_rows, tracker)
    assert folder is not None
    (shown,) = inspect(folder, "--summary")
    assert stored_table(folder, shown["summary"])["cvg_exact"].tolist() == property_rows["cvg_exact"].tolist()
    assert shown["config"]["varies"] == {"solver": {"steps": [1, 2, 5]}}


def test_a_run_is_written_once_and_again_when_asked_or_outdated(make_rows: MakeRows, tracker: TrackerSettings) -> None:
    rows = make_rows()
    folder = log_pack(rows, tracker)
    assert folder is not None
    first = (folder / "complete.json").stat().st_mtime_ns
    assert log_pack(rows.sample(frac=1, random_state=0), tracker) == folder
    assert (folder / "complete.json").stat().st_mtime_ns == first

    rebuilt = log_pack(rows, tracker, rebuild=True)
    assert rebuilt is not None
    assert (rebuilt / "complete.json").stat().st_mtime_ns > first
    assert run_folders(tracker) == [rebuilt.name]

    outdated = rows.assign(gap=rows["gap"] + 1)
    assert logged_run(outdated, tracker) is None
    replaced = log_pack(outdated, tracker)
    assert replaced is not None
    assert run_folders(tracker) == [replaced.name]
    assert logged_run(rows, tracker) is None


def test_a_run_cut_short_is_replaced(make_rows: MakeRows, tracker: TrackerSettings) -> None:
    folder = log_pack(make_rows(), tracker)
    assert folder is not None
    (folder / "complete.json").unlink()
    again = log_pack(make_rows(), tracker)
    assert again is not None
    assert run_folders(tracker) == [again.name]
    assert logged_run(make_rows(), tracker) == again


def test_all_packs_are_mirrored_and_known_ones_skipped(
    make_rows: MakeRows, property_rows: pd.DataFrame, tracker: TrackerSettings
) -> None:
    # "aa" begins like "aaaa": replacing one must leave the other.
    records = pd.concat([make_rows("aa"), make_rows("aaaa"), property_rows], ignore_index=True)
    mirrored = log_records(records, tracker)
    assert (mirrored.written, mirrored.skipped) == (3, 0)
    assert len(run_folders(tracker)) == 3
    # The joined table stores integers as floats and has empty columns; the runs still show the same records.
    assert logged_run(make_rows("aa"), tracker) is not None
    mirrored = log_records(records, tracker)
    assert (mirrored.written, mirrored.skipped) == (0, 3)
    assert (log_records(records, tracker, rebuild=True).written, len(run_folders(tracker))) == (3, 3)


def test_disabled_writes_nothing_and_loads_nothing(make_rows: MakeRows, tmp_path: Path) -> None:
    make_rows().to_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, pandas as pd; from pathlib import Path; from unrolled.tracking import *\n"
        "rows = pd.read_parquet('rows.parquet'); off = TrackerSettings('disabled', folder=Path('out'))\n"
        "assert log_pack(rows, off) is None; assert log_records(rows, off).written == 0\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(tmp_path), timeout=60, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


LOG_FROM_PARQUET = """
import os, sys, pandas as pd
from pathlib import Path
from unrolled.tracking import TrackerError, TrackerSettings, log_pack
before = (dict(os.environ), sys.exit, sys.excepthook)
try:
    log_pack(pd.read_parquet("rows.parquet"), TrackerSettings(sys.argv[1], folder=Path("out")))
except TrackerError as error:
    print(error)
assert (dict(os.environ), sys.exit, sys.excepthook) == before, "log_pack changed the process"
"""
"""In a process of its own, because W&B makes most of its changes to a process only once."""


@pytest.mark.parametrize(("mode", "shown"), [("offline", ""), ("online", "run `wandb login`, set WANDB_API_KEY")])
def test_no_account_no_question_no_trace_in_the_process(
    mode: str, shown: str, make_rows: MakeRows, tmp_path: Path
) -> None:
    make_rows().to_parquet(tmp_path / "rows.parquet")
    # W&B asks for an account only at a terminal: give it one, on which nobody will ever answer.
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", LOG_FROM_PARQUET, mode],
            cwd=tmp_path,
            env={**environment(tmp_path), "TERM": "xterm"},
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert shown in done.stdout
    assert bool(done.stdout) == bool(shown)
    assert len(list(tmp_path.glob("out/wandb/*run-*/complete.json"))) == (mode == "offline")


def test_offline_never_connects_and_leaves_the_home_alone(make_rows: MakeRows, tmp_path: Path) -> None:
    make_rows().to_parquet(tmp_path / "rows.parquet")
    home = tmp_path / "home"
    home.mkdir()
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Every address that W&B could call, as far as it can be told one, leads here.
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        names = ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        server.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    server.accept()[0].close()
                    calls.append(1)
                except TimeoutError:
                    continue

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            subprocess.run(
                [sys.executable, "-c", LOG_FROM_PARQUET, "offline"],
                cwd=tmp_path,
                env={**environment(home), **dict.fromkeys(names, address)},
                stdin=subprocess.DEVNULL,
                timeout=60,
                check=True,
            )
        finally:
            over.set()
            listener.join()
    assert list(tmp_path.glob("out/wandb/*run-*/complete.json"))
    assert calls == []
    assert list(home.rglob("*")) == []


def test_a_run_that_the_caller_has_open_is_left_alone(make_rows: MakeRows, tracker: TrackerSettings) -> None:
    import wandb

    settings = wandb.Settings(silent=True, console="off")
    with wandb.init(mode="offline", dir=tracker.folder, id="mine", settings=settings) as mine:
        folder = log_pack(make_rows(), tracker)
        assert wandb.run is mine
        assert mine.step == 0
        assert "trials_total" not in list(mine.summary.keys())
    assert folder is not None
    assert folder.name.endswith("0123456789abcdef")


def test_a_failure_inside_wandb_has_one_name_and_heals(
    make_rows: MakeRows, tracker: TrackerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    before = (dict(os.environ), sys.exit, sys.excepthook)
    with monkeypatch.context() as patch:
        patch.setattr(wandb.Run, "log", broken)
        with pytest.raises(TrackerError, match=r"a bug.*records are untouched.*scripts/track\.py"):
            log_pack(make_rows(), tracker)
    assert (dict(os.environ), sys.exit, sys.excepthook) == before
    assert logged_run(make_rows(), tracker) is None
    assert log_pack(make_rows(), tracker) is not None
    assert len(run_folders(tracker)) == 1


def test_a_folder_that_cannot_be_made_is_an_error(make_rows: MakeRows, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackerError, match=r"cannot write a W&B run to .*file/wandb"):
        log_pack(make_rows(), TrackerSettings(folder=tmp_path / "file"))


def test_settings_name_the_directory_and_refuse_unknown_modes(tmp_path: Path) -> None:
    assert TrackerSettings(folder=tmp_path).directory == tmp_path / "wandb"
    assert TrackerSettings(folder=tmp_path / "wandb").directory == tmp_path / "wandb"
    with pytest.raises(ValueError, match="expected one of offline, online, disabled, got 'onlin'"):
        TrackerSettings(mode="onlin")  # type: ignore[arg-type]
