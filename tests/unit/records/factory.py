"""Records as a sweep would write them, with nothing in them but what a test is about."""

from __future__ import annotations

import pandas as pd


def record(trial: str = "a", **columns: object) -> dict[str, object]:
    """One finished trial; keyword ``solver_steps`` names the column ``solver.steps``."""
    row: dict[str, object] = {
        "trial": trial,
        "experiments": ["reasoning/generalization"],
        "theory": "reasoning",
        "scale": "smoke",
        "task": "fit",
        "status": "finished",
        "error": None,
        "seed": 0,
        "data.n_train": 100,
        "network.width": 16,
        "solver.name": "gd",
        "solver.steps": 5,
        "solver.learn_step_size": False,
        "optim.lr": 0.01,
        "train_loss": 1.0,
        "curve_epoch": [0, 1],
        "curve_train_loss": [2.0, 1.0],
        "pack": "p",
        "started_at": "2026-01-01T00:00:00.000+00:00",
    }
    return row | {name.replace("_", ".", 1) if name.startswith(ROOMS) else name: v for name, v in columns.items()}


ROOMS = ("data_", "network_", "solver_", "optim_")


def rows(*records: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(records))
