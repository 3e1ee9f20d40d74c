"""The readable backend: plain torch operations and autograd, for any ensemble on any device."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unrolled.data.streams import shuffled_rows
from unrolled.training.optimizers import Tensors
from unrolled.training.state import FitSettings, FitState
from unrolled.training.update import Update

EPOCHS_A_SHUFFLE = 50
"""Epochs whose row orders are made together; it bounds memory and changes no result."""


DROP = 0.99
"""A loss has dropped where it is below this times the last one that had: by 1 %."""


class Ensemble(Protocol):
    """What a fit needs of R replicas trained as one; none may see another's weights, nor round by their number."""

    @property
    def undecayed(self) -> frozenset[str]:
        """Names of the parameters that weight decay leaves alone."""
        ...

    def losses(self, parameters: Tensors, rows: Tensor) -> Tensor:
        """Return the loss of each row of a batch, ``(R, B)`` for rows ``(R, B)``."""
        ...

    def penalty(self, parameters: Tensors) -> Tensor | None:
        """Return what is added to the mean loss of a batch, ``(R,)``, or None for nothing."""
        ...

    def training_loss(self, parameters: Tensors, rows: Tensor) -> Tensor:
        """Return the mean loss of all training rows ``(R, n)``, ``(R,)``, by which an epoch is judged."""
        ...

    def probe(self, parameters: Tensors) -> Tensors:
        """Return what is measured where the training curve is kept, name -> ``(R,)``."""
        ...


def advance_eager(ensemble: Ensemble, settings: FitSettings, state: FitState, until: int) -> FitState:
    """Train until an epoch and return the new state; after the last epoch of the fit its loss is judged too.

    Args:
        ensemble: the replicas.
        settings: how they are fitted.
        state: where they stand; it is not changed.
        until: epoch to stop after, at most ``settings.epochs``.

    Returns:
        The state after ``until`` epochs, or earlier where all replicas stand still.
    """
    state = FitState(**{**state.to_dict(), "curve": state.curve.clone()})  # type: ignore[arg-type]
    state.probes = {name: value.clone() for name, value in state.probes.items()}
    device = state.best_loss.device
    rows = torch.as_tensor(settings.train_rows, device=device)
    update = Update(ensemble.undecayed, settings, state)
    for first in range(state.epoch, until, EPOCHS_A_SHUFFLE):
        epochs = range(first, min(first + EPOCHS_A_SHUFFLE, until))
        orders = shuffled_rows(settings.order_keys, epochs, rows.shape[1])
        for i, epoch in enumerate(epochs):
            _judge(ensemble, settings, state, rows, epoch)
            if not bool(state.going.any()):
                update.leave(state)
                return state
            order = torch.as_tensor(np.ascontiguousarray(orders[:, i]), device=device)
            _train_epoch(ensemble, settings, state, update, rows.gather(1, order), epoch)
            state.epoch = epoch + 1
    if until == settings.epochs:
        _judge(ensemble, settings, state, rows, until)
    update.leave(state)
    return state


def _train_epoch(
    ensemble: Ensemble, settings: FitSettings, state: FitState, update: Update, rows: Tensor, epoch: int
) -> None:
    batches = rows.split(settings.batch_size, dim=1)
    going = None if bool(state.going.all()) else state.going
    for number, batch in enumerate(batches):
        weights = {name: w.detach().requires_grad_() for name, w in state.weights.items()}
        # The sum over replicas gives each replica its own gradient, as none sees another's weights.
        loss = ensemble.losses(weights, batch).mean(1).sum()
        if (penalty := ensemble.penalty(weights)) is not None:
            loss = loss + penalty.sum()
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        state.weights = update(dict(zip(weights, found, strict=True)), epoch * len(batches) + number + 1, going)


@torch.no_grad()
def _judge(ensemble: Ensemble, settings: FitSettings, state: FitState, rows: Tensor, epoch: int) -> None:
    """Enter the training loss after ``epoch`` epochs: curve, best weights, divergence, patience."""
    loss = ensemble.training_loss(state.weights, rows).to(state.best_loss.dtype)
    going, finite = state.going, torch.isfinite(loss)
    state.diverged_epoch = torch.where(going & ~finite, epoch, state.diverged_epoch)
    going &= finite
    if epoch in settings.curve_epochs:
        slot = settings.curve_epochs.index(epoch)
        state.curve[slot] = torch.where(going, loss, torch.nan)
        for name, value in ensemble.probe(state.weights).items():
            curve = state.probes.setdefault(name, torch.full_like(state.curve, torch.nan))
            curve[slot] = torch.where(going, value, torch.nan)
    if settings.patience is not None:
        _look_for_plateau(settings.patience, settings.epochs, state, loss, going, epoch)
    if epoch == 0:
        return  # as in the released code, only weights that were trained can be the best
    improved = going & (loss < state.best_loss)
    state.best_loss = torch.where(improved, loss, state.best_loss)
    state.best_epoch = torch.where(improved, epoch, state.best_epoch)
    state.best_weights = {n: _where(improved, state.weights[n], best) for n, best in state.best_weights.items()}


def _look_for_plateau(patience: int, epochs: int, state: FitState, loss: Tensor, going: Tensor, epoch: int) -> None:
    dropped = going & (loss < DROP * state.plateau_loss)
    state.plateau_loss = torch.where(dropped, loss, state.plateau_loss)
    state.plateau_epoch = torch.where(dropped, epoch, state.plateau_epoch)
    if epoch < epochs:  # at its end a fit ends by itself
        stalled = going & (epoch - state.plateau_epoch >= patience)
        state.stopped_epoch = torch.where(stalled, epoch, state.stopped_epoch)


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)
