"""Invented records of the hybrid experiments with a known truth, for the claims, figures and report; for tests only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from tests.unit.claims.frames_factory import KIND_FACTOR

from unrolled.frames.structure import Structure, build

INPUTS = {"digits": 64, "mnist1d": 40}
SOLVERS = ("block_prox", "ista", "fista", "admm")
STEPS = (1, 2, 4, 8, 16)
SIZES = (0.25, 0.5, 1.0, 1.5)
SEEDS = tuple(range(4))
RADII = {"linf": (0.0, 0.05, 0.1, 0.15, 0.2), "l2": (0.0, 0.5, 1.0, 1.5, 2.0)}
ATTACK_STEPS = (1, 5, 20, 50)
COMMIT = "fedcba9876543210fedcba9876543210fedcba98"

DEPTH, STEP, WIDTH, ROBUST = "hybrid/depth", "hybrid/step", "hybrid/width", "hybrid/robust"
WIDTH_MINIMUM = "hybrid/width_minimum"

RATE = {"block_prox": 0.55, "ista": 0.8, "fista": 0.7, "admm": 0.65}
"""Factor by which a sweep at the safe step shortens the distance to the minimiser."""

Metrics = dict[str, object]
Change = Callable[[Metrics, Structure, str, int, float], Metrics]
"""Maps the true metrics of (structure, solver, k, step size) to other ones."""


def unchanged(metrics: Metrics, structure: Structure, solver: str, k: int, size: float) -> Metrics:
    return metrics


def true_minimum(structure: Structure) -> float:
    """Return a minimum potential that falls with the width and with denser skip connections."""
    return KIND_FACTOR[structure.kind] * 0.5 / math.sqrt(structure.sizes[1])


def distance(solver: str, size: float, sweeps: float) -> float:
    """Return the true relative distance to the minimiser; the first sweep is the same for all solvers."""
    if sweeps == 0:
        return 1.0
    rate = 1 - (1 - RATE[solver]) * min(size, 1.0) * (1 if size <= 1 else 0.9)
    return float(0.8 * rate ** (sweeps - 1))


def robust_error(clean: float, k: int, share: float, strength: float = 1.0) -> float:
    """Return the true error at a share of the largest radius: more sweeps, more robust."""
    return clean + (1 - clean) * (1 - math.exp(-strength * 3.0 * share / (1 + 0.3 * math.log2(k))))


def true_metrics(structure: Structure, solver: str, k: int, size: float, noise: np.ndarray) -> Metrics:
    """Return metrics under which every claim is true."""
    cvg = distance(solver, size, k)
    stab = 2.0 - 0.5 * cvg
    train = 0.05 + 0.3 * cvg + 2e-3 * noise[0]
    gap = 0.1 + 0.4 * stab * cvg + 2 * true_minimum(structure) + 2e-3 * noise[1]
    clean = 0.1 + 0.2 * cvg + 2e-3 * noise[2]
    sweeps = [*range(k + 1), *(k + 2**i for i in range(1, 10))]
    return {
        "train_loss": train,
        "gap": gap,
        "test_loss": train + gap,
        "train_error": 0.4 * train,
        "test_error": clean,
        "gap_error": 0.2 * gap,
        "f_initial": 2.2 * true_minimum(structure) + 0.02,
        "f_trained": 1.8 * true_minimum(structure) + 0.02,
        "coherence_trained": 0.9,
        "inference_sweep": sweeps,
        "inference_distance": [distance(solver, size, t) for t in sweeps],
        "inference_objective": [max(distance(solver, size, t) ** 2, 1e-9) for t in sweeps],
        "inference_minimum": 0.7,
        "inference_rise": 0.0 if solver in ("block_prox", "ista") else 0.01,
        "inference_own": 1e-5,
        "convergence": cvg + 1e-4 * noise[3],
        "stability": stab + 1e-4 * noise[4],
        "step_size_taken": 1.0,
        "unique_minimum": 1.0,
    }


def attacked(clean: float, k: int) -> Metrics:
    """Return the columns of an attacked net."""
    found: Metrics = {"robust_far_linf": 1.0, "attack_steps": list(ATTACK_STEPS)}
    for norm, radii in RADII.items():
        found[f"attack_{norm}"] = list(radii)
        for attack, strength in (("pgd", 1.0), ("fgsm", 0.7), ("random", 0.2)):
            shares = [radius / radii[-1] for radius in radii]
            strength = strength * (1.0 if norm == "linf" else 0.8)
            found[f"robust_{attack}_{norm}"] = [robust_error(clean, k, share, strength) for share in shares]
    found["robust_by_steps_linf"] = [robust_error(clean, k, 0.5, 1 - 0.3 / n) for n in ATTACK_STEPS]
    return found


def trained(
    experiment: str,
    structure: Structure,
    data: str,
    *,
    solvers: Sequence[str] = SOLVERS,
    steps: Sequence[int] = STEPS,
    sizes: Sequence[float] = (1.0,),
    seeds: Iterable[int] = SEEDS,
    change: Change = unchanged,
    attack: bool = False,
    **columns: object,
) -> list[Metrics]:
    """Return the finished trials of a structure, one a (solver, k, step size, seed)."""
    seeds = tuple(seeds)
    rows = []
    for solver, k, size, seed in ((a, b, c, d) for a in solvers for b in steps for c in sizes for d in seeds):
        row = _base(experiment, structure, data, "hybrid", seed=seed, solver=solver, k=k, size=size)
        noise = np.random.default_rng(int(str(row["trial"]), 16)).normal(size=5)
        if k == 1:  # one net, whatever the solver
            noise = np.random.default_rng(seed).normal(size=5)
        metrics = true_metrics(structure, solver, k, size, noise)
        metrics |= attacked(float(str(metrics["test_error"])), k) if attack else {}
        rows.append(
            row
            | {
                "network.name": "frame",
                "solver.name": solver,
                "solver.steps": k,
                "solver.step_size": size,
                "solver.learn_step_size": False,
                "solver.step_rule": "relative",
                "solver.first_step": "unit",
                "solver.differentiation": "unrolled",
                "attack.linf": RADII["linf"][-1] if attack else math.nan,
                "attack.l2": RADII["l2"][-1] if attack else math.nan,
                "attack.steps": 20 if attack else math.nan,
                "optim.name": "adam",
                "optim.lr": 1e-3,
                "optim.weight_decay": 0.0,
                "optim.epochs": 30,
                "optim.batch_size": 64,
                "optim.potential_weight": 0.0,
                "best_epoch": 30,
            }
            | change(metrics, structure, solver, k, size)
            | columns
        )
    return rows


def minimised(structure: Structure, data: str, f_min: float) -> Metrics:
    """Return the trial of a structure's minimum potential."""
    row = _base(WIDTH_MINIMUM, structure, data, "minimum", seed=0)
    return row | {"train_loss": math.nan, "f_min": f_min, "minimum_status": "upper"}


