"""What a sweep costs besides its trials: whole commands whose trials do nothing, packed and over Hydra's basic ones."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from unrolled.bench.timing import Effort, until_positive

APP = "unrolled.bench.empty"
BASIC = ("hydra/sweeper=basic", "hydra/launcher=basic")

LARGE = 10_000
"""Trials of the sweep whose figures have no number in their name."""


def bench_sweeps(effort: Effort) -> dict[str, object]:
    """Time empty sweeps.

    Args:
        effort: sizes of the sweeps, and how often each is run.

    Returns:
        ``sweep_startup_s`` and ``hydra_basic_startup_s`` (sweeps of one trial), ``sweep_overhead_ms_per_trial_<n>`` of
        each size, ``hydra_basic_overhead_ms_per_trial`` and the ``hydra_basic_trials`` it comes from; where a sweep of
        10,000 is among the sizes also ``sweep_overhead_ms_per_trial`` and ``sweep_overhead_ratio``, Hydra's over ours.
    """
    wall(1)  # fills the file cache
    turns = [_turn(effort) for _ in range(effort.turns)]
    large, basic = f"sweep_overhead_ms_per_trial_{LARGE}", "hydra_basic_overhead_ms_per_trial"
    figures: dict[str, object] = {
        "sweep_overhead_ms_per_trial" if name == large else name: statistics.median(turn[name] for turn in turns)
        for name in turns[0]
    }
    figures["hydra_basic_trials"] = effort.basic_trials
    if LARGE in effort.sweep_sizes:
        figures["sweep_overhead_ratio"] = statistics.median(turn[basic] / turn[large] for turn in turns)
    return figures


def _turn(effort: Effort) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for size in effort.sweep_sizes:
        found["sweep_startup_s"], found[f"sweep_overhead_ms_per_trial_{size}"] = _overhead(size)
    found["hydra_basic_startup_s"], found["hydra_basic_overhead_ms_per_trial"] = _overhead(effort.basic_trials, *BASIC)
    return found


def _overhead(size: int, *overrides: str) -> tuple[float, float]:
    """Return the seconds of a sweep of one trial, and the milliseconds that each further trial takes."""

    def pair() -> tuple[float, float, int]:
        one = wall(1, *overrides)
        return wall(size, *overrides) - one, one, size

    gained, one, _ = until_positive(pair)
    return one, gained / (size - 1) * 1e3


def wall(trials: int, *overrides: str) -> float:
    """Run the empty app over so many seeds in a new process; return the seconds of the whole command.

    Args:
        trials: how many.
        overrides: further overrides, like another sweeper and launcher.

    Raises:
        RuntimeError: the command failed, or a trial has no outcome.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        command = [sys.executable, "-m", APP, "-m", f"seed=range({trials})", f"store={store}"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, f"hydra.sweep.dir={folder}/sweep", *overrides], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"the empty sweep failed: {done.stderr.strip()}")
        recorded = sum(len(json.loads(file.read_text())) for file in store.glob("*.json"))
    if not overrides and recorded != trials:
        raise RuntimeError(f"the empty sweep recorded {recorded} of {trials} trials")
    return seconds
