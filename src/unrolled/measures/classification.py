"""What a fitted ensemble of classifiers has learned: its losses, errors, potential and coherence."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.frames.potential import mutual_coherence
from unrolled.networks.frames import FrameClassifiers
from unrolled.training.optimizers import Tensors


def classification(
    ensemble: FrameClassifiers, weights: Tensors, train_rows: Tensor, test_rows: Tensor
) -> dict[str, Tensor]:
    """Return losses and errors of every replica.

    Args:
        ensemble: the replicas.
        weights: the parameters to judge, those of the best epoch.
        train_rows: ``(R, n)`` training rows.
        test_rows: ``(m,)`` rows that no replica has seen.

    Returns:
        ``train_loss``, ``test_loss`` and ``gap`` (cross-entropy; test minus training), ``train_error``, ``test_error``
        and ``gap_error`` (shares of wrong answers), each ``(R,)`` in float64.
    """
    train_rows = train_rows.to(ensemble.device)
    statistics = ensemble.statistics(weights, train_rows)
    train_loss, train_error = ensemble.evaluate(weights, train_rows, statistics)
    test_loss, test_error = ensemble.evaluate(weights, test_rows, statistics)
    return {
        "train_loss": train_loss,
        "test_loss": test_loss,
        "gap": test_loss - train_loss,
        "train_error": train_error,
        "test_error": test_error,
        "gap_error": test_error - train_error,
    }


@torch.no_grad()
def frame_measures(ensemble: FrameClassifiers, initial: Tensors, weights: Tensors) -> dict[str, Tensor]:
    """Return the deep frame potential before and after training, and the mutual coherence after it.

    Args:
        ensemble: the replicas.
        initial: parameters before training.
        weights: parameters after it, finite.

    Returns:
        ``f_initial``, ``f_trained`` and ``coherence_trained``, each ``(R,)`` in float64.
    """
    return {
        "f_initial": ensemble.potentials(initial).f.double(),
        "f_trained": ensemble.potentials(weights).f.double(),
        "coherence_trained": mutual_coherence(ensemble.structure, ensemble.filters(weights)).double(),
    }
