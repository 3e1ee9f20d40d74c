"""How long the paper's own grid of GD and NAG would take: measured on samples of it, extrapolated linearly."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from unrolled.bench.timing import Effort, Timing, Workload, calibrated, in_turns, median_us, updates
from unrolled.config.check import Flat
from unrolled.sweep.expand import expand
from unrolled.sweep.tasks import TASKS, RunContext

GRID = ("experiment=reasoning/generalization", "scale=paper")
GROUP = ("solver.name", "network.width", "optim.name")
"""What splits packs."""

LONGER = 4
GPU_TRIALS = 60
"""Trials for each number of steps on a GPU: with the grid's 17 numbers as many as the launcher packs at most."""

Group = tuple[str, int, str]


def bench_grid(effort: Effort, device: str = "cpu") -> dict[str, object]:
    """Time a sample of every group of the grid, and extrapolate to all its trials and epochs.

    Args:
        effort: how long and how often each is timed.
        device: torch device; figures of another one than the CPU end in ``_gpu``.

    Returns:
        ``paper_grid_hours``, ``paper_grid_trial_steps``, ``paper_grid_us_per_trial_step``, ``paper_grid_setup_hours``,
        ``paper_grid_linearity``, ``paper_grid_diverged`` and ``paper_grid_us_<solver>_<width>_<optimiser>``.
    """
    groups = grouped([TASKS["fit"].resolve(config)[0] for config in expand(list(GRID))])
    each = effort.grid_trials if device == "cpu" else GPU_TRIALS
    context = RunContext(device=device)
    work = {_name(group): calibrated(sample(all_, each), context, effort.seconds) for group, all_ in groups.items()}
    deepest = max(work, key=lambda name: TASKS["fit"].cost(work[name].configs[-1]))
    turns = in_turns(work, effort.turns)
    figures = {_name(group): median_us(turns, _name(group)) for group in groups}
    totals = {_name(group): trial_steps(all_) for group, all_ in groups.items()}
    figures |= extrapolated(figures, totals)
    figures["paper_grid_setup_hours"] = _setup_hours(turns, work, {_name(g): len(a) for g, a in groups.items()})
    figures["paper_grid_linearity"] = _linearity(work[deepest], effort)
    figures["paper_grid_diverged"] = max(sum(timing.unfinished for timing in turn.values()) for turn in turns)
    return {name if device == "cpu" else f"{name}_gpu": value for name, value in figures.items()}


def _name(group: Group) -> str:
    return "paper_grid_us_" + "_".join(map(str, group))


def grouped(configs: Sequence[Flat]) -> dict[Group, list[Flat]]:
    """Return the configs of each group, shallow ones first.

    Args:
        configs: resolved configs.
    """
    groups: dict[Group, list[Flat]] = defaultdict(list)
    for config in configs:
        groups[tuple(config[key] for key in GROUP)].append(config)
    return {group: sorted(found, key=lambda config: config["solver.steps"]) for group, found in groups.items()}


def sample(configs: Sequence[Flat], each: int) -> list[Flat]:
    """Return, for every number of steps, so many trials, spread evenly over those that have it.

    Args:
        configs: one group of the grid.
        each: trials for each number of steps, or all where there are fewer.
    """
    by_steps: dict[int, list[Flat]] = defaultdict(list)
    for config in configs:
        by_steps[config["solver.steps"]].append(config)
    return [
        found[len(found) * i // min(each, len(found))]
        for found in by_steps.values()
        for i in range(min(each, len(found)))
    ]


def trial_steps(configs: Sequence[Flat]) -> int:
    """Return the updates of all trials together."""
    return sum(config["optim.epochs"] * updates(config) for config in configs)


def extrapolated(us: Mapping[str, float], steps: Mapping[str, int]) -> dict[str, float]:
    """Return the whole grid's hours, updates, and microseconds an update.

    Args:
        us: microseconds of one update of one trial, by group.
        steps: updates of all trials, by group.

    Example:
        >>> extrapolated({"a": 1.0, "b": 3.0}, {"a": 3_600_000_000, "b": 1_200_000_000})["paper_grid_hours"]
        2.0
    """
    total, seconds = sum(steps.values()), sum(us[name] * steps[name] for name in steps) / 1e6
    return {
        "paper_grid_hours": seconds / 3600,
        "paper_grid_trial_steps": total,
        "paper_grid_us_per_trial_step": seconds * 1e6 / total,
    }


def _setup_hours(
    turns: Sequence[Mapping[str, Timing]], work: Mapping[str, Workload], trials: Mapping[str, int]
) -> float:
    """Return what the runs took besides their updates, for all trials of the grid."""
    each = {name: statistics.median(turn[name].setup_s for turn in turns) / len(work[name].configs) for name in work}
    return sum(each[name] * trials[name] for name in work) / 3600


def _linearity(work: Workload, effort: Effort) -> float:
    """Return the time of an update in a run of several times the epochs, over that in the run that was timed."""
    both = in_turns({"same": work, "longer": work.lengthened(LONGER)}, effort.turns)
    return statistics.median(turn["longer"].us / turn["same"].us for turn in both)
