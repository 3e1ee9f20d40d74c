import pytest
import torch

from unrolled.solvers.energies import EigenEnergy, QuadraticEnergy

from .factory import ROUNDING, normal, random_problem, rotated


def test_value_equals_the_naive_double_sum():
    problem, y = random_problem(3), normal(3, 4)
    for i in range(3):
        quadratic = sum(0.5 * y[i, a] * problem.energy.matrix[i, a, b] * y[i, b] for a in range(4) for b in range(4))
        expected = quadratic - sum(problem.linear[i, a] * y[i, a] for a in range(4))
        assert problem.energy.value(y)[i].item() == pytest.approx(expected.item(), abs=ROUNDING)


@pytest.mark.parametrize("form", ["energy", "eigen_energy"])
def test_gradient_is_the_derivative_of_value(form):
    energy, y = getattr(random_problem(2, 3), form), normal(2, 3, 4).requires_grad_()
    (slope,) = torch.autograd.grad(energy.value(y).sum(), y)
    torch.testing.assert_close(energy.gradient(y), slope, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("form", ["energy", "eigen_energy"])
def test_no_point_lies_below_the_minimizer(form):
    energy = getattr(random_problem(5), form)
    best = energy.minimizer()
    torch.testing.assert_close(energy.gradient(best), torch.zeros_like(best), rtol=0, atol=ROUNDING)
    for seed in range(10):
        assert (energy.value(best + 0.1 * normal(5, 4, seed=seed)) > energy.value(best)).all()


def test_both_forms_are_one_energy_seen_in_two_bases():
    problem, u = random_problem(2, 3), normal(2, 3, 4)
    y = rotated(problem.rotation, u)
    torch.testing.assert_close(problem.energy.value(y), problem.eigen_energy.value(u), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(
        problem.energy.gradient(y), rotated(problem.rotation, problem.eigen_energy.gradient(u)), rtol=0, atol=ROUNDING
    )
    torch.testing.assert_close(
        problem.energy.minimizer(), rotated(problem.rotation, problem.eigen_energy.minimizer()), rtol=0, atol=ROUNDING
    )


def test_from_eigen_has_the_given_eigenvalues_and_eigenvectors():
    problem = random_problem(3)
    found = torch.linalg.eigvalsh(problem.energy.matrix)
    torch.testing.assert_close(found, problem.eigenvalues.sort(-1).values, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(
        problem.energy.matrix @ problem.rotation, problem.rotation * problem.eigenvalues[:, None], rtol=0, atol=ROUNDING
    )


def test_batches_broadcast_and_start_has_the_joint_shape():
    shared = random_problem().energy.matrix
    linear = normal(5, 3, 4)
    energy = QuadraticEnergy(shared, linear)
    assert energy.start().shape == energy.shape == (5, 3, 4)
    assert energy.start().dtype == torch.float64
    assert not energy.start().any()
    alone = QuadraticEnergy(shared, linear[2, 1])
    torch.testing.assert_close(energy.minimizer()[2, 1], alone.minimizer(), rtol=0, atol=ROUNDING)
    assert QuadraticEnergy(random_problem(5, 1).energy.matrix, normal(4)).minimizer().shape == (5, 1, 4)
    assert EigenEnergy(torch.ones(5, 1, 4), torch.ones(3, 4)).start().shape == (5, 3, 4)


def test_gradcheck_through_the_minimizer_and_the_value():
    problem = random_problem(2, dimension=3)

    def outputs(eigenvalues, linear, y):
        energy = QuadraticEnergy.from_eigen(problem.rotation, eigenvalues, linear)
        return energy.minimizer(), energy.value(y)

    inputs = (problem.eigenvalues, problem.linear, normal(2, 3))
    assert torch.autograd.gradcheck(outputs, [each.clone().requires_grad_() for each in inputs])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: QuadraticEnergy(torch.ones(3, 4), torch.ones(4)), "square matrix"),
        (lambda: QuadraticEnergy(torch.ones(4), torch.ones(4)), "square matrix"),
        (lambda: QuadraticEnergy(torch.eye(4), torch.ones(3)), r"linear of shape \(\.\.\., 4\)"),
        (lambda: QuadraticEnergy(torch.eye(4), torch.tensor(1.0)), "linear of shape"),
        (lambda: QuadraticEnergy(torch.ones(2, 4, 4), torch.ones(3, 4)), "do not broadcast"),
        (lambda: QuadraticEnergy.from_eigen(torch.eye(4), torch.ones(3), torch.ones(4)), "eigenvalues of shape"),
        (lambda: QuadraticEnergy.from_eigen(torch.ones(3, 4), torch.ones(4), torch.ones(4)), "square rotation"),
        (lambda: QuadraticEnergy.from_eigen(torch.ones(2, 4, 4), torch.ones(3, 4), torch.ones(4)), "do not broadcast"),
        (lambda: EigenEnergy(torch.ones(4), torch.ones(3)), "share their last axis"),
        (lambda: EigenEnergy(torch.tensor(1.0), torch.ones(1)), "share their last axis"),
        (lambda: EigenEnergy(torch.ones(2, 4), torch.ones(3, 4)), "do not broadcast"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
