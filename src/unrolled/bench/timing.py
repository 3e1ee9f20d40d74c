"""Time of training, by runs of two lengths: their difference is free of set-up and of the final evaluation."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from unrolled.config.check import Flat
from unrolled.sweep.expand import expand
from unrolled.sweep.tasks import TASKS, RunContext

SHORT = 100
"""Epochs of the shorter run: it has behind it the small chunks that a fit begins with."""

ATTEMPTS = 10
"""How often a difference of two times is taken before it is given up as lost in noise."""


@dataclass(frozen=True)
class Effort:
    """How much the bench spends.

    Args:
        twin_turns: how often twin and packed trainer take their turns.
        turns: how often everything else that is compared takes its turn.
        seconds: time by which a longer run is longer than its short one; 0 takes the fewest epochs.
        sweep_sizes: trials of the empty sweeps, the largest last.
        basic_trials: trials of the sweep over Hydra's basic launcher.
        plan_scale: scale of the sweep that is planned.
        packs: trials of the packs whose memory is measured, the largest last.
        grid_trials: trials for each number of steps in a sample of the paper's grid.
        frame_widths: widest layers of the fully connected deep frames.
        frame_channels: first channels of the convolutional ones; none leaves them out.
        frame_updates: updates of deep-frame classifiers in one measurement.
    """

    twin_turns: int
    turns: int
    seconds: float
    sweep_sizes: tuple[int, ...]
    basic_trials: int
    plan_scale: str
    packs: tuple[int, ...]
    grid_trials: int
    frame_widths: tuple[int, ...]
    frame_channels: tuple[int, ...]
    frame_updates: int


FULL = Effort(
    twin_turns=5,
    turns=3,
    seconds=0.3,
    sweep_sizes=(100, 1000, 10_000),
    basic_trials=50,
    plan_scale="paper",
    packs=(1, 64, 256, 1024),
    grid_trials=16,
    frame_widths=(16, 32, 50, 64, 100, 128, 200, 256, 400, 512, 800, 1024, 1600, 2048, 3200, 4096),
    frame_channels=(4, 8),
    frame_updates=10,
)
QUICK = Effort(
    twin_turns=1,
    turns=1,
    seconds=0.0,
    sweep_sizes=(100, 200),
    basic_trials=10,
    plan_scale="smoke",
    packs=(1024,),
    grid_trials=1,
    frame_widths=(16,),
    frame_channels=(),
    frame_updates=1,
)
"""For tests: the same keys where they mean the same, and numbers that say little."""


@dataclass(frozen=True)
class Timing:
    """What two runs of a pack tell.

    Args:
        us: microseconds of wall time for one update of one trial.
        setup_s: seconds that a run takes besides its updates.
        unfinished: trials that diverged.
    """

    us: float
    setup_s: float
    unfinished: int


@dataclass(frozen=True)
class Workload:
    """A pack and the lengths of the two runs that time it.

    Args:
        configs: resolved configs of its trials; their epochs do not count.
        context: backend, device and cores.
        short, long: epochs of the two runs.
    """

    configs: Sequence[Flat]
    context: RunContext
    short: int
    long: int

    def run(self, epochs: int) -> tuple[float, int]:
        """Train for so many epochs; return the seconds and how many trials diverged."""
        configs = [config | {"optim.epochs": epochs} for config in self.configs]
        with torch_threads(self.context.threads):
            began = time.perf_counter()
            rows = TASKS["fit"].run(configs, self.context)
            seconds = time.perf_counter() - began
        return seconds, sum(row["status"] != "finished" for row in rows)

    def time(self) -> Timing:
        """Run both lengths once."""

        def pair() -> tuple[float, float, int]:
            (short, _), (long, unfinished) = self.run(self.short), self.run(self.long)
            return long - short, short, unfinished

        gained, short, unfinished = until_positive(pair)
        epoch = gained / (self.long - self.short)
        steps = len(self.configs) * updates(self.configs[0])
        return Timing(epoch / steps * 1e6, short - epoch * self.short, unfinished)

    def lengthened(self, factor: int) -> Workload:
        """Return the workload whose difference has ``factor`` times as many epochs."""
        return replace(self, long=self.short + factor * (self.long - self.short))


def calibrated(configs: Sequence[Flat], context: RunContext, seconds: float) -> Workload:
    """Return a workload whose longer run takes about so many seconds more than its short one, or twice as long.

    The difference must outweigh what both runs have in common, whose noise it carries. It never has fewer epochs than
    were tried: other work on the machine would make a pack look slow, and its difference would then be noise alone.

    Args:
        configs: resolved configs of the pack's trials.
        context: backend, device and cores.
        seconds: of the difference, at least; 0 for the workload of the fewest epochs.
    """
    trial = Workload(configs, context, SHORT, 3 * SHORT)
    if seconds == 0:
        return trial
    trial.run(1)  # compiles and warms up
    short, _ = trial.run(trial.short)
    seconds = max(seconds, short)
    while (gained := trial.run(trial.long)[0] - short) < seconds / 4:
        trial = trial.lengthened(4)
    epochs = trial.long - trial.short
    return replace(trial, long=trial.short + max(epochs, math.ceil(epochs * seconds / gained)))


def in_turns(workloads: Mapping[str, Workload], turns: int) -> list[dict[str, Timing]]:
    """Time workloads one after the other, several times over, so that a drifting clock meets them all.

    Args:
        workloads: by name.
        turns: how often.

    Returns:
        The timings of each turn, by name.
    """
    return [{name: workload.time() for name, workload in workloads.items()} for _ in range(turns)]


def median_us(turns: Sequence[Mapping[str, Timing]], name: str) -> float:
    """Return the median over turns of a workload's microseconds."""
    return statistics.median(turn[name].us for turn in turns)


def until_positive(measure: Callable[[], tuple[float, float, int]]) -> tuple[float, float, int]:
    """Measure until the difference of two times, the first value, is above 0: noise may make the longer run shorter.

    Raises:
        RuntimeError: it never was.
    """
    for _ in range(ATTEMPTS):
        if (found := measure())[0] > 0:
            return found
    raise RuntimeError(f"the longer run was not longer in {ATTEMPTS} attempts: is this machine busy with other work?")


def reasoning_pack(solver: str, width: int, steps: int, trials: int) -> list[Flat]:
    """Return the resolved configs of trials that differ in their seeds.

    Args:
        solver: ``gd`` or ``nag``.
        width: hidden units.
        steps: k.
        trials: how many.
    """
    resolved, _ = TASKS["fit"].resolve(_composed(solver) | {"network.width": width, "solver.steps": steps})
    return [resolved | {"seed": seed, "data.rows_seed": seed} for seed in range(trials)]


@lru_cache
def _composed(solver: str) -> Flat:
    return expand([f"solver={solver}"])[0]


def updates(config: Flat) -> int:
    """Return the updates of an epoch."""
    return math.ceil(config["data.n_train"] / config["optim.batch_size"])


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many cores inside the block, all that this process may use for None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)
