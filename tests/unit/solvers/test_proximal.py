import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from unrolled.solvers.proximal import FISTA, ISTA
from unrolled.solvers.sparse_coding import SparseCodingEnergy
from unrolled.solvers.splitting import ADMM

from .factory import ROUNDING, normal

# What the slowest method leaves of the energy, relative to it, on a well conditioned problem.
SAME_OBJECTIVE = 1e-8


def problem():
    dictionary, target = 0.4 * normal(2, 8, 6), normal(2, 3, 8, seed=2)
    energy = SparseCodingEnergy.of_dictionary(dictionary, target, torch.tensor(0.1, dtype=torch.float64))
    return energy, dictionary, target, 1 / torch.linalg.matrix_norm(dictionary, 2).square()


def run(solver, energy, steps):
    state = solver.init(energy.start())
    values = [energy.value(solver.estimate(state))]
    for _ in range(steps):
        state = solver.step(energy, state)
        values.append(energy.value(solver.estimate(state)))
    return solver.estimate(state), torch.stack(values)


def solvers(step_size):
    return {"ISTA": (ISTA(step_size), 3000), "FISTA": (FISTA(step_size), 1000), "ADMM": (ADMM(0.5), 400)}


def test_ista_is_a_projected_gradient_step():
    energy, dictionary, target, step_size = problem()
    w = normal(2, 3, 6, seed=3).abs()
    found = ISTA(step_size).step(energy, w)
    for r in range(2):
        for n in range(3):
            slope = dictionary[r].T @ (dictionary[r] @ w[r, n] - target[r, n]) + 0.1
            expected = (w[r, n] - step_size[r] * slope).clamp(min=0)
            torch.testing.assert_close(found[r, n], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["ISTA", "FISTA", "ADMM"])
def test_the_limit_is_optimal(name):
    energy, *_, step_size = problem()
    w, _ = run(*(lambda s: (s[0], energy, s[1]))(solvers(step_size)[name]))
    slope = energy.gradient(w) + energy.thresholds
    # Conditions of Karush, Kuhn and Tucker: no slope where w > 0, none downwards where w = 0.
    assert (w >= 0).all()
    assert slope[w > 0].abs().max() < 1e-6
    assert slope[w == 0].min() > -1e-6
    assert 0 < (w == 0).sum() < w.numel()


@pytest.mark.parametrize("name", ["ISTA", "FISTA", "ADMM"])
def test_the_minimum_is_that_of_a_bounded_quasi_newton_method(name):
    energy, dictionary, target, step_size = problem()
    solver, steps = solvers(step_size)[name]
    _, values = run(solver, energy, steps)
    for r in range(2):
        matrix, y = dictionary[r].numpy(), target[r, 0].numpy()

        def cost(w, matrix=matrix, y=y):
            residual = matrix @ w - y
            return 0.5 * residual @ residual + 0.1 * w.sum(), matrix.T @ residual + 0.1

        reference = minimize(
            cost, np.zeros(6), jac=True, bounds=[(0, None)] * 6, options={"ftol": 1e-15, "gtol": 1e-10}
        )
        assert values[-1, r, 0].item() == pytest.approx(reference.fun, rel=SAME_OBJECTIVE)


def test_ista_falls_below_twice_the_inverse_curvature_only():
    energy, *_, step_size = problem()
    _, falls = run(ISTA(1.9 * step_size), energy, 50)
    assert (falls.diff(dim=0) <= ROUNDING).all()
    _, rises = run(ISTA(2.5 * step_size), energy, 50)
    assert (rises.diff(dim=0) > 0).any()


def test_fista_keeps_its_bound_where_ista_is_slow():
    # A flat direction: curvatures from 1 to 1e-4.
    dictionary = torch.diag(torch.logspace(0, -2, 6, dtype=torch.float64))
    energy = SparseCodingEnergy.of_dictionary(dictionary, dictionary.sum(1)[None], torch.tensor(0.0))
    _, slow = run(ISTA(1.0), energy, 100)
    _, fast = run(FISTA(1.0), energy, 100)
    bound = 2 * 6 / torch.arange(1, 102, dtype=torch.float64).square()
    assert (fast[1:, 0] <= bound[1:]).all()
    assert fast[-1, 0] < 0.2 * slow[-1, 0]


def test_fista_begins_as_ista():
    energy, *_, step_size = problem()
    (one, _), (other, _) = (run(solver, energy, 1) for solver in (ISTA(step_size), FISTA(step_size)))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_numbers_must_be_positive(value):
    for build in (ISTA, FISTA):
        with pytest.raises(ValueError, match="step size > 0"):
            build(value)
