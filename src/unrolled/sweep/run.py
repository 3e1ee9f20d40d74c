"""Run the trials that a store lacks, pack by pack, and write their records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from unrolled.records.provenance import provenance
from unrolled.records.store import RecordStore
from unrolled.sweep.estimate import seconds_for
from unrolled.sweep.tasks import RunContext
from unrolled.sweep.trial import Pack, Trial, packs_of
from unrolled.training.fit import discard_checkpoint


@dataclass(frozen=True)
class RunSettings:
    """How and where trials run; nothing here enters a trial's identity.

    Args:
        folder: results of one scale; records go to ``folder/records``.
        scale: the scale's name, for the records.
        backend, device, threads, checkpoint_seconds: see :class:`unrolled.sweep.tasks.RunContext`.
        max_pack: most trials of a pack.
    """

    folder: Path
    scale: str
    backend: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    max_pack: int = 256
    checkpoint_seconds: float = 20.0

    @property
    def store(self) -> RecordStore:
        """The records of this scale."""
        return RecordStore(self.folder / "records")


@dataclass
class Summary:
    """What a sweep did.

    Args:
        asked: distinct trials of the sweep.
        present: those that the store already held.
        counts: trials run now, by status.
        failures: ``(pack, error)`` of packs that raised.
        seconds: wall time.
    """

    asked: int
    present: int
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def run_sweep(
    trials: list[Trial],
    settings: RunSettings,
    *,
    on_pack: Callable[[pd.DataFrame], None] = lambda rows: None,
    say: Callable[[str], None] | None = print,
) -> Summary:
    """Run what is missing.

    Every pack's records are on disk before the next pack starts. A pack that raises leaves failed rows, and the
    others run. An interrupt keeps all records and the running pack's checkpoint.

    Args:
        trials: the whole sweep, distinct.
        settings: how and where.
        on_pack: called with the rows of every pack just written, as the store gives them back.
        say: prints a line; None leaves out the opening line, and the estimate of time that it takes to make.

    Returns:
        What was done.

    Raises:
        StoreError: the store cannot be read or written.
        KeyboardInterrupt: after the running pack's checkpoint is written.
    """
    began, store = time.monotonic(), settings.store
    records = store.load()
    done = set(records.loc[records["status"] != "failed", "trial"])
    missing = [trial for trial in trials if trial.name not in done]
    _share_rows(store, records, trials)
    summary = Summary(len(trials), len(trials) - len(missing))
    packs = _missing_packs(trials, {trial.name for trial in missing}, settings.max_pack)
    if say is not None:
        context = RunContext(settings.backend, settings.device, settings.threads)
        say(_opening(summary, packs, seconds_for(packs, records, context)))
    total = sum(pack.cost for pack in packs)
    # The bar is for people at a terminal; logs and tests get the opening and closing lines.
    with tqdm(total=1.0, disable=None, unit="", bar_format="{l_bar}{bar}| {elapsed} < {remaining}") as bar:
        for pack in packs:
            rows = _run_pack(pack, settings, summary, _updater(bar, pack.cost / total))
            written = store.read(store.write(rows))
            discard_checkpoint(_checkpoint(pack, settings))
            if written is not None:
                on_pack(written)
    summary.seconds = time.monotonic() - began
    return summary


def _updater(bar: tqdm, share: float) -> Callable[[float], None]:
    """Return a callback that moves the bar by parts of a pack's share of the work."""

    def update(part: float) -> None:
        bar.update(part * share)

    return update


def _missing_packs(trials: list[Trial], missing: set[str], max_pack: int) -> list[Pack]:
    packs = []
    for pack in packs_of(trials, max_pack):
        left = tuple(trial for trial in pack.trials if trial.name in missing)
        if left:
            packs.append(Pack(left))
    return packs


def _share_rows(store: RecordStore, records: pd.DataFrame, trials: list[Trial]) -> None:
    """Let rows that are already there serve the experiments that now ask for them."""
    if records.empty:
        return
    known = dict(zip(records["trial"], records["experiments"], strict=True))
    wanted: dict[str, list[str]] = {}
    for trial in trials:
        for experiment in trial.experiments:
            if trial.name in known and experiment not in known[trial.name]:
                wanted.setdefault(experiment, []).append(trial.name)
    for experiment, names in wanted.items():
        store.add_experiment(names, experiment)


def _opening(summary: Summary, packs: list[Pack], seconds: float) -> str:
    missing = summary.asked - summary.present
    text = f"{summary.asked} trials: {summary.present} already there, {missing} to run"
    if not packs:
        return text
    text += f" in {len(packs)} pack{'s' * (len(packs) > 1)}"
    return text if math.isnan(seconds) else f"{text}, about {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _checkpoint(pack: Pack, settings: RunSettings) -> Path:
    return settings.folder / "checkpoints" / f"{pack.name}.pt"


def _run_pack(
    pack: Pack, settings: RunSettings, summary: Summary, on_progress: Callable[[float], None]
) -> pd.DataFrame:
    task, common = pack.trials[0].task, provenance(settings.device)
    context = RunContext(
        backend=settings.backend,
        device=settings.device,
        threads=settings.threads,
        checkpoint=_checkpoint(pack, settings),
        checkpoint_seconds=settings.checkpoint_seconds,
        # A newer version of the code must not go on from the old one's state.
        key=f"{pack.name} {task.name} {task.version}",
        on_progress=on_progress,
    )
    began = time.monotonic()
    try:
        results = task.run([trial.config for trial in pack.trials], context)
    except Exception as error:  # one broken pack must not cost the others; the row, the table and the exit code tell
        message = f"{type(error).__name__}: {error}"
        summary.failures.append((pack.name, message))
        results = [{"status": "failed", "error": message, "backend": settings.backend}] * len(pack.trials)
    common |= {"pack": pack.name, "scale": settings.scale, "wall_s": (time.monotonic() - began) / len(pack.trials)}
    for result in results:
        summary.counts[result["status"]] = summary.counts.get(result["status"], 0) + 1
    return pd.DataFrame([_row(trial) | common | result for trial, result in zip(pack.trials, results, strict=True)])


def _row(trial: Trial) -> dict[str, object]:
    config = {name: value for name, value in trial.config.items() if name.partition(".")[0] in _RECORDED}
    return {"trial": trial.name, "experiments": list(trial.experiments), **config}


_RECORDED = ("task", "theory", "seed", "data", "network", "solver", "optim")
