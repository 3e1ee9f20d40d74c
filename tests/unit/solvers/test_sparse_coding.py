import pytest
import torch

import unrolled.solvers.sparse_coding as room
from unrolled.solvers.sparse_coding import SparseCodingEnergy, rectified_shrinkage

from .factory import ROUNDING, normal

PENALTY = 0.7


def problem():
    """Two dictionaries of 4 atoms in 5 dimensions, three samples each."""
    dictionary, target, thresholds = normal(2, 5, 4), normal(2, 3, 5, seed=2), normal(2, 1, 4, seed=3).abs()
    return dictionary, target, thresholds, SparseCodingEnergy.of_dictionary(dictionary, target, thresholds)


def test_the_value_is_that_of_the_definition():
    dictionary, target, thresholds, energy = problem()
    w = normal(2, 3, 4, seed=4).abs()
    for r in range(2):
        for n in range(3):
            residual = target[r, n] - dictionary[r] @ w[r, n]
            expected = 0.5 * residual @ residual + thresholds[r, 0] @ w[r, n]
            assert energy.value(w)[r, n].item() == pytest.approx(expected.item(), abs=ROUNDING)


def test_the_gradient_is_that_of_the_smooth_part():
    _, _, thresholds, energy = problem()
    w = normal(2, 3, 4, seed=4).requires_grad_()
    (slope,) = torch.autograd.grad(energy.value(w).sum(), w)
    torch.testing.assert_close(energy.gradient(w), slope - thresholds, rtol=0, atol=ROUNDING)


def test_the_proximal_operator_minimises_on_a_grid():
    _, _, thresholds, energy = problem()
    step_size = torch.tensor([0.3, 1.2], dtype=torch.float64)
    point = normal(2, 3, 4, seed=5)
    found = energy.proximal(point, step_size)
    grid = torch.linspace(0, 4, 4001, dtype=torch.float64)
    weight = (step_size[:, None, None] * thresholds)[..., None]
    values = 0.5 * (grid - point[..., None]).square() + weight * grid
    # Half the distance of grid points.
    torch.testing.assert_close(found, grid[values.argmin(-1)], rtol=0, atol=5.1e-4)
    assert (found == 0).any()
    assert (found > 0).any()


def test_negative_thresholds_are_biases_that_raise():
    assert rectified_shrinkage(torch.tensor(-0.5), torch.tensor(-2.0)).item() == 1.5


def test_the_gram_matrix_and_the_start():
    dictionary, _, _, energy = problem()
    torch.testing.assert_close(energy.gram(), dictionary.mT @ dictionary, rtol=0, atol=ROUNDING)
    assert energy.start().shape == (2, 3, 4)
    assert not energy.start().any()


@pytest.mark.parametrize("explicit", [True, False])
def test_least_squares_solve_the_normal_equations(explicit, monkeypatch):
    if not explicit:
        monkeypatch.setattr(room, "EXPLICIT_ATOMS", 0)
    dictionary, target, _, energy = problem()
    point = normal(2, 3, 4, seed=6)
    matrix = dictionary.mT @ dictionary + PENALTY * torch.eye(4, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, (target @ dictionary + PENALTY * point).mT).mT
    for _ in range(2):
        found = energy.least_squares(point, PENALTY, energy.start())
        # Conjugate gradient stops at a relative residual of 1e-10.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    other = energy.least_squares(point, 2 * PENALTY, energy.start())
    assert not torch.allclose(other, expected)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="samples are rows of the target"):
        SparseCodingEnergy.of_dictionary(normal(5, 4), normal(3, 4), torch.tensor(1.0))
