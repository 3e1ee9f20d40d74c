import pytest
import torch

from unrolled.solvers.sparse_coding import SparseCodingEnergy
from unrolled.solvers.splitting import ADMM

from .factory import ROUNDING, normal


def problem():
    return SparseCodingEnergy.of_dictionary(normal(4, 3), normal(2, 4, seed=2), torch.tensor(0.3, dtype=torch.float64))


def test_a_step_follows_the_three_updates():
    energy, dictionary, target, rho = problem(), normal(4, 3), normal(2, 4, seed=2), 0.6
    solver = ADMM(rho)
    state = solver.init(energy.start())
    z = u = torch.zeros(2, 3, dtype=torch.float64)
    matrix = dictionary.T @ dictionary + rho * torch.eye(3, dtype=torch.float64)
    for _ in range(4):
        state = solver.step(energy, state)
        w = torch.linalg.solve(matrix, (target @ dictionary + rho * (z - u)).T).T
        z = (w + u - 0.3 / rho).clamp(min=0)
        u = u + w - z
        for found, expected in zip(state, (w, z, u), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    assert solver.estimate(state) is state.split


def test_the_copies_meet_and_the_dual_variable_is_the_slope():
    energy, solver = problem(), ADMM(0.6)
    state = solver.init(energy.start())
    for _ in range(300):
        state = solver.step(energy, state)
    torch.testing.assert_close(state.smooth, state.split, rtol=0, atol=1e-9)
    # At the end 0 = grad f(w) + rho u.
    torch.testing.assert_close(energy.gradient(state.split), -0.6 * state.dual, rtol=0, atol=1e-9)


@pytest.mark.parametrize("penalty", [0.1, 3.0])
def test_the_limit_does_not_depend_on_the_penalty(penalty):
    ends = []
    for rho in (penalty, 0.6):
        energy, solver = problem(), ADMM(rho)
        state = solver.init(energy.start())
        for _ in range(1000):
            state = solver.step(energy, state)
        ends.append(energy.value(solver.estimate(state)))
    torch.testing.assert_close(*ends, rtol=1e-9, atol=0)


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("inf")])
def test_the_penalty_must_be_positive(penalty):
    with pytest.raises(ValueError, match="penalty > 0"):
        ADMM(penalty)
