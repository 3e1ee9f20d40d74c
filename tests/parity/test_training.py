"""The fast backends against the eager one, and against one trial written with ``torch.nn`` and ``torch.optim``."""

import shlex
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from tests.unit.training.factory import EVERYTHING, FAST_BACKENDS, Job, Member, needs_native, varied

from unrolled.bench.twin import SequentialTwin, train_twin
from unrolled.data.quadratic import generate
from unrolled.data.streams import shuffled_rows
from unrolled.training.native.build import compiler
from unrolled.training.native.reasoning import kernel

GRADIENT_TOLERANCE = 5e-6
"""Of a replica's largest gradient entry: some tens of 32-bit roundings (6e-8 each) along up to 30 steps; measured are
up to 1e-6. A wrong factor or a missing term shows at 1e-2 and more."""
WEIGHT_ROUNDING = 7e-7
"""Updates are read off weights of order 1, which are rounded (6e-8) after each of up to 12."""
UPDATE_TOLERANCE = 1e-5
"""Of a replica's largest move in an epoch."""
LOSS_TOLERANCE = 1e-5
"""Relative, of losses after training: rounding, grown by 120 updates; measured are 2e-6."""
LAYER_ROUNDING = 1e-5
"""Of a layer's output, which is of order |y*| <= 50: a loss near 0 is the difference of two such numbers."""
FIRST_EPOCHS = 5
"""Training an RNN amplifies rounding tenfold in about 5 epochs (its rectifiers switch), so only these are compared."""

SOLVERS_AND_WIDTHS = [(solver, width) for solver in ("gd", "nag", "rnn") for width in (0, 16)]
DEPTHS = (0, 1, 1, 2, 5, 8, 20, 30, 30)
SIZES = (1.0, 0.6, 0.7, 1.2, 0.9, 1.1, 1.0, 0.6, 1.2)
MIXED = [Member(i, k, s, learn=i % 2 == 0, lr=1.0) for i, (k, s) in enumerate(zip(DEPTHS, SIZES, strict=True))]


def members_for(solver, members=MIXED):
    """An RNN takes at least one step, and grows without bound where it starts as too long a step of GD."""
    return [replace(m, steps=max(m.steps, 1), step_size=0.9) for m in members] if solver == "rnn" else members


def flat(state):
    """All weights of each replica, ``(R, P)`` in float64."""
    return torch.cat([w.double().reshape(len(w), -1) for w in state.weights.values()], dim=1)


def move(job, members, backend):
    """How far training moves each weight."""
    return flat(job.train(members, backend)) - flat(job.start(members))


def assert_same_gradients(job, members, fast):
    """A fast backend's gradient is that of autograd in double precision; job takes one step with lr = 1."""
    found = move(job, members, fast)
    expected = move(replace(job, dtype=torch.float64), members, "eager")
    scale = expected.abs().amax(1, keepdim=True)
    worst = ((found - expected).abs() / (GRADIENT_TOLERANCE * scale + WEIGHT_ROUNDING)).max()
    assert worst < 1, f"{worst} tolerances"


fast_backends = pytest.mark.parametrize("fast", FAST_BACKENDS)


