"""How long the missing trials will take: from what trials took before, or from a short trial run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from unrolled.sweep.tasks import TASKS, RunContext
from unrolled.sweep.trial import Pack
from unrolled.training.fused import FusedUnavailableError
from unrolled.training.native.build import NativeUnavailableError

SAMPLE_TRIALS = 64
"""Trials of the trial run: enough lanes to fill a few cores."""

SAMPLE_SECONDS = 0.3
"""The trial run grows until its training alone takes this long: below it noise would count."""

DOMINANCE = 2.0
"""And until it takes this many times what a run costs once, whose noise would count as well."""


LONG_SECONDS = 1.0
"""A run of a single epoch that takes longer is not repeated with more of them."""


UNATTACKED = dict.fromkeys(f"attack.{name}" for name in ("linf", "l2", "steps", "restarts", "rows"))
"""Adversarial attacks may take longer than training and say little of it."""


def seconds_for(packs: Sequence[Pack], records: pd.DataFrame, context: RunContext) -> float:
    """Estimate the wall time of packs.

    Args:
        packs: what is missing.
        records: what was run before; its measured seconds count where there are any.
        context: backend, device and threads of the run.

    Returns:
        Seconds; 0 where nothing is missing, NaN where a trial run failed.

    Raises:
        NativeUnavailableError, FusedUnavailableError: that backend was asked for and cannot be had.
    """
    return sum(seconds_by_task(packs, records, context).values())


def seconds_by_task(packs: Sequence[Pack], records: pd.DataFrame, context: RunContext) -> dict[str, float]:
    """Estimate, by task, the time of packs that run one after another; see :func:`seconds_for`."""
    found = {}
    for task in {pack.trials[0].task.name for pack in packs}:
        own = [pack for pack in packs if pack.trials[0].task.name == task]
        found[task] = sum(pack.cost for pack in own) * (_measured(task, records) or _sampled(own, context))
    return found


def wall_seconds(seconds: Mapping[str, float], workers: int) -> float:
    """Return the wall time of work, by task, of which so many workers share what computes on one core."""
    return sum(value / (workers if TASKS[task].cores == "one" else 1) for task, value in seconds.items())


def measured_seconds(packs: Sequence[Pack], records: pd.DataFrame) -> float:
    """Estimate the wall time of packs from what their tasks took before, without running anything.

    Args:
        packs: what is missing, each of one task.
        records: what was run before.

    Returns:
        Seconds; NaN where a task has no record yet.
    """
    return sum(pack.cost * (_measured(pack.trials[0].task.name, records) or math.nan) for pack in packs)


def _measured(task: str, records: pd.DataFrame) -> float | None:
    """Seconds a unit of cost in the records of this task, or None."""
    if records.empty:
        return None
    rows = records[(records["task"] == task) & (records["status"] == "finished")]
    cost = sum(TASKS[task].cost(config) for config in _configs(rows))
    return float(rows["wall_s"].sum()) / cost if cost else None


def _configs(rows: pd.DataFrame) -> Iterable[dict[str, object]]:
    """Return rows as configs, with None again where a table of numbers has NaN."""
    return (
        {str(k): None if isinstance(v, float) and v != v else v for k, v in row.items()}
        for row in rows.to_dict("records")
    )


def _sampled(packs: Sequence[Pack], context: RunContext) -> float:
    """Seconds a unit of cost in a short run of the end of the costliest pack."""
    configs = [trial.config | UNATTACKED for trial in max(packs, key=lambda pack: pack.cost).trials[-SAMPLE_TRIALS:]]
    task = TASKS[configs[0]["task"]]

    def timed(epochs: int) -> tuple[float, float]:
        short = [c | {"optim.epochs": min(epochs, c["optim.epochs"])} if c["optim.epochs"] else c for c in configs]
        began = time.monotonic()
        task.run(short, context)
        return time.monotonic() - began, sum(task.cost(config) for config in short)

    try:
        timed(1)  # compiles and loads what is needed
    except (NativeUnavailableError, FusedUnavailableError):
        raise
    except Exception:  # whatever breaks here breaks the pack, too, which leaves failed rows and lets the others run
        return math.nan
    seconds, cost = timed(1)
    if seconds > LONG_SECONDS:
        return seconds / cost  # an epoch says enough, and more would take a good part of the run
    epochs = 25
    while True:
        longer, more = timed(epochs)
        # What a run costs once (evaluation on the whole population) is in both and cancels.
        gained = longer - seconds
        if gained > max(SAMPLE_SECONDS, DOMINANCE * seconds) or _is_whole(configs, epochs):
            return max(gained, 0.0) / (more - cost) if more > cost else longer / more
        epochs *= 4


def _is_whole(configs: Sequence[dict[str, object]], epochs: int) -> bool:
    """Whether a run of so many epochs is the whole of every config, or they have no epochs to cut."""
    return all(not c["optim.epochs"] or int(str(c["optim.epochs"])) <= epochs for c in configs)
