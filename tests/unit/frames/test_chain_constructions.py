import itertools
import time

import numpy as np
import pytest
from scipy.optimize import minimize

from unrolled.frames.bounds import simple_chain
from unrolled.frames.chain_bound import lower_chain
from unrolled.frames.chain_constructions import clean_allocation, uniform_chain


def uniform_potential(sizes, fractions):
    k, v = np.asarray(sizes, dtype=float), np.append(fractions, 1.0)
    own = np.maximum(0, k[1:] ** 2 / k[:-1] - k[1:])
    return (own * v**2).sum() + 2 * (k[2:] * v[1:] * (1 - v[:-1])).sum()


@pytest.mark.parametrize(
    "sizes", [(8, 32, 48), (4, 16, 17), (4, 17, 18, 19), (10, 30, 40, 20), (5, 30, 31, 10), (3, 9, 20, 2)]
)
def test_uniform_chains_are_the_least_of_all_fractions(sizes):
    rng = np.random.default_rng(0)
    free = len(sizes) - 2
    starts = [*itertools.product((0.0, 0.5, 1.0), repeat=free), *rng.uniform(0, 1, (20, free))]
    found = min(
        minimize(lambda v: uniform_potential(sizes, v), start, bounds=[(0, 1)] * free, tol=1e-12).fun
        for start in starts
    )
    bound = uniform_chain(sizes)
    assert bound.value == pytest.approx(found, rel=1e-10)
    assert lower_chain(sizes).value <= bound.value <= simple_chain(sizes).value


def test_uniform_chains_of_the_reference():
    assert uniform_chain((8, 8, 32, 48)).value == pytest.approx(96, rel=1e-9)
    assert uniform_chain((16, 16, 32, 16)).value == pytest.approx(24, rel=1e-9)
    assert uniform_chain((16, 16, 32, 16)).status == "upper"


@pytest.mark.parametrize("sizes", [(3072, 2, 4, 8, 16), (3072, 64, 32, 64), (30, 20, 10), (5, 7)])
def test_uniform_chains_are_exact_where_they_meet_the_lower_bound(sizes):
    bound = uniform_chain(sizes)
    assert bound.status == "exact"
    assert bound.value == simple_chain(sizes).value == lower_chain(sizes).value


def allocation_potential(clean, positions):
    size = np.multiply(clean, positions).astype(float)
    return np.maximum(0, size[1:] ** 2 / size[:-1] - size[1:]).sum()


@pytest.mark.parametrize(
    ("sizes", "positions"),
    [
        ((4, 8, 6), (1, 1, 1)),
        ((3, 6, 9, 5), (1, 1, 1, 1)),
        ((3, 5, 7, 6), (16, 16, 4, 4)),
        ((2, 6, 5, 7), (4, 1, 4, 1)),
        ((5, 3), (1, 2)),
    ],
)
def test_allocations_are_the_best_of_all_combinations(sizes, positions):
    ranges = [range(1, size + 1) for size in sizes[1:-1]]
    candidates = [(sizes[0], *middle, sizes[-1]) for middle in itertools.product(*ranges)]
    costs = [allocation_potential(clean, positions) for clean in candidates]
    clean, bound = clean_allocation(sizes, positions)
    assert bound.status == "upper"
    assert bound.value == pytest.approx(min(costs), rel=1e-12)
    assert allocation_potential(clean, positions) == pytest.approx(bound.value, rel=1e-12)
    # Among the best, the largest first number, then the largest second, and so on.
    assert clean == max(c for c, cost in zip(candidates, costs, strict=True) if cost <= min(costs) + 1e-12)


def harmonic_frame(k, d):
    """A unit-norm tight frame of k >= d vectors in d dimensions, the orthonormal one for k <= d. d even, or k <= d."""
    if k <= d:
        return np.eye(d)[:, :k]
    angles = 2 * np.pi * np.outer(np.arange(1, d // 2 + 1), np.arange(k)) / k
    return np.concatenate([np.cos(angles), np.sin(angles)]) / np.sqrt(d / 2)


@pytest.mark.parametrize("sizes", [(4, 8, 4), (4, 8, 8), (16, 16, 32, 16), (4, 12, 8, 10)])
def test_allocations_can_be_built(sizes):
    clean, bound = clean_allocation(sizes)
    assert all(c % 2 == 0 for c in clean), "the frames of this test have even dimensions"
    rows, columns = np.cumsum([0, *sizes[:-1]]), np.cumsum([0, *sizes[1:]])
    dictionary = np.zeros((rows[-1], columns[-1]))
    for j in range(len(sizes) - 1):
        block = harmonic_frame(clean[j + 1], clean[j])
        dictionary[rows[j] : rows[j] + clean[j], columns[j] : columns[j] + clean[j + 1]] = block
        for unit in range(clean[j + 1], sizes[j + 1]):
            dictionary[rows[j + 1] + unit, columns[j] + unit] = -1
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=0), 1, atol=1e-12)
    total = ((dictionary.T @ dictionary - np.eye(columns[-1])) ** 2).sum()
    assert total == pytest.approx(bound.value, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_allocations_lie_between_the_lower_bound_and_simple_chains(seed):
    sizes = np.random.default_rng(seed).integers(2, 60, 5)
    bound = clean_allocation(sizes)[1]
    assert lower_chain(sizes).value <= bound.value * (1 + 1e-12) <= simple_chain(sizes).value * (1 + 1e-9)


def test_growing_chains_keep_all_units_clean_and_large_ones_are_quick():
    begin = time.process_time()
    clean, bound = clean_allocation((3072, 512, 1024, 2048, 4096))
    # Of this process alone, so that a busy machine changes little: about 0.1 s.
    assert time.process_time() - begin < 5
    assert clean == (3072, 512, 1024, 2048, 4096)
    assert bound.value == simple_chain(clean).value


def test_allocations_of_what_is_no_whole_number_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        clean_allocation((4, 2.5, 3))
    with pytest.raises(ValueError, match="positions for each of 3 sizes, got 2"):
        clean_allocation((4, 2, 3), (1, 1))
    with pytest.raises(ValueError, match="expected positions"):
        clean_allocation((4, 2, 3), (1, 1, 0))
    with pytest.raises(ValueError, match="expected sizes"):
        clean_allocation((4, 0, 3))
    with pytest.raises(ValueError, match="expected sizes"):
        uniform_chain((4,))
