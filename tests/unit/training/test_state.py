import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unrolled.training.optimizers import Rates
from unrolled.training.state import FitState, log_spaced_epochs

from .factory import Job, varied

MEMBERS = varied(3)


def test_the_state_before_the_first_epoch():
    job = Job(optimizer="adam", curve=(0, 2, 6))
    state = job.start(MEMBERS)
    assert state.epoch == 0
    assert state.best_loss.tolist() == [math.inf] * 3
    assert state.best_epoch.tolist() == [0, 0, 0]
    assert state.diverged_epoch.tolist() == [-1, -1, -1]
    assert state.curve.shape == (3, 3)
    assert torch.isnan(state.curve).all()
    assert len(state.moments) == 2 * len(state.weights)
    for name, weight in state.weights.items():
        assert torch.equal(state.best_weights[name], weight)
        assert state.best_weights[name].data_ptr() != weight.data_ptr()


def test_a_state_is_its_dictionary():
    state = Job().start(MEMBERS)
    content = state.to_dict()
    assert FitState(**content) == state
    assert content["weights"] is state.weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "expected epochs >= 1 and batch_size 1 to 12 .*got 0 and 5"),
        ({"batch_size": 0}, "batch_size 1 to 12 .*got 6 and 0"),
        ({"batch_size": 13}, "batch_size 1 to 12 .*got 6 and 13"),
        ({"curve_epochs": (0, 7)}, r"curve_epochs: expected epochs 0 to 6, got \(0, 7\)"),
        ({"curve_epochs": (-1,)}, "curve_epochs: expected epochs 0 to 6"),
        ({"order_keys": np.zeros(2, dtype=np.uint64)}, "expected one entry a replica in each"),
        ({"train_rows": np.zeros((4, 12), dtype=np.int64)}, "expected one entry a replica in each"),
        ({"rates": Rates(torch.ones(3), torch.ones(1))}, "expected one entry a replica in each"),
    ],
)
def test_settings_that_no_fit_can_follow_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(Job().settings(MEMBERS), **changes)


@pytest.mark.parametrize("epochs", [1, 2, 59, 60, 61, 1000, 50_000])
def test_log_spaced_epochs(epochs):
    chosen = log_spaced_epochs(epochs)
    assert chosen[:2] == (0, 1)
    assert chosen[-1] == epochs
    assert list(chosen) == sorted(set(chosen))
    assert all(type(epoch) is int for epoch in chosen)
    assert len(chosen) <= 61
    # Evenly on a log scale: past the first, crowded ones, neighbours differ by about the same factor.
    late = np.array([epoch for epoch in chosen if epoch >= 100])
    if len(late) > 2:
        ratios = late[1:] / late[:-1]
        assert ratios.max() / ratios.min() < 1.05
    assert len(log_spaced_epochs(epochs, points=5)) <= 6