@fast_backends
@pytest.mark.parametrize(("solver", "width"), SOLVERS_AND_WIDTHS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_gradients_of_a_full_batch(solver, width, weight_decay, fast):
    members = [replace(m, weight_decay=weight_decay) for m in members_for(solver)]
    job = Job(solver, width, "sgd", epochs=1, n_train=13, batch=13)
    assert_same_gradients(job, members, fast)
    moved = move(job, members, fast).abs().amax(1)
    assert (moved[2:] > 0.01).all()  # the deeper ones have something to compare


@fast_backends
@pytest.mark.parametrize("solver", ["gd", "nag", "rnn"])
@pytest.mark.parametrize(("dimension", "inputs"), [(3, 1), (4, 3), (8, 17)])
def test_gradients_at_other_shapes_of_problems(dimension, inputs, solver, fast):
    problems = generate(20, seed=1, dimension=dimension, input_dimension=inputs)
    job, members = Job(solver, 5, "sgd", epochs=1, n_train=7, batch=7, problems=problems), members_for(solver)
    assert_same_gradients(job, members, fast)
    found, expected = (
        job.backend(members, name).evaluate(job.start(members).weights, torch.arange(20)) for name in (fast, "eager")
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=LOSS_TOLERANCE, atol=LAYER_ROUNDING)


@fast_backends
@pytest.mark.parametrize(("solver", "width"), SOLVERS_AND_WIDTHS)
@pytest.mark.parametrize("batch", [1, 5, 12])
def test_an_epoch_of_small_batches_in_the_same_order(solver, width, batch, fast):
    # 12 rows in batches of 5, 5 and 2: the weights after an epoch hang on every batch's rows and their number.
    members = [replace(m, lr=1e-4 if solver == "rnn" else 1e-2) for m in members_for(solver, MIXED[1:6])]
    job = Job(solver, width, "sgd", epochs=1, batch=batch)
    expected = move(job, members, "eager")
    tolerance = UPDATE_TOLERANCE * expected.abs().amax(1, keepdim=True) + WEIGHT_ROUNDING

    def tolerances(settings):
        moved = flat(job.backend(members, fast).advance(settings, job.start(members), 1)) - flat(job.start(members))
        return ((moved - expected).abs() / tolerance).amax(1)

    settings = job.settings(members)
    assert tolerances(settings).max() < 1
    if batch < 12:
        # Another order would be seen, but by the replica with one fixed step, where nothing depends on the net.
        other = replace(settings, order_keys=settings.order_keys + np.uint64(1))
        assert tolerances(other)[solver != "rnn" :].min() > 10


@fast_backends
@pytest.mark.parametrize(("solver", "width"), SOLVERS_AND_WIDTHS)
def test_evaluation(solver, width, fast):
    members = members_for(solver)
    job = Job(solver, width, "sgd")
    weights = job.start(members).weights
    found, expected = (job.backend(members, name).evaluate(weights, EVERYTHING) for name in (fast, "eager"))
    for name, one in found._asdict().items():
        torch.testing.assert_close(one, getattr(expected, name), rtol=LOSS_TOLERANCE, atol=LAYER_ROUNDING)


@fast_backends
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("solver", "width"), SOLVERS_AND_WIDTHS)
def test_losses_along_training(solver, width, optimizer, fast):
    # SGD's smaller rate keeps it from overshooting, where rounding grows.
    members = [replace(m, lr=m.lr * (1 if optimizer == "adam" else 0.1)) for m in varied(9)]
    job = Job(solver, width, optimizer, epochs=FIRST_EPOCHS if solver == "rnn" else 40)
    found, eager = (job.train(members, name) for name in (fast, "eager"))
    # At its first epochs the RNN's error is already some tenfold.
    tolerance = 10 * LOSS_TOLERANCE if solver == "rnn" else LOSS_TOLERANCE
    torch.testing.assert_close(found.curve, eager.curve, rtol=tolerance, atol=0)
    assert torch.equal(found.best_epoch, eager.best_epoch)
    learned = eager.curve[-1] / eager.curve[0] - 1
    assert (learned.abs().amax() > 100 * tolerance).all()


@fast_backends
def test_divergence_is_seen_in_the_same_epoch(fast):
    members = [Member(seed=i, lr=lr) for i, lr in enumerate((1e5, 2e5, 1e-2))]
    job = Job("gd", 0, "sgd", epochs=20)
    found, eager = (job.train(members, name) for name in (fast, "eager"))
    assert found.diverged_epoch.tolist() == eager.diverged_epoch.tolist()
    assert found.diverged_epoch.tolist()[2] == -1
    assert min(found.diverged_epoch.tolist()[:2]) > 1


def clang() -> tuple[str, str]:
    """The other compiler that the kernel is written for, from the system or from the package ziglang."""
    if shutil.which("clang"):
        return "clang", ""
    if find_spec("ziglang"):
        return shlex.join([sys.executable, "-m", "ziglang", "cc"]), ""
    pytest.skip("neither clang nor the package ziglang is installed")


def narrower() -> tuple[str, str]:
    if int(kernel(10, 5).lanes()) == 8:
        pytest.skip("this machine's own kernel is the one for narrower registers")
    return shlex.join(compiler()), "-march=haswell"


@needs_native
@pytest.mark.parametrize("solver", ["nag", "rnn"])
@pytest.mark.parametrize("other", [narrower, clang])
def test_the_kernel_for_narrower_registers_and_of_clang(solver, other, tmp_path, monkeypatch):
    command, flag = other()
    script = tmp_path / "cc"
    script.write_text(f'#!/bin/sh\nexec {command} "$@" {flag}\n')
    script.chmod(0o755)
    job, members = Job(solver, 16, "sgd", epochs=1, n_train=13, batch=13), members_for(solver)
    usual = job.backend(members, "native").evaluate(job.start(members).weights, EVERYTHING)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path))
    kernel.cache_clear()
    try:
        backend = job.backend(members, "native")
        assert other is not narrower or backend.name == "native-8"
        assert_same_gradients(job, members, "native")
        for one, another in zip(backend.evaluate(job.start(members).weights, EVERYTHING), usual, strict=True):
            torch.testing.assert_close(one, another, rtol=LOSS_TOLERANCE, atol=LAYER_ROUNDING)
    finally:
        kernel.cache_clear()


TRAINED = 1e-5
"""Of weights of order 1 after 200 updates in float64: Adam divides gradients that are nearly rounding by themselves."""
DOUBLE_ROUNDING = 1e-9
"""Of losses, weights and gradients after some updates in float64, from rounding of 1e-16."""


