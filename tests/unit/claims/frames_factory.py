"""Invented records of the frames experiments with a known truth, for the claims, figures and report; for tests only."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from unrolled.frames.structure import Structure, build, resnet

INPUTS = {"digits": 64, "mnist1d": 40, "cifar10": 3072}
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
LAMBDA = 0.01
SEEDS = tuple(range(4))

FULLY_CONNECTED = "frames/fully_connected"
FULLY_CONNECTED_MINIMUM = "frames/fully_connected_minimum"
CONVOLUTIONAL = "frames/convolutional"
CONVOLUTIONAL_MINIMUM = "frames/convolutional_minimum"
WEIGHT = "frames/weight"
GRAM = "frames/gram"

KIND_FACTOR = {"chain": 1.0, "residual": 0.85, "residual_all": 0.8, "dense": 0.5}
"""Minimum F relative to the chain's, under which C3 and C4 are true."""

Truth = Callable[[Structure, float], float]
"""Maps a structure and its potential weight to its mean test error."""
Minimum = Callable[[Structure], float]
"""Maps a structure to its minimum potential."""


def shapes(widest: Iterable[int] = (8, 16, 32, 64, 128)) -> list[tuple[int, ...]]:
    """Return growing, contracting and hourglass widths, five for each m."""
    found: list[tuple[int, ...]] = []
    for m in widest:
        found += [(m // 2, m), (m // 4, m // 2, m), (m // 8, m // 4, m // 2, m), (m, m // 2, m), (m, m // 2, m // 4, m)]
    return found


@lru_cache
def true_minimum(structure: Structure) -> float:
    """Return the closed form of chains (identities vanish, every block tight), lowered for the other kinds."""
    sizes = structure.sizes
    f2 = sum(max(0.0, k**2 / before - k) for before, k in itertools.pairwise(sizes))
    pairs = sum(k * (k - 1) for k in sizes[1:]) + 2 * sum(a * b for a, b in itertools.pairwise(sizes[1:]))
    chain = math.sqrt(f2 / pairs)
    if structure.convolutional:  # order of magnitude of the published values, falling with width and depth
        chain = 0.08 / math.sqrt(sizes[1]) / structure.layers**0.25
    return KIND_FACTOR[structure.kind.removesuffix("_front")] * chain


def true_error(structure: Structure, weight: float) -> float:
    """Return an error under which every claim on trained nets is true."""
    f_min = true_minimum(structure)
    if structure.convolutional:
        turn = 0.002 * (structure.layers - 1) if structure.kind == "chain" else 0.0
        return 0.03 + 2.0 * f_min + turn
    error = 0.1 + f_min
    if weight == 0 and structure.parameters > 3000:  # large nets fail without regularisation
        error += 0.12 * math.log2(structure.parameters / 3000)
    return error


def classified(
    experiment: str,
    structure: Structure,
    data: str,
    *,
    seeds: Iterable[int] = SEEDS,
    weights: Sequence[float] = (0.0, LAMBDA),
    error: Truth = true_error,
    minimum: Minimum = true_minimum,
    lr: float = 1e-3,
    **columns: object,
) -> list[dict[str, object]]:
    """Return the finished trials of a trained structure, one a weight and seed."""
    rows = []
    for weight in weights:
        for seed in seeds:
            row = _base(experiment, structure, data, "classify", seed=seed, weight=weight, lr=lr)
            noise = np.random.default_rng(int(str(row["trial"]), 16)).normal(size=3)
            mean, f_min = error(structure, weight), minimum(structure)
            test = mean + 2e-3 * noise[0]
            start = 2.2 * f_min + 0.02
            trained = f_min + (start - f_min) * (0.9 if weight == 0 else 0.3 / (1 + weight)) * (1 + 1e-2 * noise[1])
            epochs = [0, 5, 10, 20, 30]
            fall = [trained + (start - trained) * math.exp(-e / 6) for e in epochs]
            train_loss = 0.3 + 0.05 * abs(noise[2]) + (0.2 if lr < 1e-3 else 0.0)
            rows.append(
                row
                | {
                    "network.name": "frame",
                    "solver.name": "feedforward",
                    "solver.steps": 1,
                    "solver.step_size": 1.0,
                    "optim.name": "adam",
                    "optim.lr": lr,
                    "optim.weight_decay": 0.0,
                    "optim.epochs": 30,
                    "optim.batch_size": 64,
                    "optim.potential_weight": weight,
                    "optim.potential": "f2_mean",
                    "optim.patience": 5,
                    "train_loss": train_loss,
                    "test_loss": train_loss + 0.3 + test,
                    "gap": 0.3 + test,
                    "train_error": 0.5 * test,
                    "test_error": test + (0.2 if lr < 1e-3 else 0.0),
                    "gap_error": 0.5 * test,
                    "f_initial": start,
                    "f_trained": trained,
                    "coherence_trained": min(1.0, 4.0 * trained),
                    "best_epoch": 30,
                    "curve_epoch": epochs,
                    "curve_train_loss": [2.3 - 0.06 * e for e in epochs],
                    "curve_potential": fall,
                }
                | columns
            )
    return rows


def minimised(
    experiment: str, structure: Structure, data: str, *, minimum: Minimum = true_minimum, **columns: object
) -> dict[str, object]:
    """Return the trial of a structure's minimum potential, with a Gram matrix for small fully connected ones."""
    f_min = minimum(structure)
    row = _base(experiment, structure, data, "minimum", seed=0, weight=None, lr=None) | {
        "train_loss": math.nan,
        "f2_min": f_min**2,
        "f_min": f_min,
        "minimum_status": "upper",
        "pairs": structure.atoms**2 // 2,
        "restarts": 8,
        "f_random": 1.6 * f_min + 0.02,
        "coherence_random": min(1.0, 6.0 * f_min + 0.2),
        "coherence_min": min(1.0, 1.5 * f_min),
    }
    if not structure.convolutional and structure.atoms <= 96:
        pattern = gram_pattern(structure)
        generator = np.random.default_rng(structure.atoms)
        gram = np.where(pattern, generator.uniform(0, 0.4, size=pattern.shape), 0.0)
        np.fill_diagonal(gram, 1.0)
        row |= {"gram": gram.ravel().tolist(), "gram_pattern": pattern.astype(int).ravel().tolist()}
        row |= {"gram_sizes": list(structure.sizes[1:])}
    return row | columns


def gram_pattern(structure: Structure) -> np.ndarray:
    """Return the zero pattern of the Gram matrix by blocks: atoms of two layers meet where they share a block row."""
    supports = [{block.row for block in structure.column_blocks(j)} for j in range(1, structure.layers + 1)]
    meet = np.array([[bool(a & b) for b in supports] for a in supports])
    layer = np.repeat(np.arange(structure.layers), structure.sizes[1:])
    return meet[np.ix_(layer, layer)]


def frames_records(
    *,
    data: Sequence[str] = ("digits", "mnist1d"),
    widest: Iterable[int] = (8, 16, 32, 64, 128),
    filters: Sequence[int] = (4, 8),
    depths: Sequence[int] = (1, 3, 5, 10),
    seeds: Iterable[int] = SEEDS,
    error: Truth = true_error,
    minimum: Minimum = true_minimum,
) -> pd.DataFrame:
    """Return records of all frames experiments."""
    seeds = tuple(seeds)
    rows: list[dict[str, object]] = []
    for name in data:
        for widths in shapes(widest):
            net = build("chain", INPUTS[name], widths)
            rows += classified(FULLY_CONNECTED, net, name, seeds=seeds, error=error, minimum=minimum)
            rows.append(minimised(FULLY_CONNECTED_MINIMUM, net, name, minimum=minimum))
    net = build("chain", 64, shapes(widest)[-3])
    weights = (0.0, 1e-3, 1e-2, 1e-1, 1.0)
    rows += classified(WEIGHT, net, "digits", seeds=seeds, weights=weights, error=error, minimum=minimum)
    for kind in KIND_FACTOR:
        rows.append(minimised(GRAM, build(kind, 8, (8, 16, 16, 24)), "digits", minimum=minimum))
        for width in filters if kind != "residual_all" else ():
            for n in depths:
                deep = resnet(kind, width, n, channels=1, grid=8, groups=2)
                place = {"network.width": width, "network.depth": n, "network.groups": 2, "network.widths": None}
                rows += classified(
                    CONVOLUTIONAL, deep, "digits", seeds=seeds, weights=(0.0,), error=error, minimum=minimum, **place
                )
                rows.append(minimised(CONVOLUTIONAL_MINIMUM, deep, "digits", minimum=minimum, **place))
    return pd.DataFrame(rows).sort_values("trial").reset_index(drop=True)


def _base(experiment: str, structure: Structure, data: str, task: str, **keys: object) -> dict[str, object]:
    name = repr((experiment, structure, data, sorted(keys.items(), key=lambda item: item[0])))
    trial = hashlib.sha256(name.encode()).hexdigest()[:16]
    return {
        "trial": trial,
        "experiments": [experiment],
        "theory": "frames",
        "scale": "smoke",
        "task": task,
        "status": "finished",
        "error": None,
        "seed": keys["seed"],
        "data.name": data,
        "data.n_train": math.nan,
        "network.skip": structure.kind,
        "network.widths": "x".join(map(str, structure.sizes[1:])),
        "network.width": math.nan,
        "network.depth": math.nan,
        "network.groups": math.nan,
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
        "started_at": "2025-01-02T00:00:00.000+00:00",
    }
