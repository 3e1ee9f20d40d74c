import pytest
import torch

from unrolled.solvers.energies import QuadraticEnergy
from unrolled.solvers.filters import SOLVER_NAMES
from unrolled.solvers.gradient import GD
from unrolled.solvers.learned import RNNCell
from unrolled.solvers.registry import build_solver
from unrolled.solvers.unroll import unroll

from .factory import MU, ROUNDING, L, normal, random_problem, rotated

EVERY_SOLVER = (*SOLVER_NAMES, "rnn")


def solver_named(name: str):
    if name == "rnn":
        return RNNCell.from_step_size(4, 1 / L, dtype=torch.float64)
    return build_solver(name, step_size=1 / L, strong_convexity=MU)


@pytest.mark.parametrize("name", EVERY_SOLVER)
def test_layer_equals_its_steps_taken_one_by_one(name):
    solver, energy = solver_named(name), random_problem(3).energy
    state, path = solver.init(energy.start()), [energy.start()]
    for _ in range(5):
        state = solver.step(energy, state)
        path.append(solver.estimate(state))
    result = unroll(solver, energy, 5)
    torch.testing.assert_close(result.trajectory, torch.stack(path), rtol=0, atol=0)
    torch.testing.assert_close(result.estimate, path[-1], rtol=0, atol=0)


@pytest.mark.parametrize("name", EVERY_SOLVER)
def test_the_minimizer_is_a_fixed_point_and_is_approached(name):
    solver, energy = solver_named(name), random_problem(3).energy
    target = energy.minimizer()
    stays = unroll(solver, energy, 5, start=target).estimate
    torch.testing.assert_close(stays, target, rtol=0, atol=ROUNDING * 10)
    # 0.9^300 is 2e-14: the slowest direction of GD at s = 1 and mu = 0.1.
    torch.testing.assert_close(unroll(solver, energy, 300).estimate, target, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", EVERY_SOLVER)
def test_a_problem_alone_equals_itself_in_a_batch(name):
    solver, energy = solver_named(name), random_problem(2, 3).energy
    together = unroll(solver, energy, 7).estimate
    alone = unroll(solver, QuadraticEnergy(energy.matrix[1, 2], energy.linear[1, 2]), 7).estimate
    torch.testing.assert_close(together[1, 2], alone, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_gradient_solvers_commute_with_rotations(name):
    problem = random_problem(3)
    full = unroll(solver_named(name), problem.energy, 7).trajectory
    eigen = unroll(solver_named(name), problem.eigen_energy, 7).trajectory
    torch.testing.assert_close(full, rotated(problem.rotation, eigen), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", EVERY_SOLVER)
def test_gradcheck_through_the_energy_and_the_start(name):
    problem = random_problem(2)

    def layer(eigenvalues, linear, start):
        energy = QuadraticEnergy.from_eigen(problem.rotation, eigenvalues, linear)
        return unroll(solver_named(name), energy, 3, start).trajectory

    inputs = (problem.eigenvalues, problem.linear, normal(2, 4))
    assert torch.autograd.gradcheck(layer, [each.clone().requires_grad_() for each in inputs])


def test_no_steps_return_the_start():
    energy, start = random_problem(3).energy, normal(3, 4)
    result = unroll(GD(1.0), energy, 0, start)
    torch.testing.assert_close(result.estimate, start, rtol=0, atol=0)
    assert result.trajectory.shape == (1, 3, 4)


def test_trajectory_is_kept_only_on_demand():
    energy = random_problem().energy
    assert unroll(GD(1.0), energy, 3).trajectory.shape == (4, 4)
    without = unroll(GD(1.0), energy, 3, keep_trajectory=False)
    assert without.trajectory is None
    torch.testing.assert_close(without.estimate, unroll(GD(1.0), energy, 3).estimate, rtol=0, atol=0)


def test_start_and_energy_broadcast_both_ways():
    energy = random_problem(3).energy
    assert unroll(GD(1.0), energy, 2, start=normal(4)).trajectory.shape == (3, 3, 4)
    assert unroll(GD(torch.tensor([0.5, 1.0])), energy, 2, start=normal(2, 1, 4)).trajectory.shape == (3, 2, 3, 4)


@pytest.mark.parametrize("steps", [-1, 2.0, True, "3", torch.tensor(2)])
def test_steps_must_be_an_integer_from_zero(steps):
    with pytest.raises(ValueError, match="integer number of steps >= 0"):
        unroll(GD(1.0), random_problem().energy, steps)


@pytest.mark.parametrize(
    ("shape", "message"), [((3,), "start of shape"), ((2, 4), "does not broadcast"), ((), "start of shape")]
)
def test_a_start_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        unroll(GD(1.0), random_problem(3).energy, 1, start=torch.zeros(shape, dtype=torch.float64))
