"""The packs of one sweep on their way through the wrapped launcher: submitted, judged by what they left, sent again."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from omegaconf import DictConfig

from hydra_plugins.packed._expansion import Expanded
from hydra_plugins.packed._planning import Plan, pack_name
from hydra_plugins.packed._protocol import Outcome, Packing
from hydra_plugins.packed._submission import NOT_STARTED, STOP, PackTask, Submission

if TYPE_CHECKING:
    from hydra_plugins.packed._launcher import PackedLauncher

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Time between two looks at jobs that outlived their launcher's answer."""


class PackedSweep:
    """The packs of one sweep.

    Args:
        launcher: the packed launcher with its settings.
        packing: the application's protocol.
        trials: the whole sweep.
        whole: how it is packed.
        number: of the first job.
    """

    def __init__(
        self, launcher: PackedLauncher, packing: Packing, trials: Sequence[Expanded], whole: Plan, number: int
    ) -> None:
        assert launcher.config is not None
        self.launcher, self.packing, self.trials, self.whole, self.number = launcher, packing, trials, whole, number
        self.configs = [trial.config for trial in trials]
        token = pack_name(whole.names)
        self.root = Path(str(launcher.config.hydra.sweep.dir)).absolute() / "packs" / f"{token}-{os.getpid()}-{number}"
        self.pack_of = {whole.names[i]: p for p, pack in enumerate(whole.packs) for i in pack}
        self.submissions = 0
        self.lost: Counter[int] = Counter()
        self.errors: dict[str, str] = {}
        self.left: dict[int, tuple[Submission, int]] = {}
        """Packs that were running still when their launcher gave up, with their job."""
        self.outcomes = dict(packing.outcomes(self.configs))

    def unfinished(self) -> dict[int, list[int]]:
        """Return what is left of each pack: its number -> positions of its trials."""
        done = {name for name, outcome in self.outcomes.items() if outcome.done} | set(self.errors)
        left = {p: [i for i in pack if self.whole.names[i] not in done] for p, pack in enumerate(self.whole.packs)}
        return {p: pack for p, pack in left.items() if pack}

    def outcome(self, name: str) -> Outcome:
        """Return what became of a trial in the end."""
        found = self.outcomes.get(name)
        if found is not None and found.done:
            return found
        if name in self.errors:
            return Outcome(error=self.errors[name])
        times = self.lost[self.pack_of[name]]
        return Outcome(error=f"lost with its worker {times} times" if times else NOT_STARTED)

    def run(self) -> None:
        """Submit packs until each is done, has failed, or was lost too often."""
        self.announce(self.unfinished())
        while packs := self._open():
            self._look_after_left()
            waiting = [p for p in packs if p not in self.left]
            if not waiting:
                time.sleep(POLL_SECONDS)
                continue
            together = [p for p in waiting if not 0 < self.lost[p] == self.launcher.attempts - 1]
            self._submit({p: packs[p] for p in together or waiting[:1]})
        shutil.rmtree(self.root, ignore_errors=True)

    def announce(self, packs: dict[int, list[int]]) -> None:
        """Log how much there is to do."""
        total, missing = len(set(self.whole.names)), sum(map(len, packs.values()))
        text = f"{total} trials: {total - missing} already there, {missing} to run in {len(packs)} packs"
        rest = "; nothing runs, as hydra.launcher.dry_run is on" if self.launcher.dry_run else ""
        log.info(f"{text} over {self.launcher.over}{rest}")

    def _open(self) -> dict[int, list[int]]:
        if (self.root / STOP).exists() and not self.left:
            return {}
        return {p: pack for p, pack in self.unfinished().items() if self.lost[p] < self.launcher.attempts}

    def _submit(self, packs: dict[int, list[int]]) -> None:
        config, launcher = self.launcher.config, self.launcher
        assert config is not None
        if self.submissions:
            trials = sum(map(len, packs.values()))
            log.info(f"{trials} trials in {len(packs)} packs are submitted again, after a lost worker")
        self.submissions += 1
        submission = Submission(self.root / str(self.submissions))
        numbers = {p: self.number + offset for offset, p in enumerate(packs)}
        self.number += len(packs)
        with told_if_full(config):
            for p, pack in packs.items():
                submission.write(numbers[p], [self.configs[i] for i in pack])
        task = PackTask(self.packing, submission, launcher.on_error == "stop")
        jobs = [list(self.trials[pack[0]].overrides) for pack in packs.values()]
        returns: Sequence[JobReturn | None] = [None] * len(packs)
        try:
            returns = launcher.wrapped(task).launch(jobs, min(numbers.values()))
        except Exception as error:  # a lost worker: each launcher has its own name for it
            submission.cancelled.touch()
            reason = f"{type(error).__name__}: {error}"
            if not any(submission.has(n, "started") or submission.is_running(n) for n in numbers.values()):
                shutil.rmtree(self.root, ignore_errors=True)
                raise HydraException(f"{launcher.over} could not start any pack: {reason}") from error
            log.warning(f"{launcher.over} lost a worker: {reason.splitlines()[0]}")
        self.outcomes = dict(self.packing.outcomes(self.configs))
        for p, returned in zip(packs, returns, strict=True):
            self._judge(p, submission, numbers[p], returned)

    def _look_after_left(self) -> None:
        ended = {p: job for p, job in self.left.items() if not job[0].is_running(job[1])}
        if ended:
            self.outcomes = dict(self.packing.outcomes(self.configs))
        for p, (submission, number) in ended.items():
            del self.left[p]
            self._judge(p, submission, number, None)

    def _judge(self, p: int, submission: Submission, number: int, returned: JobReturn | None) -> None:
        """Enter what became of a pack's job, when the outcomes are up to date."""
        error = submission.error(number)
        if error is None and submission.has(number, "done"):
            error = "its pack was run and left no outcome"
        if error is None and returned is not None:
            error = _error_of(returned) or "its job ended without running it"
        if error is not None:
            left = self.unfinished().get(p, [])
            self.errors |= {self.whole.names[i]: error for i in left}
        elif submission.is_running(number):
            self.left[p] = submission, number
        elif submission.has(number, "started"):
            self.lost[p] += 1


@contextmanager
def told_if_full(config: DictConfig) -> Iterator[None]:
    """Turn an error of writing below the sweep's folder into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise HydraException(
            f"hydra.sweep.dir: cannot write {config.hydra.sweep.dir}: {error}; free space, or choose another folder"
        ) from error


def _error_of(returned: JobReturn) -> str | None:
    """Return the error of a job that failed outside its pack's own run."""
    try:
        _ = returned.return_value
    except Exception as error:  # whatever Hydra's job raised
        return f"{type(error).__name__}: {error}"
    return None
