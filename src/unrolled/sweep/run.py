"""Run the trials that a store lacks, pack by pack, and write their records."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from unrolled.records.leases import Lease
from unrolled.records.provenance import provenance
from unrolled.records.store import RecordStore
from unrolled.sweep.estimate import seconds_by_task, wall_seconds
from unrolled.sweep.tasks import RunContext
from unrolled.sweep.todo import STATE, RunSettings, Todo, backends_of, opening, plan_sweep
from unrolled.sweep.trial import Pack, Trial
from unrolled.sweep.workers import Outcome, Workers, compute, worker_count
from unrolled.training.fit import discard_checkpoint

POLL_SECONDS = 1.0
"""Time between two looks at trials that another process is running."""


class MixedBackendsWarning(UserWarning):
    """Trials of one sweep were computed by different backends, whose results agree to rounding only."""


@dataclass
class Summary:
    """What a sweep did.

    Args:
        asked: distinct trials of the sweep.
        present: those that the store already held.
        counts: trials run now, by status.
        failures: ``(pack, error)`` of packs that raised.
        elsewhere: trials that another process ran meanwhile.
        not_started: trials left out because a pack failed and ``on_error`` is ``stop``.
        left_failed: trials that failed earlier and were not tried again, as ``retry_failed`` is off.
        seconds: wall time.
    """

    asked: int
    present: int
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    elsewhere: int = 0
    not_started: int = 0
    left_failed: int = 0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every trial asked for has a result."""
        return not (self.failures or self.not_started or self.left_failed)


def run_sweep(
    trials: list[Trial],
    settings: RunSettings,
    *,
    on_pack: Callable[[pd.DataFrame], None] = lambda rows: None,
    say: Callable[[str], None] | None = print,
) -> Summary:
    """Run what is missing.

    A pack's records are on disk as soon as it has ended. Packs of tasks that compute on one core may run several at
    once, in workers, the costliest first; all others run one after another. A pack that raises, or loses its worker,
    leaves failed rows, and the others run. An interrupt keeps all records and the running packs' checkpoints. Trials
    that another process is running over the same store are left to it, and run here only if it ends without their
    records.

    Args:
        trials: the whole sweep, distinct.
        settings: how and where.
        on_pack: called with the rows of every pack just written, as the store gives them back.
        say: prints a line; None leaves out the opening line, and the estimate of time that it takes to make.

    Returns:
        What was done.

    Raises:
        StoreError: the store cannot be read or written.
        KeyboardInterrupt: after the running packs' checkpoints are written.
    """
    began = time.monotonic()
    share_rows(settings, trials)
    todo = plan_sweep(trials, settings)
    summary = Summary(len(trials), todo.present, left_failed=todo.left_failed)
    context = RunContext(settings.backend, settings.device, settings.threads)
    seconds = seconds_by_task(todo.packs, settings.store.load(), context) if say is not None and todo.packs else {}
    workers = worker_count(todo.packs, settings, seconds)
    if say is not None:
        say(opening(todo, summary.asked, wall_seconds(seconds, workers)))
    _Run(settings, summary, todo, on_pack, say or (lambda line: None), workers).go()
    if summary.elsewhere:
        share_rows(settings, trials)
    summary.seconds = time.monotonic() - began
    return summary


@dataclass
class _Running:
    """A pack that has been started, with the lease of its trials and what all its rows say of the run."""

    pack: Pack
    lease: Lease
    common: dict[str, Any]


