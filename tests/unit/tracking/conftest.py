"""Small realistic records: one pack of a k x lr grid with three seeds, one of whose trials diverged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

EPOCHS = [0, 1, 2, 5, 10]
RATES = (0.01, 0.0005)
STEPS = (5, 10)
SEEDS = (0, 1, 2)

MakeRows = Callable[..., pd.DataFrame]


def _row(index: int, k: int, lr: float, seed: int, pack: str) -> dict[str, object]:
    # The losses are arbitrary but unlike each other, so that a mix-up of trials shows.
    losses = np.random.default_rng([index, k, seed]).lognormal(size=len(EPOCHS))
    diverged = (k, lr, seed) == (10, 0.01, 2)
    if diverged:
        losses[3:] = 1e30
    return {
        "trial": f"{pack[:8]}{index:08x}",
        "experiments": ["reasoning/generalization", "reasoning/training_size"],
        "theory": "reasoning",
        "scale": "smoke",
        "task": "fit",
        "status": "diverged" if diverged else "finished",
        "error": None,
        "seed": seed,
        "data.name": "quadratic",
        "data.root": None,
        "data.n_train": 100,
        "data.rows_seed": float(seed),
        "network.name": "eigenvalue",
        "network.width": 16.0,
        "solver.name": "nag",
        "solver.steps": k,
        "solver.step_size": 1.0,
        "solver.learn_step_size": False,
        "optim.name": "adam",
        "optim.lr": lr,
        "train_loss": np.nan if diverged else losses.min(),
        "gap": np.nan if diverged else 0.1 * (index + 1),
        "gap_excess": np.nan if diverged else 0.01 * (index + 1),
        "best_epoch": np.nan if diverged else 10.0,
        "diverged_epoch": 5.0 if diverged else np.nan,
        "curve_epoch": list(EPOCHS),
        "curve_train_loss": losses.tolist(),
        "backend": "eager",
        "wall_s": 0.25,
        "pack": pack,
        "git_commit": "0123abc",
        "git_dirty": False,
        "torch": "2.8.0",
        "device": "cpu",
        "started_at": "2026-01-02T03:04:05+00:00",
    }


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Builds the records of one pack: 2 k x 2 learning rates x 3 seeds, 11 finished and 1 diverged."""

    def make(pack: str = "0123456789abcdef") -> pd.DataFrame:
        grid = [(k, lr, seed) for k in STEPS for lr in RATES for seed in SEEDS]
        return pd.DataFrame([_row(i, *cell, pack) for i, cell in enumerate(grid)])

    return make


@pytest.fixture
def property_rows() -> pd.DataFrame:
    """Records of the task that evaluates closed forms: no training, so no curves and no losses."""
    rows = [
        {
            "trial": f"{i:016x}",
            "experiments": ["reasoning/properties"],
            "theory": "reasoning",
            "scale": "smoke",
            "task": "properties",
            "status": "finished",
            "error": None,
            "seed": 0,
            "solver.name": "gd",
            "solver.steps": k,
            "solver.step_size": 1.0,
            "cvg_exact": 0.9**k,
            "train_loss": np.nan,
            "gap": np.nan,
            "curve_epoch": None,
            "curve_train_loss": None,
            "pack": "fedcba9876543210",
        }
        for i, k in enumerate((1, 2, 5))
    ]
    return pd.DataFrame(rows)
