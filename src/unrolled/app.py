"""What the scripts share: from checked configs to records, W&B runs, and an exit status."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch

from unrolled.config import ConfigError
from unrolled.config.check import Flat
from unrolled.data import DataError
from unrolled.parity import ParityError
from unrolled.records.store import StoreError
from unrolled.report.errors import ReportError
from unrolled.structure_table import TableError
from unrolled.sweep import RunSettings, run_sweep, trials_of
from unrolled.sweep.run import Summary
from unrolled.tracking import TrackerError, TrackerSettings, log_pack
from unrolled.training.fused import FusedUnavailableError
from unrolled.training.native.build import NativeUnavailableError

RESULTS = Path("results")

EXPECTED = (
    ConfigError, DataError, StoreError, TrackerError, NativeUnavailableError, FusedUnavailableError, ParityError,
    ReportError, TableError,
)  # fmt: skip
"""Errors whose message is meant for the user: one line, no traceback."""


def folder_of(config: Flat) -> Path:
    """Return the results folder of a config: ``run.folder``, or ``results/<scale>``."""
    return Path(config["run.folder"]) if config["run.folder"] else RESULTS / config["scale.name"]


def check_device(name: str) -> None:
    """Raise :class:`ConfigError` unless torch knows a device and this machine has it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        cards = torch.cuda.device_count()
        raise ConfigError(
            f"run.device: given {name!r}, allowed: cpu" + "".join(f", cuda:{i}" for i in range(cards))
        ) from error


def settings_of(configs: Sequence[Flat]) -> RunSettings:
    """Return how configs of one scale run, as the first says.

    Raises:
        ConfigError: they are of several scales or folders.
    """
    first = configs[0]
    if len({(folder_of(config), config["scale.name"]) for config in configs}) > 1:
        raise ConfigError("scale: given several, allowed: one a run, as each has a results folder of its own")
    names = [f.name for f in fields(RunSettings) if f.name not in ("folder", "scale")]
    return _settings(folder_of(first), first["scale.name"], *(first[f"run.{name}"] for name in names))


@lru_cache(maxsize=8)
def _settings(*values: Any) -> RunSettings:
    """Return the same object for the same settings: its store remembers what it has read."""
    return RunSettings(*values)


def run_configs(configs: Sequence[Flat], say: Callable[[str], None] | None = print) -> Summary:
    """Run the trials that the store lacks, and mirror every finished pack to W&B.

    Args:
        configs: checked configs of one scale; how they run is taken from the first.
        say: prints a line; None for a part of a larger sweep, which says nothing of its size and time.

    Returns:
        What was done.
    """
    first = configs[0]
    settings = settings_of(configs)
    check_device(settings.device)
    tracker = TrackerSettings(
        first["tracker.mode"], first["tracker.project"], first["tracker.entity"], settings.folder / "wandb"
    )
    return run_sweep(trials_of(configs), settings, on_pack=_mirror(tracker, say or print), say=say)


def _mirror(tracker: TrackerSettings, say: Callable[[str], None]) -> Callable[[pd.DataFrame], None]:
    """Return a callback that mirrors packs; its failures are told and never stop the run."""

    def mirror(rows: pd.DataFrame) -> None:
        try:
            log_pack(rows, tracker)
        except TrackerError as error:
            say(f"W&B: {error}")

    return mirror


def closing(summary: Summary) -> str:
    """Return the closing lines of a run: what ran, and every failed pack by name."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.counts.items())) or "nothing to do"
    if summary.elsewhere:
        counts += f"; {summary.elsewhere} run by another process meanwhile"
    lines = [f"{summary.asked} trials: {summary.present} were there; now: {counts} ({summary.seconds:.0f} s)"]
    if summary.left_failed:
        lines += [f"FAILED earlier and left so: {summary.left_failed} trials; run.retry_failed=true runs them again"]
    if summary.not_started:
        lines += [f"NOT STARTED after a failure, as run.on_error is stop: {summary.not_started} trials"]
    lines += [f"FAILED pack {pack}: {error}" for pack, error in summary.failures]
    return "\n".join(lines)


def guarded(main: Callable[[], int | None]) -> int:
    """Run a script's main function: expected errors in one line, an interrupt told, a status returned.

    A termination signal is treated like Ctrl-C, so that the running pack's checkpoint is written.

    Args:
        main: returns the exit status.

    Returns:
        Its status; 2 for bad input, 130 after an interrupt. ``HYDRA_FULL_ERROR=1`` shows tracebacks.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _short_warning
    try:
        return main() or 0
    except EXPECTED as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output, like head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("\nstopped: all finished packs are recorded; the same command goes on from there", file=sys.stderr)
        return 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _short_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
