"""The task of the deep frames that trains nothing: the minimum potential of a structure, beside random dictionaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.config.check import Flat
from unrolled.data.streams import generator
from unrolled.frames import Minimum, Structure, dictionary, frame_potential, minimum_potential, mutual_coherence
from unrolled.frames.bounds import simple_chain
from unrolled.frames.dictionary import random_filters
from unrolled.sweep.frames_tasks import labelled_of, structure_of
from unrolled.sweep.task import Cores, Metrics, RunContext
from unrolled.training.one_core import cores

RANDOM = 4
"""Random dictionaries that the minimum is compared with."""

MOST_DRAWN = 96
"""Atoms up to which the whole Gram is kept, for pictures."""


class MinimumTask:
    """Compute the minimum deep frame potential of a structure."""

    name = "minimum"
    version = 1
    cores: Cores = "one"
    identity = frozenset({"seed", "data.name", "network.name", "network.structure"})
    packable = frozenset({"seed"})

    def resolve(self, config: Flat) -> tuple[Flat, str]:
        """Fill in the structure; of the data only the shape counts."""
        structure = structure_of(config, labelled_of(config).shape)
        unused = [name for name in config if name.partition(".")[0] in ("optim", "solver")]
        unused += [name for name in config if name.startswith("data.") and name not in _DATA]
        resolved = config | dict.fromkeys(unused)
        return resolved | {"network.structure": structure.describe(), "network.work": float(structure.parameters)}, ""

    def cost(self, config: Flat) -> float:
        """Return a rough measure of the work: filter weights, and what every search takes besides."""
        return 1e5 + float(config["network.work"])

    def memory(self, config: Flat) -> int:
        """Return the bytes that a search may hold at once."""
        return int(400 * config["network.work"])

    def run(self, configs: Sequence[Flat], context: RunContext) -> list[Metrics]:
        """Minimise; the seed draws the random starts and the random dictionaries."""
        rows = []
        for config in configs:
            data = labelled_of(config)
            structure = structure_of(config, data.shape)
            # On one core a search rounds the same in a worker process as in this one.
            with cores(context.threads or 1):
                found = minimum_potential(structure, seed=config["seed"])
            rows.append(
                {
                    "status": "finished",
                    "error": None,
                    "backend": "eager",
                    "structure": structure.describe(),
                    "parameters": structure.parameters,
                    "network_parameters": structure.network_parameters(data.classes),
                    **_minimum(structure, found),
                    **_random(structure, config["seed"]),
                    **_pictures(structure, found),
                }
            )
            context.on_progress(1 / len(configs))
        return rows


_DATA = ("data.name", "data.root", "data.download")


def _minimum(structure: Structure, found: Minimum) -> Metrics:
    sizes = [float(structure.row_sizes[0]), *map(float, structure.column_sizes)]
    constructed = [value for name, value in found.starts if name.startswith("tight")]
    return {
        "pairs": found.pairs,
        "f2_min": found.f2,
        "f_min": found.f,
        "f2_lower": found.lower.value,
        "minimum_status": found.status,
        "f2_simple": simple_chain(sizes).value if structure.kind == "chain" else None,
        "f2_constructed": min(constructed),
        "restarts": sum(name == "random" for name, _ in found.starts),
        "minimum_gradient": found.gradient,
        "coherence_min": float(mutual_coherence(structure, found.filters, found.identity)),
    }


def _random(structure: Structure, seed: int) -> Metrics:
    """Return means over random dictionaries with identities of length 1, as nets have them before training."""
    draw = generator(seed, "weights")
    drawn = [random_filters(structure, [draw]) for _ in range(RANDOM)]
    potentials = [float(frame_potential(structure, filters).f) for filters in drawn]
    coherences = [float(mutual_coherence(structure, filters)) for filters in drawn]
    return {"f_random": float(np.mean(potentials)), "coherence_random": float(np.mean(coherences))}


def _pictures(structure: Structure, found: Minimum) -> Metrics:
    """Return |G| of the minimal dictionary and which of its entries may be non-zero, row by row; small ones only."""
    if structure.convolutional or structure.atoms > MOST_DRAWN:
        return {}
    gram = _gram(dictionary(structure, found.filters, found.identity))
    ones = {name: torch.ones_like(values) for name, values in found.filters.items()}
    pattern = _gram(dictionary(structure, ones, [torch.ones_like(t) for t in found.identity]).abs()) > 0
    return {
        "gram": gram.abs().flatten().tolist(),
        "gram_pattern": pattern.long().flatten().tolist(),
        "gram_sizes": list(structure.sizes[1:]),
    }


def _gram(whole: Tensor) -> Tensor:
    unit = whole[0] / whole[0].norm(dim=0)
    return unit.mT @ unit
