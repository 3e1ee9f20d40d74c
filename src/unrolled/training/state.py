"""What a fit is given, and where it stands: everything needed to stop it at any epoch and go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.training.optimizers import Rates, Tensors, initial_moments


@dataclass(frozen=True)
class FitSettings:
    """How an ensemble of R replicas is fitted.

    Args:
        optimizer: ``adam`` or ``sgd``.
        rates: per-replica learning rate and weight decay.
        epochs: passes over the training rows, >= 1.
        batch_size: rows of one update, 1 to n; the last batch of an epoch may be smaller.
        train_rows: ``(R, n)`` rows of the data set that each replica trains on.
        order_keys: ``(R,)`` keys of the streams that shuffle the rows anew each epoch.
        curve_epochs: increasing epoch numbers whose training loss is kept; 0 is the loss before training.
        patience: epochs without a drop of the training loss by 1 % after which a replica stands still; None: never.

    Raises:
        ValueError: a number outside its range, or lengths that differ.
    """

    optimizer: str
    rates: Rates
    epochs: int
    batch_size: int
    train_rows: NDArray[np.int64]
    order_keys: NDArray[np.uint64]
    curve_epochs: tuple[int, ...]
    patience: int | None = None

    def __post_init__(self) -> None:
        replicas, n = self.train_rows.shape
        if not len(self.order_keys) == len(self.rates.learning_rate) == len(self.rates.weight_decay) == replicas:
            raise ValueError("rates, train_rows and order_keys: expected one entry a replica in each")
        if self.epochs < 1 or not 1 <= self.batch_size <= n:
            raise ValueError(
                f"expected epochs >= 1 and batch_size 1 to {n} (the training rows), "
                f"got {self.epochs} and {self.batch_size}"
            )
        if not all(0 <= epoch <= self.epochs for epoch in self.curve_epochs):
            raise ValueError(f"curve_epochs: expected epochs 0 to {self.epochs}, got {self.curve_epochs}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: expected epochs >= 1 or None, got {self.patience}")

    def of(self, members: Sequence[int]) -> FitSettings:
        """Return the settings of some replicas."""
        which = list(members)
        rates = Rates(self.rates.learning_rate[which], self.rates.weight_decay[which])
        own = {"rates": rates, "train_rows": self.train_rows[which], "order_keys": self.order_keys[which]}
        return replace(self, **own)  # type: ignore[arg-type]


_UNSET = torch.empty(0)


@dataclass
class FitState:
    """Where a fit stands after ``epoch`` epochs; the loss after the last of them is judged when it goes on.

    Args:
        epoch: epochs done.
        weights: name -> ``(R, ...)``.
        moments: the optimiser's state.
        best_weights: the weights after the epoch with the lowest training loss so far.
        best_loss: ``(R,)`` that loss, infinite before the first epoch.
        best_epoch: ``(R,)`` that epoch, 0 before the first.
        diverged_epoch: ``(R,)`` first epoch with a non-finite loss, -1 if none; such a replica stands still.
        curve: ``(C, R)`` training loss after ``curve_epochs``; NaN where not reached or not finite.
        probes: what else the ensemble measures then, name -> ``(C, R)`` likewise.
        stopped_epoch: ``(R,)`` epoch after which a replica lost patience and stands still, -1 if none.
        plateau_loss: ``(R,)`` loss that has to be undercut by 1 %, infinite before it was judged.
        plateau_epoch: ``(R,)`` epoch of that loss.
    """

    epoch: int
    weights: Tensors
    moments: Tensors
    best_weights: Tensors
    best_loss: Tensor
    best_epoch: Tensor
    diverged_epoch: Tensor
    curve: Tensor
    probes: Tensors = field(default_factory=dict)
    stopped_epoch: Tensor = _UNSET
    plateau_loss: Tensor = _UNSET
    plateau_epoch: Tensor = _UNSET

    def __post_init__(self) -> None:
        # Backends that know no patience, and older checkpoints, leave these out.
        if self.stopped_epoch is _UNSET:
            self.stopped_epoch = torch.full_like(self.best_epoch, -1)
        if self.plateau_loss is _UNSET:
            self.plateau_loss = torch.full_like(self.best_loss, math.inf)
        if self.plateau_epoch is _UNSET:
            self.plateau_epoch = torch.zeros_like(self.best_epoch)

    @property
    def going(self) -> Tensor:
        """``(R,)`` whether a replica is still trained."""
        return (self.diverged_epoch < 0) & (self.stopped_epoch < 0)

    def of(self, members: Sequence[int]) -> FitState:
        """Return where some replicas stand."""
        which = torch.as_tensor(list(members), device=self.best_loss.device)
        return FitState(self.epoch, *(_picked(getattr(self, name), which, name in _LAST) for name in _REPLICATED))

    def put(self, members: Sequence[int], part: FitState) -> FitState:
        """Return the state with some replicas where ``part`` has them, and its epoch."""
        which = torch.as_tensor(list(members), device=self.best_loss.device)
        blank = {
            name: value.new_full((len(self.curve), len(self.best_loss)), math.nan)
            for name, value in part.probes.items()
        }
        whole = replace(self, probes=blank | self.probes)
        return FitState(
            part.epoch, *(_put(getattr(whole, n), getattr(part, n), which, n in _LAST) for n in _REPLICATED)
        )

    def to_dict(self) -> dict[str, object]:
        """Return the fields as a plain dictionary, which ``torch.save`` writes and reads without pickled code."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


_REPLICATED = tuple(f.name for f in fields(FitState))[1:]
_LAST = ("curve", "probes")
"""Fields whose replicas are on the last axis; else they are on the first."""


def _picked(value: Tensor | Tensors, which: Tensor, last: bool) -> Any:
    if isinstance(value, dict):
        return {name: _picked(v, which, last) for name, v in value.items()}
    return value.index_select(-1 if last else 0, which)


def _put(value: Tensor | Tensors, part: Tensor | Tensors, which: Tensor, last: bool) -> Any:
    if isinstance(value, dict):
        assert isinstance(part, dict)
        return {name: _put(v, part[name], which, last) for name, v in value.items()}
    assert isinstance(part, Tensor)
    return value.index_copy(-1 if last else 0, which, part)


def initial_state(weights: Tensors, settings: FitSettings) -> FitState:
    """Return the state before the first epoch."""
    replicas, device = len(settings.order_keys), next(iter(weights.values())).device
    return FitState(
        epoch=0,
        weights=weights,
        moments=initial_moments(settings.optimizer, weights),
        best_weights={name: w.clone() for name, w in weights.items()},
        best_loss=torch.full((replicas,), math.inf, device=device),
        best_epoch=torch.zeros(replicas, dtype=torch.int64, device=device),
        diverged_epoch=torch.full((replicas,), -1, dtype=torch.int64, device=device),
        curve=torch.full((len(settings.curve_epochs), replicas), math.nan, device=device),
    )


def log_spaced_epochs(epochs: int, points: int = 60) -> tuple[int, ...]:
    """Return 0, and about ``points`` epochs from 1 to the last, evenly spaced on a log scale."""
    spaced = np.unique(np.geomspace(1, epochs, min(points, epochs)).round().astype(int))
    return (0, *(int(e) for e in spaced))