@pytest.mark.parametrize(("solver", "width"), [(solver, width) for solver in ("gd", "nag") for width in (0, 16)])
def test_fused_gradients_in_double_precision(solver, width):
    job = Job(solver, width, "sgd", epochs=1, n_train=13, batch=13, dtype=torch.float64)
    found, expected = (move(job, MIXED, name) for name in ("fused", "eager"))
    torch.testing.assert_close(found, expected, rtol=DOUBLE_ROUNDING, atol=1e-12)
    assert (expected[2:].abs().amax(1) > 0.01).all()


@pytest.mark.parametrize(("solver", "width"), [(solver, width) for solver in ("gd", "nag") for width in (0, 16)])
def test_fused_after_two_hundred_updates_in_double_precision(solver, width):
    # Adam makes a full step of a gradient that is rounding: after at most one solver step the net has none, and the
    # fused backend says so.
    members = [replace(m, lr=1e-2) for m in MIXED if m.steps > 1]
    job = Job(solver, width, epochs=67, dtype=torch.float64)
    found, expected = (job.train(members, name) for name in ("fused", "eager"))
    torch.testing.assert_close(flat(found), flat(expected), rtol=TRAINED, atol=TRAINED)
    torch.testing.assert_close(found.curve, expected.curve, rtol=TRAINED, atol=0)


# ---- the sequential twin ----


def twin_of(job, members, weights, i):
    """One replica as a module of its own, with the same weights."""
    member = members[i]
    twin = SequentialTwin(job.problems, job.solver, job.width, member.steps, member.step_size).double()
    layers = [twin.net[0], twin.net[2]] if job.width else [twin.net]
    names = ("hidden", "output") if job.width else ("output",)
    with torch.no_grad():
        for layer, name in zip(layers, names, strict=True):
            layer.weight.copy_(weights[f"{name}.weight"][i])
            layer.bias.copy_(weights[f"{name}.bias"][i])
    return twin


def twin_losses(twin, problems, rows):
    columns = (problems.inputs, problems.rotation, problems.linear, problems.solution)
    x, q, b, target = (torch.as_tensor(a[rows]) for a in columns)
    return torch.linalg.vector_norm(twin(x, q, b) - target, dim=1)


@pytest.mark.parametrize("width", [0, 16])
@pytest.mark.parametrize("solver", ["gd", "nag"])
def test_the_twin_has_the_ensembles_losses(solver, width):
    members = [replace(m, learn=False) for m in MIXED]
    job = Job(solver, width, dtype=torch.float64)
    weights = job.start(members).weights
    rows = EVERYTHING.expand(len(members), -1)
    expected = job.ensemble(members).losses(weights, rows)
    for i in range(len(members)):
        found = twin_losses(twin_of(job, members, weights, i), job.problems, rows[i].numpy())
        torch.testing.assert_close(found, expected[i], rtol=0, atol=DOUBLE_ROUNDING)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("solver", "width"), [("gd", 16), ("nag", 0)])
def test_a_whole_fit_is_that_of_the_twin(solver, width, optimizer):
    members = [Member(seed=i, steps=3 + i, lr=1e-2 / (i + 1), weight_decay=0.1 * i) for i in range(3)]
    job = Job(solver, width, optimizer, epochs=10, dtype=torch.float64)
    settings, start, end = job.settings(members), job.start(members), job.train(members, "eager")
    orders = shuffled_rows(settings.order_keys, range(job.epochs), job.n_train)
    for i, member in enumerate(members):
        twin = twin_of(job, members, start.weights, i)
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
        stepper = kind(twin.parameters(), lr=member.lr, weight_decay=member.weight_decay)
        for epoch in range(job.epochs):
            rows = settings.train_rows[i][orders[i, epoch]]
            for first in range(0, job.n_train, job.batch):
                stepper.zero_grad()
                twin_losses(twin, job.problems, rows[first : first + job.batch]).mean().backward()
                stepper.step()
        layer = twin.net[2] if width else twin.net
        # Rates are kept in 32 bits: the twin's lr and decay differ from them by 3e-8 of themselves.
        torch.testing.assert_close(layer.weight.detach(), end.weights["output.weight"][i], rtol=1e-6, atol=1e-7)
        last = twin_losses(twin, job.problems, settings.train_rows[i]).mean().item()
        assert float(end.curve[-1, i]) == pytest.approx(last, rel=1e-6)  # curves are kept in 32 bits
        assert abs(last - float(end.curve[0, i])) > 1e-3


def test_the_benchmarks_twin_learns():
    torch.manual_seed(0)
    job = Job(width=8)
    rows = torch.arange(30)
    twin = SequentialTwin(job.problems, "nag", 8, 5, 1.0)
    columns = (job.problems.inputs, job.problems.rotation, job.problems.linear, job.problems.solution)
    x, q, b, target = (torch.as_tensor(a[rows.numpy()], dtype=torch.float32) for a in columns)
    before = torch.linalg.vector_norm(twin(x, q, b) - target, dim=1).mean().item()
    assert train_twin(twin, job.problems, rows, epochs=15, batch=10) < 0.97 * before
