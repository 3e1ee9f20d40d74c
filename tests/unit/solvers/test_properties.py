import pytest
import torch

from unrolled.solvers import properties
from unrolled.solvers.filters import SOLVER_NAMES, filter_slopes, residual, solver_filter

from .factory import MU, L, normal, random_problem, rotated

DENSE = torch.linspace(MU, L, 20_001, dtype=torch.float64)
EXACT = {
    properties.convergence: lambda *args: residual(*args),
    properties.stability: lambda *args: filter_slopes(*args).dp_de,
    properties.stability_linear: lambda *args: solver_filter(*args),
    properties.sensitivity: lambda *args: filter_slopes(*args).dp_ds,
}


@pytest.mark.parametrize("exact", EXACT, ids=lambda function: function.__name__)
@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("step_size", [0.5, 1.2])
def test_exact_values_equal_a_dense_grid(exact, name, steps, step_size):
    on_grid = EXACT[exact](name, DENSE, steps, step_size, MU).abs().max().item()
    found = exact(name, steps, step_size, MU, L)
    # The grid can only lie below, by its curvature times the squared spacing (2e-9) over 8. Found: below 1e-9.
    assert -1e-12 <= (found - on_grid) / max(on_grid, 1e-3) <= 1e-8


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_limits_in_the_number_of_steps(name):
    none = (name, 0, 1.0, MU, L)
    assert properties.convergence(*none) == 1.0
    assert properties.stability(*none) == properties.stability_linear(*none) == properties.sensitivity(*none) == 0.0
    one = (name, 1, 1.0, MU, L)
    assert properties.stability(*one) == 0.0
    assert properties.sensitivity(*one) == pytest.approx(1.0, abs=1e-12)
    many = (name, 400, 1.0, MU, L)
    assert properties.convergence(*many) < 1e-15
    assert properties.stability(*many) == pytest.approx(1 / MU**2, rel=1e-12)
    assert properties.stability_linear(*many) == pytest.approx(1 / MU, rel=1e-12)
    assert properties.sensitivity(*many) < 1e-12


@pytest.mark.parametrize("step_size", [0.3, 1.0, 1.8])
@pytest.mark.parametrize("steps", [2, 6, 20])
def test_gd_closed_forms_at_the_slowest_eigenvalue(step_size, steps):
    # p_k(e) = s sum (1 - s e)^j; |p|, |dp/de| and, for s <= 1 / L, |dp/ds| are largest at e = mu.
    factor = 1 - step_size * MU
    setting = ("gd", steps, step_size, MU, L)
    assert properties.stability_linear(*setting) == pytest.approx(
        step_size * sum(factor**j for j in range(steps)), rel=1e-12
    )
    assert properties.stability(*setting) == pytest.approx(
        step_size**2 * sum(j * factor ** (j - 1) for j in range(1, steps)), rel=1e-11
    )
    if step_size <= 1 / L:
        assert properties.sensitivity(*setting) == pytest.approx(steps * factor ** (steps - 1), rel=1e-12)


def test_nag_convergence_at_the_double_root():
    root = MU**0.5
    assert properties.convergence("nag", 12, 1.0, MU, L) == pytest.approx((1 + 12 * root) * (1 - root) ** 12, rel=1e-10)


@pytest.mark.parametrize("name", SOLVER_NAMES)
@pytest.mark.parametrize("steps", [2, 5, 12])
def test_no_change_of_the_matrix_in_any_direction_exceeds_stability(name, steps):
    problem, h = random_problem(200), 1e-6
    change = normal(200, 4, 4)
    change = change + change.mT
    change = h * change / torch.linalg.matrix_norm(change)[:, None, None]
    b = problem.linear / torch.linalg.vector_norm(problem.linear, dim=-1, keepdim=True)

    def output(matrix):
        eigenvalues, rotation = torch.linalg.eigh(matrix)
        return rotated(rotation, solver_filter(name, eigenvalues, steps, 1.0, MU) * rotated(rotation.mT, b))

    moved = output(problem.energy.matrix + change) - output(problem.energy.matrix - change)
    sizes = torch.linalg.vector_norm(moved, dim=-1) / (2 * h)
    bound = properties.stability(name, steps, 1.0, MU, L)
    assert sizes.max() <= bound * (1 + 1e-5)
    assert sizes.max() > 0.05 * bound


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_the_papers_predictor_turns_down_and_the_standard_one_grows(name):
    every = range(1, 31)
    product = [properties.stab_times_cvg(name, steps, 1.0, MU, L) for steps in every]
    standard = [properties.standard_bound(name, steps, 1.0, MU, L) for steps in every]
    top = product.index(max(product))
    assert 0 < top < len(product) - 1
    assert product[: top + 1] == sorted(product[: top + 1])
    assert product[top:] == sorted(product[top:], reverse=True)
    assert standard == sorted(standard)
    assert standard[-1] > 2 * standard[top]


def test_nag_converges_faster_and_its_predictor_turns_down_earlier():
    tops = {}
    for name in SOLVER_NAMES:
        product = [properties.stab_times_cvg(name, steps, 1.0, MU, L) for steps in range(1, 31)]
        tops[name] = product.index(max(product))
    assert tops["nag"] < tops["gd"]
    for steps in range(2, 31):
        nag, gd = (properties.convergence(name, steps, 1.0, MU, L) for name in ("nag", "gd"))
        assert nag < gd


@pytest.mark.parametrize(
    "function",
    [*EXACT, properties.standard_bound, properties.stab_times_cvg],
    ids=lambda function: function.__name__,
)
def test_values_are_floats_from_any_number_and_bad_settings_are_refused(function):
    assert type(function("gd", 3, 1, 1, 2)) is float
    assert function("nag", 3, 1, 1, 2) == function("nag", 3, 1.0, 1.0, 2.0)
    with pytest.raises(ValueError, match="gd, nag"):
        function("rnn", 3, 1.0, MU, L)
    with pytest.raises(ValueError, match="steps >= 0"):
        function("gd", -3, 1.0, MU, L)
    with pytest.raises(ValueError, match="smoothness"):
        function("gd", 3, 1.0, L, MU)
