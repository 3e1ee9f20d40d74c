"""Adam and SGD on ensembles: one update for all replicas, settings of their own for each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = dict[str, Tensor]

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Rates:
    """Settings of an update that may differ between replicas.

    Args:
        learning_rate: ``(R,)``, > 0.
        weight_decay: ``(R,)``, >= 0; the factor of the weights that is added to the gradient.
    """

    learning_rate: Tensor
    weight_decay: Tensor


def _decayed(weights: Tensors, gradients: Tensors, rates: Rates, undecayed: Collection[str]) -> Tensors:
    return {
        name: g if name in undecayed else g + _wide(rates.weight_decay, g) * weights[name]
        for name, g in gradients.items()
    }


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """Give per-replica values ``(R,)`` as many axes as ``like`` has."""
    return values.to(like).reshape(-1, *(1,) * (like.ndim - 1))


def sgd_step(
    weights: Tensors, gradients: Tensors, moments: Tensors, rates: Rates, time: int, undecayed: Collection[str]
) -> tuple[Tensors, Tensors]:
    """Return the weights after w <- w - lr (g + wd w), and the untouched (empty) moments."""
    decayed = _decayed(weights, gradients, rates, undecayed)
    return {n: w - _wide(rates.learning_rate, w) * decayed[n] for n, w in weights.items()}, moments


def adam_step(
    weights: Tensors, gradients: Tensors, moments: Tensors, rates: Rates, time: int, undecayed: Collection[str]
) -> tuple[Tensors, Tensors]:
    """Return weights and moments after one Adam update with weight decay in the gradient.

    Args:
        weights: name -> ``(R, ...)``.
        gradients: the same shapes.
        moments: first and second moments, as ``first.<name>`` and ``second.<name>``.
        rates: per-replica settings.
        time: number of this update, counted from 1.
        undecayed: names that weight decay leaves alone.

    Returns:
        New weights and new moments.

    Reference:
        Kingma and Ba 2015, algorithm 1; the same conventions as torch.optim.Adam.
    """
    beta1, beta2 = ADAM_BETAS
    new_weights, new_moments = {}, {}
    for name, g in _decayed(weights, gradients, rates, undecayed).items():
        first = moments[f"first.{name}"] + (1 - beta1) * (g - moments[f"first.{name}"])
        second = beta2 * moments[f"second.{name}"] + (1 - beta2) * g * g
        denominator = second.sqrt() / (1 - beta2**time) ** 0.5 + ADAM_EPSILON
        rate = _wide(rates.learning_rate, g) / (1 - beta1**time)
        new_weights[name] = weights[name] - rate * first / denominator
        new_moments[f"first.{name}"], new_moments[f"second.{name}"] = first, second
    return new_weights, new_moments


Step = Callable[[Tensors, Tensors, Tensors, Rates, int, Collection[str]], tuple[Tensors, Tensors]]

OPTIMIZERS: dict[str, Step] = {"adam": adam_step, "sgd": sgd_step}


def initial_moments(name: str, weights: Tensors) -> Tensors:
    """Return the optimiser's state before its first update.

    Raises:
        ValueError: an unknown optimiser.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}")
    if name == "sgd":
        return {}
    return {f"{order}.{n}": torch.zeros_like(w) for order in ("first", "second") for n, w in weights.items()}
