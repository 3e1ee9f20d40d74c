"""Small packs of trials for the tests of training, and everything that a fit of them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from unrolled.data.quadratic import QuadraticProblems, generate
from unrolled.data.streams import stream_key
from unrolled.networks.reasoning import ReasoningEnsemble
from unrolled.training.fit import Backend, choose_backend
from unrolled.training.native.build import NativeUnavailableError
from unrolled.training.native.reasoning import kernel
from unrolled.training.optimizers import Rates, Tensors
from unrolled.training.residuals import UNROLLED
from unrolled.training.state import FitSettings, FitState, initial_state

PROBLEMS = generate(64, seed=1)
EVERYTHING = torch.arange(64)


def _why_not_native() -> str:
    try:
        kernel(10, 5)
    except NativeUnavailableError as error:
        return str(error)
    return ""


WHY_NOT_NATIVE = _why_not_native()
needs_native = pytest.mark.skipif(bool(WHY_NOT_NATIVE), reason=f"no native backend here: {WHY_NOT_NATIVE}")
FAST_BACKENDS = [pytest.param("native", marks=needs_native), "fused"]
EVERY_BACKEND = [*FAST_BACKENDS, "eager"]


@dataclass(frozen=True)
class Member:
    """What one trial of a pack may have of its own."""

    seed: int
    steps: int = 5
    step_size: float = 1.0
    learn: bool = False
    lr: float = 1e-2
    weight_decay: float = 1e-4


def varied(count: int) -> list[Member]:
    """Members that differ in everything a pack allows."""
    return [
        Member(
            seed=i,
            steps=(1, 3, 6, 2, 4)[i % 5],
            step_size=0.5 + 0.01 * i,
            learn=i % 2 == 0,
            lr=(1e-2, 1e-3, 3e-3)[i % 3],
            weight_decay=(1e-4, 0.0)[i % 4 == 3],
        )
        for i in range(count)
    ]


@dataclass(frozen=True)
class Job:
    """What the trials of a pack share. Rows, weights and orders follow from the members' seeds."""

    solver: str = "gd"
    width: int = 4
    optimizer: str = "adam"
    epochs: int = 6
    n_train: int = 12
    batch: int = 5
    problems: QuadraticProblems = PROBLEMS
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    curve: tuple[int, ...] | None = None

    def ensemble(self, members: Sequence[Member]) -> ReasoningEnsemble:
        """The replicas; an RNN has no learned step."""
        return ReasoningEnsemble(
            self.problems,
            self.solver,
            self.width,
            [m.steps for m in members],
            [m.step_size for m in members],
            [m.learn and self.solver != "rnn" for m in members],
            dtype=self.dtype,
            device=self.device,
        )

    def settings(self, members: Sequence[Member]) -> FitSettings:
        """How they are fitted; every epoch's loss is kept where no ``curve`` is given."""
        return FitSettings(
            optimizer=self.optimizer,
            rates=Rates(torch.tensor([m.lr for m in members]), torch.tensor([m.weight_decay for m in members])),
            epochs=self.epochs,
            batch_size=self.batch,
            train_rows=np.stack([self.problems.training_rows(self.n_train, m.seed, named=False) for m in members]),
            order_keys=np.array([stream_key(m.seed, "order") for m in members], dtype=np.uint64),
            curve_epochs=tuple(range(self.epochs + 1)) if self.curve is None else self.curve,
        )

    def start(self, members: Sequence[Member]) -> FitState:
        """The state before the first epoch."""
        weights = self.ensemble(members).initial_parameters([m.seed for m in members])
        return initial_state(weights, self.settings(members))

    def backend(self, members: Sequence[Member], name: str, threads: int | None = None) -> Backend:
        """A backend for them."""
        if name == "fused" and self.solver not in UNROLLED:
            pytest.skip(f"the fused backend does not know the solver {self.solver}")
        return choose_backend(name, self.ensemble(members), threads)

    def train(self, members: Sequence[Member], backend: str, until: int | None = None) -> FitState:
        """Train them in one go."""
        until = self.epochs if until is None else until
        return self.backend(members, backend).advance(self.settings(members), self.start(members), until)


def replica(state: FitState, i: int) -> Tensors:
    """Everything that a state says of one replica."""
    named: dict[str, Tensors] = {
        "weights": state.weights, "moments": state.moments, "best_weights": state.best_weights
    }  # fmt: skip
    out = {f"{group}.{name}": value[i] for group, values in named.items() for name, value in values.items()}
    out |= {name: getattr(state, name)[i] for name in ("best_loss", "best_epoch", "diverged_epoch")}
    return out | {"curve": state.curve[:, i], "epoch": torch.tensor(state.epoch)}


def assert_same_bits(found: Tensors, expected: Tensors) -> None:
    """Compare bit for bit; two NaN are the same."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_same_states(found: FitState, expected: FitState) -> None:
    """Compare all replicas of two states bit for bit."""
    for i in range(len(expected.best_loss)):
        assert_same_bits(replica(found, i), replica(expected, i))
