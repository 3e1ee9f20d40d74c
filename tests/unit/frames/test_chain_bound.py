import itertools
import time

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from unrolled.frames.bounds import is_growing, simple_chain
from unrolled.frames.chain_bound import dual_value, lower_chain, stage_cost

# The programme's own minimum by an independent search agrees with the bound to this.
AGREEMENT = 1e-6


def chain_potential(sizes, learnt, identities):
    """F2 of the chain with learnt blocks and identity entries t, from its dense Gram matrix."""
    rows = np.cumsum([0, *sizes[:-1]])
    columns = np.cumsum([0, *sizes[1:]])
    dictionary = torch.zeros(rows[-1], columns[-1], dtype=torch.float64)
    for j, block in enumerate(learnt):
        dictionary[rows[j] : rows[j + 1], columns[j] : columns[j + 1]] = block
        if j < len(learnt) - 1:
            dictionary[rows[j + 1] : rows[j + 2], columns[j] : columns[j + 1]] = -torch.diag(identities[j])
    dictionary = dictionary / dictionary.norm(dim=0)
    return ((dictionary.T @ dictionary - torch.eye(columns[-1], dtype=torch.float64)) ** 2).sum()


def unpack(sizes, flat):
    shapes = [(below, own) for below, own in itertools.pairwise(sizes)] + [(own,) for own in sizes[1:-1]]
    parts = torch.split(flat, [int(np.prod(shape)) for shape in shapes])
    arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return arrays[: len(sizes) - 1], arrays[len(sizes) - 1 :]


def numeric_minimum(sizes, rng):
    """A local minimum by L-BFGS from a random start, where some identities are large and some small."""
    count = sum(below * own for below, own in itertools.pairwise(sizes))
    start = np.concatenate([rng.standard_normal(count), np.exp(rng.uniform(-3, 3, sum(sizes[1:-1])))])

    def function(flat):
        point = torch.tensor(flat, requires_grad=True)
        value = chain_potential(sizes, *unpack(sizes, point))
        value.backward()
        return value.item(), point.grad.numpy()

    return minimize(function, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).fun


def brute_force(sizes):
    """Minimum of (P) over whole numbers of clean units: every combination."""
    k = np.asarray(sizes, dtype=float)
    best = np.inf
    for middle in itertools.product(*(range(int(size) + 1) for size in k[1:-1])):
        clean = np.array([k[0], *middle, k[-1]])
        rows = np.array([clean[0], *k[1:-1]])
        if (clean[:-1] == 0).any():
            continue
        best = min(best, sum(float(stage_cost(c, r, y)) for c, r, y in zip(clean, rows, clean[1:], strict=False)))
    return best


def programme_minimum(sizes, points=41, rounds=60):
    """(P) in the clean energies, by a grid in log Y that narrows around its best path: an upper bound."""
    k = np.asarray(sizes, dtype=float)
    low, high = np.full(len(k), np.log(k.min() / 4)), np.log(k)
    best = np.inf
    for _ in range(rounds):
        grid = [np.exp(np.linspace(a, b, points)) for a, b in zip(low, high, strict=True)]
        grid[0], grid[-1] = k[:1], k[-1:]
        value, choices = np.zeros(1), []
        for j in range(1, len(k)):
            rows = k[j - 1]
            table = value[:, None] + stage_cost(grid[j - 1][:, None], rows, grid[j][None, :])
            choices.append(table.argmin(0))
            value = table.min(0)
        best = min(best, float(value[0]))
        path = [0]
        for choice in reversed(choices):
            path.append(int(choice[path[-1]]))
        centre = np.log([g[i] for g, i in zip(grid, reversed(path), strict=True)])
        width = (high - low) * 0.35
        low, high = centre - width, np.minimum(np.log(k), centre + width)
    return best


def naive_cost(clean, rows, energy):
    """The minimum over E in (P) on a fine grid."""
    dirty = rows - clean
    e = np.linspace(0, energy, 200_001) if dirty else np.zeros(1)
    squares = (energy - e) ** 2 / clean + (e**2 / dirty if dirty else 0)
    return (np.maximum(0, squares - energy) + 2 * e).min()


@pytest.mark.parametrize("clean", [0.5, 1.0, 2.5, 3.9, 4.0])
@pytest.mark.parametrize("energy", [0.3, 1.0, 1.4, 2.0, 3.0, 4.0, 9.0])
def test_the_cost_of_a_stage_is_its_minimum_over_dirty_energies(clean, energy):
    # The grid's spacing is 5e-5 at most; the cost has slopes below 20 in E.
    expected = naive_cost(clean, 4.0, energy)
    value = float(stage_cost(np.float64(clean), 4.0, np.float64(energy)))
    assert value <= expected + 1e-12
    assert value == pytest.approx(expected, abs=1e-3)


def test_the_cost_of_a_stage_is_convex():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 1, (2, 2, 10_000)) * np.array([5.0, 12.0])[:, None]
    middle = stage_cost((a[0] + b[0]) / 2, 5.0, (a[1] + b[1]) / 2)
    assert (middle <= (stage_cost(a[0], 5.0, a[1]) + stage_cost(b[0], 5.0, b[1])) / 2 + 1e-12).all()


def test_bounds_of_the_reference():
    assert lower_chain((16, 16, 32, 16)).value == 0
    assert lower_chain((8, 8, 32, 48)).value == pytest.approx(80, rel=AGREEMENT)
    assert lower_chain((8, 8, 32, 48)).value <= 80
    assert lower_chain((3072, 2, 4, 8, 16)).value == 28
    assert lower_chain((8, 8, 32, 48)).status == "lower"


