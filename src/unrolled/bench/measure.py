"""All figures of the bench, in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from unrolled.bench.frame_training import bench_frame_training
from unrolled.bench.frames import bench_frames
from unrolled.bench.grid import bench_grid
from unrolled.bench.memory import bench_memory
from unrolled.bench.planning import bench_planning
from unrolled.bench.scaling import bench_cores, bench_mixed_widths, bench_scaling
from unrolled.bench.sweeps import bench_sweeps
from unrolled.bench.timing import FULL, Effort
from unrolled.bench.trainer import bench_trainer
from unrolled.records.provenance import device_name, git_state

GPU = "cuda"


def bench(effort: Effort, say: Callable[[str], None]) -> dict[str, object]:
    """Measure everything; nothing runs beside what is measured.

    Args:
        effort: how much is spent.
        say: told what is measured.

    Returns:
        name -> number or text, as :data:`unrolled.bench.meanings.MEANINGS` describes them.
    """
    parts: dict[str, Callable[[], dict[str, object]]] = {
        "trainer": lambda: bench_trainer(effort.twin_turns),
        "scaling": lambda: bench_scaling(effort),
        "cores": lambda: bench_cores(effort),
        "mixed widths": lambda: bench_mixed_widths(effort),
        "memory": lambda: bench_memory(effort),
        "sweeps": lambda: bench_sweeps(effort),
        "planning": lambda: bench_planning(effort),
        "deep frames": lambda: bench_frames(effort),
        "deep frames in training": lambda: bench_frame_training(effort),
        "the paper's grid": lambda: bench_grid(effort),
    }
    if torch.cuda.is_available():
        parts["the paper's grid on the GPU"] = lambda: bench_grid(effort, GPU)
    figures: dict[str, object] = {"mode": "full" if effort == FULL else "quick", "commit": _commit()}
    figures["gpu"] = device_name(GPU) if torch.cuda.is_available() else "none"
    figures["load_before"] = os.getloadavg()[0]
    for name, part in parts.items():
        began = time.monotonic()
        figures |= part()
        say(f"measured {name} in {time.monotonic() - began:.0f} s")
    return figures


def _commit() -> str:
    commit, dirty = git_state()
    return "unknown" if commit is None else commit[:12] + "+" * bool(dirty)
