import math

import pytest
import torch

from unrolled.solvers.worst_case import largest_magnitude

# The refined bracket is below 1e-7 of the interval, so a smooth maximum errs by its square; the rest is rounding.
EXACT = 1e-13


@pytest.mark.parametrize("centre", [0.0, 0.1234567, 0.5, 0.98765, 1.0])
def test_finds_a_smooth_maximum_wherever_it_lies(centre):
    found = largest_magnitude(lambda x: 3 - 100 * (x - centre) ** 2, 0.0, 1.0, bumps=3)
    # |f| at the far end may be larger than 3: the reference takes both ends into account.
    assert found == pytest.approx(max(3.0, abs(3 - 100 * centre**2), abs(3 - 100 * (1 - centre) ** 2)), abs=EXACT)


def test_negative_values_count_by_magnitude():
    assert largest_magnitude(lambda x: x - 5, 0.0, 1.0, bumps=2) == 5.0


def test_the_higher_of_two_nearly_equal_maxima_wins():
    # The lower peak lies on the grid, the higher one off it by more than their difference: only refining both tells.
    def two_peaks(x):
        left, right = 1 - 1e4 * (x - 0.5) ** 2, 1 + 1e-9 - 1e4 * (x - 0.7371) ** 2
        return torch.maximum(torch.maximum(left, right), torch.zeros_like(x))

    assert largest_magnitude(two_peaks, 0.0, 1.0, bumps=6) == pytest.approx(1 + 1e-9, abs=1e-11)


def test_many_oscillations_are_all_seen():
    assert largest_magnitude(lambda x: x * torch.cos(200 * x), 0.0, 1.0, bumps=70) == pytest.approx(
        max(abs(x * math.cos(200 * x)) for x in [i / 1e6 for i in range(900000, 1000001)]), abs=1e-8
    )


def test_a_constant_and_a_single_point():
    assert largest_magnitude(torch.ones_like, 0.0, 1.0, bumps=1) == 1.0
    assert largest_magnitude(lambda x: x**2, 3.0, 3.0, bumps=3) == 9.0


def test_an_empty_interval_is_refused():
    with pytest.raises(ValueError, match="low <= high"):
        largest_magnitude(torch.ones_like, 1.0, 0.0, bumps=1)