def net(data: str, kind: str = "chain", width: int = 32, blocks: int = 1) -> Structure:
    """Return the structure of 1 + 2 n layers of one width."""
    return build(kind, INPUTS[data], (width,) * (1 + 2 * blocks))


def hybrid_records(
    *,
    data: Sequence[str] = ("digits", "mnist1d"),
    steps: Sequence[int] = STEPS,
    sizes: Sequence[float] = SIZES,
    widths: Sequence[int] = (16, 32, 64, 128),
    seeds: Iterable[int] = SEEDS,
    change: Change = unchanged,
    minimum: Callable[[Structure], float] = true_minimum,
) -> pd.DataFrame:
    """Return records of all hybrid experiments but the paper's sweep."""
    seeds = tuple(seeds)
    rows: list[Metrics] = []
    for name in data:
        plain = net(name)
        rows += trained(DEPTH, plain, name, steps=steps, seeds=seeds, change=change)
        rows += trained(ROBUST, plain, name, solvers=SOLVERS[::2], steps=steps, seeds=seeds, change=change, attack=True)
        for kind in ("chain", "residual", "dense"):
            for width in widths:
                wide = net(name, kind, width)
                place = {"network.width": width, "network.depth": 1}
                rows += trained(WIDTH, wide, name, solvers=SOLVERS[:1], steps=[4], seeds=seeds, change=change, **place)
                rows.append(minimised(wide, name, minimum(wide)) | place)
    rows += trained(STEP, net("mnist1d"), "mnist1d", steps=steps, sizes=sizes, seeds=seeds, change=change)
    return pd.DataFrame(rows).sort_values("trial").reset_index(drop=True)


def as_read(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records as a file gives them: arrays for lists, None where there is none."""
    lists = [name for name in records if records[name].map(lambda value: isinstance(value, list)).any()]
    kept = [name for name in lists if name != "experiments"]
    return records.assign(
        **{name: [np.asarray(v) if isinstance(v, list) else None for v in records[name]] for name in kept}
    )


def _base(experiment: str, structure: Structure, data: str, task: str, **keys: object) -> Metrics:
    name = repr((experiment, structure, data, sorted(keys.items(), key=lambda item: item[0])))
    trial = hashlib.sha256(name.encode()).hexdigest()[:16]
    return {
        "trial": trial,
        "experiments": [experiment],
        "theory": "hybrid",
        "scale": "smoke",
        "task": task,
        "status": "finished",
        "error": None,
        "seed": keys["seed"],
        "data.name": data,
        "data.n_train": math.nan,
        "network.skip": structure.kind,
        "network.widths": None,
        "network.width": structure.sizes[1],
        "network.depth": (structure.layers - 1) // 2,
        "structure": structure.describe(),
        "parameters": structure.parameters,
        "network_parameters": structure.network_parameters(10),
        "backend": "eager",
        "wall_s": 0.01,
        "pack": trial,
        "git_commit": COMMIT,
        "git_dirty": False,
        "torch": "2.14.1",
        "device": "cpu: test",
        "started_at": "2025-01-03T00:00:00.000+00:00",
    }
