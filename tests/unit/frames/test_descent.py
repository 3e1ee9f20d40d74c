import math

import pytest
import torch
from scipy.optimize import minimize

from unrolled.frames import descent as module
from unrolled.frames.descent import descend

NEVER = -math.inf
"""A goal that no value meets: only a stall ends the search."""


def quadratic(n=6, replicas=3, condition=100.0):
    """1/2 (x - c)^T A (x - c), another A of the same condition for each replica."""
    generator = torch.Generator().manual_seed(7)
    turn = torch.linalg.qr(torch.randn(replicas, n, n, generator=generator, dtype=torch.float64))[0]
    matrix = turn @ torch.diag_embed(torch.logspace(0, math.log10(condition), n, dtype=torch.float64)) @ turn.mT
    centre = torch.randn(replicas, n, generator=generator, dtype=torch.float64)

    def objective(x):
        gradient = (matrix[: len(x)] @ (x - centre[: len(x)]).unsqueeze(2)).squeeze(2)
        return 0.5 * (gradient * (x - centre[: len(x)])).sum(1), gradient

    return objective, centre


def rosenbrock(x):
    """Sum of 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        value = (100 * (point[:, 1:] - point[:, :-1].square()).square() + (1 - point[:, :-1]).square()).sum(1)
        (gradient,) = torch.autograd.grad(value.sum(), point)
    return value.detach(), gradient


def starts(replicas=4, n=6, seed=3):
    return torch.randn(replicas, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_quadratics_are_solved():
    objective, centre = quadratic()
    found = descend(objective, starts(3), goal=NEVER, most_iterations=200)
    assert found.converged.all()
    assert found.iterations < 100
    torch.testing.assert_close(found.points, centre, rtol=0, atol=1e-5)
    assert (found.values < 1e-10).all()
    value, gradient = objective(found.points)
    assert torch.equal(found.values, value)
    assert torch.equal(found.gradient, gradient.norm(dim=1))


def test_minima_are_as_low_as_scipys():
    """L-BFGS-B with the same memory, from the same starts, where all run into the one minimum at 1."""
    x = starts() * 0.3 + 1
    found = descend(rosenbrock, x, goal=NEVER, most_iterations=500)
    for r in range(len(x)):

        def single(point):
            value, gradient = rosenbrock(torch.as_tensor(point)[None])
            return float(value), gradient[0].numpy()

        best = minimize(single, x[r].numpy(), jac=True, method="L-BFGS-B", options={"maxcor": module.MEMORY})
        assert best.success
        assert float(found.values[r]) <= best.fun + 1e-8
        assert abs(found.points[r] - 1).max() < 1e-3
    # Not many times the work either: scipy takes about 30 iterations from here.
    assert found.iterations < 150


@pytest.mark.parametrize("name", ["quadratic", "rosenbrock"])
def test_a_start_knows_no_others(name):
    objective, x = (quadratic()[0], starts(3)) if name == "quadratic" else (rosenbrock, starts())
    together = descend(objective, x, goal=1e-3, most_iterations=300)
    # The first alone: elementwise products and sums over its own row, so bit for bit.
    alone = descend(objective, x[:1], goal=1e-3, most_iterations=300)
    assert torch.equal(alone.points, together.points[:1])
    assert torch.equal(alone.values, together.values[:1])
    assert together.iterations >= alone.iterations


def test_values_never_rise():
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return rosenbrock(x)

    x = starts()
    last = rosenbrock(x)[0]
    for most in range(0, 60, 3):
        calls = 0
        value = descend(counted, x, goal=NEVER, most_iterations=most).values
        assert (value <= last).all()
        last = value
    # More calls than iterations and the first: steps were halved, so the line search has had something to do.
    assert calls > most + 1
    assert torch.equal(descend(rosenbrock, x, goal=NEVER, most_iterations=0).points, x)


def test_a_start_ends_at_the_goal():
    objective, _ = quadratic()
    x = starts(3)
    before = objective(x)[0]
    goal = float(before.sort().values[1])
    found = descend(objective, x, goal=goal, most_iterations=100)
    done = before <= goal
    assert 0 < done.sum() < 3
    assert torch.equal(found.points[done], x[done])  # those that meet it at once stay where they are
    assert (found.values <= goal).all()
    assert found.converged.all()
    exact = descend(objective, x, goal=NEVER, most_iterations=100)
    assert found.iterations < exact.iterations
    # Not far below the goal: the search stopped when it got there.
    assert (found.values > exact.values + 1e-6).all()


def test_a_start_that_runs_out_of_iterations_has_not_converged():
    found = descend(rosenbrock, starts() * 3, goal=0.0, most_iterations=4)
    assert found.iterations == 4
    assert not found.converged.any()


def test_a_flat_function_stalls():
    def flat(x):
        return torch.ones(len(x), dtype=x.dtype), torch.zeros_like(x)

    found = descend(flat, starts(), goal=0.0, most_iterations=100)
    assert found.iterations == module.STALL_ITERATIONS
    assert found.converged.all()
    assert torch.equal(found.points, starts())


def test_slow_progress_counts_as_a_stall():
    """Each step lowers the value, but by less than the share that counts."""

    def slope(x):
        return 1 + 1e-13 * x[:, 0], 1e-13 * torch.eye(x.shape[1], dtype=x.dtype)[:1].expand_as(x)

    found = descend(slope, torch.ones(1, 3, dtype=torch.float64), goal=0.0, most_iterations=100)
    assert found.converged.all()
    assert found.iterations <= 2 * module.STALL_ITERATIONS


def test_walls_are_not_entered():
    """Where the value is not finite a step is halved; log barriers are such walls."""

    def barrier(x):
        return (x - x.log()).sum(1), 1 - 1 / x  # NaN below zero, least at 1

    found = descend(barrier, torch.full((2, 3), 0.01, dtype=torch.float64), goal=NEVER, most_iterations=200)
    torch.testing.assert_close(found.points, torch.ones(2, 3, dtype=torch.float64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_start_without_a_value_has_not_converged(bad):
    def objective(x):
        return x.square().sum(1), 2 * x

    x = torch.tensor([[bad, 1.0], [1.0, 1.0]], dtype=torch.float64)
    found = descend(objective, x, goal=1e-12, most_iterations=50)
    assert found.converged.tolist() == [False, True]
    assert found.values[1] <= 1e-12
