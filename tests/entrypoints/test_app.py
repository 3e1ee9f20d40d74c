"""What the scripts share: statuses, one-line errors, closing lines, and a tracker that never costs a result."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tests.entrypoints.conftest import Shell
from tests.unit.sweep.factory import tiny

from unrolled import app
from unrolled.app import closing, folder_of, guarded, run_configs
from unrolled.config import ConfigError
from unrolled.data import DataError
from unrolled.parity import ParityError
from unrolled.records.store import StoreError, load_records
from unrolled.report.errors import ReportError
from unrolled.sweep.run import Summary
from unrolled.tracking import TrackerError
from unrolled.training.fused import FusedUnavailableError
from unrolled.training.native.build import NativeUnavailableError

Call = Callable[..., int]


@pytest.mark.parametrize(
    "kind",
    [
        ConfigError,
        DataError,
        StoreError,
        TrackerError,
        NativeUnavailableError,
        FusedUnavailableError,
        ParityError,
        ReportError,
    ],
)
def test_expected_errors_are_one_line_and_status_2(
    kind: type[Exception], in_process: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main() -> int:
        raise kind("key: given 1, allowed: 2")

    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert in_process(lambda: guarded(main)) == 2
    assert capsys.readouterr() == ("", "error: key: given 1, allowed: 2\n")
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(kind):
        in_process(lambda: guarded(main))


def test_unexpected_errors_keep_their_traceback(in_process: Call) -> None:
    with pytest.raises(ZeroDivisionError):
        in_process(lambda: guarded(lambda: 1 // 0))


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_the_status_is_what_the_function_returns(in_process: Call, returned: int | None, status: int) -> None:
    assert in_process(lambda: guarded(lambda: returned)) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_and_termination_end_with_130_and_a_word(
    number: signal.Signals, in_process: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            os.kill(os.getpid(), number)
            return 0
        finally:
            signal.signal(signal.SIGINT, previous)

    assert in_process(lambda: guarded(main)) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_warnings_are_told_without_a_place_in_the_code(in_process: Call, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        in_process(lambda: guarded(lambda: app.warnings.warn("slower than usual", stacklevel=1)))
    assert capsys.readouterr().err == "warning: slower than usual\n"


def test_commands_that_draw_nothing_do_not_load_what_draws(shell: Shell) -> None:
    """SciPy's statistics and matplotlib are a third of the start-up of a command, which sweeps start often."""
    slow = "matplotlib", "scipy.stats", "sklearn", "torchvision", "wandb"
    done = shell.run(sys.executable, "-c", f"import sys, unrolled.app; print(*{{*{slow}}} & {{*sys.modules}})")
    assert (done.stdout, done.stderr) == ("\n", "")


def test_results_go_where_the_config_says() -> None:
    (config,) = tiny("scale=smoke")
    assert folder_of(config) == Path("results/smoke")
    assert folder_of(config | {"run.folder": "elsewhere"}) == Path("elsewhere")


def test_the_closing_lines_count_and_name_failed_packs() -> None:
    summary = Summary(9, 4, {"finished": 2, "diverged": 1, "failed": 2}, [("abc", "RuntimeError: broken")], seconds=3.2)
    assert closing(summary).splitlines() == [
        "9 trials: 4 were there; now: 1 diverged, 2 failed, 2 finished (3 s)",
        "FAILED pack abc: RuntimeError: broken",
    ]
    assert closing(Summary(4, 4)) == "4 trials: 4 were there; now: nothing to do (0 s)"


def test_a_tracker_that_fails_is_told_and_costs_nothing(
    in_process: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(rows: pd.DataFrame, tracker: object) -> None:
        raise TrackerError("no account")

    monkeypatch.setattr(app, "log_pack", broken)
    lines: list[str] = []
    configs = [c | {"tracker.mode": "offline", "run.folder": str(tmp_path)} for c in tiny("network.width=0,4")]
    summary = run_configs(configs, lines.append)
    assert summary.counts == {"finished": 2}
    assert lines[1:] == ["W&B: no account"] * 2
    assert len(load_records(tmp_path / "records")) == 2


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_told_before_anything_runs(tmp_path: Path, device: str) -> None:
    configs = [config | {"run.folder": str(tmp_path / "r"), "run.device": device} for config in tiny()]
    with pytest.raises(ConfigError, match=rf"^run.device: given '{device}', allowed: cpu"):
        run_configs(configs, lambda line: None)
    assert not (tmp_path / "r").exists()


def test_the_closing_lines_tell_what_is_left() -> None:
    summary = Summary(9, 4, {"failed": 1}, [("abc", "E")], elsewhere=2, not_started=1, left_failed=1, seconds=1.0)
    assert closing(summary).splitlines() == [
        "9 trials: 4 were there; now: 1 failed; 2 run by another process meanwhile (1 s)",
        "FAILED earlier and left so: 1 trials; run.retry_failed=true runs them again",
        "NOT STARTED after a failure, as run.on_error is stop: 1 trials",
        "FAILED pack abc: E",
    ]
    assert not summary.complete
