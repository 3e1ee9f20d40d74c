"""Trials and packs: what is scientific about a config, its hash, and which trials run together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from unrolled.config.check import Flat
from unrolled.sweep.tasks import TASKS, Task

HASH_LENGTH = 16


@dataclass(frozen=True)
class Trial:
    """One row to be: a resolved config and its identity.

    Args:
        name: hash of what is scientific in the config, the data's checksum and the task's version.
        config: the resolved flat config.
        experiments: names of the experiments it serves.
        checksum: the data's.
    """

    name: str
    config: Flat
    experiments: tuple[str, ...]
    checksum: str = ""

    @property
    def task(self) -> Task:
        """What computes it."""
        return TASKS[self.config["task"]]


@dataclass(frozen=True)
class Pack:
    """Trials that run as one ensemble."""

    trials: tuple[Trial, ...]

    @property
    def name(self) -> str:
        """Hash of the trials in it."""
        return _hash("\n".join(sorted(trial.name for trial in self.trials)))

    @property
    def cost(self) -> float:
        """Expected work, in the task's units."""
        return sum(trial.task.cost(trial.config) for trial in self.trials)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def trial_of(config: Flat) -> Trial:
    """Resolve a config and name its trial.

    Paths, tracker, device, backend, experiment and scale do not enter the name, so one row serves several experiments.

    Args:
        config: a checked flat config.

    Returns:
        The trial.

    Raises:
        ConfigError, DataError: the data cannot serve this config.
    """
    task = TASKS[config["task"]]
    resolved, checksum = task.resolve(config)
    science = {name: resolved[name] for name in task.identity}
    text = json.dumps([task.name, task.version, checksum, science], sort_keys=True, allow_nan=False)
    experiments = (config["experiment"],) if config["experiment"] else ()
    return Trial(_hash(text), resolved, experiments, checksum)


def trials_of(configs: Iterable[Flat]) -> list[Trial]:
    """Return the distinct trials of many configs; one that several configs ask for serves all their experiments."""
    found: dict[str, Trial] = {}
    for config in configs:
        trial = trial_of(config)
        if (known := found.get(trial.name)) is not None:
            trial = replace(known, experiments=tuple(sorted({*known.experiments, *trial.experiments})))
        found[trial.name] = trial
    return list(found.values())


def packs_of(trials: Iterable[Trial], max_pack: int) -> list[Pack]:
    """Group trials whose configs differ only in what their task can pack, and split the groups.

    The split is by the whole list, not by what is missing of it, so that a pack keeps its name and its checkpoint
    across interruptions. Neighbours are alike in cost, so that a pack's replicas end together.

    Args:
        trials: distinct trials.
        max_pack: most trials of one pack, >= 1.

    Returns:
        Packs in a fixed order.
    """

    def group(trial: Trial) -> str:
        task = trial.task
        # A pack reads one data set, which its recipe or its file names; the identity has these in its checksum.
        keys = task.identity | {name for name in trial.config if name.startswith("data.")}
        fixed = {name: trial.config[name] for name in keys - task.packable}
        return json.dumps([task.name, trial.config["theory"], fixed], sort_keys=True)

    def within(trial: Trial) -> tuple[float, str]:
        return (trial.task.cost(trial.config), trial.name)

    packs = []
    for _, members in groupby(sorted(trials, key=lambda t: (group(t), within(t))), key=group):
        ordered = list(members)
        packs += [Pack(tuple(ordered[i : i + max_pack])) for i in range(0, len(ordered), max_pack)]
    return packs
