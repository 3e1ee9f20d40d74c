"""Leases: who runs which trial, and that a dead process holds none."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from unrolled.records.leases import Leases, NoLocksWarning
from unrolled.records.store import StoreError

HOLDER = """
import sys, time
from pathlib import Path
from unrolled.records.leases import Leases
leases = Leases(Path(sys.argv[1]))
with leases.guard():
    lease = leases.take(sys.argv[2:])
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path / "leases")


def holder_of(folder: Path, *trials: str) -> subprocess.Popen[str]:
    """Start a process that holds a lease until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, folder, *trials], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def test_a_lease_is_seen_until_it_is_released(leases: Leases) -> None:
    assert leases.taken() == {}
    with leases.guard():
        first = leases.take(["a", "b"])
        second = leases.take(["c"])
        held = leases.taken()
    assert set(held) == {"a", "b", "c"}
    assert held["a"].startswith(f"process {os.getpid()} on ")
    first.release()
    first.release()
    assert set(leases.taken()) == {"c"}
    second.release()
    assert leases.taken() == {}
    assert [path.name for path in leases.folder.iterdir()] == ["guard.lock"]


def test_a_killed_process_holds_nothing(leases: Leases) -> None:
    process = holder_of(leases.folder, "a", "b")
    assert leases.taken() == dict.fromkeys("ab", next(iter(leases.taken().values())))
    assert f"process {process.pid} on" in leases.taken()["a"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert leases.taken() == {}
    assert not list(leases.folder.glob("*.json"))


def test_the_guard_lets_one_in_at_a_time(leases: Leases) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(5):
            with Leases(leases.folder).guard():
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    leases = Leases(tmp_path / "file" / "leases")
    with (
        pytest.raises(StoreError, match=r"cannot write .*leases: .*; free space, mend its rights, or choose"),
        leases.guard(),
    ):
        pass
    with pytest.raises(StoreError, match="cannot write"):
        leases.take(["a"])


def test_a_full_disk_leaves_no_lease(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(StoreError, match="No space left on device"):
            leases.take(["a"])
    assert leases.taken() == {}
    assert list(leases.folder.iterdir()) == []


def test_a_file_system_without_locks_is_told_and_work_goes_on(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_here(self: FileLock, *_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(FileLock, "acquire", none_here)
    with pytest.warns(NoLocksWarning, match="this file system has no locks"), leases.guard():
        lease = leases.take(["a"])
    lease.release()
