"""Peak memory of a process that trains one pack: python -m unrolled.bench.memory <trials>."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from unrolled.bench.timing import Effort, reasoning_pack
from unrolled.sweep.tasks import TASKS, RunContext

EPOCHS = 5
STATUS = Path("/proc/self/status")


def bench_memory(effort: Effort) -> dict[str, object]:
    """Return the peak memory of fresh processes that train packs of growing size.

    Args:
        effort: sizes of the packs.

    Returns:
        ``import_mb`` (the same imports, nothing trained), ``pack_peak_mb_<trials>`` and, for the largest pack,
        ``pack_peak_mb``; megabytes of 2^20 bytes.
    """
    peaks = {trials: _peak_of_process(trials) for trials in (0, *effort.packs)}
    figures: dict[str, object] = {"import_mb": peaks[0]}
    figures |= {f"pack_peak_mb_{trials}": peaks[trials] for trials in effort.packs[:-1]}
    return figures | {"pack_peak_mb": peaks[effort.packs[-1]]}


def _peak_of_process(trials: int) -> float:
    command = [sys.executable, "-m", "unrolled.bench.memory", str(trials)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak_mb(status: str) -> float:
    r"""Return the peak resident memory that Linux tells in ``/proc/<process>/status``.

    ``getrusage`` would not do: a child's maximum starts at what its parent had used when it was started.

    Example:
        >>> peak_mb("Name: python\nVmHWM:     2048 kB\n")
        2.0
    """
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def train_pack(trials: int) -> None:
    """Train a pack of NAG trials (32 hidden units, k = 30) for a few epochs on the automatic backend; 0 for none."""
    if trials:
        configs = [c | {"optim.epochs": EPOCHS} for c in reasoning_pack("nag", 32, 30, trials)]
        TASKS["fit"].run(configs, RunContext())


if __name__ == "__main__":
    train_pack(int(sys.argv[1]))
    print(peak_mb(STATUS.read_text()))
