"""Intervals over seeds: degenerate samples, pairing, coverage, rank correlations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from unrolled.claims.statistics import (
    Interval,
    mean_interval,
    paired_difference,
    rank_correlation,
    spearman_difference,
    spearman_interval,
    statistic_interval,
)


def test_equal_samples_give_a_point_not_nan() -> None:
    interval = mean_interval(np.full(7, 0.1))
    # 0.1 is not representable: the mean of seven may be off in the last place.
    assert interval.low == pytest.approx(0.1, abs=1e-15)
    assert interval.high == pytest.approx(0.1, abs=1e-15)
    assert interval.above_zero()


def test_zero_differences_do_not_lie_above_zero() -> None:
    interval = mean_interval(np.zeros(5))
    assert interval == Interval(0.0, 0.0, 0.0, 5)
    assert not interval.above_zero()
    assert interval.not_below_zero()


@pytest.mark.parametrize(("values", "effect"), [([], math.nan), ([3.0], 3.0)])
def test_fewer_than_two_seeds_have_no_interval(values: list[float], effect: float) -> None:
    interval = mean_interval(values)
    assert interval.effect == pytest.approx(effect, nan_ok=True)
    assert interval.n == len(values)
    assert math.isnan(interval.low)
    assert not interval.tested
    assert not interval.above_zero()


def test_two_seeds_span_the_sample() -> None:
    assert mean_interval([1.0, 3.0]) == Interval(2.0, 1.0, 3.0, 2)


def test_same_sample_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=9)
    assert mean_interval(values) == mean_interval(values)


def test_agrees_with_the_normal_interval_on_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(1, 2, size=400)
    half = 1.96 * values.std() / math.sqrt(400)
    interval = mean_interval(values)
    # 9,999 resamples place a 2.5 % quantile to about 3 % of the half width; three of that.
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize(("seeds", "nominal"), [(20, 0.93), (5, 0.85)])
def test_coverage_is_what_the_module_says(seeds: int, nominal: float) -> None:
    generator = np.random.default_rng(2)
    intervals = [mean_interval(generator.normal(1, 1, size=seeds)) for _ in range(200)]
    covered = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    # Two and a half standard errors of a proportion from 200 samples.
    assert covered == pytest.approx(nominal, abs=2.5 * math.sqrt(nominal * (1 - nominal) / 200))


def test_pairing_is_by_seed_not_by_position() -> None:
    first = pd.Series({3: 30.0, 1: 10.0, 2: 20.0})
    second = pd.Series({1: 9.0, 2: 18.0, 3: 27.0, 4: 0.0})
    assert paired_difference(first, second).to_dict() == {1: 1.0, 2: 2.0, 3: 3.0}


def test_pairing_drops_what_is_not_finite_on_either_side() -> None:
    first = pd.Series({1: math.nan, 2: 2.0, 3: math.inf, 4: 4.0})
    second = pd.Series({1: 1.0, 2: 1.0, 3: 1.0, 4: math.nan})
    assert paired_difference(first, second).to_dict() == {2: 1.0}


def test_pairing_sees_an_effect_that_unpaired_luck_hides() -> None:
    luck = pd.Series(np.random.default_rng(3).normal(0, 10, size=6))
    shuffled = pd.Series(luck.to_numpy()[::-1], index=luck.index)
    assert mean_interval(paired_difference(luck + 0.1, luck)).above_zero()
    assert not mean_interval(paired_difference(luck + 0.1, shuffled)).above_zero()


def test_rank_correlation_is_scipys_on_every_row() -> None:
    generator = np.random.default_rng(4)
    values = generator.integers(0, 5, size=(6, 9)).astype(float)  # integers: with ties
    predictor = generator.integers(0, 5, size=9).astype(float)
    expected = [scipy.stats.spearmanr(row, predictor).statistic for row in values]
    np.testing.assert_allclose(rank_correlation(values, predictor), expected, atol=1e-14)


def test_constant_side_ranks_nothing() -> None:
    assert rank_correlation(np.ones((2, 4)), np.arange(4)).tolist() == [0.0, 0.0]
    assert rank_correlation(np.arange(4.0), np.ones(4)) == 0.0


def test_spearman_ranks_the_mean_over_seeds() -> None:
    # Each seed alone ranks the cells badly; only their mean follows the predictor.
    values = np.array([[0.0, 9.0, 3.0], [2.0, -5.0, 3.0]])
    assert spearman_interval(values, [1, 2, 3]).effect == pytest.approx(1.0, abs=1e-12)
    assert rank_correlation(values[0], [1, 2, 3]) < 1


def test_spearman_difference_prefers_the_right_predictor() -> None:
    truth = np.array([1.0, 4.0, 2.0, 0.5])
    values = truth + np.random.default_rng(5).normal(0, 1e-3, size=(6, 4))
    interval = spearman_difference(values, truth, np.arange(4))
    assert interval.above_zero()
    assert interval.effect == pytest.approx(1 - rank_correlation(truth, np.arange(4)), abs=1e-12)


def test_cells_are_resampled_together() -> None:
    shared = np.random.default_rng(6).normal(0, 5, size=(8, 1))
    interval = statistic_interval(shared + np.array([1.0, 0.0]), lambda means: means[..., 0] - means[..., 1])
    # The seed's luck cancels in every resample; what is left is rounding of numbers near 10.
    assert interval.low == pytest.approx(1.0, abs=1e-13)
    assert interval.high == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, math.nan]]])
def test_malformed_values_are_refused(values: list) -> None:
    with pytest.raises(ValueError, match="expected a finite"):
        statistic_interval(values, lambda means: means[..., 0])


def test_cells_and_predictor_must_match() -> None:
    with pytest.raises(ValueError, match="same number"):
        rank_correlation(np.ones((2, 3)), [1, 2])
