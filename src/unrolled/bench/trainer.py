"""How fast the packed trainer is, against its sequential twin, on one core."""

from __future__ import annotations

import os
import platform
import statistics
import time

import torch

from unrolled.bench.timing import Workload, reasoning_pack
from unrolled.bench.twin import SequentialTwin, train_twin
from unrolled.config.check import Flat
from unrolled.data.quadratic import QuadraticProblems, generate
from unrolled.records.provenance import device_name
from unrolled.sweep.tasks import TASKS, RunContext

REPEATS = 5
PACK = 64
TWIN_EPOCHS = 60
SHORT, LONG = 100, 1100
"""Epochs of the two packed runs; their difference is free of set-up and of the final evaluation."""


def bench_trainer(repeats: int = REPEATS) -> dict[str, object]:
    """Measure and return the trainer's figures.

    Twin and packed trainer take turns, so that a drifting clock meets both; medians over the turns are reported.

    Args:
        repeats: how many turns.

    Returns:
        ``trainer_speedup_per_core`` (hidden 16, k = 10, GD, against the twin), ``twin_us_per_trial_step``,
        ``trainer_us_per_trial_step``, ``trainer_us_per_trial_step_h32_k30_nag``, ``trainer_eager_us_per_trial_step``,
        ``trainer_fused_us_per_trial_step`` (a pack of 256), ``backend``, ``machine``.
    """
    torch.set_num_threads(1)
    problems = generate()
    main, deep = reasoning_pack("gd", 16, 10, PACK), reasoning_pack("nag", 32, 30, PACK)
    backend = str(
        TASKS["fit"].run([config | {"optim.epochs": 1} for config in main], RunContext(threads=1))[0]["backend"]
    )  # compiles
    turns = [(_twin_us(problems, 16, 10), _packed_us(main, "auto"), _packed_us(deep, "auto")) for _ in range(repeats)]
    twin, packed, packed_deep = (statistics.median(column) for column in zip(*turns, strict=True))
    return {
        "trainer_speedup_per_core": statistics.median(t[0] / t[1] for t in turns),
        "twin_us_per_trial_step": twin,
        "trainer_us_per_trial_step": packed,
        "trainer_us_per_trial_step_h32_k30_nag": packed_deep,
        "trainer_eager_us_per_trial_step": _packed_us(main, "eager", 5, 25),
        "trainer_fused_us_per_trial_step": _packed_us(reasoning_pack("gd", 16, 10, 256), "fused", 50, 450),
        "backend": backend,
        "machine": f"{device_name('cpu')}, {len(os.sched_getaffinity(0))} cores, {platform.platform()}, "
        f"torch {torch.__version__}",
    }


def _packed_us(configs: list[Flat], backend: str, short: int = SHORT, long: int = LONG) -> float:
    return Workload(configs, RunContext(backend=backend, threads=1), short, long).time().us


def _twin_us(problems: QuadraticProblems, width: int, steps: int) -> float:
    rows = torch.as_tensor(problems.training_rows(100, 0, named=False))
    model = SequentialTwin(problems, "gd", width, steps, 1.0)
    train_twin(model, problems, rows, 5, 50)  # allocators and kernels warm up
    began = time.perf_counter()
    train_twin(model, problems, rows, TWIN_EPOCHS, 50)
    return (time.perf_counter() - began) / (2 * TWIN_EPOCHS) * 1e6
