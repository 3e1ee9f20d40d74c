"""A trial's result depends on the trial alone: not on its pack, its place there, or the number of threads."""

from dataclasses import replace

import pytest
import torch

from unrolled.data.quadratic import generate

from .factory import EVERY_BACKEND, EVERYTHING, Job, assert_same_bits, replica, varied

MEMBERS = varied(64)
JOBS = [
    Job("gd", 0, "sgd", epochs=4),
    Job("gd", 16, "adam", epochs=4),
    Job("nag", 4, "adam", epochs=4),
    Job("nag", 0, "sgd", epochs=4),
    Job("rnn", 4, "adam", epochs=3),
]


def results(job, members, backend, threads=None):
    """Each member's final state and evaluation, by its seed."""
    runner = job.backend(members, backend, threads)
    state = runner.advance(job.settings(members), job.start(members), job.epochs)
    measured = runner.evaluate(state.best_weights, torch.arange(job.problems.population))._asdict()
    return {
        member.seed: replica(state, i) | {name: values[i] for name, values in measured.items()}
        for i, member in enumerate(members)
    }


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.solver}-{job.width}-{job.optimizer}")
def test_a_replica_alone_equals_itself_in_any_pack(job, backend):
    full = results(job, MEMBERS, backend)
    packs = [
        MEMBERS[8:9],  # learned step
        MEMBERS[13:14],  # fixed step
        MEMBERS[8:11],
        MEMBERS[:16],
        MEMBERS[:17],
        MEMBERS[::-1],
        MEMBERS[5:60:7],
    ]
    for pack in packs:
        for seed, found in results(job, pack, backend).items():
            assert_same_bits(found, full[seed])
    # The comparison means something: replicas differ, and they moved
    assert len({float(r["best_loss"]) for r in full.values()}) == len(MEMBERS)
    # (after one GD or NAG step of fixed size nothing depends on the net).
    moving = [m.seed for m in MEMBERS if m.steps > 1 or (m.learn and job.solver != "rnn")]
    assert all(float(full[seed]["curve"][-1]) != float(full[seed]["curve"][0]) for seed in moving)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_equal_trials_in_one_pack_have_equal_results(backend):
    job = JOBS[1]
    members = [MEMBERS[3], *MEMBERS[20:38], MEMBERS[3]]
    state = job.train(members, backend)
    assert_same_bits(replica(state, 0), replica(state, len(members) - 1))


@pytest.mark.parametrize("backend", ["fused", "eager"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("solver", "width"), [("gd", 32), ("nag", 16)])
def test_torch_packs_that_are_worth_threads(solver, width, threads, backend):
    # Products of this size are where MKL would choose its kernel by the number of matrices and threads, and arrays of
    # this size are where torch divides the work among threads in the middle of a replica.
    job = Job(solver, width, epochs=2, n_train=600, batch=300, problems=generate(1200, seed=1))
    members = varied(12)
    expected = results(job, members, backend)  # by the one thread of these tests
    torch.set_num_threads(threads)
    full = results(job, members, backend)
    for i in (2, 7):
        assert_same_bits(results(job, members[i : i + 1], backend)[i], full[i])
    for i in range(12):
        assert_same_bits(full[i], expected[i])


@pytest.mark.parametrize("threads", [2, 5])
def test_fused_packs_that_are_divided_among_threads(threads):
    # Above 32768 elements torch divides an operation, wherever that falls; a sum or a product of matrices may be
    # divided, too. Blocks of 256 make all of these large.
    job = Job("gd", 16, epochs=2, n_train=100, batch=48, problems=generate(200, seed=1))
    members = [replace(MEMBERS[i % 60], seed=i) for i in range(600)]
    torch.set_num_threads(threads)
    full = results(job, members, "fused")
    torch.set_num_threads(1)
    for pack in (members, members[7:8], members[::-50]):
        for seed, found in results(job, pack, "fused").items():
            assert_same_bits(found, full[seed])


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_native_threads_and_others_ignore_how_many_there_are(backend, threads):
    job = JOBS[2]
    members = varied(40)
    expected = results(job, members, backend, threads=None)
    for seed, found in results(job, members, backend, threads).items():
        assert_same_bits(found, expected[seed])


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_a_state_that_was_advanced_is_not_changed(backend):
    job = Job(epochs=4)
    members = varied(3)
    start = job.start(members)
    kept = {name: value.clone() for name, value in replica(start, 1).items()}
    runner = job.backend(members, backend)
    middle = runner.advance(job.settings(members), start, 2)
    assert_same_bits(replica(start, 1), kept)
    kept = {name: value.clone() for name, value in replica(middle, 1).items()}
    runner.advance(job.settings(members), middle, 4)
    assert_same_bits(replica(middle, 1), kept)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_what_a_trial_owns_changes_its_result(backend):
    # The bit-for-bit tests above would also pass if seeds, rates or steps were ignored.
    job, base = Job(epochs=3), replace(varied(1)[0], steps=5)
    changes = [
        {"seed": 9}, {"steps": 4}, {"step_size": 0.7}, {"learn": not base.learn}, {"lr": 2e-2}, {"weight_decay": 0.1}
    ]  # fmt: skip
    state = job.train([base, *(replace(base, **change) for change in changes)], backend)
    losses = state.curve[-1].tolist()
    assert len(set(losses)) == len(losses)
    assert job.backend([base], backend).evaluate(job.start([base]).weights, EVERYTHING).loss.shape == (1,)
