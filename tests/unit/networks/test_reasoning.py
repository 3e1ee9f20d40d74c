from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import special_ortho_group

from unrolled.data.quadratic import generate
from unrolled.networks.reasoning import ReasoningEnsemble
from unrolled.solvers.energies import QuadraticEnergy
from unrolled.solvers.learned import RNNCell
from unrolled.solvers.registry import build_solver
from unrolled.solvers.unroll import unroll

POPULATION = 40
PROBLEMS = generate(POPULATION, seed=2)
# Orders of float64 rounding: up to 30 steps on numbers of order 50 (b / mu).
ROUNDING = 1e-10
STEPS, STEP_SIZES, SEEDS = (4, 0, 11, 1), (0.9, 1.0, 0.3, 1.2), (3, 0, 8, 3)
ROWS = torch.stack([torch.randperm(POPULATION, generator=torch.Generator().manual_seed(i))[:9] for i in range(4)])


def make(solver="gd", width=6, learn=False, problems=PROBLEMS, steps=STEPS, step_sizes=STEP_SIZES, **options):
    steps = [max(k, 1) for k in steps] if solver == "rnn" else steps
    options = {"dtype": torch.float64} | options
    return ReasoningEnsemble(problems, solver, width, steps, step_sizes, [learn] * len(steps), **options)


def perturbed(ensemble, seeds=SEEDS, scale=0.3):
    """Initial parameters moved by a normal draw, so that no zero bias or identity hides a mistake."""
    draw = torch.Generator().manual_seed(5)
    return {
        name: value + scale * torch.randn(value.shape, generator=draw, dtype=torch.float64).to(value)
        for name, value in ensemble.initial_parameters(seeds).items()
    }


def rotated_problems():
    """The same problems in the eigenbasis, with other rotations."""
    c, target = PROBLEMS.coefficients()
    q = special_ortho_group.rvs(5, size=POPULATION, random_state=np.random.default_rng(1))
    turn = lambda values: (q @ values[..., None])[..., 0]  # noqa: E731
    return replace(PROBLEMS, rotation=q, linear=turn(c), solution=turn(target))


def explicit_losses(ensemble, solver_of, eigenvalues, rows):
    """The loss of each replica through d x d matrices and the loop over steps."""
    out = []
    for r, k in enumerate(ensemble.steps.tolist()):
        q, b = ensemble.rotation[rows[r]], ensemble.linear[rows[r]]
        energy = QuadraticEnergy.from_eigen(q, eigenvalues[r], b)
        estimate = unroll(solver_of(r), energy, k).estimate
        out.append((estimate - ensemble.solution[rows[r]]).square().sum(-1).sqrt())
    return torch.stack(out)


@pytest.mark.parametrize("solver", ["gd", "nag"])
@pytest.mark.parametrize("width", [0, 6])
def test_the_loss_does_not_depend_on_the_rotation(solver, width):
    here, there = (make(solver, width, problems=p) for p in (PROBLEMS, rotated_problems()))
    weights = perturbed(here)
    assert not torch.equal(here.rotation, there.rotation)
    torch.testing.assert_close(here.losses(weights, ROWS), there.losses(weights, ROWS), rtol=0, atol=ROUNDING)


def test_the_loss_of_an_rnn_depends_on_the_rotation():
    # Its rectifiers act on coordinates, so it is not computed in the eigenbasis.
    here, there = (make("rnn", problems=p) for p in (PROBLEMS, rotated_problems()))
    weights = perturbed(here)
    assert (here.losses(weights, ROWS) - there.losses(weights, ROWS)).abs().max() > 1e-2


@pytest.mark.parametrize("solver", ["gd", "nag"])
@pytest.mark.parametrize("width", [0, 6])
@pytest.mark.parametrize("learn", [False, True])
def test_eigenbasis_losses_equal_explicit_matrices(solver, width, learn):
    ensemble = make(solver, width, learn, step_sizes=(0.9, 1.0, 0.3, 1.1))
    weights = perturbed(ensemble)
    sizes = ensemble.step_sizes(weights).tolist()

    def solver_of(r):
        return build_solver(solver, step_size=sizes[r], strong_convexity=PROBLEMS.strong_convexity)

    eigenvalues = ensemble.learned_eigenvalues(weights, ROWS)
    expected = explicit_losses(ensemble, solver_of, eigenvalues, ROWS)
    torch.testing.assert_close(ensemble.losses(weights, ROWS), expected, rtol=0, atol=ROUNDING)


def test_rnn_losses_equal_one_cell_at_a_time():
    ensemble = make("rnn")
    weights = perturbed(ensemble, scale=0.1)

    def solver_of(r):
        return RNNCell(*(weights[f"cell.{name}"][r] for name in ("w1", "w2", "w3", "v")))

    eigenvalues = ensemble.learned_eigenvalues(weights, ROWS)
    expected = explicit_losses(ensemble, solver_of, eigenvalues, ROWS)
    torch.testing.assert_close(ensemble.losses(weights, ROWS), expected, rtol=1e-12, atol=ROUNDING)


