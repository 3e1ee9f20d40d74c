import pytest
import torch

from unrolled.frames.convolution import correlate, spread

from .naive import normal

# Sums of at most 200 products of numbers of order 1, in float64.
ROUNDING = 1e-12

SHAPES = [(1, 1, 1), (4, 3, 1), (4, 4, 1), (6, 3, 2), (6, 2, 2), (6, 1, 2), (6, 1, 3), (6, 5, 3), (2, 2, 2), (6, 6, 3)]


def naive_correlate(z, weight, stride):
    side, f = z.shape[-1], weight.shape[-1]
    out = torch.zeros(*z.shape[:2], weight.shape[1], side // stride, side // stride, dtype=z.dtype)
    for v in range(side // stride):
        for u in range(side // stride):
            for i in range(f):
                for j in range(f):
                    y, x = (stride * v + i - (f - 1) // 2) % side, (stride * u + j - (f - 1) // 2) % side
                    out[..., v, u] += torch.einsum("rnc,roc->rno", z[..., y, x], weight[..., i, j])
    return out


@pytest.mark.parametrize(("side", "kernel", "stride"), SHAPES)
def test_correlate_is_the_sum_over_positions(side, kernel, stride):
    z, weight = normal(2, 3, 4, side, side), normal(2, 5, 4, kernel, kernel, seed=2)
    expected = naive_correlate(z, weight, stride)
    torch.testing.assert_close(correlate(z, weight, stride), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("side", "kernel", "stride"), SHAPES)
def test_spread_is_the_adjoint(side, kernel, stride):
    z, weight = normal(2, 3, 4, side, side), normal(2, 5, 4, kernel, kernel, seed=2)
    v = normal(2, 3, 5, side // stride, side // stride, seed=3)
    left, right = (correlate(z, weight, stride) * v).sum(), (z * spread(v, weight, stride)).sum()
    assert spread(v, weight, stride).shape == z.shape
    assert left.item() == pytest.approx(right.item(), rel=ROUNDING, abs=ROUNDING * z.numel())


@pytest.mark.parametrize(("side", "kernel", "stride"), [(1, 1, 1), (4, 3, 2)])
def test_gradients_through_both(side, kernel, stride):
    z, weight = normal(2, 1, 2, side, side), normal(2, 3, 2, kernel, kernel, seed=2)

    def both(z, weight):
        return spread(correlate(z, weight, stride), weight, stride)

    assert torch.autograd.gradcheck(both, [z.requires_grad_(), weight.requires_grad_()])
