"""Classifiers that come to grief in a worker; in a module, so that a worker can import them."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unrolled.config.check import Flat
from unrolled.sweep.tasks import ClassifyTask, Metrics, RunContext
from unrolled.training import fit

BAD = "12x8"
"""Widths of the net that a mishap comes to."""


class Mishap(ClassifyTask):
    """Trains, but not one of the nets; where there is a mark, the others wait for the mishap first."""

    def __init__(self, what: str, mark: Path | None = None) -> None:
        self.what, self.mark = what, mark

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Meet the mishap, or train."""
        deadline = time.monotonic() + 60
        if configs[0]["network.widths"] == BAD and context.checkpoint is not None:  # not the estimate's trial run
            if self.mark is not None:
                self.mark.touch()
            if self.what == "raise":
                raise RuntimeError("broken on purpose")
            if self.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "warn":
                warnings.warn("seen in a worker", UserWarning, stacklevel=1)
            if self.what == "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
        elif self.mark is not None and context.checkpoint is not None:
            while not self.mark.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(1)  # the process that hands out packs hears of it
        return super().run(configs, context)


class Slow(ClassifyTask):
    """Trains an epoch at a time with rests between, and leaves a file named by process once it has trained some."""

    def __init__(self, folder: Path, epochs: int = 3, seconds: float = 0.05) -> None:
        self.folder, self.epochs, self.seconds = folder, epochs, seconds

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Train slowly."""
        if context.checkpoint is None:
            return super().run(configs, context)
        fit.CHUNK_SECONDS = 0.0  # in a worker, which ends with its sweep
        trained = 0

        def rest(share: float) -> None:
            nonlocal trained
            trained += 1
            if trained == self.epochs:
                (self.folder / str(os.getpid())).touch()
            context.on_progress(share)
            time.sleep(self.seconds)

        return super().run(configs, replace(context, on_progress=rest))
