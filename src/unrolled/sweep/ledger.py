"""What became of every trial of a sweep, and why each will run or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from unrolled.records.select import of_experiment
from unrolled.sweep.estimate import measured_seconds
from unrolled.sweep.tasks import TASKS
from unrolled.sweep.todo import RunSettings, duration
from unrolled.sweep.trial import Pack, Trial

STATES = ("finished", "diverged", "failed", "running", "stale", "missing")
"""Finished and diverged trials have a result. Failed ones raised. Running ones are in another process's hands. Stale
ones were recorded by another version of their task, or on data that has changed since. Missing ones have no record."""

NEAREST_FOR = 50
"""Entries for which the nearest record is looked up; it takes a look at every record each."""


@dataclass(frozen=True)
class Entry:
    """A trial of the sweep.

    Args:
        trial: the trial.
        state: one of :data:`STATES`.
        runs: whether the next call of the sweep runs it.
        reason: why, in words.
    """

    trial: Trial
    state: str
    runs: bool
    reason: str


class Ledger:
    """The state of a sweep's trials against the store of its scale, as both are now.

    Args:
        trials: the sweep, distinct.
        settings: where its records are, and whether failed trials are tried again.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, trials: Sequence[Trial], settings: RunSettings) -> None:
        self.settings = settings
        self._held = settings.leases.held()  # before the records: a lease that has ended by now has left its rows
        self.records = settings.store.load()
        self._rows = {str(row["trial"]): row for row in self.records.to_dict("records")}
        asked = {trial.name for trial in trials}
        self._outdated = {
            _recipe(row): row for name, row in self._rows.items() if name not in asked and row["task"] in TASKS
        }
        self.entries = [self._entry(trial) for trial in trials]

    def _entry(self, trial: Trial) -> Entry:
        row = self._rows.get(trial.name)
        if trial.name in self._held and (row is None or row["status"] == "failed"):
            return Entry(trial, "running", False, f"will not run here: {self._held[trial.name]} has it")
        if row is None:
            old = self._outdated.get(_recipe(trial.config))
            if old is None:
                return Entry(trial, "missing", True, "will run: it has no record")
            return Entry(trial, "stale", True, f"will run: {_outdated(old, trial)}")
        if row["status"] == "failed":
            if self.settings.retry_failed:
                return Entry(trial, "failed", True, f"will run again: it failed with {row['error']}")
            return Entry(trial, "failed", False, f"will not run, as run.retry_failed is off: {row['error']}")
        if row["status"] == "diverged":
            return Entry(trial, "diverged", False, f"will not run: {row['error']}, as it would again")
        when = f"{row['started_at']}, pack {row['pack']}, {row['backend']}, {row['wall_s']:.2g} s"
        return Entry(trial, "finished", False, f"will not run: finished ({when})")

    def status(self) -> pd.DataFrame:
        """Return the number of trials by experiment and state.

        Returns:
            One row an experiment and one for all trials, with columns ``trials``, :data:`STATES`, ``others`` (records
            of the experiment that its sweep does not ask for: variations, or an earlier grid) and ``to do`` (the
            estimated time of what will run, from measured seconds of the same task).
        """
        names = sorted({name for entry in self.entries for name in entry.trial.experiments})
        parts = {name: [e for e in self.entries if name in e.trial.experiments] for name in names}
        alone = [entry for entry in self.entries if not entry.trial.experiments]
        if alone:
            parts["(no experiment)"] = alone
        table = {name: self._counts(part, name) for name, part in parts.items()}
        if len(parts) > 1:
            table["together"] = self._counts(self.entries, None)
        return pd.DataFrame.from_dict(table, orient="index")

    def _counts(self, entries: Sequence[Entry], experiment: str | None) -> dict[str, object]:
        counts = {state: sum(entry.state == state for entry in entries) for state in STATES}
        others = of_experiment(self.records, experiment)["trial"] if experiment else pd.Series(dtype=str)
        asked = {entry.trial.name for entry in self.entries}
        return {
            "trials": len(entries),
            **counts,
            "others": sum(name not in asked for name in others),
            "to do": self._time(entries),
        }

    def _time(self, entries: Iterable[Entry]) -> str:
        todo = tuple(entry.trial for entry in entries if entry.runs)
        if not todo:
            return "nothing"
        tasks = {trial.task.name for trial in todo}
        packs = [Pack(tuple(trial for trial in todo if trial.task.name == task)) for task in sorted(tasks)]
        seconds = measured_seconds(packs, self.records)
        return "not known: nothing like it was run yet" if math.isnan(seconds) else f"about {duration(seconds)}"

    def lines(self, entries: Sequence[Entry]) -> list[str]:
        """Return one line an entry: its hash, state, the settings that vary among the entries, and the reason."""
        configs = [entry.trial.config for entry in entries]
        varying = [key for key in _keys(configs) if len({str(config.get(key)) for config in configs}) > 1]
        nearest = len(entries) <= NEAREST_FOR
        return [
            f"{entry.trial.name}  {entry.state:8}  "
            + "".join(f"{key}={entry.trial.config.get(key)} " for key in varying)
            + f" {entry.reason}"
            + (self._nearest(entry.trial) if nearest and entry.state == "missing" else "")
            for entry in entries
        ]

    def _nearest(self, trial: Trial) -> str:
        """Say how the most similar record of the same task differs, as a trial that runs anew may be a surprise."""
        keys = sorted(_recipe_keys(trial.config))
        differing = [
            [key for key in keys if _same(row.get(key)) != _same(trial.config.get(key))]
            for row in self._rows.values()
            if row["task"] == trial.task.name
        ]
        if not differing:
            return ""
        fewest = min(differing, key=len)
        return f"; the most similar record differs in {', '.join(fewest) or 'nothing but the data'}"


def _keys(configs: Sequence[Mapping[str, object]]) -> list[str]:
    science = {key for config in configs for key in _recipe_keys(config)}
    return sorted(science, key=lambda key: (key != "seed", key))


def _recipe_keys(config: Mapping[str, object]) -> set[str]:
    data = {key for key in config if key.startswith("data.")} - {"data.root"}
    return set(TASKS[str(config["task"])].identity) | data


def _recipe(config: Mapping[str, object]) -> tuple[object, ...]:
    """What a user asked for, whatever code and data made of it: the same for a trial and its record."""
    return (config["task"], *((key, _same(config.get(key))) for key in sorted(_recipe_keys(config))))


def _same(value: object) -> object:
    """Bring a config's and a record's form of a value together: records have floats and NaN where there are gaps."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return float(value) if isinstance(value, (int, float)) else value


def _outdated(row: Mapping[str, object], trial: Trial) -> str:
    version, checksum = _same(row.get("task_version")), row.get("data_checksum")
    if version is not None and version != trial.task.version:
        return f"its record is of version {version:g} of the task {trial.task.name}, which is now {trial.task.version}"
    if isinstance(checksum, str) and checksum != trial.checksum:
        return f"its data has changed since it was recorded (checksum {checksum[:8]}, now {trial.checksum[:8]})"
    return "its record is of another version of the code"
