"""The readable backend: plain torch operations and autograd, for any ensemble on any device."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unrolled.data.streams import shuffled_rows
from unrolled.training.optimizers import OPTIMIZERS, Tensors
from unrolled.training.state import FitSettings, FitState

EPOCHS_A_SHUFFLE = 50
"""Epochs whose row orders are made together; it bounds memory and changes no result."""


class Ensemble(Protocol):
    """What a fit needs of R replicas trained as one."""

    undecayed: frozenset[str]

    def losses(self, parameters: Tensors, rows: Tensor) -> Tensor:
        """Return the loss of each row, ``(R, B)`` for rows ``(R, B)``; no replica may see another's."""
        ...


def advance_eager(ensemble: Ensemble, settings: FitSettings, state: FitState, until: int) -> FitState:
    """Train until an epoch and return the new state; after the last epoch of the fit its loss is judged too.

    Args:
        ensemble: the replicas.
        settings: how they are fitted.
        state: where they stand; it is not changed.
        until: epoch to stop after, at most ``settings.epochs``.

    Returns:
        The state after ``until`` epochs.
    """
    state = FitState(**{**state.to_dict(), "curve": state.curve.clone()})  # type: ignore[arg-type]
    device = state.best_loss.device
    rows = torch.as_tensor(settings.train_rows, device=device)
    for first in range(state.epoch, until, EPOCHS_A_SHUFFLE):
        epochs = range(first, min(first + EPOCHS_A_SHUFFLE, until))
        orders = shuffled_rows(settings.order_keys, epochs, rows.shape[1])
        for i, epoch in enumerate(epochs):
            _judge(ensemble, settings, state, rows, epoch)
            order = torch.as_tensor(np.ascontiguousarray(orders[:, i]), device=device)
            _train_epoch(ensemble, settings, state, rows.gather(1, order), epoch)
            state.epoch = epoch + 1
    if until == settings.epochs:
        _judge(ensemble, settings, state, rows, until)
    return state


def _train_epoch(ensemble: Ensemble, settings: FitSettings, state: FitState, rows: Tensor, epoch: int) -> None:
    batches = rows.split(settings.batch_size, dim=1)
    alive = state.diverged_epoch < 0
    step = OPTIMIZERS[settings.optimizer]
    for number, batch in enumerate(batches):
        weights = {name: w.detach().requires_grad_() for name, w in state.weights.items()}
        # The sum over replicas gives each replica its own gradient, as none sees another's weights.
        loss = ensemble.losses(weights, batch).mean(1).sum()
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        gradients = {
            name: torch.zeros_like(w) if g is None else g for (name, w), g in zip(weights.items(), found, strict=True)
        }
        with torch.no_grad():
            new, state.moments = step(
                state.weights,
                gradients,
                state.moments,
                settings.rates,
                epoch * len(batches) + number + 1,
                ensemble.undecayed,
            )
            state.weights = {name: _where(alive, new[name], old) for name, old in state.weights.items()}


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *(1,) * (yes.ndim - 1)), yes, no)


@torch.no_grad()
def _judge(ensemble: Ensemble, settings: FitSettings, state: FitState, rows: Tensor, epoch: int) -> None:
    """Enter the training loss after ``epoch`` epochs: curve, best weights, divergence."""
    loss = ensemble.losses(state.weights, rows).double().mean(1).to(state.best_loss.dtype)
    alive, finite = state.diverged_epoch < 0, torch.isfinite(loss)
    state.diverged_epoch = torch.where(alive & ~finite, epoch, state.diverged_epoch)
    if epoch in settings.curve_epochs:
        slot = settings.curve_epochs.index(epoch)
        state.curve[slot] = torch.where(alive & finite, loss, torch.nan)
    if epoch == 0:
        return  # as in the released code, only weights that were trained can be the best
    improved = alive & finite & (loss < state.best_loss)
    state.best_loss = torch.where(improved, loss, state.best_loss)
    state.best_epoch = torch.where(improved, epoch, state.best_epoch)
    state.best_weights = {n: _where(improved, state.weights[n], best) for n, best in state.best_weights.items()}
