import pytest
import torch

from unrolled.solvers.gradient import GD, NAG, aligned, momentum
from unrolled.solvers.unroll import unroll

from .factory import MU, ROUNDING, L, normal, random_problem


def test_gd_follows_the_gradient():
    energy, y = random_problem(3).energy, normal(3, 4)
    expected = torch.stack([y[i] - 0.7 * (energy.matrix[i] @ y[i] - energy.linear[i]) for i in range(3)])
    torch.testing.assert_close(GD(0.7).step(energy, y), expected, rtol=0, atol=ROUNDING)


def test_nag_extrapolates_from_two_estimates():
    energy = random_problem().energy
    a = (1 - (MU * 0.7) ** 0.5) / (1 + (MU * 0.7) ** 0.5)
    y = z = normal(4)
    path = [y]
    for _ in range(5):
        y_next = z - 0.7 * (energy.matrix @ z - energy.linear)
        y, z = y_next, y_next + a * (y_next - y)
        path.append(y)
    result = unroll(NAG(0.7, MU), energy, 5, start=normal(4))
    torch.testing.assert_close(result.trajectory, torch.stack(path), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("strong_convexity", [0.25, 1.0, 2.0])
def test_nag_is_gd_where_the_momentum_vanishes(strong_convexity):
    energy = random_problem(3).energy
    step_size = 1 / strong_convexity
    assert momentum(step_size, strong_convexity) == 0
    nag = unroll(NAG(step_size, strong_convexity), energy, 6).trajectory
    torch.testing.assert_close(nag, unroll(GD(step_size), energy, 6).trajectory, rtol=0, atol=0)
    # The opposite must be seen: with momentum the two part at the second step.
    other = unroll(NAG(0.5 * step_size, strong_convexity), energy, 6).trajectory
    assert not torch.allclose(other[2], unroll(GD(0.5 * step_size), energy, 6).trajectory[2])


def test_momentum_of_floats_and_tensors_agree_and_fall_with_the_step_size():
    steps = [0.1, 0.5, 1.0, 4.0]
    values = momentum(torch.tensor(steps, dtype=torch.float64), MU)
    assert values.tolist() == pytest.approx([momentum(step, MU) for step in steps], abs=ROUNDING)
    assert (values.diff() < 0).all()
    assert momentum(1.0, 0.0) == 1.0


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 1, 1)])
@pytest.mark.parametrize("build", [GD, lambda step_size: NAG(step_size, MU)])
def test_a_step_size_a_replica_equals_one_replica_at_a_time(shape, build):
    # Replicas and batch of equal size: alignment from the wrong side would go unnoticed by the shapes alone.
    energy = random_problem(3, 3).energy
    step_sizes = torch.tensor([0.3, 0.8, 1.1], dtype=torch.float64)
    together = unroll(build(step_sizes.reshape(shape)), energy, 4).estimate
    for replica in range(3):
        alone = unroll(build(step_sizes[replica].item()), energy, 4).estimate
        torch.testing.assert_close(together[replica], alone[replica], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("shape", [(3, 4), (2,), (2, 3, 1), (3, 2, 1, 1), (4,)])
def test_a_step_size_that_does_not_fit_the_estimate_is_refused(shape):
    with pytest.raises(ValueError, match="does not fit estimates of shape"):
        aligned(torch.ones(shape), torch.zeros(3, 2, 4))


def test_a_scalar_tensor_fits_every_estimate():
    assert aligned(torch.tensor(0.5), torch.zeros(4)).shape == (1,)
    assert aligned(0.5, torch.zeros(4)) == 0.5


def test_gradcheck_through_step_size_and_strong_convexity():
    energy = random_problem(2, dimension=3).energy

    def layer(step_size, strong_convexity, start):
        nag = unroll(NAG(step_size, strong_convexity), energy, 4, start)
        return nag.estimate, unroll(GD(step_size), energy, 3).estimate

    inputs = [torch.tensor([0.4, 0.9]), torch.tensor([0.1, 0.2]), normal(2, 3)]
    assert torch.autograd.gradcheck(layer, [each.double().requires_grad_() for each in inputs])


@pytest.mark.parametrize("step_size", [0.0, -1.0, float("nan"), float("inf")])
def test_step_sizes_must_be_positive_and_finite(step_size):
    for build in (GD, lambda value: NAG(value, MU)):
        with pytest.raises(ValueError, match="step size > 0"):
            build(step_size)


def test_strong_convexity_must_not_be_negative():
    with pytest.raises(ValueError, match="strong convexity >= 0"):
        NAG(1 / L, -0.1)