def test_an_rnn_starts_as_gd():
    rnn, gd = make("rnn"), make("gd", steps=[max(k, 1) for k in STEPS])
    losses = [e.losses(e.initial_parameters(SEEDS), ROWS) for e in (rnn, gd)]
    torch.testing.assert_close(*losses, rtol=0, atol=ROUNDING)
    nag = make("nag", steps=(4, 2, 11, 3))
    assert not torch.allclose(losses[0], nag.losses(nag.initial_parameters(SEEDS), ROWS))


@pytest.mark.parametrize("width", [0, 6])
def test_learned_eigenvalues_are_a_net_on_the_inputs(width):
    ensemble = make(width=width)
    weights = perturbed(ensemble)
    found = ensemble.learned_eigenvalues(weights, ROWS)
    for r in range(4):
        hidden = PROBLEMS.inputs[ROWS[r]]
        if width:
            hidden = np.maximum(hidden @ weights["hidden.weight"][r].numpy().T + weights["hidden.bias"][r].numpy(), 0)
        logits = hidden @ weights["output.weight"][r].numpy().T + weights["output.bias"][r].numpy()
        share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        assert np.allclose(found[r, :, 1:-1], 0.1 + 0.9 * share, rtol=0, atol=ROUNDING)
    assert torch.all(found[..., 0] == 1.0)
    assert torch.all(found[..., -1] == 0.1)


@pytest.mark.parametrize(("solver", "learn"), [("gd", True), ("nag", True), ("nag", False), ("rnn", False)])
def test_gradients_equal_finite_differences(solver, learn):
    ensemble = make(solver, 2, learn, steps=(3, 1), step_sizes=(0.9, 0.4))
    weights = perturbed(ensemble, (0, 1))
    names = [name for name in weights if learn or name != "step_logit"]

    def losses(*values):
        return ensemble.losses(weights | dict(zip(names, values, strict=True)), ROWS[:2, :3])

    assert torch.autograd.gradcheck(losses, [weights[name].requires_grad_() for name in names])


@pytest.mark.parametrize("solver", ["gd", "nag"])
def test_a_learned_step_starts_where_it_is_told_and_never_leaves_its_range(solver):
    ensemble = make(solver, learn=True, step_sizes=(0.9, 0.11, 0.3, 1.2))
    weights = ensemble.initial_parameters(SEEDS)
    assert ensemble.step_sizes(weights).tolist() == pytest.approx([0.9, 0.11, 0.3, 1.2], abs=1e-12)
    # 2 / (mu + L) and 4 / (mu + 3 L).
    assert ensemble.step_range == pytest.approx((0.1, 2 / 1.1 if solver == "gd" else 4 / 3.1))
    extreme = torch.tensor([-1e4, -3.0, 3.0, 1e4], dtype=torch.float64)
    sizes = ensemble.step_sizes(weights | {"step_logit": extreme})
    low, high = ensemble.step_range
    assert torch.all((sizes >= low) & (sizes <= high))
    assert sizes[1] < sizes[2]
    assert make(solver, learn=True, min_step_size=0.05).step_range[0] == 0.05


@pytest.mark.parametrize("solver", ["gd", "nag"])
def test_only_a_learned_step_receives_gradient(solver):
    ensemble = ReasoningEnsemble(
        PROBLEMS, solver, 6, STEPS, (0.9, 1.0, 0.3, 1.2), (True, True, False, True), dtype=torch.float64
    )
    weights = ensemble.initial_parameters(SEEDS)
    logit = weights["step_logit"].requires_grad_()
    ensemble.losses(weights, ROWS).sum().backward()
    # Replica 1 has no steps, so its size cannot matter; replica 2's is fixed.
    assert (logit.grad != 0).tolist() == [True, False, False, True]
    assert ensemble.step_sizes(weights).tolist() == pytest.approx([0.9, 1.0, 0.3, 1.2], abs=1e-12)


@pytest.mark.parametrize("solver", ["gd", "nag", "rnn"])
def test_no_replica_sees_anothers_parameters(solver):
    ensemble = make(solver, learn=solver != "rnn")
    weights = {name: value.requires_grad_() for name, value in perturbed(ensemble).items()}
    before = ensemble.losses(weights, ROWS)
    gradients = torch.autograd.grad(before[2].sum(), list(weights.values()))
    for gradient in gradients:
        assert torch.count_nonzero(gradient[[0, 1, 3]]) == 0
        assert torch.count_nonzero(gradient[2]) > 0
    others = {
        n: torch.where(torch.arange(4).reshape(-1, *(1,) * (w.ndim - 1)) == 2, w, w + 1) for n, w in weights.items()
    }
    after = ensemble.losses(others, ROWS)
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[0], after[0])


def test_an_rnn_that_would_overflow_past_its_own_steps_is_not_harmed_by_a_deeper_neighbour():
    def gradient(steps):
        ensemble = make("rnn", steps=steps, step_sizes=[1.0] * len(steps), dtype=torch.float32)
        weights = ensemble.initial_parameters([1] * len(steps))
        weights = {name: 30 * w if name == "cell.v" else w for name, w in weights.items()}
        weights = {name: w.requires_grad_() for name, w in weights.items()}
        ensemble.losses(weights, ROWS[: len(steps)])[0].mean().backward()
        return {name: w.grad[0] for name, w in weights.items()}

    alone, beside = gradient([2]), gradient([2, 40])
    for name, expected in alone.items():
        assert torch.isfinite(expected).all()
        assert torch.equal(beside[name], expected)


