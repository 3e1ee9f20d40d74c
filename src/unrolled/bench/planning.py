"""How long this application's own sweep of 10,200 trials takes to plan, without running any of them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hydra_plugins.packed._planning import MOST, plan
from unrolled.bench.timing import Effort
from unrolled.config.check import Flat
from unrolled.launch import TRAIN, TrainPacking
from unrolled.records.schema import COLUMNS
from unrolled.records.store import RecordStore
from unrolled.sweep.expand import expand
from unrolled.sweep.trial import Pack, packs_of, trials_of
from unrolled.training.state import log_spaced_epochs

SWEEP = ("experiment=reasoning/generalization", "solver=gd")
"""At paper scale: 17 numbers of steps, 3 widths, 20 seeds, 5 learning rates, 2 optimisers."""

STAGES = ("expand", "describe", "pack", "store")


def bench_planning(effort: Effort) -> dict[str, object]:
    """Time the planning of the paper's grid for one solver.

    Args:
        effort: at which scale, and how often.

    Returns:
        ``sweep_plan_s_<trials>`` and its parts ``sweep_plan_<stage>_s``, in this process and against an empty store;
        ``sweep_plan_command_s_<trials>``: the whole command in a new process, where every trial is already stored.
    """
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*SWEEP, f"scale={effort.plan_scale}", f"run.folder={folder}"]
        turns = [_stages(overrides) for _ in range(effort.turns)]
        configs = expand(overrides)
        fill(RecordStore(Path(folder) / "records"), configs)
        commands = [_command([*overrides, f"hydra.sweep.dir={folder}/multirun"]) for _ in range(effort.turns)]
    figures: dict[str, object] = {
        f"sweep_plan_s_{len(configs)}": statistics.median(map(sum, turns)),
        f"sweep_plan_command_s_{len(configs)}": statistics.median(commands),
    }
    return figures | {
        f"sweep_plan_{stage}_s": statistics.median(column)
        for stage, column in zip(STAGES, zip(*turns, strict=True), strict=True)
    }


def _stages(overrides: Sequence[str]) -> tuple[float, ...]:
    """Return the seconds of each of :data:`STAGES`, as the sweeper and the launcher go through them."""
    packing = TrainPacking()
    expanded, flat = _timed(lambda: expand(list(overrides)))
    configs = [nested(config) for config in flat]
    described, descriptions = _timed(lambda: [packing.describe(config) for config in configs])
    planned, _ = _timed(lambda: plan(configs, descriptions, None))
    compared, _ = _timed(lambda: packing.outcomes(configs))
    return expanded, described, planned, compared


def nested(flat: Flat) -> dict[str, Any]:
    """Return a flat config as the sweeper hands it on."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *rooms, leaf = name.split(".")
        node = tree
        for room in rooms:
            node = node.setdefault(room, {})
        node[leaf] = value
    return tree


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def _command(overrides: Sequence[str]) -> float:
    command = [sys.executable, str(TRAIN), "-m", *overrides]
    seconds, done = _timed(lambda: subprocess.run(command, capture_output=True, text=True, check=False))
    if done.returncode:
        raise RuntimeError(f"the planned sweep failed: {done.stderr.strip()}")
    return float(seconds)


def fill(store: RecordStore, configs: Sequence[Flat]) -> None:
    """Write rows of the form and size that finished trials have, with placeholders for their results."""
    for pack in packs_of(trials_of(configs), MOST):
        store.write(pd.DataFrame(_rows(pack)))


def _rows(pack: Pack) -> list[dict[str, object]]:
    curve = log_spaced_epochs(pack.trials[0].config["optim.epochs"])
    common = {
        "status": "finished",
        "curve_epoch": list(curve),
        "curve_train_loss": [1.0] * len(curve),
        "pack": pack.name,
        "started_at": "1970-01-01T00:00:00.000+00:00",
    } | dict.fromkeys(("train_loss", "test_loss", "gap", "wall_s"), 1.0)
    return [
        {name: value for name, value in trial.config.items() if name in COLUMNS}
        | common
        | {"trial": trial.name, "experiments": list(trial.experiments)}
        for trial in pack.trials
    ]
