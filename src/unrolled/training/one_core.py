"""The eager backend for ensembles of many small operations: on one core, and without the replicas that stand still.

Operations on a few kilobytes do not gain from more cores, and other jobs on the machine make them wait for each other;
packs side by side are what fills a machine. On one core no sum is split by the number of cores either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, Self

import torch

from unrolled.training.eager import Ensemble, advance_eager
from unrolled.training.state import FitSettings, FitState


class Divisible(Ensemble, Protocol):
    """An ensemble of which some replicas can be had as an ensemble of their own."""

    def select(self, members: Sequence[int]) -> Self:
        """Return an ensemble of some replicas, by their numbers; data are shared."""
        ...


class EagerOnOneCore:
    """Train the replicas of an ensemble that still move.

    Args:
        ensemble: of R replicas.
        threads: cores that torch may use after all; large nets gain from more.
    """

    name = "eager"

    def __init__(self, ensemble: Divisible, threads: int | None = None) -> None:
        self.ensemble, self.threads = ensemble, threads or 1

    def advance(self, settings: FitSettings, state: FitState, until: int) -> FitState:
        """Train until an epoch; same contract as :func:`unrolled.training.eager.advance_eager`."""
        members = state.going.nonzero()[:, 0].tolist()
        part = self.ensemble.select(members)
        with cores(self.threads):
            return state.put(members, advance_eager(part, settings.of(members), state.of(members), until))


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Let torch compute on so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