class _Run:
    """The loop over packs."""

    def __init__(
        self,
        settings: RunSettings,
        summary: Summary,
        todo: Todo,
        on_pack: Callable[[pd.DataFrame], None],
        say: Callable[[str], None],
        workers: int,
    ) -> None:
        self.settings, self.summary, self.on_pack, self.say = settings, summary, on_pack, say
        packs = todo.packs if workers == 1 else _costliest_first(todo.packs)
        self.queue, self.total = deque(packs), sum(pack.cost for pack in packs)
        self.failed_before, self.backends = todo.failed, todo.backends
        self.store, self.leases = settings.store, settings.leases
        self.workers, self.running = Workers(workers), dict[str, _Running]()

    def go(self) -> None:
        """Run all packs; those whose trials another process is running come last."""
        # The bar is for people at a terminal; logs and tests get the opening and closing lines.
        with tqdm(total=1.0, disable=None, unit="", bar_format="{l_bar}{bar}| {elapsed} < {remaining}") as bar:
            try:
                self._loop(bar)
            except KeyboardInterrupt:
                for name, outcome in self.workers.stop():
                    self._finish(name, outcome)
                raise
            finally:
                self.workers.close()
                for left in self.running.values():
                    left.lease.release()
        if self.queue:  # stopped: what others have done meanwhile is not left out
            names = {trial.name for pack in self.queue for trial in pack.trials}
            records = self.store.load(STATE, names)
            done = set(records.loc[records["status"] != "failed", "trial"])
            self.summary.elsewhere += len(done)
            self.summary.not_started = len(names) - len(done)

    def _loop(self, bar: tqdm) -> None:
        waited = 0
        while self.running or (self.queue and not self._stopped()):
            if not self.queue or self._stopped() or not self._has_room(self.queue[0]):
                self._collect()
                continue
            pack = self.queue.popleft()
            own, others, lease = self._claim(pack)
            if others is not None:
                self.queue.append(others)
            bar.update(self._share(pack) - sum(self._share(part) for part in (own, others) if part))
            waited = waited if own is None and others is not None else 0
            if own is not None and lease is not None:
                self._start(own, lease, _updater(bar, self._share(own)))
            elif others is not None:
                waited = self._wait(waited)

    def _stopped(self) -> bool:
        return bool(self.summary.failures) and self.settings.on_error == "stop"

    def _share(self, pack: Pack) -> float:
        return pack.cost / self.total

    def _wait(self, waited: int) -> int:
        """Sleep once every pack that is left has been found in other hands."""
        if waited == len(self.queue):
            self.say(f"waiting for {sum(len(p.trials) for p in self.queue)} trials that another process is running")
        if waited >= len(self.queue):
            if self.running:
                self._collect(POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
        return waited + 1

    def _claim(self, pack: Pack) -> tuple[Pack | None, Pack | None, Lease | None]:
        """Split a pack into what is to run here, under a lease, and what another process is running."""
        with self.leases.guard():
            taken = self.leases.taken()  # before the records: a lease that has ended by now has left its rows
            records = self.store.load(STATE, {trial.name for trial in pack.trials})
            rows = {row.trial: row for row in records.itertuples()}
            settled = {t.name for t in pack.trials if t.name in rows and self._is_settled(rows[t.name])}
            left = [trial for trial in pack.trials if trial.name not in settled]
            own = tuple(trial for trial in left if trial.name not in taken)
            others = tuple(trial for trial in left if trial.name in taken)
            lease = self.leases.take([trial.name for trial in own]) if own else None
        self.summary.elsewhere += len(settled)
        failed = {str(rows[name].error) for name in settled if rows[name].status == "failed"}
        self.summary.failures += [(pack.name, f"{error} (in another process)") for error in sorted(failed)]
        return Pack(own) if own else None, Pack(others) if others else None, lease

    def _is_settled(self, row: Any) -> bool:
        """Whether another process has dealt with a trial since this sweep began: with a result, or in vain."""
        return row.status != "failed" or self.failed_before.get(row.trial) != row.started_at

    def _in_worker(self, pack: Pack) -> bool:
        return self.workers.most > 1 and pack.trials[0].task.cores == "one"

    def _has_room(self, pack: Pack) -> bool:
        """Whether there are cores for a pack: one that takes them all runs alone."""
        return self.workers.has_room if self._in_worker(pack) else not self.running

    def _start(self, pack: Pack, lease: Lease, on_progress: Callable[[float], None]) -> None:
        """Run a pack to its end here, or begin to run it in a worker."""
        self.running[pack.name] = _Running(pack, lease, provenance(self.settings.device))
        task, configs = pack.trials[0].task, [trial.config for trial in pack.trials]
        context = _context(pack, self.settings, on_progress)
        if self._in_worker(pack):
            self.workers.start(pack.name, task, configs, replace(context, threads=context.threads or 1))
        else:
            self._finish(pack.name, compute(task, configs, context))

    def _collect(self, timeout: float | None = None) -> None:
        """Wait until a worker has ended its pack, and record it."""
        if (ended := self.workers.wait(timeout)) is not None:
            self._finish(*ended)

    def _finish(self, name: str, outcome: Outcome) -> None:
        """Record a pack and give back its lease."""
        run = self.running[name]
        rows = _rows(run.pack, run.common, outcome, self.settings)
        for status, count in rows["status"].value_counts().items():
            self.summary.counts[str(status)] = self.summary.counts.get(str(status), 0) + int(count)
        if outcome.error is not None:
            self.summary.failures.append((name, outcome.error))
        with self.leases.guard():  # nobody rewrites the same file, to note another experiment, meanwhile
            path = self.store.write(rows)
        written = self.store.read(path)
        discard_checkpoint(_checkpoint(run.pack, self.settings))
        self._watch_backends(rows[rows["status"] != "failed"])
        if written is not None:
            self.on_pack(written)
        del self.running[name]
        run.lease.release()

    def _watch_backends(self, rows: pd.DataFrame) -> None:
        """Tell when a backend takes over from another one in mid-sweep."""
        for key, new in backends_of(rows).items():
            known = self.backends.setdefault(key, new)
            if not new <= known:
                warnings.warn(
                    f"{' '.join(key)}: computed by {', '.join(sorted(new))}, earlier trials of this sweep by "
                    f"{', '.join(sorted(known))}: they agree to rounding only; run.backend keeps to one",
                    MixedBackendsWarning,
                    stacklevel=2,
                )
                self.backends[key] = known | new


def _updater(bar: tqdm, share: float) -> Callable[[float], None]:
    """Return a callback that moves the bar by parts of a pack's share of the work."""

    def update(part: float) -> None:
        bar.update(part * share)

    return update


def share_rows(settings: RunSettings, trials: Sequence[Trial]) -> None:
    """Let rows that are already there serve the experiments that now ask for them.

    Raises:
        StoreError: a record file cannot be rewritten.
    """
    store = settings.store
    if not _unshared(store, trials):
        return
    with settings.leases.guard():  # nobody else rewrites a file meanwhile
        for experiment, names in _unshared(store, trials).items():
            store.add_experiment(names, experiment)


def _unshared(store: RecordStore, trials: Sequence[Trial]) -> dict[str, list[str]]:
    records = store.load(STATE)
    known = dict(zip(records["trial"], records["experiments"], strict=True))
    wanted: dict[str, list[str]] = {}
    for trial in trials:
        for experiment in trial.experiments:
            if trial.name in known and experiment not in known[trial.name]:
                wanted.setdefault(experiment, []).append(trial.name)
    return wanted


def _checkpoint(pack: Pack, settings: RunSettings) -> Path:
    return settings.folder / "checkpoints" / f"{pack.name}.pt"


def _context(pack: Pack, settings: RunSettings, on_progress: Callable[[float], None]) -> RunContext:
    task = pack.trials[0].task
    return RunContext(
        backend=settings.backend,
        device=settings.device,
        threads=settings.threads,
        checkpoint=_checkpoint(pack, settings),
        checkpoint_seconds=settings.checkpoint_seconds,
        # A newer version of the code must not go on from the old one's state.
        key=f"{pack.name} {task.name} {task.version}",
        on_progress=on_progress,
    )


def _costliest_first(packs: Sequence[Pack]) -> list[Pack]:
    """Return packs with those that run beside others in falling order of cost, so that no long one ends alone.

    Tasks keep their places, and packs that take all cores theirs.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(pack.trials[0].task.name for pack in packs))}

    def order(pack: Pack) -> tuple[int, float]:
        task = pack.trials[0].task
        return (places[task.name], -pack.cost if task.cores == "one" else 0.0)

    return sorted(packs, key=order)


def _rows(pack: Pack, common: dict[str, Any], outcome: Outcome, settings: RunSettings) -> pd.DataFrame:
    """Return a pack's rows, failed ones after an error."""
    failed = {"status": "failed", "error": outcome.error, "backend": settings.backend}
    results = outcome.results if outcome.error is None else [failed] * len(pack.trials)
    common |= {"pack": pack.name, "scale": settings.scale, "wall_s": outcome.seconds / len(pack.trials)}
    return pd.DataFrame([_row(trial) | common | result for trial, result in zip(pack.trials, results, strict=True)])


def _row(trial: Trial) -> dict[str, object]:
    config = {name: value for name, value in trial.config.items() if name.partition(".")[0] in _RECORDED}
    identity = {"trial": trial.name, "task_version": trial.task.version, "data_checksum": trial.checksum}
    return identity | {"experiments": list(trial.experiments), **config}


_RECORDED = ("task", "theory", "seed", "data", "network", "solver", "optim")
