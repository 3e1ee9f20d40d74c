"""A folder of parquet files, one a pack, that outlives crashes: atomic writes, bad files set aside."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unrolled.records.atomic import replacing
from unrolled.records.schema import REQUIRED, SCHEMA_VERSION, to_table


class StoreError(RuntimeError):
    """The store cannot be read or written; the message says where and what to do."""


ORDER = ("trial", "status", "started_at")
"""Columns that decide which row of a trial counts."""


class UnreadableRecordWarning(UserWarning):
    """A record file was set aside because it cannot be read; its trials will run again."""


class RecordStore:
    """Records of one scale: ``folder/<theory>-<pack>.parquet``, one file a pack.

    A file appears by one atomic rename after it has been written whole, so a reader never sees half of one.
    The same trial may stand in several files (a failed attempt and its repetition, say): the finished row counts,
    and among equals the one that started last.

    Args:
        folder: where the files are; made when the first pack is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._seen: dict[tuple[Path, tuple[str, ...]], tuple[tuple[int, ...], pd.DataFrame | None]] = {}

    def load(self, columns: Sequence[str] | None = None, trials: Collection[str] | None = None) -> pd.DataFrame:
        """Return all records, one row a trial, in a fixed order.

        Args:
            columns: only these, where a file has them, and those that decide which row counts; None for all. Files
                that have not changed are then not read again, so that a running sweep may ask often.
            trials: only these hashes; None for all.

        Returns:
            Table sorted by trial hash; empty (with the required columns) when there is no record.

        Raises:
            StoreError: a file was written by a newer version of this package.
        """
        names = None if columns is None else tuple(dict.fromkeys([*ORDER, *columns]))
        frames = [frame for path in self._files() if (frame := self._unchanged(path, names)) is not None]
        if trials is not None:
            frames = [frame[frame["trial"].isin(trials)] for frame in frames]
        frames = [frame for frame in frames if not frame.empty]
        if not frames:
            return pd.DataFrame(columns=list(dict.fromkeys([*REQUIRED, *(names or ())])))
        # Columns that are empty in one pack and full in another: concatenation must not guess their type.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            table = pd.concat(frames, ignore_index=True)
        rank = table["status"].map({"finished": 0, "diverged": 0, "failed": 1})
        order = table.assign(_rank=rank).sort_values(
            ["trial", "_rank", "started_at"], ascending=[True, True, False], kind="stable"
        )
        return order.drop_duplicates("trial").drop(columns="_rank").reset_index(drop=True)

    def write(self, rows: pd.DataFrame) -> Path:
        """Write the rows of one pack as one file, atomically.

        Args:
            rows: at least one row; all share ``theory`` and ``pack``. An existing file of that pack is replaced.

        Returns:
            The file's path.

        Raises:
            StoreError: the folder cannot be written (missing rights, full disk); nothing else is touched.
        """
        first = rows.iloc[0]
        path = self.folder / f"{first['theory']}-{first['pack']}.parquet"
        self._replace(path, to_table(rows))
        return path

    def add_experiment(self, trials: Iterable[str], experiment: str) -> int:
        """Note that rows already stored also serve another experiment.

        Args:
            trials: hashes of stored trials.
            experiment: name like ``reasoning/generalization``.

        Returns:
            Number of rows that did not have the name before.

        Raises:
            StoreError: a file cannot be rewritten.
        """
        wanted, changed = set(trials), 0
        for path in self._files():
            frame = self.read(path)
            if frame is None:
                continue
            rows = [
                i
                for i, (trial, names) in enumerate(zip(frame["trial"], frame["experiments"], strict=True))
                if trial in wanted and experiment not in names
            ]
            if rows:
                names = list(frame["experiments"])
                for i in rows:
                    names[i] = sorted([*names[i], experiment])
                self._replace(path, to_table(frame.assign(experiments=names)))
                changed += len(rows)
        return changed

    def _unchanged(self, path: Path, columns: tuple[str, ...] | None) -> pd.DataFrame | None:
        """Return the rows of a file as it is now, from memory where few columns of it were read before."""
        if columns is None:
            return self.read(path)
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._seen.get((path, columns))
        if known is None or known[0] != state:
            known = self._seen[path, columns] = state, self.read(path, columns)
        return known[1]

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet")) if self.folder.is_dir() else []

    def read(self, path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        """Return the rows of one file, or None if it is gone or had to be set aside.

        Args:
            path: a record file.
            columns: only these, as far as the file has them; None for all.

        Raises:
            StoreError: it was written by a newer version of this package, or this user may not read it.
        """
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                table = file.read(columns and [name for name in columns if name in schema.names])
            version = int((schema.metadata or {}).get(b"unrolled_schema", b"0"))
            missing = [name for name in REQUIRED if name not in schema.names]
        except FileNotFoundError:
            return None  # another process replaced or set it aside between listing and reading
        except PermissionError as error:
            raise StoreError(f"cannot read {path}: {error}; give this user the right to read it") from error
        except (OSError, pa.ArrowException, ValueError) as error:
            self._set_aside(path, str(error).splitlines()[0])
            return None
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written with record schema {version}, this version reads up to {SCHEMA_VERSION}: "
                "update the package, or use another results folder"
            )
        if version == 0 or missing:
            self._set_aside(path, f"not a record file (missing: {', '.join(missing) or 'schema version'})")
            return None
        frame = table.to_pandas()
        if "experiments" in frame:
            frame["experiments"] = table["experiments"].to_pylist()  # lists, as membership is asked often
        return frame

    def _set_aside(self, path: Path, reason: str) -> None:
        aside, count = path.with_suffix(".unreadable"), 0
        while aside.exists():
            count += 1
            aside = path.with_suffix(f".unreadable.{count}")
        try:
            path.rename(aside)
        except OSError as error:
            raise StoreError(f"cannot read {path} ({reason}) nor rename it: {error}; remove it by hand") from error
        warnings.warn(
            f"{path} cannot be read ({reason}); kept as {aside.name}, its trials will run again",
            UnreadableRecordWarning,
            stacklevel=4,
        )

    def _replace(self, path: Path, table: pa.Table) -> None:
        try:
            with replacing(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error}; free space or choose another results folder") from error


def load_records(folder: Path) -> pd.DataFrame:
    """Return all records below a folder; see :meth:`RecordStore.load`."""
    return RecordStore(folder).load()
