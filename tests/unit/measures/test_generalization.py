import pytest
import torch

from unrolled.data.quadratic import generate
from unrolled.measures.generalization import generalization
from unrolled.networks.reasoning import ReasoningEnsemble
from unrolled.training.fit import choose_backend

POPULATION = 50
PROBLEMS = generate(POPULATION, seed=1)
# float64 rounding of means over 50 numbers of order 50.
ROUNDING = 1e-11


@pytest.fixture(scope="module")
def ensemble():
    return ReasoningEnsemble(
        PROBLEMS, "nag", 4, (3, 1, 8), (1.0, 0.5, 0.8), (False, True, False), dtype=torch.float64
    )  # fmt: skip


@pytest.fixture(scope="module")
def train_rows():
    return torch.stack([torch.arange(7), torch.arange(20, 27), torch.arange(40, 47)])


@pytest.fixture(scope="module")
def weights(ensemble):
    return ensemble.initial_parameters((0, 1, 2))


def measured(ensemble, weights, rows, population=POPULATION):
    return generalization(choose_backend("eager", ensemble), weights, rows, population)


def test_each_measure_is_its_definition(ensemble, weights, train_rows):
    found = measured(ensemble, weights, train_rows)
    everything = torch.arange(POPULATION).expand(3, -1)

    def mean_loss(rows, true):
        e = ensemble.eigenvalues[rows] if true else ensemble.learned_eigenvalues(weights, rows)
        return ensemble.layer_losses(weights, rows, e).mean(1)

    gap = mean_loss(everything, False) - mean_loss(train_rows, False)
    gap_true = mean_loss(everything, True) - mean_loss(train_rows, True)
    difference = ensemble.learned_eigenvalues(weights, everything) - ensemble.eigenvalues[everything]
    q = ensemble.rotation[everything]
    expected = {
        "train_loss": mean_loss(train_rows, False),
        "test_loss": mean_loss(everything, False),
        "gap": gap,
        "gap_true": gap_true,
        "gap_excess": gap - gap_true,
        "representation_error": torch.linalg.matrix_norm(q @ torch.diag_embed(difference) @ q.mT, ord=2).mean(1),
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=ROUNDING)
    # No two of them are the same number, so none stands in for another.
    assert len({round(float(v[0]), 6) for v in found.values()}) == len(found)


def test_training_on_everything_leaves_no_gap(ensemble, weights):
    found = measured(ensemble, weights, torch.arange(POPULATION).expand(3, -1))
    for name in ("gap", "gap_true", "gap_excess"):
        assert found[name].abs().max() == 0
    assert found["representation_error"].min() > 0.01


def test_where_the_net_plays_no_part_the_excess_vanishes(weights, train_rows):
    # After one step from 0 the layer gives s b, whatever the energy: all of the gap is the sample's own.
    ensemble = ReasoningEnsemble(PROBLEMS, "gd", 4, (1, 1, 1), (1.0, 0.5, 0.8), (False,) * 3, dtype=torch.float64)
    found = measured(ensemble, weights, train_rows)
    assert found["gap"].abs().min() > 0.1
    assert found["gap_excess"].abs().max() < ROUNDING


def test_the_training_rows_change_the_gap_and_not_the_test_loss(ensemble, weights, train_rows):
    here, there = (measured(ensemble, weights, rows) for rows in (train_rows, train_rows.roll(1, 0)))
    assert torch.equal(here["test_loss"], there["test_loss"])
    assert torch.equal(here["representation_error"], there["representation_error"])
    assert not torch.equal(here["gap"], there["gap"])