@pytest.mark.parametrize("solver", ["gd", "nag", "rnn"])
@pytest.mark.parametrize("chunk", [1, 7, 9, 1000])
def test_evaluation_is_the_direct_mean(solver, chunk):
    ensemble = make(solver)
    weights = perturbed(ensemble, scale=0.1)
    found = ensemble.evaluate(weights, ROWS, chunk)
    learned, true = ensemble.learned_eigenvalues(weights, ROWS), ensemble.eigenvalues[ROWS]
    q = ensemble.rotation[ROWS]
    difference = q @ torch.diag_embed(learned - true) @ q.mT
    expected = (
        ensemble.layer_losses(weights, ROWS, learned).mean(1),
        ensemble.layer_losses(weights, ROWS, true).mean(1),
        torch.linalg.matrix_norm(difference, ord=2).mean(1),
    )
    for value, wanted in zip(found, expected, strict=True):
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, wanted, rtol=0, atol=ROUNDING)
    assert (expected[0] - expected[1]).abs().max() > 1e-3


def test_shared_rows_are_evaluated_in_every_replica():
    ensemble = make()
    weights = perturbed(ensemble)
    shared = ensemble.evaluate(weights, ROWS[0])
    for one, each in zip(shared, ensemble.evaluate(weights, ROWS[:1].repeat(4, 1)), strict=True):
        assert torch.equal(one, each)


def test_the_true_energy_leaves_the_solvers_error_alone():
    ensemble = make("gd", steps=(200, 200), step_sizes=(1.0, 0.7))
    found = ensemble.evaluate(ensemble.initial_parameters((0, 1)), torch.arange(POPULATION))
    assert found.loss_true.max() < 1e-4  # 0.93^200 of the start at the slower of the two
    assert found.loss.min() > 1


@pytest.mark.parametrize("solver", ["gd", "nag", "rnn"])
@pytest.mark.parametrize("width", [0, 6])
def test_initial_weights_depend_on_the_seed_alone(solver, width):
    reference = make("gd", width).initial_parameters(SEEDS)
    other = make(solver, width, steps=(5, 2), step_sizes=(0.5, 0.6)).initial_parameters((8, 0))
    for name in reference:
        if name != "step_logit":
            assert torch.equal(other[name][0], reference[name][2])
            assert torch.equal(other[name][1], reference[name][1])
            assert torch.equal(reference[name][0], reference[name][3])  # equal seeds
    weight = reference["output.weight"]
    assert not torch.equal(weight[0], weight[1])


def test_initial_weights_are_glorot_uniform_with_zero_biases():
    ensemble = make(width=200)
    weights = ensemble.initial_parameters(SEEDS)
    assert list(weights) == ["hidden.weight", "hidden.bias", "output.weight", "output.bias", "step_logit"]
    for name, fans in (("hidden", (10, 200)), ("output", (200, 3))):
        bound = (6 / sum(fans)) ** 0.5
        assert 0.98 * bound < weights[f"{name}.weight"].abs().max() <= bound
        assert torch.count_nonzero(weights[f"{name}.bias"]) == 0
    assert torch.count_nonzero(weights["step_logit"]) == 0


def test_parameters_have_the_asked_dtype():
    ensemble = make("rnn", dtype=torch.float32)
    weights = ensemble.initial_parameters(SEEDS)
    assert {w.dtype for w in weights.values()} == {torch.float32}
    assert ensemble.losses(weights, ROWS).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "adam"}, "solver: expected one of gd, nag, rnn, got 'adam'"),
        ({"steps": (1, 2)}, "expected one value a replica in each"),
        ({"steps": (), "step_size": (), "learn_step_size": ()}, "expected one value a replica in each"),
        ({"solver": "rnn", "learn_step_size": (True,)}, "its cell is trained instead of a step size"),
        ({"solver": "rnn", "steps": (0,)}, "solver rnn: needs at least 1 step"),
        ({"steps": (-1,)}, "expected steps >= 0 and step_size > 0, got -1 and 1 at least"),
        ({"step_size": (0.0,)}, "expected steps >= 0 and step_size > 0, got 1 and 0 at least"),
        ({"step_size": (float("nan"),)}, "step_size > 0, got 1 and nan"),
        ({"learn_step_size": (True,), "step_size": (0.1,)}, "a learned step of gd starts strictly between 0.1 and 1.8"),
        ({"learn_step_size": (True,), "step_size": (1.3,), "solver": "nag"}, "between 0.1 and 1.29032, got 1.3"),
    ],
)
def test_unusable_settings_are_refused(options, message):
    given = {"solver": "gd", "width": 0, "steps": (1,), "step_size": (1.0,), "learn_step_size": (False,)} | options
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        ReasoningEnsemble(PROBLEMS, **given)
