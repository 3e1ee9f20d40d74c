import time

import numpy as np
import pytest
from scipy.optimize import minimize

from unrolled.frames.bounds import welch_potential
from unrolled.frames.pattern_bound import lower_pattern, pattern_dual, pattern_levels


def random_pattern(rng, blocks=4, columns=5, most=6):
    rows = rng.integers(1, most, blocks)
    counts = rng.integers(1, most, columns)
    support = [sorted(set(rng.integers(0, blocks, rng.integers(1, blocks + 1)).tolist())) for _ in range(columns)]
    return rows, counts, support


def mask_of(rows, counts, support):
    mask = np.zeros((sum(rows), sum(counts)), dtype=bool)
    starts, begins = np.cumsum([0, *rows]), np.cumsum([0, *counts])
    for j, blocks in enumerate(support):
        for i in blocks:
            mask[starts[i] : starts[i + 1], begins[j] : begins[j + 1]] = True
    return mask


def potential(dictionary):
    unit = dictionary / np.linalg.norm(dictionary, axis=0)
    return ((unit.T @ unit - np.eye(unit.shape[1])) ** 2).sum(), unit


def lowered_potential(mask, rng, steps=300):
    """Potential of a random dictionary of the pattern after gradient descent along the sphere of each column."""
    dictionary = rng.standard_normal(mask.shape) * mask
    for _ in range(steps):
        _, unit = potential(dictionary)
        dictionary = unit - 0.2 / np.linalg.norm(unit, 2) ** 2 * (unit @ (unit.T @ unit - np.eye(unit.shape[1]))) * mask
    return potential(dictionary)[0]


def naive_minimum(rows, counts, support):
    """Least sum x^2 / D over distributions, by a general optimiser on squares of the shares' roots."""
    pairs = [(j, i) for j, blocks in enumerate(support) for i in blocks]

    def loads(flat):
        shares = np.exp(flat)
        x = np.zeros(len(rows))
        for j, blocks in enumerate(support):
            own = [n for n, pair in enumerate(pairs) if pair[0] == j]
            x[blocks] += counts[j] * shares[own] / shares[own].sum()
        return x

    # Shares in logarithms: an optimum at zero share is approached, not reached.
    result = minimize(lambda flat: (loads(flat) ** 2 / rows).sum(), np.zeros(len(pairs)), method="BFGS")
    return result.fun


@pytest.mark.parametrize("seed", range(12))
def test_the_levels_minimise_the_sum_of_squares(seed):
    rng = np.random.default_rng(seed)
    rows, counts, support = random_pattern(rng)
    touches = np.array([[i in blocks for i in range(len(rows))] for blocks in support])
    levels = pattern_levels(rows.astype(float), counts.astype(float), touches)
    value = (levels**2 * rows).sum()
    assert (levels * rows).sum() == pytest.approx(counts.sum(), rel=1e-12)
    # Dual value of the same levels: equal to the primal one, so both are the optimum.
    dual = 2 * (counts * np.where(touches, levels, np.inf).min(1)).sum() - value
    assert dual == pytest.approx(value, rel=1e-9)
    assert value == pytest.approx(naive_minimum(rows, counts, support), rel=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_no_dictionary_of_the_pattern_is_below_the_bound(seed):
    rng = np.random.default_rng(seed)
    rows, counts, support = random_pattern(rng, most=4)
    bound = lower_pattern(rows, counts, support)
    assert bound.status == "lower"
    mask = mask_of(rows, counts, support)
    assert potential(rng.standard_normal(mask.shape) * mask)[0] >= bound.value
    assert min(lowered_potential(mask, rng) for _ in range(3)) >= bound.value - 1e-9


@pytest.mark.parametrize(
    ("rows", "counts", "expected"),
    [((3, 6), (6, 12), 18.0), ((2, 2, 2), (2, 2, 8), 24.0), ((4, 2), (2, 3), 1.5), ((4, 4), (2, 2), 0.0)],
)
def test_lower_triangular_patterns_by_hand_and_reached(rows, counts, expected):
    support = [range(j, len(rows)) for j in range(len(rows))]
    assert lower_pattern(rows, counts, support).value == pytest.approx(expected, rel=1e-12, abs=0)
    rng = np.random.default_rng(0)
    mask = mask_of(rows, counts, support)
    assert min(lowered_potential(mask, rng, 3000) for _ in range(4)) == pytest.approx(expected, rel=0.02, abs=1e-3)


@pytest.mark.parametrize("seed", range(20))
def test_lower_triangular_patterns_are_above_welch_of_every_trailing_part(seed):
    rng = np.random.default_rng(seed)
    blocks = int(rng.integers(2, 9))
    rows, counts = rng.integers(1, 50, blocks), rng.integers(1, 50, blocks)
    bound = lower_pattern(rows, counts, [range(j, blocks) for j in range(blocks)]).value
    for j in range(blocks):
        assert bound >= welch_potential(counts[j:].sum(), rows[j:].sum()).value * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_no_part_of_the_columns_has_a_larger_bound(seed):
    rng = np.random.default_rng(100 + seed)
    rows, counts, support = random_pattern(rng)
    whole = lower_pattern(rows, counts, support).value
    for chosen in range(1, 2 ** len(counts)):
        part = [j for j in range(len(counts)) if chosen >> j & 1]
        assert lower_pattern(rows, counts[part], [support[j] for j in part]).value <= whole + 1e-9


def test_a_full_pattern_is_welch():
    assert lower_pattern((3, 4), (5, 9), [(0, 1)] * 2).value == pytest.approx(welch_potential(14, 7).value, rel=1e-12)


def test_the_dual_holds_at_any_levels():
    rng = np.random.default_rng(3)
    rows, counts, support = random_pattern(rng)
    counts = 4 * counts
    touches = np.array([[i in blocks for i in range(len(rows))] for blocks in support])
    best = lower_pattern(rows, counts, support).value
    assert best > 0
    values = [pattern_dual(rows, counts, touches, rng.uniform(0, 20, len(rows))) for _ in range(500)]
    assert max(values) <= best


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_many_blocks_and_sizes_far_apart(scale):
    rng = np.random.default_rng(0)
    blocks = 130
    rows, counts = np.exp(rng.uniform(0, 9, (2, blocks))) * scale
    begin = time.process_time()
    bound = lower_pattern(rows, counts, [sorted({j, min(j + 1, blocks - 1)}) for j in range(blocks)]).value
    # Of this process alone, so that a busy machine changes little: below half a second.
    assert time.process_time() - begin < 10
    assert bound > 0
    assert bound >= welch_potential(max(counts[-1], 1), rows[-1]).value * (1 - 1e-12)


def test_patterns_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="one support for each of 2"):
        lower_pattern((2, 2), (2, 2), [(0,)])
    for blocks in ((), (2,), (-1, 0)):
        with pytest.raises(ValueError, match=r"column block 1 to touch some of the row blocks 0\.\.1"):
            lower_pattern((2, 2), (2, 2), [(0,), blocks])
    with pytest.raises(ValueError, match="row sizes"):
        lower_pattern((2, 0), (2, 2), [(0,), (1,)])
    with pytest.raises(ValueError, match="column sizes"):
        lower_pattern((2, 2), (2, 0.5), [(0,), (1,)])
