"""How the packed launcher runs this application's trials: see :mod:`hydra_plugins.packed`."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from hydra_plugins.packed import Description, Outcome, check_launcher
from unrolled.app import closing, run_configs, settings_of
from unrolled.config.check import ConfigError, Flat, check, flatten
from unrolled.config.schema import CONFIGS
from unrolled.sweep.run import share_rows
from unrolled.sweep.trial import trial_of, trials_of

TRAIN = CONFIGS.parent / "scripts" / "train.py"

GRACE_SECONDS = 5.0
"""Time in which a sweep that was interrupted with this process ends by itself."""


class PackFailedError(RuntimeError):
    """A pack raised; its rows are recorded as failed."""


def sweep_over(launcher: str, experiments: Sequence[str], overrides: Sequence[str], on_error: str) -> list[str]:
    """Run experiments as multirun sweeps over a Hydra launcher, each in a process of its own.

    Args:
        launcher: name of the launcher that the packs are handed to.
        experiments: names like ``reasoning/generalization``.
        overrides: further overrides of each.
        on_error: ``continue`` runs all experiments to their end; ``stop`` starts nothing after a failure.

    Returns:
        The experiments of which a trial failed, or that were not started.

    Raises:
        ConfigError: the launcher is not installed.
        KeyboardInterrupt: after the running sweep has ended.
    """
    try:
        check_launcher(launcher, "LAUNCHER")
    except HydraException as error:
        raise ConfigError(str(error)) from error
    more = [f"hydra.launcher.over={launcher}", f"hydra.launcher.on_error={on_error}"]
    more += [f"hydra.launcher.{o.removeprefix('run.')}" for o in overrides if o.startswith("run.max_pack=")]
    failed: list[str] = []
    for name in experiments:
        if failed and on_error == "stop":
            failed.append(f"{name} (not started)")
        elif _status([sys.executable, str(TRAIN), "-m", f"experiment={name}", *more, *overrides]):
            failed.append(name)
    return failed


def _status(command: list[str]) -> int:
    """Run a command; an interrupt lets it end in its own way, and reaches it where it came to this process alone."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise


class TrainPacking:
    """The packing protocol of ``scripts/train.py``: trials by their hash, outcomes from the records."""

    def describe(self, config: Mapping[str, Any]) -> Description:
        """Check a config and describe its trial: its hash, what packs of its task may vary, its work and memory."""
        trial = trial_of(check(flatten(config)))
        task = trial.task
        return Description(trial.name, task.packable, task.cost(trial.config), task.memory(trial.config))

    def begin(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Let rows that are there serve this sweep's experiment too: trials that have one are not run."""
        for members in _by_folder(configs).values():
            settings = settings_of([flatten(members[0])])
            if not settings.store.load(["experiments"]).empty:
                share_rows(settings, trials_of(map(flatten, members)))

    def outcomes(self, configs: Sequence[Mapping[str, Any]]) -> Mapping[str, Outcome]:
        """Return what the records hold of these trials: the training loss, or the error of a failed one."""
        found: dict[str, Outcome] = {}
        for members in _by_folder(configs).values():
            flat = flatten(members[0])
            records = settings_of([flat]).store.load(["error", "train_loss"])
            losses = records["train_loss"] if "train_loss" in records else [math.nan] * len(records)
            for name, status, error, loss in zip(
                records["trial"], records["status"], records["error"], losses, strict=True
            ):
                failed = Outcome(error=str(error), final=not flat["run.retry_failed"])
                found[name] = failed if status == "failed" else Outcome(value=float(loss))
        return found

    def run(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Run a pack, record it and mirror it to W&B.

        Raises:
            PackFailedError: after the failed rows are written.
        """
        flats: list[Flat] = [flatten(config) | {"run.max_pack": len(configs)} for config in configs]
        summary = run_configs(flats, say=None)
        if not summary.complete:
            raise PackFailedError(closing(summary))


def _by_folder(configs: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, Any], list[Mapping[str, Any]]]:
    """Return the configs of each results folder."""
    found: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for config in configs:
        found.setdefault((config["run"]["folder"], config["scale"]["name"]), []).append(config)
    return found
