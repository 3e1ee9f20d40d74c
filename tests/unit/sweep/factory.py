"""Trials that take milliseconds, and stub tasks that break on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from unrolled.config.check import Flat
from unrolled.data.quadratic import QuadraticProblems, generate
from unrolled.sweep.expand import expand
from unrolled.sweep.run import Summary, run_sweep
from unrolled.sweep.tasks import FitTask, Metrics, RunContext
from unrolled.sweep.todo import RunSettings
from unrolled.sweep.trial import trials_of

TINY = (
    "tracker=disabled",
    "data.population=60",
    "data.n_train=10",
    "optim.epochs=4",
    "network.width=4",
    "solver.steps=2",
)


def tiny(*overrides: str) -> list[Flat]:
    """Expand overrides on top of a config whose trial takes milliseconds."""
    return [dict(config) for config in _tiny(overrides)]


@lru_cache
def _tiny(overrides: tuple[str, ...]) -> list[Flat]:
    return expand([*TINY, *overrides])


def run(configs: Sequence[Flat], folder: Path, **options: object) -> tuple[Summary, pd.DataFrame]:
    """Run configs into a folder; return the summary and all records of the folder."""
    settings = RunSettings(folder, "smoke", **options)  # type: ignore[arg-type]
    summary = run_sweep(trials_of(configs), settings, say=lambda line: None)
    return summary, settings.store.load()


UNREPEATABLE = ["wall_s", "started_at", "pack"]
"""Columns that say when and beside what a trial ran."""


def comparable(records: pd.DataFrame) -> pd.DataFrame:
    """Return what two runs of the same trials must agree in, bit for bit."""
    return records.drop(columns=UNREPEATABLE).sort_values("trial").sort_index(axis=1).reset_index(drop=True)


def save_problems(path: Path, problems: QuadraticProblems, **sets: np.ndarray) -> Path:
    """Write problems as the .npz file that ``data.file`` takes."""
    np.savez(
        path,
        u=problems.inputs,
        q=problems.rotation,
        b=problems.linear,
        eigenvalues=problems.eigenvalues,
        y_star=problems.solution,
        **sets,
    )
    return path


def problem_file(path: Path, seed: int = 1, population: int = 60) -> Path:
    """Write generated problems with one named training set, of seed 100 and 10 rows."""
    return save_problems(path, generate(population, seed), train_index_seed100=np.arange(10))


class BreaksAt(FitTask):
    """Fits, but raises for one hidden width; says how many packs it ran."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.packs = 0

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Raise or fit."""
        if configs[0]["network.width"] == self.width:
            raise RuntimeError("broken on purpose")
        self.packs += context.checkpoint is not None
        return super().run(configs, context)


class InterruptedAfter(FitTask):
    """Fits, but is interrupted like by Ctrl-C once a pack has trained some chunks of epochs."""

    def __init__(self, chunks: int) -> None:
        self.left = chunks

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Fit with a progress callback that interrupts."""
        if context.checkpoint is None:  # the estimate's trial run
            return super().run(configs, context)

        def interrupt(share: float) -> None:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1

        return super().run(configs, replace(context, on_progress=interrupt))
