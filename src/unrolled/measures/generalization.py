r"""Approximation and generalisation of a fitted reasoning-layer ensemble.

The raw gap (test minus training loss) holds the training sample's own luck, which is there even with the true energy.
:math:`\mathrm{gap\_excess} = \mathrm{gap} - \mathrm{gap\_true}` takes it away, with gap_true the gap of the same
layer (rows, steps, step size, cell) with the true energy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.training.fit import Backend
from unrolled.training.optimizers import Tensors


def generalization(backend: Backend, weights: Tensors, train_rows: Tensor, population: int) -> dict[str, Tensor]:
    """Return losses and gaps of every replica.

    Args:
        backend: evaluates the ensemble.
        weights: the parameters to judge, those of the best epoch.
        train_rows: ``(R, n)`` training rows.
        population: number of rows of the data set; the test set is all of them, as in the paper.

    Returns:
        ``train_loss``, ``test_loss``, ``gap``, ``gap_true``, ``gap_excess``, ``representation_error``, each ``(R,)``
        in float64, in units of y (Euclidean distance) but for the last, a spectral norm.

    Reference:
        Chen et al. 2020 (arXiv 2006.13401), experiments (training error, gap, representation).
    """
    train = backend.evaluate(weights, train_rows)
    test = backend.evaluate(weights, torch.arange(population))
    gap, gap_true = test.loss - train.loss, test.loss_true - train.loss_true
    return {
        "train_loss": train.loss,
        "test_loss": test.loss,
        "gap": gap,
        "gap_true": gap_true,
        "gap_excess": gap - gap_true,
        "representation_error": test.representation_error,
    }
