from itertools import pairwise

import pytest
import torch

from unrolled.solvers.matrix_free import conjugate_gradient, spectral_norm

from .factory import normal

# Orders of float64 rounding on numbers of order 10.
ROUNDING = 1e-12


def positive_definite(*batch, dimension=6):
    root = normal(*batch, dimension, dimension)
    return root @ root.mT + 0.5 * torch.eye(dimension, dtype=torch.float64)


def test_conjugate_gradient_solves_as_a_direct_method():
    matrix, right = positive_definite(3), normal(3, 6, seed=2)
    found = conjugate_gradient(lambda w: (matrix @ w[..., None])[..., 0], right, normal(3, 6, seed=3), tolerance=1e-13)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right), rtol=0, atol=1e-10)


def test_conjugate_gradient_needs_as_many_steps_as_there_are_eigenvalues():
    eigenvalues = torch.tensor([1.0, 1.0, 2.0, 2.0, 5.0], dtype=torch.float64)
    right = normal(5)
    three, two = (conjugate_gradient(lambda w: eigenvalues * w, right, torch.zeros(5), k) for k in (3, 2))
    torch.testing.assert_close(three, right / eigenvalues, rtol=0, atol=ROUNDING)
    assert not torch.allclose(two, right / eigenvalues)


def test_a_system_that_is_solved_stays_while_others_go_on():
    matrix, right = positive_definite(2), normal(2, 6)
    right[0] = 0
    guess = torch.zeros(2, 6, dtype=torch.float64)
    found = conjugate_gradient(lambda w: (matrix @ w[..., None])[..., 0], right, guess)
    assert not found[0].any()
    alone = conjugate_gradient(lambda w: (matrix[1:] @ w[..., None])[..., 0], right[1:], guess[1:])
    torch.testing.assert_close(found[1:], alone, rtol=0, atol=ROUNDING)


def test_the_spectral_norm_is_reached_from_below():
    matrix = normal(3, 7, 5)
    exact = torch.linalg.matrix_norm(matrix, 2)
    estimates = [
        spectral_norm(lambda v: (matrix @ v[..., None])[..., 0], lambda z: (matrix.mT @ z[..., None])[..., 0], start, k)
        for start, k in ((normal(5, seed=4).expand(3, 5), k) for k in (1, 3, 10, 300))
    ]
    for less, more in pairwise(estimates):
        assert (less <= more * (1 + ROUNDING)).all()
    assert (estimates[0] < exact).all()
    torch.testing.assert_close(estimates[-1], exact, rtol=1e-9, atol=0)


def test_the_norm_of_zero_is_zero_and_it_carries_no_graph():
    weight = torch.zeros(4, requires_grad=True)
    norm = spectral_norm(lambda v: weight * v, lambda z: weight * z, torch.ones(4), 3)
    assert norm.item() == 0
    assert not norm.requires_grad


@pytest.mark.parametrize("iterations", [0, -1, 2.0, True])
def test_power_iterations_are_counted(iterations):
    with pytest.raises(ValueError, match="power iterations >= 1"):
        spectral_norm(lambda v: v, lambda v: v, torch.ones(2), iterations)
