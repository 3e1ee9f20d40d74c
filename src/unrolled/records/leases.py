"""Which trials are being run right now, so that two sweeps over one store never run the same one.

A lease names trials and ends with the process that holds it, however that ends: it is a file lock, which the operating
system releases.
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import os
import socket
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from unrolled.records.atomic import replacing
from unrolled.records.store import StoreError

NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})
"""What the operating system answers where a file system has no locks."""


class NoLocksWarning(UserWarning):
    """The file system has no locks: two sweeps at once over one store may do the same work twice."""


class Lease:
    """Trials that this process is running.

    Args:
        file: the lease's list of trials.
        lock: held as long as the lease; None where the file system has no locks.
    """

    def __init__(self, file: Path, lock: FileLock | None) -> None:
        self.file, self._lock = file, lock

    def release(self) -> None:
        """End the lease; a second call does nothing."""
        self.file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        _lock_path(self.file).unlink(missing_ok=True)


class Leases:
    """The leases of one results folder.

    What reads the store and decides what to run, takes a lease, or rewrites a record file, does so inside
    :meth:`guard`.

    Args:
        folder: where the leases are; made when the first one is taken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Keep every other process out of the block; blocks are short, so waiting has no limit.

        Raises:
            StoreError: the folder cannot be written.
        """
        lock = self._locked(self.folder / "guard.lock", timeout=-1)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def taken(self) -> dict[str, str]:
        """Return who runs which trial: trial hash -> holder, in words. Leases of dead processes are removed.

        Who is about to take a lease calls it inside :meth:`guard`.
        """
        found: dict[str, str] = {}
        for file in self._files():
            try:
                lock = self._locked(_lock_path(file), timeout=0)
            except Timeout:
                found |= _content(file)
                continue
            if lock is not None:  # without locks nobody knows who is dead
                Lease(file, lock).release()
        return found

    def held(self) -> dict[str, str]:
        """Return what :meth:`taken` returns, for who only looks: nothing is written, so no right to write is needed."""
        found: dict[str, str] = {}
        for file in self._files():
            with suppress(OSError), _lock_path(file).open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found |= _content(file)
        return found

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))

    def take(self, trials: Sequence[str]) -> Lease:
        """Take a lease of trials that nobody has; call it inside :meth:`guard`.

        Args:
            trials: trial hashes.

        Returns:
            The lease, to be released when the records are written.

        Raises:
            StoreError: the folder cannot be written.
        """
        file = self.folder / f"{uuid.uuid4().hex}.json"
        lock = self._locked(_lock_path(file), timeout=0)
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
        try:
            with replacing(file) as temporary:
                temporary.write_text(json.dumps({"holder": holder, "trials": list(trials)}))
        except OSError as error:
            Lease(file, lock).release()
            raise _cannot_write(self.folder, error) from error
        return Lease(file, lock)

    def _locked(self, path: Path, timeout: float) -> FileLock | None:
        lock = FileLock(path, fallback_to_soft=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=timeout)
        except Timeout:
            raise
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise _cannot_write(self.folder, error) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise _cannot_write(self.folder, error) from error
            warnings.warn(
                f"{path.parent}: this file system has no locks ({error.strerror}); run one sweep at a time there",
                NoLocksWarning,
                stacklevel=3,
            )
            return None
        return lock


def _content(file: Path) -> dict[str, str]:
    """Return a lease's trials and its holder; nothing where it has been released since."""
    with suppress(FileNotFoundError):
        content = json.loads(file.read_text())
        return dict.fromkeys(content["trials"], content["holder"])
    return {}


def _lock_path(file: Path) -> Path:
    return file.with_suffix(".lock")


def _cannot_write(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write {folder}: {error}; free space, mend its rights, or choose another results folder")
