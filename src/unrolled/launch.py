"""How the packed launcher runs this application's trials: see :mod:`hydra_plugins.packed`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from hydra_plugins.packed import Outcome, check_launcher
from unrolled.app import closing, folder_of, run_configs
from unrolled.config.check import ConfigError, Flat, check, flatten
from unrolled.config.schema import CONFIGS
from unrolled.records.store import load_records
from unrolled.sweep.trial import Trial, trial_of

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

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise a one-line error unless a config is allowed."""
        trial_of(check(flatten(config)))

    def name(self, config: Mapping[str, Any]) -> str:
        """Return the trial's hash."""
        return _trial(config).name

    def packable(self, config: Mapping[str, Any]) -> Collection[str]:
        """Return the keys that may differ inside a pack."""
        return _trial(config).task.packable

    def cost(self, config: Mapping[str, Any]) -> float:
        """Return the trial's expected work."""
        trial = _trial(config)
        return trial.task.cost(trial.config)

    def size(self, config: Mapping[str, Any]) -> int:
        """Return the bytes of the intermediate values of one update, the largest part of a trial's memory."""
        flat = _trial(config).config
        rows, width = flat["data.n_train"] or 1, flat["network.width"] or 1
        return int(FLOAT_BYTES * COPIES * rows * (width + flat["solver.steps"] * (flat["data.dimension"] or 1)))

    def outcomes(self, configs: Sequence[Mapping[str, Any]]) -> Mapping[str, Outcome]:
        """Return what the records hold of these trials: the training loss, or the error of a failed one."""
        flats = {str(folder_of(flat)): flat for flat in map(flatten, configs)}
        found: dict[str, Outcome] = {}
        for flat in flats.values():
            records = load_records(folder_of(flat) / "records")
            if records.empty:
                continue
            losses = records["train_loss"] if "train_loss" in records else records["seed"] * float("nan")
            for name, status, error, loss in zip(
                records["trial"], records["status"], records["error"], losses, strict=True
            ):
                found[name] = Outcome(error=str(error)) if status == "failed" else Outcome(value=float(loss))
        return found

    def run(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Run a pack, record it and mirror it to W&B.

        Raises:
            PackFailedError: after the failed rows are written.
        """
        flats: list[Flat] = [flatten(config) | {"run.max_pack": len(configs)} for config in configs]
        summary = run_configs(flats, say=None)
        if summary.failures:
            raise PackFailedError(closing(summary))


def _trial(config: Mapping[str, Any]) -> Trial:
    return trial_of(flatten(config))
