import pytest
import torch

from unrolled.solvers.filters import SOLVER_NAMES, filter_slopes, residual, solver_filter
from unrolled.solvers.registry import build_solver
from unrolled.solvers.unroll import unroll

from .factory import MU, ROUNDING, L, random_problem, rotated

GRID = torch.linspace(MU, L, 41, dtype=torch.float64)
STEPS = (0, 1, 2, 3, 5, 10, 30)
STEP_SIZES = (0.3, 1.0, 1.2)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("step_size", STEP_SIZES)
def test_filter_equals_the_unrolled_loop(name, step_size):
    problem = random_problem(6)
    solver = build_solver(name, step_size=step_size, strong_convexity=MU)
    path = unroll(solver, problem.energy, max(STEPS)).trajectory
    for steps in STEPS:
        p = solver_filter(name, problem.eigenvalues, steps, step_size, MU)
        expected = rotated(problem.rotation, p * problem.eigen_energy.coefficients)
        torch.testing.assert_close(path[steps], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", STEPS)
def test_residual_is_what_the_filter_leaves(name, steps):
    p, r = solver_filter(name, GRID, steps, 0.7, MU), residual(name, GRID, steps, 0.7, MU)
    torch.testing.assert_close(r, 1 - GRID * p, rtol=0, atol=ROUNDING)


def test_residuals_stay_relatively_accurate_when_tiny():
    found = residual("gd", torch.tensor(0.9, dtype=torch.float64), 100, 1.0, MU).item()
    assert found == pytest.approx(1e-100, rel=1e-10)
    # NAG at e = mu has a double root: (1 + k sqrt(mu s)) (1 - sqrt(mu s))^k.
    root = (MU * 1.0) ** 0.5
    found = residual("nag", torch.tensor(MU, dtype=torch.float64), 200, 1.0, MU).item()
    assert found == pytest.approx((1 + 200 * root) * (1 - root) ** 200, rel=1e-10)


@pytest.mark.parametrize("steps", STEPS)
def test_nag_is_gd_where_the_momentum_vanishes(steps):
    args = (GRID, steps, 2.0, 0.5)
    for nag, gd in zip(filter_slopes("nag", *args)[:2], filter_slopes("gd", *args)[:2], strict=True):
        torch.testing.assert_close(nag, gd, rtol=1e-9, atol=ROUNDING)
    if steps > 1:
        nag, gd = (solver_filter(name, GRID, steps, 1.0, 0.5) for name in ("nag", "gd"))
        assert not torch.allclose(nag, gd)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", STEPS)
def test_slopes_equal_autograd(name, steps):
    eigenvalues = GRID.clone().requires_grad_()
    step_size = torch.full_like(GRID, 1.1).requires_grad_()
    p = solver_filter(name, eigenvalues, steps, step_size, MU)
    if steps == 0:
        de, ds = torch.zeros_like(GRID), torch.zeros_like(GRID)
    else:
        de, ds = torch.autograd.grad(p.sum(), (eigenvalues, step_size))
    slopes = filter_slopes(name, GRID, steps, 1.1, MU)
    torch.testing.assert_close(slopes.p, p.detach(), rtol=0, atol=0)
    # Rounding of order eps / mu^2, once in each of the two ways.
    torch.testing.assert_close(slopes.dp_de, de, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slopes.dp_ds, ds, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", STEPS)
def test_slopes_equal_finite_differences(name, steps):
    h = 1e-6
    slopes = filter_slopes(name, GRID, steps, 1.1, MU)
    by_e = solver_filter(name, GRID + h, steps, 1.1, MU) - solver_filter(name, GRID - h, steps, 1.1, MU)
    by_s = solver_filter(name, GRID, steps, 1.1 + h, MU) - solver_filter(name, GRID, steps, 1.1 - h, MU)
    # Third derivatives of up to 1e5 times h^2 / 6, and rounding eps p / h.
    torch.testing.assert_close(slopes.dp_de, by_e / (2 * h), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(slopes.dp_ds, by_s / (2 * h), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("bound", [None, 30, 40])
def test_steps_as_data_equal_one_number_of_steps_at_a_time(name, bound):
    steps = torch.tensor(STEPS)
    step_sizes = torch.linspace(0.3, 1.2, len(STEPS), dtype=torch.float64)
    eigenvalues = GRID.expand(len(STEPS), 2, -1)  # (R, B, d)
    args = (eigenvalues, steps[:, None, None], step_sizes[:, None, None], MU)
    p, r = solver_filter(name, *args, max_steps=bound), residual(name, *args, max_steps=bound)
    slopes = filter_slopes(name, *args, max_steps=bound)
    for i, count in enumerate(STEPS):
        alone = (eigenvalues[i], count, step_sizes[i].item(), MU)
        torch.testing.assert_close(p[i], solver_filter(name, *alone), rtol=0, atol=ROUNDING)
        torch.testing.assert_close(r[i], residual(name, *alone), rtol=0, atol=ROUNDING)
        for mixed, single in zip(slopes, filter_slopes(name, *alone), strict=True):
            torch.testing.assert_close(mixed[i], single, rtol=1e-12, atol=ROUNDING)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", [torch.zeros(3, 1, dtype=torch.long), torch.tensor([[0], [1], [2]])])
def test_results_have_the_joint_shape_even_without_steps(name, steps):
    assert solver_filter(name, GRID, steps, 1.0, MU).shape == (3, 41)
    assert all(slope.shape == (3, 41) for slope in filter_slopes(name, GRID, steps, 1.0, MU))
    assert not solver_filter(name, GRID, steps, 1.0, MU)[0].any()


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_gradcheck_with_steps_as_data(name):
    steps = torch.tensor([[0], [1], [4]])

    def layer(eigenvalues, step_size):
        return solver_filter(name, eigenvalues, steps, step_size, MU)

    inputs = (GRID[::10].clone().requires_grad_(), torch.tensor([[0.5], [1.0], [0.8]]).double().requires_grad_())
    assert torch.autograd.gradcheck(layer, inputs)


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_gradients_at_a_vanishing_factor_are_finite(name):
    # s e = 1 makes the factor 1 - s e vanish, the case of 0 to the power 0 and -1.
    eigenvalues = torch.ones(3, dtype=torch.float64, requires_grad=True)
    steps = torch.tensor([0, 1, 2])
    (slope,) = torch.autograd.grad(solver_filter(name, eigenvalues, steps, 1.0, MU).sum(), eigenvalues)
    slopes = filter_slopes(name, eigenvalues.detach(), steps, 1.0, MU)
    torch.testing.assert_close(slope, slopes.dp_de)
    assert all(each.isfinite().all() for each in slopes)
    torch.testing.assert_close(slopes.dp_ds[:2], torch.tensor([0.0, 1.0]).double())


def test_steps_beyond_an_elements_own_do_not_reach_its_gradient():
    # s e = 60 overflows float64 long before step 400; the first element stops at 2.
    eigenvalues = torch.tensor([60.0, 0.5], dtype=torch.float64, requires_grad=True)
    p = solver_filter("nag", eigenvalues, torch.tensor([2, 400]), 1.0, MU)
    (slope,) = torch.autograd.grad(p.sum(), eigenvalues)
    assert p.isfinite().all()
    assert slope.isfinite().all()


@pytest.mark.parametrize("function", [residual, solver_filter, filter_slopes])
def test_bad_arguments_are_refused(function):
    with pytest.raises(ValueError, match=r"unknown solver 'adam'.*gd, nag"):
        function("adam", GRID, 1, 1.0, MU)
    for steps in (-1, torch.tensor([2, -1])):
        with pytest.raises(ValueError, match="steps >= 0, got -1"):
            function("gd", GRID[:2], steps, 1.0, MU)
    for steps in (2.0, True, torch.tensor([1.0, 2.0]), torch.tensor([True, False])):
        with pytest.raises(ValueError, match="expected an integer"):
            function("nag", GRID[:2], steps, 1.0, MU)


def test_an_elements_filter_does_not_depend_on_its_place_in_memory():
    # Vectorised functions round the remainder of an array in another way; packs of replicas must not see that.
    draw = torch.Generator().manual_seed(0)
    eigenvalues = MU + (L - MU) * torch.rand(1003, generator=draw)
    steps = torch.randint(0, 31, (1003,), generator=draw)
    for name in SOLVER_NAMES:
        together = residual(name, eigenvalues, steps, 0.9, MU)
        alone = [residual(name, eigenvalues[i : i + 1], steps[i : i + 1], 0.9, MU) for i in range(1003)]
        assert torch.equal(together, torch.cat(alone))


def test_gd_powers_past_an_elements_own_steps_do_not_overflow_into_its_gradient():
    step_size = torch.tensor([9.0, 9.0], requires_grad=True)
    left = residual("gd", torch.tensor([1.0, 1.0]), torch.tensor([3, 200]), step_size, MU)
    left[0].backward()
    assert left.tolist() == [-512.0, float("inf")]  # (1 - 9)^3
    assert step_size.grad[0].item() == -192.0  # -3 (1 - 9)^2
