"""Kendall's and the partial rank correlation against scipy, a regression on ranks, and their limits."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from unrolled.claims.correlation import (
    kendall_correlation,
    measured_rank_correlation,
    partial_rank_correlation,
)
from unrolled.claims.statistics import statistic_interval


@pytest.mark.parametrize("ties", [False, True])
def test_kendall_is_scipys_on_every_row(ties: bool) -> None:
    generator = np.random.default_rng(0)
    values, predictor = generator.normal(size=(7, 11)), generator.normal(size=11)
    if ties:
        values, predictor = np.round(values), np.round(predictor)
    expected = [stats.kendalltau(row, predictor).statistic for row in values]
    np.testing.assert_allclose(kendall_correlation(values, predictor), expected, atol=1e-14)
    np.testing.assert_allclose(kendall_correlation(values[0], predictor), expected[0], atol=1e-14)


def test_kendall_of_a_constant_ranks_nothing() -> None:
    assert kendall_correlation(np.ones((2, 4)), np.arange(4)).tolist() == [0.0, 0.0]
    assert kendall_correlation(np.arange(4.0), np.ones(4)) == 0.0


def test_cells_and_predictor_must_match() -> None:
    with pytest.raises(ValueError, match="same number"):
        kendall_correlation(np.ones((2, 3)), [1, 2])
    with pytest.raises(ValueError, match="same number"):
        kendall_correlation(np.ones((2, 1)), [1])


def test_partial_correlation_is_that_of_residuals_of_ranks() -> None:
    generator = np.random.default_rng(1)
    given = generator.normal(size=30)
    predictor = given + generator.normal(size=30)
    values = given - 0.5 * predictor + 0.3 * generator.normal(size=(4, 30))

    def left_over(x: np.ndarray) -> np.ndarray:
        design = np.stack([np.ones(30), stats.rankdata(given)], axis=1)
        ranks = stats.rankdata(x)
        return ranks - design @ np.linalg.lstsq(design, ranks, rcond=None)[0]

    expected = [np.corrcoef(left_over(row), left_over(predictor))[0, 1] for row in values]
    np.testing.assert_allclose(partial_rank_correlation(values, predictor, given), expected, atol=1e-12)


def test_partial_correlation_takes_a_shared_cause_away() -> None:
    generator = np.random.default_rng(2)
    cause = generator.normal(size=400)
    first, second = (cause + 0.5 * generator.normal(size=400) for _ in range(2))
    assert stats.spearmanr(first, second).statistic > 0.7
    # Of 400 independent pairs a correlation has a standard error of 0.05.
    assert abs(float(partial_rank_correlation(first, second, cause))) < 0.15
    assert partial_rank_correlation(first, second, second) == 0.0, "the rival leaves nothing over"


def test_intervals_over_seeds_hold_the_point_and_narrow_with_seeds() -> None:
    generator = np.random.default_rng(3)
    truth = np.arange(12.0)
    seeds = truth + 4 * generator.normal(size=(40, 12))
    for statistic in (
        partial(kendall_correlation, predictor=truth),
        partial(partial_rank_correlation, predictor=truth, given=generator.normal(size=12)),
    ):
        few, many = statistic_interval(seeds[:4], statistic), statistic_interval(seeds, statistic)
        assert few.high - few.low > many.high - many.low > 0
        assert many.low <= many.effect <= 1


@pytest.mark.parametrize("ties", [False, True])
def test_correlation_of_two_measured_sides_is_scipys_on_every_row(ties: bool) -> None:
    values = np.random.default_rng(3).normal(size=(6, 2 * 9))
    values = np.round(values) if ties else values
    expected = [stats.spearmanr(row[:9], row[9:]).statistic for row in values]
    np.testing.assert_allclose(measured_rank_correlation(values), expected, atol=1e-14)
    assert measured_rank_correlation(np.array([1.0, 1.0, 2.0, 3.0])) == 0.0, "a constant side ranks nothing"


@pytest.mark.parametrize("columns", [2, 5])
def test_two_measured_sides_must_match(columns: int) -> None:
    with pytest.raises(ValueError, match="two sides of the same number"):
        measured_rank_correlation(np.ones((3, columns)))
