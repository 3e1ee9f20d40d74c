"""The estimate of the time to come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from tests.unit.sweep.factory import BreaksAt, run, tiny

from unrolled.config.check import Flat
from unrolled.sweep.estimate import seconds_for, wall_seconds
from unrolled.sweep.tasks import TASKS, FitTask, Metrics, RunContext
from unrolled.sweep.trial import packs_of, trials_of
from unrolled.training.native.build import NativeUnavailableError

EMPTY = pd.DataFrame()


def test_nothing_takes_no_time() -> None:
    assert seconds_for([], EMPTY, RunContext("auto")) == 0


def test_measured_seconds_count_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, records = run(tiny("seed=0,1"), tmp_path)
    records["wall_s"] = [3.0, 5.0]
    monkeypatch.setitem(TASKS, "fit", BreaksAt(4))  # nothing may be run to find out
    packs = packs_of(trials_of(tiny("seed=2,3,4,5")), 256)
    assert seconds_for(packs, records, RunContext("auto")) == pytest.approx(16.0)
    longer = packs_of(trials_of(tiny("seed=2", "optim.epochs=40")), 256)
    assert seconds_for(longer, records, RunContext("auto")) == pytest.approx(40.0)


def test_without_records_a_short_run_tells_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[tuple[int, RunContext]] = []

    class Watched(FitTask):
        def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
            contexts.append((configs[0]["optim.epochs"], context))
            return super().run(configs, context)

    monkeypatch.setitem(TASKS, "fit", Watched())
    monkeypatch.setattr("unrolled.sweep.estimate.SAMPLE_SECONDS", 0.01)
    packs = packs_of(trials_of(tiny("seed=0,1", "optim.epochs=100000")), 256)
    assert 0 < seconds_for(packs, EMPTY, RunContext("auto")) < 3600
    assert all(context.checkpoint is None for _, context in contexts)
    assert max(epochs for epochs, _ in contexts) < 100_000  # never the whole fit


def test_a_trial_run_that_fails_gives_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "fit", BreaksAt(4))
    assert math.isnan(seconds_for(packs_of(trials_of(tiny()), 256), EMPTY, RunContext("auto")))


def test_a_backend_that_cannot_be_had_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unavailable(FitTask):
        def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
            raise NativeUnavailableError("no C compiler found")

    monkeypatch.setitem(TASKS, "fit", Unavailable())
    with pytest.raises(NativeUnavailableError):
        seconds_for(packs_of(trials_of(tiny()), 256), EMPTY, RunContext("native"))


def test_workers_share_what_computes_on_one_core() -> None:
    assert wall_seconds({"classify": 12.0, "fit": 5.0}, 3) == pytest.approx(4.0 + 5.0)
    assert wall_seconds({"classify": 12.0}, 1) == 12.0
    assert math.isnan(wall_seconds({"classify": math.nan, "fit": 5.0}, 2))
