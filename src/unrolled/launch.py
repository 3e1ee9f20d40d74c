"""How the packed launcher runs this application's trials: see :mod:`hydra_plugins.packed`."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from hydra_plugins.packed import Description, Outcome, check_launcher
from unrolled.app import closing, folder_of, run_configs
from unrolled.config.check import ConfigError, Flat, check, flatten
from unrolled.config.schema import CONFIGS
from unrolled.records.store import RecordStore
from unrolled.sweep.trial import trial_of

TRAIN = CONFIGS.parent / "scripts" / "train.py"

FLOAT_BYTES = 4
COPIES = 12
"""Copies of a trial's training rows that the eager backend holds at once, forward and backward."""


class PackFailedError(RuntimeError):
    """A pack raised; its rows are recorded as failed."""


def sweep_over(launcher: str, experiments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Run experiments as multirun sweeps over a Hydra launcher, each in a process of its own.

    Args:
        launcher: name of the launcher that the packs are handed to.
        experiments: names like ``reasoning/generalization``.
        overrides: further overrides of each.

    Returns:
        The experiments of which a trial failed; all have run to their end.

    Raises:
        ConfigError: the launcher is not installed.
    """
    try:
        check_launcher(launcher, "LAUNCHER")
    except HydraException as error:
        raise ConfigError(str(error)) from error
    failed = []
    for name in experiments:
        sweep = [f"experiment={name}", f"hydra.launcher.over={launcher}", *overrides]
        if subprocess.run([sys.executable, str(TRAIN), "-m", *sweep], check=False).returncode:
            failed.append(name)
    return failed


class TrainPacking:
    """The packing protocol of ``scripts/train.py``: trials by their hash, outcomes from the records."""

    def describe(self, config: Mapping[str, Any]) -> Description:
        """Check a config and describe its trial: its hash, what packs of its task may vary, its work and memory."""
        trial = trial_of(check(flatten(config)))
        return Description(trial.name, trial.task.packable, trial.task.cost(trial.config), _bytes_of(trial.config))

    def outcomes(self, configs: Sequence[Mapping[str, Any]]) -> Mapping[str, Outcome]:
        """Return what the records hold of these trials: the training loss, or the error of a failed one."""
        flats = {str(folder_of(flat)): flat for flat in map(flatten, configs)}
        found: dict[str, Outcome] = {}
        for flat in flats.values():
            records = RecordStore(folder_of(flat) / "records").load(["error", "train_loss"])
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


def _bytes_of(flat: Flat) -> int:
    """Return the bytes of the intermediate values of one update, the largest part of a trial's memory."""
    rows, width = flat["data.n_train"] or 1, flat["network.width"] or 1
    return int(FLOAT_BYTES * COPIES * rows * (width + flat["solver.steps"] * (flat["data.dimension"] or 1)))
