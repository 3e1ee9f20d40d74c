"""Measures of fitted classifiers, against the ensemble's own scores and the explicit dictionary."""

from __future__ import annotations

import pytest
import torch

from unrolled.frames.dictionary import dictionary
from unrolled.frames.structure import Structure, build
from unrolled.measures.classification import classification, frame_measures
from unrolled.networks.frames import FrameClassifiers

ROUNDING = 1e-12
"""Float64 sums of some hundred terms of order one."""

STRUCTURES = [build("dense", 16, (6, 5)), build("residual", 1, (3, 4, 3), kernels=3, grid=4)]


def ensemble_of(structure: Structure) -> FrameClassifiers:
    images = torch.randn(30, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return FrameClassifiers(structure, images, torch.arange(30) % 3, 3, [0.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("structure", STRUCTURES, ids=["flat", "grid"])
def test_losses_and_errors_are_those_of_the_scores(structure: Structure) -> None:
    ensemble = ensemble_of(structure)
    weights = ensemble.initial_parameters([1, 2])
    train, test = torch.stack([torch.arange(0, 20), torch.arange(2, 22)]), torch.arange(22, 30)
    found = classification(ensemble, weights, train, test)
    statistics = ensemble.statistics(weights, train)
    images = ensemble.inputs.view(30, 1, 4, 4)
    for part, rows in (("train", train), ("test", test.expand(2, -1))):
        scores, labels = ensemble.outputs(weights, images[rows], statistics), ensemble.labels[rows]
        loss = -scores.log_softmax(-1).gather(-1, labels[..., None])[..., 0].mean(1)
        error = (scores.argmax(-1) != labels).double().mean(1)
        torch.testing.assert_close(found[f"{part}_loss"], loss, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(found[f"{part}_error"], error, rtol=0, atol=ROUNDING)
    assert torch.equal(found["gap"], found["test_loss"] - found["train_loss"])
    assert torch.equal(found["gap_error"], found["test_error"] - found["train_error"])
    assert float(found["gap"].abs().min()) > 0


@pytest.mark.parametrize("structure", STRUCTURES, ids=["flat", "grid"])
def test_potential_and_coherence_are_those_of_the_dictionary(structure: Structure) -> None:
    ensemble = ensemble_of(structure)
    initial, weights = ensemble.initial_parameters([1, 2]), ensemble.initial_parameters([3, 4])
    found = frame_measures(ensemble, initial, weights)
    grams = {}
    for name, parameters in (("initial", initial), ("trained", weights)):
        b = dictionary(structure, ensemble.filters(parameters))
        b = b / b.norm(dim=1, keepdim=True)
        grams[name] = b.mT @ b - torch.eye(structure.atoms, dtype=b.dtype)
        # N from the zero pattern: filters drawn at random have no zero of their own.
        pattern = (dictionary(structure, ensemble.filters(parameters))[0] != 0).double()
        pairs = int(((pattern.T @ pattern) > 0).sum()) - structure.atoms
        f = (grams[name].square().sum((1, 2)) / pairs).sqrt()
        torch.testing.assert_close(found[f"f_{name}"], f, rtol=1e-10, atol=0)
    coherence = grams["trained"].abs().amax((1, 2))
    torch.testing.assert_close(found["coherence_trained"], coherence, rtol=1e-10, atol=0)
    assert bool((found["f_trained"] <= found["coherence_trained"]).all())
