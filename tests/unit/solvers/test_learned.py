import pytest
import torch

from unrolled.solvers.gradient import GD
from unrolled.solvers.learned import RNNCell
from unrolled.solvers.unroll import unroll

from .factory import ROUNDING, normal, random_problem


def random_cell(*replicas: int, dimension: int = 4) -> RNNCell:
    wide = (*replicas, 2 * dimension, 2 * dimension)
    weights = [0.5 * normal(*wide, seed=seed) for seed in (2, 3, 4)]
    return RNNCell(*weights, v=0.5 * normal(*replicas, dimension, 2 * dimension, seed=5))


def test_initial_weights_equal_one_gd_step_and_stay_with_gd():
    energy, start = random_problem(5).energy, normal(5, 4)
    cell = RNNCell.from_step_size(4, 0.8, dtype=torch.float64)
    torch.testing.assert_close(cell.step(energy, start), GD(0.8).step(energy, start), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(
        unroll(cell, energy, 10).trajectory, unroll(GD(0.8), energy, 10).trajectory, rtol=0, atol=ROUNDING
    )


def test_step_is_the_formula_written_out_for_each_problem():
    energy, y, cell = random_problem(3, 5).energy, normal(3, 5, 4), random_cell(3)
    out = cell.step(energy, y)
    for r in range(3):
        for b in range(5):
            hidden = torch.cat([-(energy.matrix[r, b] @ y[r, b] - energy.linear[r, b]), y[r, b]])
            for weight in (cell.w1[r], cell.w2[r], cell.w3[r]):
                hidden = (weight @ hidden).clamp(min=0)
            torch.testing.assert_close(out[r, b], cell.v[r] @ hidden, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("batch", [(), (3,), (3, 2)])
def test_weights_without_replicas_serve_any_batch(batch):
    problem, y, cell = random_problem(*batch), normal(*batch, 4), random_cell()
    out = cell.step(problem.energy, y)
    assert out.shape == (*batch, 4)
    last = tuple(size - 1 for size in batch)
    flat = type(problem.energy)(problem.energy.matrix[last], problem.energy.linear[last])
    torch.testing.assert_close(out[last], cell.step(flat, y[last]), rtol=0, atol=ROUNDING)


def test_a_replica_alone_equals_itself_in_the_ensemble():
    # As many replicas as problems, so that mixing up the two axes would not show in the shapes.
    energy, cell = random_problem(3, 3).energy, random_cell(3)
    together = unroll(cell, energy, 3).estimate
    for r in range(3):
        alone = RNNCell(cell.w1[r], cell.w2[r], cell.w3[r], cell.v[r])
        one = type(energy)(energy.matrix[r], energy.linear[r])
        torch.testing.assert_close(together[r], unroll(alone, one, 3).estimate, rtol=0, atol=ROUNDING)


def test_step_sizes_differ_between_replicas_and_replicas_share_no_memory():
    step_sizes = torch.tensor([0.3, 0.9], dtype=torch.float64)
    cell = RNNCell.from_step_size(4, step_sizes, replicas=(2,), dtype=torch.float64)
    energy = random_problem(2).energy
    expected = unroll(GD(step_sizes), energy, 4).estimate
    torch.testing.assert_close(unroll(cell, energy, 4).estimate, expected, rtol=0, atol=ROUNDING)
    for weight in (cell.w1, cell.w2, cell.w3, cell.v):
        before = weight[1].clone()
        weight[0] += 1.0
        torch.testing.assert_close(weight[1], before, rtol=0, atol=0)


def test_gradcheck_through_the_weights():
    energy = random_problem(2, dimension=2).energy
    cell = random_cell(2, dimension=2)

    def layer(w1, w2, w3, v):
        return unroll(RNNCell(w1, w2, w3, v), energy, 2, start=normal(2, 2)).estimate

    # Random weights keep the hidden units away from the kink of ReLU, where the derivative is not defined.
    assert torch.autograd.gradcheck(layer, [w.clone().requires_grad_() for w in (cell.w1, cell.w2, cell.w3, cell.v)])


def test_wrong_weight_shapes_are_refused():
    cell = random_cell(2)
    with pytest.raises(ValueError, match=r"expected w1 of shape \(2, 8, 8\)"):
        RNNCell(cell.w1[0], cell.w2, cell.w3, cell.v)
    with pytest.raises(ValueError, match=r"expected v of shape \(2, 4, 8\)"):
        RNNCell(cell.w1, cell.w2, cell.w3, cell.v[..., :6])
    with pytest.raises(ValueError, match="expected v"):
        RNNCell(cell.w1, cell.w2, cell.w3, torch.ones(8))
    with pytest.raises(ValueError, match="dimension of at least 1"):
        RNNCell.from_step_size(0, 0.5)


def test_estimates_that_do_not_fit_the_weights_are_refused():
    cell = random_cell(2)
    with pytest.raises(ValueError, match="pass a start that has it"):
        cell.step(random_problem(3).energy, normal(3, 4))
    with pytest.raises(ValueError, match="estimates of dimension 4"):
        cell.step(random_problem(2, dimension=3).energy, normal(2, 3))
    assert unroll(cell, random_problem().energy, 2, start=normal(2, 4)).estimate.shape == (2, 4)
