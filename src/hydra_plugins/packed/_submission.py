"""One submission of packs to the wrapped launcher, and what its jobs leave behind: a folder that all machines see.

For job number n there are ``n.json`` (its trials), ``n.lock`` (held while it runs), ``n.started``, ``n.done`` and
``n.error``. So what became of each job is known also where the launcher lost its answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from hydra_plugins.packed._protocol import Config, Packing

STOP, CANCELLED = "stop", "cancelled"

NOT_STARTED = "not started: an earlier pack failed and hydra.launcher.on_error is stop"


class NotStartedError(Exception):
    """An earlier pack has failed."""


class Submission:
    """The folder of one submission.

    Args:
        folder: its place; its parent is shared by all submissions of a sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, number: int, configs: Sequence[Config]) -> None:
        """Write the trials of a job."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file(number, "json").write_text(json.dumps(configs))

    def read(self, number: int) -> list[Config]:
        """Return the trials of a job."""
        return list(json.loads(self.file(number, "json").read_text()))

    def file(self, number: int, what: str) -> Path:
        """Return the path of one of a job's files."""
        return self.folder / f"{number}.{what}"

    @property
    def stop(self) -> Path:
        """The mark that keeps jobs of all submissions from starting."""
        return self.folder.parent / STOP

    @property
    def cancelled(self) -> Path:
        """The mark that keeps this submission's jobs from starting: others do their work."""
        return self.folder / CANCELLED

    @contextmanager
    def running(self, number: int) -> Iterator[None]:
        """Hold a job's lock; a file system without locks has none."""
        lock = FileLock(self.file(number, "lock"), fallback_to_soft=False)
        with suppress(OSError):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def is_running(self, number: int) -> bool:
        """Whether a process holds a job's lock."""
        path = self.file(number, "lock")
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0, fallback_to_soft=False):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def has(self, number: int, what: str) -> bool:
        """Whether a job has left ``started``, ``done`` or ``error``."""
        return self.file(number, what).exists()

    def error(self, number: int) -> str | None:
        """Return why a job failed, or None."""
        return self.file(number, "error").read_text() if self.has(number, "error") else None


class PackTask:
    """The task function that the wrapped launcher runs: one pack, named by the number of its job.

    Args:
        packing: the application's protocol.
        submission: where the packs' trials lie.
        stop_on_error: leave a mark at a failure that keeps later packs from starting.
    """

    def __init__(self, packing: Packing, submission: Submission, stop_on_error: bool) -> None:
        self.packing, self.submission, self.stop_on_error = packing, submission, stop_on_error

    def __call__(self, config: DictConfig) -> None:
        """Run the pack; its error is left in a file, as not every launcher brings exceptions back whole."""
        number, files = HydraConfig.get().job.num, self.submission
        with files.running(number):
            if files.cancelled.exists():
                return
            files.file(number, "started").touch()
            try:
                if files.stop.exists():
                    raise NotStartedError(NOT_STARTED)
                self.packing.run(files.read(number))
            except Exception as error:  # whatever the application raises belongs to this pack alone
                told = str(error) if isinstance(error, NotStartedError) else f"{type(error).__name__}: {error}"
                files.file(number, "error").write_text(told)
                if self.stop_on_error:
                    files.stop.touch()
            files.file(number, "done").touch()
