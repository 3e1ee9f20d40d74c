"""How the time of training grows with the pack, the steps, the width and the cores, and whether widths should mix."""

from __future__ import annotations

import statistics

from unrolled.bench.timing import Effort, Workload, calibrated, cores, in_turns, median_us, reasoning_pack
from unrolled.sweep.tasks import RunContext

TRIALS = (1, 4, 16, 64, 256)
STEPS = (1, 3, 10, 30)
WIDTHS = (0, 16, 32, 64)
SOLVERS = ("gd", "nag")
PACK = 64
"""Trials of a pack where something else is varied."""

CORES_PACK = 256
MIXED_TRIALS = (1, 4, 16, 64)
MIXED_WIDTHS = (0, 16, 32)
ONE_CORE = RunContext(threads=1)


def bench_scaling(effort: Effort) -> dict[str, object]:
    """Time packs that differ in one respect, on one core; GD, 16 hidden units and k = 10 but for what varies.

    Args:
        effort: how long and how often each is timed.

    Returns:
        ``trainer_us_trials_<n>``, ``trainer_us_k_<k>_<solver>`` and ``trainer_us_width_<w>_<solver>``.
    """
    packs = {f"trainer_us_trials_{n}": reasoning_pack("gd", 16, 10, n) for n in TRIALS}
    packs |= {f"trainer_us_k_{k}_{s}": reasoning_pack(s, 16, k, PACK) for k in STEPS for s in SOLVERS}
    packs |= {f"trainer_us_width_{w}_{s}": reasoning_pack(s, w, 10, PACK) for w in WIDTHS for s in SOLVERS}
    turns = in_turns({name: calibrated(pack, ONE_CORE, effort.seconds) for name, pack in packs.items()}, effort.turns)
    return {name: median_us(turns, name) for name in packs}


def core_counts(most: int) -> list[int]:
    """Return powers of two up to a number of cores, and the number itself.

    Example:
        >>> core_counts(1), core_counts(6)
        ([1], [1, 2, 4, 6])
    """
    return sorted({most, *(2**i for i in range(most.bit_length()) if 2**i <= most)})


def bench_cores(effort: Effort) -> dict[str, object]:
    """Time one pack on one core and on more.

    Args:
        effort: how long and how often each is timed.

    Returns:
        ``trainer_speedup_<n>_cores`` for each number above 1, over one core in the same turn; empty on one core.
    """
    pack, counts = reasoning_pack("gd", 16, 10, CORES_PACK), core_counts(cores())
    turns = in_turns({str(n): calibrated(pack, RunContext(threads=n), effort.seconds) for n in counts}, effort.turns)
    return {
        f"trainer_speedup_{n}_cores": statistics.median(turn["1"].us / turn[str(n)].us for turn in turns)
        for n in counts[1:]
    }


def bench_mixed_widths(effort: Effort) -> dict[str, object]:
    """Time packs of one width each against one pack of all their trials at the largest width.

    A pack with masked units would cost as much as the latter: every lane does the arithmetic of the largest width.

    Args:
        effort: how long and how often each is timed.

    Returns:
        ``width_packing_ratio_<trials of each width>``: masked over separate; below 1 mixing would pay.
    """
    return {f"width_packing_ratio_{trials}": _mixed_ratio(trials, effort) for trials in MIXED_TRIALS}


def _mixed_ratio(trials: int, effort: Effort) -> float:
    packs = {str(width): reasoning_pack("gd", width, 10, trials) for width in MIXED_WIDTHS}
    packs["masked"] = reasoning_pack("gd", max(MIXED_WIDTHS), 10, trials * len(MIXED_WIDTHS))
    work: dict[str, Workload] = {n: calibrated(p, ONE_CORE, effort.seconds) for n, p in packs.items()}
    return statistics.median(
        turn["masked"].us * len(packs["masked"]) / sum(turn[str(width)].us * trials for width in MIXED_WIDTHS)
        for turn in in_turns(work, effort.turns)
    )
