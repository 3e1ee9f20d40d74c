"""How long the missing trials will take: from what trials took before, or from a short trial run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import pandas as pd

from unrolled.sweep.tasks import TASKS, RunContext
from unrolled.sweep.trial import Pack

SAMPLE_TRIALS, SAMPLE_EPOCHS = 64, 40
"""Size of the trial run: a fraction of a second natively, enough lanes to fill two cores."""


def seconds_for(packs: Sequence[Pack], records: pd.DataFrame, backend: str, threads: int | None) -> float:
    """Estimate the wall time of packs.

    Args:
        packs: what is missing.
        records: what was run before; its measured seconds count where there are any.
        backend: asked for, see :func:`unrolled.training.fit.choose_backend`.
        threads: cores, or None.

    Returns:
        Seconds; 0 where nothing is missing.
    """
    return sum(
        sum(pack.cost for pack in packs if pack.trials[0].task.name == task)
        * (_measured(task, records) or _sampled([p for p in packs if p.trials[0].task.name == task], backend, threads))
        for task in {pack.trials[0].task.name for pack in packs}
    )


def _measured(task: str, records: pd.DataFrame) -> float | None:
    """Seconds a unit of cost in the records of this task, or None."""
    if records.empty:
        return None
    rows = records[(records["task"] == task) & (records["status"] == "finished")]
    cost = sum(TASKS[task].cost(config) for config in _configs(rows))
    return float(rows["wall_s"].sum()) / cost if cost else None


def _configs(rows: pd.DataFrame) -> Iterable[dict[str, object]]:
    return ({str(k): v for k, v in row.items()} for row in rows.to_dict("records"))


def _sampled(packs: Sequence[Pack], backend: str, threads: int | None) -> float:
    """Seconds a unit of cost in a short run of the end of the costliest pack."""
    configs = [trial.config for trial in max(packs, key=lambda pack: pack.cost).trials[-SAMPLE_TRIALS:]]
    task = TASKS[configs[0]["task"]]

    def timed(epochs: int) -> tuple[float, float]:
        short = [c | {"optim.epochs": min(epochs, c["optim.epochs"])} if c["optim.epochs"] else c for c in configs]
        began = time.monotonic()
        task.run(short, RunContext(backend=backend, threads=threads))
        return time.monotonic() - began, sum(task.cost(config) for config in short)

    timed(1)  # compiles and loads what is needed
    seconds_short, cost_short = timed(1)
    seconds, cost = timed(SAMPLE_EPOCHS)
    # What a run costs once (evaluation on the whole population) is left out where the two differ.
    return (seconds - seconds_short) / (cost - cost_short) if cost > cost_short else seconds / cost
