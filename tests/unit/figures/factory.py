"""Invented records with a known truth, shaped like those of a run; for tests only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pandas as pd

from unrolled.solvers import properties

STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 30)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MU, L = 0.1, 1.0


def synthetic_records(
    *,
    steps: Iterable[int] = STEPS,
    widths: Iterable[int] = (0, 16, 32),
    seeds: Iterable[int] = range(6),
    rnn: bool = True,
) -> pd.DataFrame:
    """Return records of all five experiments, two learning rates a cell, one diverged and one failed run."""
    steps, widths, seeds = tuple(steps), tuple(widths), tuple(seeds)
    rows = [_properties(solver, k, s) for solver in ("gd", "nag") for k in steps for s in (0.5, 1.0)]
    solvers = ("gd", "nag", "rnn") if rnn else ("gd", "nag")
    for solver in solvers:
        for k in steps if solver != "rnn" else steps[::2]:
            for width in widths:
                name = "reasoning/rnn" if solver == "rnn" else "reasoning/generalization"
                rows += [_fit(name, solver, k, width, seed, lr) for seed in seeds for lr in (1e-2, 1e-3)]
    for solver in ("gd", "nag"):
        for k in steps[::3]:
            rows += [_fit("reasoning/learned_step", solver, k, widths[-1], seed, 1e-2, learn=True) for seed in seeds]
        for k in steps[1:8:3]:
            rows += [
                _fit("reasoning/training_size", solver, k, widths[-1], seed, 1e-2, n=n)
                for seed in seeds
                for n in (50, 100, 200, 500, 1000)
            ]
    frame = pd.DataFrame(rows).drop_duplicates("trial").reset_index(drop=True)
    return frame.sort_values("trial").reset_index(drop=True)


def spoiled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the records with the first generalisation run diverged and the second failed."""
    frame = frame.copy()
    first, second = frame.index[[("reasoning/generalization" in e) for e in frame["experiments"]]][:2]
    numbers = ["train_loss", "test_loss", "gap", "gap_true", "gap_excess", "representation_error", "learned_step"]
    frame.loc[[first, second], numbers] = np.nan
    frame.loc[first, ["status", "diverged_epoch"]] = ["diverged", 17]
    frame.loc[second, ["status", "error"]] = ["failed", "ValueError: test"]
    return frame


def _base(experiment: str, solver: str, k: int, s: float, **keys: object) -> dict[str, object]:
    name = repr((experiment, solver, k, s, sorted(keys.items())))
    trial = hashlib.sha256(name.encode()).hexdigest()[:16]
    return {
        "trial": trial,
        "experiments": [experiment],
        "theory": "reasoning",
        "scale": "smoke",
        "status": "finished",
        "error": None,
        "data.name": "quadratic",
        "data.population": 10_000,
        "data.strong_convexity": MU,
        "data.smoothness": L,
        "solver.name": solver,
        "solver.steps": k,
        "solver.step_size": s,
        "solver.min_step_size": 0.1,
        "backend": "eager",
        "wall_s": 0.01,
        "pack": trial,
        "git_commit": COMMIT,
        "git_dirty": False,
        "torch": "2.14.1",
        "device": "cpu: test",
        "started_at": f"2025-01-01T00:00:{k:02d}.000+00:00",
    }


@lru_cache
def _cvg(solver: str, k: int) -> float:
    return properties.convergence(solver, k, 1.0, MU, L)


def _properties(solver: str, k: int, s: float) -> dict[str, object]:
    setting = (solver, k, s, MU, L)
    exact = {
        "cvg": properties.convergence(*setting),
        "stab": properties.stability(*setting),
        "stab_b": properties.stability_linear(*setting),
        "sens": properties.sensitivity(*setting),
    }
    row = _base("reasoning/properties", solver, k, s) | {"task": "properties", "seed": 0, "train_loss": np.nan}
    for name, value in exact.items():
        row |= {f"{name}_exact": value, f"{name}_measured": value * (1 + 1e-8)}
    contraction = 1 - s * MU if solver == "gd" else 1 - np.sqrt(s * MU)
    cvg = contraction**k if solver == "gd" else k * contraction**k
    return row | {"cvg_rate": cvg, "stab_rate": 1 - cvg, "sens_rate": k * cvg}


def _fit(
    experiment: str, solver: str, k: int, width: int, seed: int, lr: float, *, n: int = 100, learn: bool = False
) -> dict[str, object]:
    rng = np.random.default_rng([k, width, seed, n, int(lr * 1e4), len(solver) + 10 * len(experiment), learn])
    cvg = _cvg("gd" if solver == "rnn" else solver, k)
    floor = {0: 3.45, 16: 0.08}.get(width, 0.03)
    train = 27 * cvg + floor + 0.05 * rng.random() + (0.4 if lr < 5e-3 else 0.0)
    shape = 9.0 * (1 - cvg) * cvg + (1.2 if width == 0 else 0.02)
    excess = (12 * (1 - 0.9**k) if solver == "rnn" else shape) * np.sqrt(100 / n) + 0.15 * rng.standard_normal()
    luck = 1.3 * cvg * rng.standard_normal() * np.sqrt(100 / n)
    low, high = 0.1, 2 / (MU + L) if solver == "gd" else 4 / (MU + 3 * L)
    learned = low + (high - low) * (0.6 + 0.39 * rng.random())
    row = _base(experiment, solver, k, 1.0, width=width, seed=seed, lr=lr, n=n, learn=learn)
    return row | {
        "task": "fit",
        "seed": seed,
        "data.n_train": n,
        "network.name": "eigenvalue",
        "network.width": width,
        "solver.learn_step_size": learn,
        "optim.name": "adam",
        "optim.lr": lr,
        "optim.weight_decay": 1e-4,
        "optim.epochs": 500,
        "optim.batch_size": n // 2,
        "train_loss": train,
        "test_loss": train + excess + luck,
        "gap": excess + luck,
        "gap_true": luck,
        "gap_excess": excess,
        "representation_error": 0.5 * cvg + 0.1 * floor + 0.01 * rng.random(),
        "learned_step": learned if learn else np.nan if solver == "rnn" else 1.0,
        "best_epoch": 490,
        "initial_loss": 30.0,
        "diverged_epoch": np.nan,
        "curve_epoch": [1, 10, 500],
        "curve_train_loss": [30.0, 20.0, train],
    }
