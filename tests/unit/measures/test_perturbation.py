"""Balls of allowed inputs: distances, boxes, and the laws of random points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.measures.perturbation import NORMS, Ball, unit

from .factory import draws, normal

ROUNDING = 1e-12
"""Float64 sums of some ten terms of order one."""

BOTH = pytest.mark.parametrize("norm", NORMS)


def distance(change: Tensor, norm: str) -> Tensor:
    return change.flatten(2).abs().amax(2) if norm == "linf" else change.flatten(2).norm(dim=2)


@BOTH
@pytest.mark.parametrize("box", [False, True])
def test_projected_points_lie_in_ball_and_box(norm: str, box: bool) -> None:
    inputs = normal(0, 2, 5, 3, 4).clamp(-1, 1)
    low, high = (-1.0, 1.0) if box else (None, None)
    points = inputs + 3 * normal(1, *inputs.shape)
    found = Ball(inputs, 0.5, norm, low, high).project(points)
    assert bool((distance(found - inputs, norm) <= 0.5 + ROUNDING).all())
    assert float(distance(found - inputs, norm).max()) > 0.49
    if box:
        assert bool((found.abs() <= 1).all())
        assert bool((found.abs() == 1).any())


@BOTH
def test_no_allowed_point_is_nearer_than_the_projection(norm: str) -> None:
    inputs, point = normal(0, 1, 1, 6), normal(1, 1, 1, 6) * 2
    ball = Ball(inputs, 0.7, norm)
    nearest = float((ball.project(point) - point).norm())
    others = Ball(inputs.expand(1, 2000, 6), 0.7, norm).random(draws([0]))
    assert nearest <= float((others - point).norm(dim=2).min())
    inside = inputs + 0.01
    torch.testing.assert_close(ball.project(inside), inside, rtol=0, atol=ROUNDING)


@BOTH
def test_the_steepest_change_has_norm_one_and_grows_the_function_most(norm: str) -> None:
    gradient = normal(0, 2, 3, 2, 4)
    ball = Ball(torch.zeros_like(gradient), 1.0, norm)
    change = ball.steepest(gradient)
    torch.testing.assert_close(distance(change, norm), torch.ones(2, 3, dtype=torch.float64), rtol=0, atol=ROUNDING)
    dual = gradient.flatten(2).norm(p=1 if norm == "linf" else 2, dim=2)
    torch.testing.assert_close((change * gradient).flatten(2).sum(2), dual, rtol=0, atol=ROUNDING)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_directions_survive_gradients_of_any_size(norm: str, dtype: torch.dtype) -> None:
    g = normal(0, 1, 2, 5, dtype=dtype)
    ball = Ball(torch.zeros_like(g), 1.0, norm)
    for size in (1e-28, 1e28):  # their squares leave the range of float32
        torch.testing.assert_close(ball.steepest(g * size), ball.steepest(g), rtol=1e-5, atol=0)
    broken = g.clone()
    broken[0, 0, 0], broken[0, 1] = math.nan, 0
    found = ball.steepest(broken)
    assert bool(found.isfinite().all())
    assert not bool(found[0, 1].any())


def test_random_points_fill_the_balls_evenly() -> None:
    rows, n = 20_000, 3
    around = torch.full((1, rows, n), 5.0, dtype=torch.float64)
    for norm in NORMS:
        change = (Ball(around, 2.0, norm).random(draws([3])) - around)[0] / 2
        r = distance(change[None], norm)[0]
        assert float(r.max()) <= 1 + ROUNDING
        # The radius to the power n is uniform: its mean is 1/2, with a standard error of 1 / sqrt(12 rows).
        assert abs(float((r**n).mean()) - 0.5) < 5 / math.sqrt(12 * rows)
        assert float(change.mean(0).abs().max()) < 5 / math.sqrt(3 * rows)


@BOTH
def test_a_radius_for_each_replica(norm: str) -> None:
    inputs, radii = normal(0, 3, 4, 5), torch.tensor([0.0, 0.5, 2.0])
    points = inputs + 10 * normal(1, 3, 4, 5)
    together = Ball(inputs, radii, norm).project(points)
    for r, radius in enumerate(radii.tolist()):
        alone = Ball(inputs[r : r + 1], radius, norm).project(points[r : r + 1])
        assert torch.equal(together[r : r + 1], alone)
    assert torch.equal(together[0], inputs[0])


@BOTH
def test_repeated_rows_keep_their_balls(norm: str) -> None:
    inputs = normal(0, 2, 3, 4).clamp(-1, 1)
    ball, points = Ball(inputs, 0.3, norm, -1.0, torch.ones(4)), normal(1, 2, 6, 4)
    both = torch.cat([ball.project(points[:, :3]), ball.project(points[:, 3:])], 1)
    assert torch.equal(ball.repeated(2).project(points), both)


def test_clean_inputs_a_rounding_error_outside_the_box_stay_allowed() -> None:
    inputs = torch.tensor([[[1 + 1e-7, 0.5]]], dtype=torch.float64)
    for norm in NORMS:
        assert torch.equal(Ball(inputs, 0.0, norm, 0.0, 1.0).project(inputs), inputs)
        assert float(Ball(inputs, 1.0, norm, 0.0, 1.0).project(inputs + 9).max()) == 1 + 1e-7


def test_unit_leaves_zero_and_makes_length_one() -> None:
    x = torch.stack([torch.zeros(2, 3), torch.ones(2, 3)])
    assert not bool(unit(x)[0].any())
    np.testing.assert_allclose(unit(x)[1].norm(dim=1), 1, rtol=1e-6)


def test_arguments_outside_their_range_are_refused() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="norm: expected one of linf, l2, got 'l1'"):
        Ball(x, 1.0, "l1")
    for radius in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="radius: expected finite numbers >= 0"):
            Ball(x, radius, "l2")
    with pytest.raises(ValueError, match="radius: expected a number or one for each of 2 replicas"):
        Ball(x, torch.ones(3), "l2")
    with pytest.raises(ValueError, match=r"inputs: expected floating-point \(R, B, ...\), got torch.float32 of"):
        Ball(torch.zeros(2, 3), 1.0, "l2")
    with pytest.raises(ValueError, match=r"inputs: expected floating-point \(R, B, ...\), got torch.int64"):
        Ball(torch.zeros(2, 3, 4, dtype=torch.int64), 1.0, "l2")
    with pytest.raises(ValueError, match=r"low: expected clean inputs inside the box .* outside by 0.5"):
        Ball(x, 1.0, "linf", 0.5, 1.0)
    with pytest.raises(ValueError, match="high: expected a number or a tensor that broadcasts"):
        Ball(x, 1.0, "linf", None, torch.ones(3))
