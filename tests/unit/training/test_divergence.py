"""A replica whose loss overflows is flagged with its epoch, stands still and harms no other."""

import math

import pytest
import torch

from .factory import EVERY_BACKEND, Job, Member, assert_same_bits, replica

# A step of SGD is w <- (1 - lr wd) w - lr g: with lr wd = 10 the weights grow ninefold, until they overflow.
GROWING = Member(seed=3, lr=1e5, weight_decay=1e-4)
HEALTHY = [Member(seed=1), Member(seed=2, steps=2, learn=True), Member(seed=4, steps=1, lr=0.1)]
EPOCHS = 20

pytestmark = pytest.mark.parametrize("backend", EVERY_BACKEND)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("solver", "width"), [("gd", 0), ("gd", 4), ("nag", 4), ("rnn", 4)])
def test_neighbours_of_a_diverged_replica_do_not_notice(solver, width, optimizer, backend):
    # Adam's steps are about lr whatever the gradient: its weights do not overflow, but saturate at large numbers.
    job = Job(solver, width, optimizer, epochs=EPOCHS)
    mixed = job.train([HEALTHY[0], GROWING, *HEALTHY[1:]], backend)
    without = job.train(HEALTHY, backend)
    for i, j in enumerate((0, 2, 3)):
        assert_same_bits(replica(mixed, j), replica(without, i))
    assert without.diverged_epoch.tolist() == [-1, -1, -1]
    if optimizer == "sgd":
        assert 0 < int(mixed.diverged_epoch[1]) < EPOCHS


@pytest.mark.parametrize(("solver", "width"), [("gd", 0), ("nag", 4)])
def test_a_diverged_replica_is_flagged_with_its_epoch_and_stands_still(solver, width, backend):
    job = Job(solver, width, "sgd", epochs=EPOCHS)
    members = [HEALTHY[0], GROWING]
    end = job.train(members, backend)
    epoch = int(end.diverged_epoch[1])
    assert torch.isfinite(end.curve[:epoch, 1]).all()
    assert torch.isnan(end.curve[epoch:, 1]).all()
    assert torch.isfinite(end.curve[:, 0]).all()
    # The loss after an epoch is judged when the fit goes on: one epoch more flags it and changes nothing else.
    runner, settings = job.backend(members, backend), job.settings(members)
    before = runner.advance(settings, job.start(members), epoch)
    assert before.diverged_epoch.tolist() == [-1, -1]
    for name, weight in before.weights.items():
        assert torch.equal(weight[1].nan_to_num(nan=7.0), end.weights[name][1].nan_to_num(nan=7.0))
        assert torch.equal(weight[0], end.weights[name][0]) == (name == "step_logit")
    # What was best before stays best.
    assert 1 <= int(end.best_epoch[1]) < epoch
    assert float(end.best_loss[1]) == float(end.curve[1:epoch, 1].min())
    assert all(torch.isfinite(weight[1]).all() for weight in end.best_weights.values())


def test_a_replica_that_starts_beyond_numbers(backend):
    job = Job("gd", 4, "sgd", epochs=3)
    members = [HEALTHY[0], GROWING]
    start = job.start(members)
    start.weights["output.bias"][1] = math.nan
    end = job.backend(members, backend).advance(job.settings(members), start, 3)
    assert end.diverged_epoch.tolist() == [-1, 0]
    assert end.best_loss[1] == math.inf
    assert int(end.best_epoch[1]) == 0
    assert torch.isnan(end.curve[:, 1]).all()
    assert torch.equal(end.weights["hidden.weight"][1], start.weights["hidden.weight"][1])


def test_divergence_after_the_last_epoch_is_seen(backend):
    whole = Job("gd", 0, "sgd", epochs=EPOCHS)
    epoch = int(whole.train([GROWING], backend).diverged_epoch[0])
    assert int(Job("gd", 0, "sgd", epochs=epoch).train([GROWING], backend).diverged_epoch[0]) == epoch
    assert int(Job("gd", 0, "sgd", epochs=epoch - 1).train([GROWING], backend).diverged_epoch[0]) == -1


def test_no_steps_leave_the_start_and_give_no_gradient(backend):
    job = Job("nag", 4, "sgd", epochs=3)
    members = [Member(seed=1, steps=0, weight_decay=0.0), Member(seed=1, steps=3, weight_decay=0.0)]
    end = job.train(members, backend)
    rows = job.settings(members).train_rows[0]
    norms = torch.as_tensor(job.problems.solution[rows]).square().sum(1).sqrt()
    # The layer returns 0, so each row's loss is |y*|; 32-bit rounding of a mean of 12.
    assert end.curve[:, 0].tolist() == pytest.approx([float(norms.mean())] * 4, rel=1e-6)
    start = job.start(members)
    assert all(torch.equal(end.weights[name][0], weight[0]) for name, weight in start.weights.items())
    assert not torch.equal(end.weights["output.weight"][1], start.weights["output.weight"][1])
    assert int(end.best_epoch[0]) == 1
