from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from unrolled.data.rotations import random_rotations

ROUNDING = 1e-14
"""A few times the spacing of numbers near 1."""


@pytest.mark.parametrize("count", [1, 2, 300])
@pytest.mark.parametrize("dimension", [1, 3, 5, 8])
def test_they_are_bit_for_bit_those_of_scipy(dimension: int, count: int) -> None:
    """Problem sets are named by their recipe, so another order of the same sums would be another set."""
    ours, scipys = np.random.default_rng(7), np.random.default_rng(7)
    found = random_rotations(ours, count, dimension)
    expected = special_ortho_group.rvs(dimension, size=count, random_state=scipys).reshape(-1, dimension, dimension)
    assert np.array_equal(found, expected)
    assert ours.random() == scipys.random()  # what is drawn after them is the same, too


def test_they_are_rotations() -> None:
    q = random_rotations(np.random.default_rng(1), 200, 5)
    assert np.abs(np.swapaxes(q, 1, 2) @ q - np.eye(5)).max() < 10 * ROUNDING
    assert np.abs(np.linalg.det(q) - 1).max() < 10 * ROUNDING


def test_no_direction_is_preferred() -> None:
    """Haar: every entry has mean 0 and variance 1/d; without the signs of R its first column would lean one way."""
    count, d = 20_000, 4
    q = random_rotations(np.random.default_rng(2), count, d)
    # Five standard errors; a square has variance below 3 / d^2.
    assert np.abs(q.mean(axis=0)).max() < 5 * np.sqrt(1 / d / count)
    assert np.abs((q**2).mean(axis=0) - 1 / d).max() < 5 * np.sqrt(3 / d**2 / count)
