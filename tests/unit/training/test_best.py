"""The curve of training losses, and the best epoch kept along it."""

from dataclasses import replace

import pytest
import torch

from unrolled.training.fit import fit

from .factory import EVERY_BACKEND, Job, Member, assert_same_bits, replica, varied

# The loss is kept in 32 bits, and computed again in another order of rows: one rounding.
ONE_ROUNDING = 1.2e-7
EPOCHS = 15
RESTLESS = [replace(m, lr=lr) for m, lr in zip(varied(10), [0.5, 0.1, 2.0, 1.0, 0.03] * 2, strict=True)]

pytestmark = pytest.mark.parametrize("backend", EVERY_BACKEND)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("solver", ["gd", "nag"])
def test_the_best_epoch_is_the_lowest_point_of_the_curve(solver, optimizer, backend):
    end = Job(solver, 4, optimizer, epochs=EPOCHS).train(RESTLESS, backend)
    trained = end.curve[1:]
    assert torch.isfinite(end.curve).all()
    assert torch.equal(end.best_loss, trained.amin(0))
    assert torch.equal(end.best_epoch, trained.argmin(0) + 1)
    # Learning rates this large make the loss go up and down, so this was no test of the last epoch.
    assert ((end.best_epoch > 1) & (end.best_epoch < EPOCHS)).sum() >= 3


@pytest.mark.parametrize("solver", ["gd", "nag", "rnn"])
def test_the_best_weights_have_the_best_loss(solver, backend):
    job = Job(solver, 4, "adam", epochs=EPOCHS)
    # The cell of an RNN overflows at the largest rates.
    members = [replace(m, lr=0.02) for m in RESTLESS[:4]] if solver == "rnn" else RESTLESS[:4]
    end = job.train(members, backend)
    rows = torch.as_tensor(job.settings(members).train_rows)
    again = job.backend(members, backend).evaluate(end.best_weights, rows).loss
    assert again.tolist() == pytest.approx(end.best_loss.tolist(), rel=ONE_ROUNDING)
    assert not torch.equal(end.best_weights["output.weight"], end.weights["output.weight"])


def test_the_best_weights_are_those_after_the_best_epoch(backend):
    job = Job("gd", 4, "adam", epochs=EPOCHS)
    end = job.train(RESTLESS, backend)
    for i, epoch in enumerate(end.best_epoch.tolist()):
        at = job.train(RESTLESS, backend, until=epoch)
        for name, weight in at.weights.items():
            assert torch.equal(weight[i], end.best_weights[name][i])


def test_the_loss_before_training_is_in_the_curve_and_never_the_best(backend):
    # At this rate one step saturates the net, so that training makes the loss worse than it was.
    worse = Member(seed=5, steps=30, lr=3e3, weight_decay=0.0)
    job = Job("nag", 4, "sgd", epochs=3)
    end = job.train([worse], backend)
    assert float(end.curve[0, 0]) < float(end.best_loss[0])
    assert int(end.best_epoch[0]) >= 1
    first = job.backend([worse], backend).evaluate(
        job.start([worse]).weights, torch.as_tensor(job.settings([worse]).train_rows)
    )
    assert float(end.curve[0, 0]) == pytest.approx(float(first.loss[0]), rel=ONE_ROUNDING)


def test_which_epochs_are_kept_changes_nothing_else(backend):
    job = Job("gd", 4, "adam", epochs=EPOCHS)
    full, some, none = (replace(job, curve=c).train(RESTLESS, backend) for c in (None, (0, 3, EPOCHS), ()))
    assert torch.equal(some.curve, full.curve[[0, 3, EPOCHS]])
    assert none.curve.shape == (0, len(RESTLESS))
    for i in range(len(RESTLESS)):
        expected = replica(full, i)
        for other in (some, none):
            assert_same_bits(replica(other, i) | {"curve": expected["curve"]}, expected)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("solver", "width"), [("gd", 0), ("gd", 16), ("nag", 16), ("rnn", 16)])
def test_training_lowers_the_loss(solver, width, optimizer, backend):
    lr = {"adam": 1e-2, "sgd": 5e-4 if solver == "rnn" else 5e-3}[optimizer]
    end = Job(solver, width, optimizer, epochs=40).train([Member(seed=i, lr=lr) for i in range(3)], backend)
    # The least of these learns 0.6 %; without an update the two would be equal.
    assert (end.best_loss < 0.996 * end.curve[0]).all()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("solver", ["gd", "nag"])
def test_a_learned_step_moves_within_its_range_and_a_fixed_one_stays(solver, optimizer, backend):
    lr = 0.3 if optimizer == "adam" else 0.1
    members = [Member(seed=i, steps=4, step_size=0.4, learn=i < 2, lr=lr, weight_decay=0.1) for i in range(4)]
    job = Job(solver, 4, optimizer, epochs=30)
    end = job.train(members, backend)
    ensemble = job.ensemble(members)
    low, high = ensemble.step_range
    sizes = ensemble.step_sizes(end.weights)
    # Four steps of size 0.4 are too short: the loss asks for longer ones.
    assert ((sizes[:2] > 0.5) & (sizes[:2] < high)).all()
    assert sizes[2:].tolist() == pytest.approx([0.4, 0.4])
    assert torch.count_nonzero(end.weights["step_logit"][2:]) == 0
    learned, fixed = end.best_loss[:2], job.train([replace(m, learn=False) for m in members[:2]], backend).best_loss
    assert (learned < fixed).all()
    assert low == 0.1


def test_weight_decay_does_not_pull_a_learned_step_to_the_middle_of_its_range(backend):
    # No steps, no gradient: decay alone acts, on all but the step size.
    member = Member(seed=0, steps=0, step_size=0.2, learn=True, lr=0.1, weight_decay=1.0)
    job = Job("gd", 4, "sgd", epochs=5)
    start, end = job.start([member]), job.train([member], backend)
    assert torch.equal(end.weights["step_logit"], start.weights["step_logit"])
    factor = 0.9 ** (3 * 5)  # three updates an epoch
    torch.testing.assert_close(end.weights["hidden.weight"], factor * start.weights["hidden.weight"])


def test_fit_returns_what_advance_does(backend):
    job = Job(epochs=5)
    members = RESTLESS[:3]
    end = fit(job.backend(members, backend), job.settings(members), job.start(members))
    for i in range(3):
        assert_same_bits(replica(end, i), replica(job.train(members, backend), i))
