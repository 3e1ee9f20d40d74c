"""Mirror records to Weights & Biases: one run a pack, never one a trial, offline unless told otherwise.

A run is derived from the records alone, so it can be thrown away and written again at any time. Once a run is closed,
``complete.json`` is put beside its data; it holds a hash of the records that the run shows. A run with this file and
the same hash is left alone, any other is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pandas as pd

from unrolled.tracking.content import RunContent, content_of, fingerprint, pack_of

if TYPE_CHECKING:
    import wandb

Mode = Literal["offline", "online", "disabled"]

MARKER = "complete.json"
_LAYOUT = 1  # raised by hand when runs written by an older version should be written again

# All that W&B collects by itself is off: the records hold it already, and it is most of the size of a small run.
_QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "save_code": False,
    "symlink": False,
    "use_dot_wandb": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class TrackerError(RuntimeError):
    """A run could not be mirrored to W&B; no record is affected. The message says why and what to do."""


@dataclass(frozen=True)
class TrackerSettings:
    """Where and how runs are mirrored.

    Args:
        mode: ``offline`` writes files only and never uses the network or asks anything; ``online`` uploads too and
            needs an account; ``disabled`` does nothing.
        project: W&B project.
        entity: W&B user or team; None leaves the choice to the account.
        folder: where the directory ``wandb/`` with the runs goes; a folder named ``wandb`` is that directory itself.
    """

    mode: Mode = "offline"
    project: str = "unrolled"
    entity: str | None = None
    folder: Path = Path("wandb")

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"tracker.mode: expected one of {', '.join(get_args(Mode))}, got {self.mode!r}")

    @property
    def directory(self) -> Path:
        """The directory named ``wandb`` that holds one folder a run (W&B fixes its name)."""
        folder = Path(self.folder).absolute()
        return folder if folder.name == "wandb" else folder / "wandb"


@dataclass(frozen=True)
class Mirrored:
    """How many runs were written, how many were already there, and the directory with all of them."""

    written: int
    skipped: int
    directory: Path


def log_records(records: pd.DataFrame, tracker: TrackerSettings, *, rebuild: bool = False) -> Mirrored:
    """Mirror all records, one W&B run a pack.

    Args:
        records: one row a trial, of any number of packs.
        tracker: where and how.
        rebuild: write also the runs that already show these records.

    Returns:
        Numbers of runs written and skipped (both 0 if the tracker is disabled).

    Raises:
        TrackerError: a run could not be written; those before it are complete and will be skipped next time.
    """
    written = skipped = 0
    if tracker.mode != "disabled" and not records.empty:
        for _, rows in records.groupby("pack", dropna=False):
            if not rebuild and logged_run(rows, tracker) is not None:
                skipped += 1
            else:
                log_pack(rows, tracker, rebuild=True)
                written += 1
    return Mirrored(written, skipped, tracker.directory)


def log_pack(rows: pd.DataFrame, tracker: TrackerSettings, *, rebuild: bool = False) -> Path | None:
    """Mirror the records of one pack as one W&B run, whose id is the pack's hash.

    What the run holds is said in :class:`unrolled.tracking.content.RunContent`. An older run of the pack in the same
    mode is removed first.

    Args:
        rows: records of one pack, one row a trial.
        tracker: where and how.
        rebuild: write the run even if one that shows these records is there.

    Returns:
        The run's folder, or None if the tracker is disabled.

    Raises:
        TrackerError: the run could not be written, or ``mode="online"`` finds no account. Records are untouched.
    """
    if tracker.mode == "disabled":
        return None
    try:
        existing = None if rebuild else logged_run(rows, tracker)
        return existing or _replace_run(rows, tracker)
    except TrackerError:
        raise
    # This is the border to a service that training must survive: whatever breaks behind it has one name here.
    except Exception as error:
        raise TrackerError(
            f"cannot write a W&B run to {tracker.directory}: {type(error).__name__}: {error}. The records are "
            "untouched: remove the cause and run scripts/track.py, or set tracker.mode=disabled"
        ) from error


def logged_run(rows: pd.DataFrame, tracker: TrackerSettings) -> Path | None:
    """Return the folder of the complete run that shows exactly these records, or None if it has to be written.

    Args:
        rows: records of one pack.
        tracker: where and how; a run counts only in its own mode, project and entity.

    Raises:
        TrackerError: the rows are not those of one pack.
    """
    try:
        expected = {"fingerprint": _fingerprint(rows, tracker)}
        folders = _run_folders(pack_of(rows), tracker)
    except ValueError as error:
        raise TrackerError(f"cannot tell which W&B run shows these records: {error}") from error
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            if json.loads((folder / MARKER).read_text()) == expected and any(folder.glob("*.wandb")):
                return folder
    return None


def _fingerprint(rows: pd.DataFrame, tracker: TrackerSettings) -> str:
    text = f"{_LAYOUT} {tracker.project} {tracker.entity} {fingerprint(rows)}"
    return hashlib.sha256(text.encode()).hexdigest()


def _run_folders(pack: str, tracker: TrackerSettings) -> list[Path]:
    prefix = "run" if tracker.mode == "online" else "offline-run"
    name = re.compile(rf"{prefix}-\d{{8}}_\d{{6}}-{re.escape(pack)}(-\d+)?")
    return sorted(path for path in tracker.directory.glob(f"{prefix}-*") if name.fullmatch(path.name))


def _replace_run(rows: pd.DataFrame, tracker: TrackerSettings) -> Path:
    content = content_of(rows)
    # W&B would fall back to a temporary directory if it could not make this one.
    tracker.directory.mkdir(parents=True, exist_ok=True)
    with _process_unchanged(tracker):
        run = _open_run(content, tracker)
        folder = Path(run.dir).parent
        # The artifact that carries a table would else wait for its upload in the user's home.
        os.environ["WANDB_DATA_DIR"] = str(folder / "staging")
        try:
            _fill(run, content)
        except BaseException:
            run.finish(exit_code=1)
            raise
        run.finish()
    if not any(path.stat().st_size for path in folder.glob("*.wandb")):
        raise OSError(f"W&B closed the run without data in {folder}; see its logs/")
    temporary = folder / f".{MARKER}.tmp"
    temporary.write_text(json.dumps({"fingerprint": _fingerprint(rows, tracker)}))
    temporary.replace(folder / MARKER)
    return folder


def _open_run(content: RunContent, tracker: TrackerSettings) -> wandb.Run:
    import wandb  # here, because it takes a second and most commands need no tracker

    if tracker.mode == "online" and not wandb.login(prompt=False, verify=False):
        raise TrackerError(
            "tracker.mode=online needs a W&B account, and none is configured: run `wandb login`, set WANDB_API_KEY, "
            "or use tracker.mode=offline"
        )
    for folder in _run_folders(content.pack, tracker):
        shutil.rmtree(folder)
    known = {name: value for name, value in _QUIET.items() if name in wandb.Settings.model_fields}
    return wandb.init(
        mode="online" if tracker.mode == "online" else "offline",
        project=tracker.project,
        entity=tracker.entity,
        dir=tracker.directory.parent,
        id=content.pack,
        name=content.name,
        group=content.group,
        job_type=content.job_type,
        tags=content.tags,
        config=content.config,
        reinit="create_new",  # a run that the caller has open is not ours
        settings=wandb.Settings(**known),
    )


def _fill(run: wandb.Run, content: RunContent) -> None:
    import wandb

    run.define_metric("epoch", summary="none")
    for name in content.curves:
        # In a definition, unlike in a value's name, a dot means nesting unless escaped. "none": the last value of
        # every curve would be stored again with each epoch.
        run.define_metric(name.replace(".", r"\."), step_metric="epoch", summary="none")
    for epoch, values in content.curves.iterrows():
        run.log({"epoch": epoch, **values.dropna().to_dict()})
    data = content.trials.to_numpy().tolist()
    run.log({"trials": wandb.Table(columns=list(content.trials), data=data, allow_mixed_types=True)})
    run.summary.update(content.summary)


@contextlib.contextmanager
def _process_unchanged(tracker: TrackerSettings) -> Iterator[None]:
    """Put back what W&B changes in this process: its variables in the environment, ``sys.exit`` and ``excepthook``.

    Its service process goes on running for the next run, until this process ends.
    """
    names = ("WANDB_SERVICE", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ERROR_REPORTING")
    environment = {name: os.environ.get(name) for name in names}
    leave, hook = sys.exit, sys.excepthook
    # The service's own log would else go to the user's home, which a compute node may not be able to write.
    os.environ.setdefault("WANDB_CACHE_DIR", str(tracker.directory / "cache"))
    if tracker.mode == "offline":
        # Reports of errors would contact W&B's server even though the run is offline.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
    try:
        yield
    finally:
        sys.exit, sys.excepthook = leave, hook
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
