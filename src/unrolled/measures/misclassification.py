r"""How wrong an ensemble of classifiers is about each input, and in which direction it becomes more so.

The measure is the log-odds of a wrong answer,

.. math:: \ell(x) = \log \sum_{j \ne y} e^{s_j(x)} - s_y(x), \qquad \mathrm{cross\ entropy} = \log(1 + e^{\ell}).

Its gradient has the direction of that of the cross-entropy, which is all that attacks use; but where a net is sure of
its answer the gradient of the cross-entropy is lost to rounding, and this one is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unrolled.measures.perturbation import per_row

Scores = Callable[[Tensor], Tensor]
"""Inputs ``(R, B, ...)``, for any B, to the scores of the classes ``(R, B, classes)``, each row by itself."""


def error(scores: Scores, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the share of wrong answers of each replica, ``(R,)`` in float64; a score that is NaN makes one.

    Args:
        scores: the classifiers.
        inputs: ``(R, B, ...)``.
        labels: ``(R, B)`` integers from 0.

    Raises:
        ValueError: shapes that do not fit, or a label without a score.
    """
    with torch.no_grad():
        return _wrong(checked(scores, inputs, labels), labels).double().mean(1)


def log_odds(values: Tensor, labels: Tensor) -> Tensor:
    """Return the log-odds of a wrong answer, ``(R, B)``, for scores ``(R, B, classes)``."""
    own = labels[..., None]
    others = values.scatter(-1, own, -math.inf)
    return others.logsumexp(-1) - values.gather(-1, own)[..., 0]


class Worst:
    """The worst input of each row so far: the first that is answered wrongly, or else the one of the highest log-odds.

    Args:
        scores: the classifiers.
        inputs: ``(R, B, ...)`` inputs to begin with.
        labels: ``(R, B)``.
    """

    def __init__(self, scores: Scores, inputs: Tensor, labels: Tensor) -> None:
        with torch.no_grad():
            values = checked(scores, inputs, labels)
            self.inputs, self.wrong, self.loss = inputs, _wrong(values, labels), log_odds(values, labels)

    def offer(self, inputs: Tensor, wrong: Tensor, loss: Tensor) -> None:
        """Take the rows that are worse than those so far; log-odds that are NaN are not the highest."""
        worse = ~self.wrong & (wrong | (loss > self.loss))
        self.inputs = torch.where(per_row(worse, inputs), inputs, self.inputs)
        self.loss, self.wrong = torch.where(worse, loss, self.loss), self.wrong | wrong


def climb(scores: Scores, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return wrong answers, log-odds and the gradient of each row's log-odds; one pass, as rows are independent."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        values = scores(x)
        loss = log_odds(values, labels)
        (gradient,) = torch.autograd.grad(loss, x, torch.ones_like(loss))
    return _wrong(values, labels), loss.detach(), gradient


@torch.no_grad()
def judged(scores: Scores, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return wrong answers and log-odds."""
    values = scores(x)
    return _wrong(values, labels), log_odds(values, labels)


def checked(scores: Scores, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the scores of inputs, after a look at all shapes."""
    if labels.shape != inputs.shape[:2] or labels.dtype != torch.int64 or not labels.numel():
        raise ValueError(
            f"labels: expected int64 {tuple(inputs.shape[:2])}, as the inputs have, got {labels.dtype} "
            f"{tuple(labels.shape)}"
        )
    values = scores(inputs)
    if values.ndim != 3 or values.shape[:2] != labels.shape or values.shape[2] < 2:
        raise ValueError(f"scores: expected {tuple(labels.shape)} and at least two classes, got {tuple(values.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= values.shape[2]:
        raise ValueError(f"labels: expected 0 to {values.shape[2] - 1}, got {int(labels.min())} to {int(labels.max())}")
    return values


def _wrong(values: Tensor, labels: Tensor) -> Tensor:
    return (values.argmax(-1) != labels) | values.isnan().any(-1)
