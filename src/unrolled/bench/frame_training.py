"""Deep frames in training: what the potential adds to an update, and what training nets together saves."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from unrolled.bench.timing import Effort, torch_threads
from unrolled.data.streams import stream_key
from unrolled.frames.structure import Structure, build, resnet
from unrolled.networks.frames import FrameClassifiers, Parameters
from unrolled.training.eager import advance_eager
from unrolled.training.optimizers import Rates
from unrolled.training.state import FitSettings, FitState, initial_state

NETS: Mapping[str, tuple[Structure, tuple[int, int, int]]] = {
    "fc": (build("chain", 3072, (128, 256)), (3, 32, 32)),
    "conv": (resnet("residual", 8, 1, grid=16), (3, 16, 16)),
}
"""Name -> structure, and the shape of the images it reads."""

REPLICAS, BATCH, CLASSES = 8, 50, 10
WEIGHT = 1e-3


def bench_frame_training(effort: Effort) -> dict[str, object]:
    """Time updates of ensembles with and without the potential, and of the same nets one after the other.

    Args:
        effort: how many updates, and how often.

    Returns:
        ``frames_potential_step_ratio_<net>`` and ``frames_ensemble_speedup_<net>``, for a fully connected net and a
        convolutional one.
    """
    figures: dict[str, object] = {}
    for name, (structure, image) in NETS.items():
        plain, penalised = (Run(structure, image, weight, effort.frame_updates) for weight in (0.0, WEIGHT))
        calls = {"plain": plain.together, "penalised": penalised.together, "loop": penalised.one_by_one}
        turns = in_turns_once_warm(calls, effort.turns)
        for figure, (above, below) in {
            "potential_step_ratio": ("penalised", "plain"),
            "ensemble_speedup": ("loop", "penalised"),
        }.items():
            figures[f"frames_{figure}_{name}"] = statistics.median(turn[above] / turn[below] for turn in turns)
    return figures


def in_turns_once_warm(calls: Mapping[str, Callable[[], object]], turns: int) -> list[dict[str, float]]:
    """Return the seconds of each call, by name, in each turn; all are called once before, on one core throughout."""
    with torch_threads(1):
        return [{name: _seconds(call) for name, call in calls.items()} for _ in range(turns + 1)][1:]


class Unjudged(FrameClassifiers):
    """Classifiers whose training loss is not computed after each epoch: an update alone is timed."""

    def training_loss(self, parameters: Parameters, rows: Tensor) -> Tensor:
        """Return zeros."""
        return torch.zeros(self.replicas)


@dataclass(frozen=True)
class Run:
    """A few updates of an ensemble on images of noise.

    Args:
        structure: of its nets.
        image: shape of the images.
        weight: of the potential.
        updates: how many, as one epoch.
    """

    structure: Structure
    image: tuple[int, int, int]
    weight: float
    updates: int

    @cached_property
    def ensemble(self) -> Unjudged:
        """The nets."""
        rows = self.updates * BATCH
        noise = np.random.default_rng(0).standard_normal((rows, *self.image), dtype=np.float32)
        return Unjudged(self.structure, noise, np.arange(rows) % CLASSES, CLASSES, [self.weight] * REPLICAS)

    @cached_property
    def settings(self) -> FitSettings:
        """Adam, for one epoch."""
        return FitSettings(
            optimizer="adam",
            rates=Rates(torch.full((REPLICAS,), 1e-3), torch.zeros(REPLICAS)),
            epochs=1,
            batch_size=BATCH,
            train_rows=np.tile(np.arange(self.updates * BATCH), (REPLICAS, 1)),
            order_keys=np.array([stream_key(seed, "order") for seed in range(REPLICAS)], dtype=np.uint64),
            curve_epochs=(),
        )

    @cached_property
    def start(self) -> FitState:
        """The state before the first update."""
        return initial_state(self.ensemble.initial_parameters(range(REPLICAS)), self.settings)

    def together(self) -> FitState:
        """Train all nets as one ensemble."""
        return advance_eager(self.ensemble, self.settings, self.start, 1)

    def one_by_one(self) -> list[FitState]:
        """Train the same nets in a loop, each as an ensemble of one."""
        return [
            advance_eager(self.ensemble.select([r]), self.settings.of([r]), self.start.of([r]), 1)
            for r in range(REPLICAS)
        ]


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
