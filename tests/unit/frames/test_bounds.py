import math

import numpy as np
import pytest

from unrolled.frames.bounds import (
    check_sizes,
    convolutional_coherence,
    is_growing,
    potential_from_total,
    simple_chain,
    unit_norm_chain,
    welch_coherence,
    welch_potential,
)

ROUNDING = 1e-12


def off_diagonal(dictionary):
    """G - I of a dictionary with its columns divided by their norms."""
    unit = dictionary / np.linalg.norm(dictionary, axis=0)
    return unit.T @ unit - np.eye(unit.shape[1])


def harmonic_frame(k, d):
    """A unit-norm tight frame of k vectors in an even number d <= k of dimensions: pairs of cosines and sines."""
    angles = 2 * np.pi * np.outer(np.arange(1, d // 2 + 1), np.arange(k)) / k
    return np.concatenate([np.cos(angles), np.sin(angles)]) / math.sqrt(d / 2)


@pytest.mark.parametrize(("k", "d"), [(5, 2), (7, 4), (9, 4), (9, 6)])
def test_a_tight_frame_has_the_welch_potential(k, d):
    total = (off_diagonal(harmonic_frame(k, d)) ** 2).sum()
    bound = welch_potential(k, d)
    assert bound.status == "exact"
    assert total == pytest.approx(bound.value, rel=ROUNDING)


@pytest.mark.parametrize(("k", "d"), [(1, 1), (2, 3), (4, 3), (12, 3), (9, 8)])
def test_no_random_frame_is_below_the_welch_bounds(k, d):
    for seed in range(20):
        gram = off_diagonal(np.random.default_rng(seed).standard_normal((d, k)))
        assert (gram**2).sum() >= welch_potential(k, d).value - ROUNDING
        assert np.abs(gram).max() >= welch_coherence(k, d).value - ROUNDING


def test_the_coherence_bound_is_called_exact_where_it_is_reached():
    simplex = np.eye(5) - 1 / 5
    simplex = np.linalg.svd(simplex)[2][:4] @ simplex
    assert np.abs(off_diagonal(simplex)).max() == pytest.approx(welch_coherence(5, 4).value, rel=1e-10)
    assert welch_coherence(5, 4).status == "exact"
    assert (welch_coherence(3, 8).value, welch_coherence(3, 8).status) == (0.0, "exact")
    assert welch_coherence(7, 1).value == 1.0
    # Four lines in the plane are at best 45 degrees apart, which is above the bound: it is no minimum there.
    assert welch_coherence(4, 2).status == "lower"
    assert welch_coherence(4, 2).value < math.cos(math.pi / 4) - 0.1


@pytest.mark.parametrize(
    ("k", "d", "f", "stride", "grid"), [(3, 1, 2, 1, 4), (4, 1, 3, 1, 4), (6, 1, 2, 2, 4), (5, 1, 3, 2, 8)]
)
def test_no_convolution_is_below_its_coherence_bound(k, d, f, stride, grid):
    """In two dimensions, by filters on an f x f window of a grid x grid torus."""
    bound = convolutional_coherence(k, d, f, stride, grid)
    assert bound.status == "lower"
    rng = np.random.default_rng(0)
    for _ in range(5):
        columns = []
        for out in rng.standard_normal((k, d, f, f)):
            for row in range(0, grid, stride):
                for column in range(0, grid, stride):
                    atom = np.zeros((d, grid, grid))
                    rows, places = (row + np.arange(f)) % grid, (column + np.arange(f)) % grid
                    atom[:, rows[:, None], places] = out
                    columns.append(atom.ravel())
        gram = np.abs(off_diagonal(np.array(columns).T))
        neighbours = (gram > 1e-9).sum(1).max() + 1
        assert neighbours <= k * min(grid // stride, 2 * ((f - 1) // stride) + 1) ** 2
        assert gram.max() >= bound.value - ROUNDING


def test_the_convolutional_bound_by_hand_and_above_that_of_a_dense_layer():
    # k / (d s^2) = 6, lambda = min(8, 3) = 3: mu^2 >= 5 / (24 9 - 1).
    assert convolutional_coherence(24, 1, 4, 2, 16).value == pytest.approx(math.sqrt(5 / 215), rel=ROUNDING)
    assert convolutional_coherence(8, 4, 3, 1, 16).value > welch_coherence(8 * 256, 4 * 256).value
    assert convolutional_coherence(8, 4, 3, 1, 16).value == convolutional_coherence(8, 4, 3, 1, math.inf).value
    assert convolutional_coherence(8, 4, 9, 1, 2).value == pytest.approx(welch_coherence(32, 16).value, rel=ROUNDING)
    assert convolutional_coherence(3, 4, 3, 1, 16).value == 0


def test_simple_chains_of_the_reference():
    assert simple_chain((3072, 2, 4, 8, 16)).value == 28
    assert simple_chain((8, 8, 32, 48)).value == 120
    assert simple_chain((16, 16, 32, 16)).value == 32
    pairs = sum(k * (k - 1) for k in (8, 16, 32, 64)) + 2 * (8 * 16 + 16 * 32 + 32 * 64)
    assert potential_from_total(simple_chain((3072, 8, 16, 32, 64)).value, pairs) == pytest.approx(0.1023, abs=5e-5)


@pytest.mark.parametrize(
    ("sizes", "exact"),
    [
        ((3072, 2, 4, 8, 16), True),
        ((3072, 64, 32, 64), True),
        ((3072, 64, 32, 48, 64), False),
        ((8, 32, 48), False),
        ((16, 32, 16), False),
        ((16, 32, 32), False),
        ((4, 4, 2, 2, 3, 6), True),
        ((3072 * 1024, 1024 * 8.5, 1024 * 17.0, 1024 * 34.0), True),
        ((5, 7), True),
    ],
)
def test_simple_chains_are_exact_from_the_growth_on(sizes, exact):
    assert is_growing(sizes) is exact
    assert simple_chain(sizes).status == ("exact" if exact else "upper")


def test_ratios_that_differ_by_rounding_alone_count_as_equal():
    assert is_growing([0.7 * 3**j * 10 for j in range(12)])
    assert not is_growing([10, 30, 90 * (1 - 1e-9)])


def test_the_unit_norm_chain_is_what_its_columns_give():
    blocks = [harmonic_frame(4, 2), harmonic_frame(6, 4)]
    dictionary = np.block([[blocks[0], np.zeros((2, 6))], [-np.eye(4), blocks[1]]])
    total = (off_diagonal(dictionary) ** 2).sum()
    bound = unit_norm_chain((2, 4, 6))
    assert total == pytest.approx(bound.value, rel=ROUNDING)
    assert bound.status == "upper"
    assert bound.value >= simple_chain((2, 4, 6)).value / 4


def test_potential_of_the_total():
    assert potential_from_total(8, 2) == 2
    assert potential_from_total(0, 0) == 0
    for f2, pairs in ((1.0, 0), (-1.0, 2), (1.0, -2), (math.nan, 2)):
        with pytest.raises(ValueError, match="expected"):
            potential_from_total(f2, pairs)


@pytest.mark.parametrize("sizes", [(4,), (4, 0.5), (4, math.nan), (4, math.inf), ((1, 2), (3, 4)), (3, 0, 2)])
def test_sizes_outside_their_range_are_refused(sizes):
    for function in (check_sizes, simple_chain, unit_norm_chain, is_growing):
        with pytest.raises(ValueError, match="expected sizes"):
            function(sizes)


def test_layers_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="kernel of at least 1, got 0"):
        convolutional_coherence(4, 2, 0, 1, 8)
    with pytest.raises(ValueError, match="stride of at least 1, got 0"):
        convolutional_coherence(4, 2, 3, 0, 8)
    with pytest.raises(ValueError, match="multiple of the stride 3"):
        convolutional_coherence(4, 2, 3, 3, 8)
    with pytest.raises(ValueError, match="expected channels"):
        convolutional_coherence(4, 0, 3, 1, 8)
    with pytest.raises(ValueError, match="at least 1"):
        welch_potential(0, 2)
