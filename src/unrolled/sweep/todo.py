"""What of a sweep is to do: how it runs, which trials the store lacks, and how long they will take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from unrolled.records.leases import Leases
from unrolled.records.store import RecordStore
from unrolled.sweep.trial import Pack, Trial, packs_of

STATE = ("trial", "status", "error", "experiments", "started_at", "task", "solver.name", "backend")
"""Columns that say what became of a trial, and by what."""


@dataclass(frozen=True)
class RunSettings:
    """How and where trials run; nothing here enters a trial's identity.

    Args:
        folder: results of one scale; records go to ``folder/records``.
        scale: the scale's name, for the records.
        backend, device, threads, checkpoint_seconds: see :class:`unrolled.sweep.tasks.RunContext`.
        workers: processes for packs that compute on one core; 1 runs them here, None chooses by cores and work.
        max_pack: most trials of a pack.
        on_error: ``continue`` runs the other packs after one has failed; ``stop`` starts no further one.
        retry_failed: whether trials that failed earlier run again.
    """

    folder: Path
    scale: str
    backend: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    workers: int | None = None
    max_pack: int = 256
    checkpoint_seconds: float = 20.0
    on_error: str = "continue"
    retry_failed: bool = True

    @cached_property
    def store(self) -> RecordStore:
        """The records of this scale."""
        return RecordStore(self.folder / "records")

    @cached_property
    def leases(self) -> Leases:
        """Who runs which trial of this scale right now."""
        return Leases(self.folder / "leases")


@dataclass(frozen=True)
class Todo:
    """What of a sweep will run.

    Args:
        packs: the missing trials, in packs.
        present: trials that the store holds with a result.
        backends: by task and solver, what computed the trials that are there, and others of their experiments.
        failed: trials that failed earlier, with the time when: they are tried again, if asked for.
        left_failed: how many of them will not be.
    """

    packs: list[Pack]
    present: int
    backends: dict[tuple[str, str], set[str]]
    failed: dict[str, str]
    left_failed: int


def plan_sweep(trials: list[Trial], settings: RunSettings) -> Todo:
    """Return what of a sweep will run, by what the store holds now.

    Args:
        trials: the whole sweep, distinct.
        settings: how and where.

    Raises:
        StoreError: the store cannot be read.
    """
    records = settings.store.load(STATE)
    asked = records[records["trial"].isin([trial.name for trial in trials])]
    rows = asked[asked["status"] == "failed"]
    failed = dict(zip(rows["trial"], rows["started_at"], strict=True))
    done = set(asked["trial"]) - (set(failed) if settings.retry_failed else set())
    packs = []
    for pack in packs_of(trials, settings.max_pack):
        left = tuple(trial for trial in pack.trials if trial.name not in done)
        if left:
            packs.append(Pack(left))
    # A worker is given one pack of a sweep: what belongs to the same experiments tells what ran the others.
    experiments = {name for trial in trials for name in trial.experiments}
    related = records["experiments"].map(lambda names: not experiments.isdisjoint(names)).astype(bool)
    beside = records[records["trial"].isin(asked["trial"]) | related]
    backends = backends_of(beside[beside["status"] != "failed"])
    return Todo(packs, len(asked) - len(failed), backends, failed, 0 if settings.retry_failed else len(failed))


def backends_of(records: pd.DataFrame) -> dict[tuple[str, str], set[str]]:
    """Return the backends that computed records, by task and solver."""
    groups = records.groupby(["task", "solver.name"])["backend"]
    return {(str(task), str(solver)): set(names) for (task, solver), names in groups}


def opening(todo: Todo, asked: int, seconds: float) -> str:
    """Return a sweep's opening line: trials, those already there, and how long the others will take, NaN untold."""
    missing = sum(len(pack.trials) for pack in todo.packs)
    text = f"{asked} trials: {todo.present} already there, {missing} to run"
    if todo.left_failed:
        text += f", {todo.left_failed} failed earlier and left so"
    if not todo.packs:
        return text
    text += f" in {len(todo.packs)} pack{'s' * (len(todo.packs) > 1)}"
    return text if math.isnan(seconds) else f"{text}, about {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
