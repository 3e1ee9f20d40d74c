"""Products with convolutional blocks and normalisation, against plain indexing and torch's own functions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unrolled.networks.convolution import EPSILON, Geometry, correlate, normalised_relu, statistics_of

ROUNDING = 1e-11
"""Float64 sums of some thousand terms of order one."""

GEOMETRIES = [
    Geometry(f, stride, side, direction)
    for f, stride, side, direction in (
        (1, 1, 4, 1), (2, 1, 4, 1), (2, 1, 4, -1), (3, 1, 5, 1), (3, 1, 5, -1), (3, 1, 3, -1), (5, 1, 8, 1),
        (1, 2, 4, 1), (2, 2, 4, 1), (3, 2, 8, 1), (3, 4, 8, 1), (5, 2, 6, 1),
    )
]  # fmt: skip


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def by_indexing(values: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
    """Return the correlation written out tap by tap and position by position."""
    f, side, out = geometry.kernel, geometry.side, geometry.side // geometry.stride
    grid = values.unflatten(2, (side, side))
    rows = []
    for y in range(out):
        for x in range(out):
            total = torch.zeros_like(values[:, :1, 0].expand(-1, filters.shape[1], -1))
            for v in range(f):
                for u in range(f):
                    shift = [geometry.direction * (tap - (f - 1) // 2) for tap in (v, u)]
                    at = [(geometry.stride * q + d) % side for q, d in zip((y, x), shift, strict=True)]
                    total = total + filters[..., v, u] @ grid[:, :, at[0], at[1]]
            rows.append(total)
    return torch.stack(rows, dim=2)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_values_and_gradients_are_those_of_plain_indexing(geometry: Geometry) -> None:
    values, filters = drawn(2, 3, geometry.side**2, 4), drawn(2, 5, 3, geometry.kernel, geometry.kernel, seed=1)
    fast, slow = correlate(values, filters, geometry), by_indexing(values, filters, geometry)
    torch.testing.assert_close(fast, slow, rtol=0, atol=ROUNDING)
    weights = drawn(*fast.shape, seed=2).detach()
    found, expected = (torch.autograd.grad((out * weights).sum(), [values, filters]) for out in (fast, slow))
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)


def test_a_correlation_with_padding_agrees_with_torch() -> None:
    images, filters = drawn(4, 3, 6, 6).detach(), drawn(1, 5, 3, 3, 3, seed=1)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="circular")
    expected = torch.nn.functional.conv2d(padded, filters[0])
    values = images.flatten(2).permute(1, 2, 0)[None].contiguous()
    found = correlate(values, filters, Geometry(3, 1, 6))[0].permute(2, 0, 1).view(4, 5, 6, 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)


def test_no_gradient_is_made_of_values_that_need_none() -> None:
    for geometry in (Geometry(3, 1, 4), Geometry(3, 2, 4)):
        filters = drawn(2, 5, 3, 3, 3, seed=1)
        correlate(drawn(2, 3, 16, 4).detach(), filters, geometry).sum().backward()
        assert filters.grad is not None


@pytest.mark.parametrize("shape", [(2, 3, 16, 5), (1, 1, 4, 2)])
def test_normalisation_agrees_with_torch(shape: tuple[int, ...]) -> None:
    values, scale, shift = drawn(*shape), drawn(*shape[:2], seed=1), drawn(*shape[:2], seed=2)
    flat = values.reshape(1, shape[0] * shape[1], -1)
    twin = torch.nn.functional.batch_norm(flat, None, None, scale.flatten(), shift.flatten(), True, eps=EPSILON)
    expected = torch.relu(twin).view(shape)
    found = normalised_relu(values, scale, shift)
    torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING)
    weights = drawn(*shape, seed=3).detach()
    gradients = [torch.autograd.grad((out * weights).sum(), [values, scale, shift]) for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=ROUNDING)
    assert float(gradients[0][0].abs().max()) > 0.1 or shape == (1, 1, 4, 2)


def test_given_statistics_take_the_place_of_the_batch() -> None:
    values, scale, shift = drawn(2, 3, 16, 5), drawn(2, 3, seed=1), drawn(2, 3, seed=2)
    own = statistics_of(values)
    torch.testing.assert_close(normalised_relu(values, scale, shift, own), normalised_relu(values, scale, shift))
    other = statistics_of(2 * values + 1)
    difference = normalised_relu(values, scale, shift, other) - normalised_relu(values, scale, shift)
    assert float(difference.detach().abs().max()) > 1