@pytest.mark.parametrize(
    "sizes", [(4, 8, 8), (3, 6, 9, 5), (2, 4, 6, 6), (4, 9, 3, 8), (3, 5, 4, 6, 7), (6, 4, 5, 5, 3)]
)
def test_clean_units_in_whole_numbers_cost_no_less(sizes):
    value = brute_force(sizes)
    bound = lower_chain(sizes).value
    assert bound <= value + 1e-12
    # One unit more or less changes little: the programme is not loose.
    assert bound >= 0.9 * value


SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_is_the_minimum_of_its_programme(seed):
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(0, rng.choice([1.0, 3.0, 5.0]), rng.integers(3, 8)))
    sizes *= 10 ** rng.uniform(0, 4)
    value = programme_minimum(sizes)
    bound = lower_chain(sizes).value
    assert bound <= value * (1 + 1e-12)
    # Where the minimum is next to nothing beside the sizes, the grid of the search is what is in error.
    assert bound == pytest.approx(value, rel=AGREEMENT, abs=1e-6 * sizes.min())


def test_the_random_chains_do_not_all_grow():
    chains = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        chains.append(np.exp(rng.uniform(0, rng.choice([1.0, 3.0, 5.0]), rng.integers(3, 8))))
    assert sum(lower_chain(1 + chain).value > 0 and not is_growing(1 + chain) for chain in chains) >= 10


@pytest.mark.parametrize(
    "sizes",
    [(3, 6, 12), (9, 2, 4, 8, 16), (5, 3, 2, 4, 9), (2, 4, 8.0001, 17), (7, 7, 7, 14, 28), (1e5, 10, 1000, 1e6)],
)
def test_simple_chains_are_exact_where_they_grow(sizes):
    k = np.asarray(sizes, dtype=float)
    ratio = k[1:] / k[:-1]
    theta = np.where(ratio > 1, 1.0, 1e-100)
    exact = simple_chain(sizes)
    assert exact.status == "exact"
    assert dual_value(sizes, ratio * theta, theta) == pytest.approx(exact.value, rel=1e-10)
    assert lower_chain(sizes).value == exact.value


@pytest.mark.parametrize("sizes", [(3, 6, 11), (9, 2, 4, 6, 16), (2, 4, 8, 8), (7, 7, 14, 13), (2, 4, 3.9, 8)])
def test_simple_chains_are_above_the_bound_where_they_do_not_grow(sizes):
    assert lower_chain(sizes).value < simple_chain(sizes).value * (1 - 1e-4)


def test_the_dual_is_below_the_minimum_at_any_multipliers():
    rng = np.random.default_rng(1)
    sizes = (3, 7, 9, 4, 11)
    best = lower_chain(sizes).value
    values = [dual_value(sizes, rng.exponential(1, 4), rng.uniform(0.01, 1, 4)) for _ in range(2000)]
    assert max(values) <= best
    assert best <= programme_minimum(sizes) + 1e-12


@pytest.mark.parametrize("sizes", [(3, 5, 7), (4, 8, 4), (2, 6, 3, 5), (3, 5, 6, 7), (5, 3, 8, 4, 4)])
def test_no_chain_is_below_the_bound(sizes):
    rng = np.random.default_rng(sum(sizes))
    bound = lower_chain(sizes).value
    for _ in range(200):
        learnt = [torch.tensor(rng.standard_normal(shape)) for shape in itertools.pairwise(sizes)]
        identities = [torch.tensor(np.exp(rng.uniform(-6, 6, own))) for own in sizes[1:-1]]
        assert float(chain_potential(sizes, learnt, identities)) >= bound


@pytest.mark.parametrize(
    ("sizes", "excess"), [((2, 4, 8), 0.02), ((3, 5, 7), 0.1), ((4, 8, 4), None), ((2, 5, 6, 5), None)]
)
def test_numeric_minima_are_not_below_the_bound_and_near_it(sizes, excess):
    rng = np.random.default_rng(0)
    bound = lower_chain(sizes).value
    found = min(numeric_minimum(sizes, rng) for _ in range(6))
    # L-BFGS ends within 1e-6 of an infimum; it cannot go below the bound.
    assert found >= bound - 1e-9
    if excess is not None:
        assert found <= bound * (1 + excess)


@pytest.mark.parametrize("width", [4, 16, 32])
def test_residual_network_sizes_with_up_to_ninety_layers_are_quick(width):
    depth = 15
    sizes = [3 * 1024] + [width * 1024] * (2 * depth + 1) + [width * 512] * (2 * depth) + [width * 256] * (2 * depth)
    begin = time.process_time()
    bound = lower_chain(sizes).value
    # Of this process alone, so that a busy machine changes little: below half a second.
    assert time.process_time() - begin < 10
    assert 0 <= bound <= simple_chain(sizes).value
    # Only the last layer has to be clean: nothing is lost as long as it fits into the input.
    assert (bound == 0) == (width * 256 <= 3 * 1024)


def test_multipliers_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="each of 2 layers"):
        dual_value((2, 3, 4), (1.0,), (1.0,))
    for alpha, theta in (((1.0, -1.0), (1.0, 1.0)), ((1.0, 1.0), (0.0, 1.0)), ((1.0, 1.0), (1.0, 1.1))):
        with pytest.raises(ValueError, match="alpha >= 0 and theta"):
            dual_value((2, 3, 4), alpha, theta)
    with pytest.raises(ValueError, match="at least 1"):
        lower_chain((2, 0.5, 4))
