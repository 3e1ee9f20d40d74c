"""Invented records with a known truth: every metric is a formula of (solver, k, width) plus noise over seeds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
import pandas as pd

from unrolled.solvers import properties

STEPS = (1, 2, 3, 4, 5, 10, 14, 20, 30)
SEEDS = tuple(range(6))
MU, L, C0 = 0.1, 1.0, 0.1

GENERALIZATION = "reasoning/generalization"
RNN = "reasoning/rnn"
LEARNED_STEP = "reasoning/learned_step"

stab_times_cvg = lru_cache(properties.stab_times_cvg)
standard_bound = lru_cache(properties.standard_bound)

Truth = Callable[[str, int, int], dict[str, float]]
"""Maps (solver, k, width) to the metrics without noise."""

SHARED_NOISE = 2.0
"""Spread of a seed's own luck, the same in all its cells: far above every effect, so only pairing sees them."""

OWN_NOISE = 1e-5
"""Spread of what pairing leaves over; far below every effect of :func:`as_claimed`."""


def as_claimed(solver: str, k: int, width: int) -> dict[str, float]:
    """Return metrics under which every claim is true."""
    slow = {"gd": 0.10, "nag": 0.20, "rnn": 0.15}[solver]
    level = {"gd": 3.01, "nag": 3.0, "rnn": 3.0}[solver] if width == 0 else 0.0
    decay = 0.45 if width == 0 else slow
    excess = 3.0 if solver == "rnn" else stab_times_cvg(solver, k, 1.0, MU, L) / 100
    return {
        "train_loss": level + 17 * math.exp(-decay * k),
        "gap": 10.0 + excess,
        "gap_excess": excess,
        "representation_error": {"gd": 0.3, "nag": 0.2, "rnn": 0.25}[solver],
        "learned_step": {"gd": 1.5, "nag": 1.2, "rnn": math.nan}[solver],
    }


def swapped(solver: str, k: int, width: int) -> dict[str, float]:
    """Return the metrics of :func:`as_claimed` with GD and NAG exchanged."""
    return as_claimed({"gd": "nag", "nag": "gd"}.get(solver, solver), k, width)


def changed(truth: Truth, **metrics: Callable[[str, int, int], float]) -> Truth:
    """Return the truth with some metrics replaced by other formulas."""

    def other(solver: str, k: int, width: int) -> dict[str, float]:
        return {**truth(solver, k, width), **{name: formula(solver, k, width) for name, formula in metrics.items()}}

    return other


def records(
    experiment: str,
    truth: Truth = as_claimed,
    *,
    solvers: Iterable[str] = ("gd", "nag"),
    steps: Iterable[int] = STEPS,
    widths: Iterable[int] = (0, 16, 32),
    seeds: Iterable[int] = SEEDS,
    lr: float = 1e-2,
) -> pd.DataFrame:
    """Return the finished trials of one experiment, one a (solver, k, width, seed)."""
    seeds = tuple(seeds)
    rows = [
        _trial(experiment, solver, k, width, seed, lr, truth(solver, k, width))
        for solver in solvers
        for k in steps
        for width in widths
        for seed in seeds
    ]
    return pd.DataFrame(rows)


def all_experiments(truth: Truth = as_claimed, seeds: Iterable[int] = SEEDS) -> pd.DataFrame:
    """Return the trials of all experiments that the claims read."""
    seeds = tuple(seeds)
    return pd.concat(
        [
            records(GENERALIZATION, truth, seeds=seeds),
            records(RNN, truth, solvers=["rnn"], steps=[5, 10, 20], widths=[16], seeds=seeds),
            records(LEARNED_STEP, truth, steps=[5, 10, 20], widths=[16], seeds=seeds),
        ],
        ignore_index=True,
    )


def _trial(
    experiment: str, solver: str, k: int, width: int, seed: int, lr: float, metrics: dict[str, float]
) -> dict[str, object]:
    name = repr((experiment, solver, k, width, seed, lr))
    trial = hashlib.sha256(name.encode()).hexdigest()[:16]
    shared = np.random.default_rng(seed).normal(0, SHARED_NOISE)
    own = np.random.default_rng(int(trial, 16)).normal(0, OWN_NOISE, size=len(metrics))
    noisy = {"train_loss", "gap", "gap_excess", "representation_error"}
    # The learned step is read as it is; the shared luck of a seed is kept off the error so that levels stay positive.
    values = {
        key: value + (noise + (shared if key.startswith("gap") else 0.01 * abs(shared))) * (key in noisy)
        for (key, value), noise in zip(metrics.items(), own, strict=True)
    }
    return {
        "trial": trial,
        "experiments": [experiment],
        "theory": "reasoning",
        "status": "finished",
        "seed": seed,
        "data.n_train": 100,
        "data.strong_convexity": MU,
        "data.smoothness": L,
        "network.width": width,
        "solver.name": solver,
        "solver.steps": k,
        "solver.step_size": 1.0,
        "solver.learn_step_size": experiment == LEARNED_STEP,
        "solver.min_step_size": C0,
        "optim.name": "adam",
        "optim.lr": lr,
        **values,
    }
