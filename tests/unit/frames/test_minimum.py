import math

import pytest
import torch

from unrolled.frames import minimum as module
from unrolled.frames.bounds import simple_chain
from unrolled.frames.chain_bound import lower_chain
from unrolled.frames.dictionary import dictionary
from unrolled.frames.minimum import lower_bound, minimum_potential
from unrolled.frames.overlap import overlap_count
from unrolled.frames.structure import KINDS, build

from .explicit import explicit_gram, explicit_overlaps
from .naive import random_filters, random_identity

# What a value may lie below a lower bound by rounding.
BELOW = 1e-6
# What the specification of a minimiser allows above a minimum that is known.
NEAR = 1.02
# Values within this share of the lower bound count as exact.
CERTIFIED = 1 + module.AGREEMENT


@pytest.mark.parametrize(
    "widths", [(5,), (16, 24), (2, 4, 8, 16), (4, 8, 16), (8, 24), (16, 8, 16), (24, 12, 6, 24), (10, 20, 40, 80)]
)
def test_growing_chains_reach_their_minimum(widths):
    exact = simple_chain((3072, *widths))
    assert exact.status == "exact"
    found = minimum_potential(build("chain", 3072, widths), restarts=4)
    assert found.f2 == pytest.approx(exact.value, abs=BELOW)
    assert found.status == "exact"
    assert found.lower.value == pytest.approx(exact.value, abs=1e-9)
    # Random starts alone get there too: nothing of the answer is put into those.
    ends = [value for name, value in found.starts if name == "random"]
    assert exact.value - BELOW <= min(ends) <= max(exact.value * NEAR, module.AGREEMENT)
    assert len(ends) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(4, 6, 5, 9), (6, 6, 12, 24), (3, 7, 3)])
def test_no_value_is_below_the_lower_bound(kind, sizes):
    found = minimum_potential(build(kind, sizes[0], sizes[1:]), restarts=2)
    assert min(value for _, value in found.starts) >= found.lower.value - BELOW
    assert found.lower == lower_bound(build(kind, sizes[0], sizes[1:]))
    assert found.f2 <= min(value for _, value in found.starts) + BELOW
    assert found.f == pytest.approx(math.sqrt(found.f2 / found.pairs), rel=1e-12)


@pytest.mark.parametrize("sizes", [(3072, 2, 4, 8), (8, 32, 48), (16, 16, 32, 16), (7, 8, 1, 24, 9)])
def test_the_lower_bound_of_a_chain_is_that_of_its_programme(sizes):
    chain = lower_bound(build("chain", sizes[0], sizes[1:]))
    assert chain.value == pytest.approx(lower_chain(sizes).value, abs=BELOW)
    # Learned blocks in place of zeros can only lower the least bound.
    assert lower_bound(build("dense", sizes[0], sizes[1:])).value <= chain.value + BELOW


@pytest.mark.parametrize(
    ("widths", "figure"), [((8, 16, 32, 64), 0.1030), ((64, 32, 64), 0.0611), ((128, 256), 0.0417)]
)
def test_the_labelled_dots_of_the_figure(widths, figure):
    found = minimum_potential(build("chain", 3072, widths), restarts=2)
    assert found.f == pytest.approx(figure, rel=0.025)
    assert found.status == "exact"


def test_chains_that_contract_are_not_credited_with_tight_frames():
    """Half of the wide layer become pure identities: 0, where tight frames without identities have 32."""
    found = minimum_potential(build("chain", 16, (16, 32, 16)))
    assert simple_chain((16, 16, 32, 16)).value == 32
    assert found.f2 == pytest.approx(0, abs=BELOW)
    assert found.status == "exact"
    # Random starts find it as well, up to what ends a search.
    assert min(value for name, value in found.starts if name == "random") <= module.AGREEMENT


def test_chains_whose_growth_slows_are_below_uniform_columns():
    """Tight frames have 120, uniform columns 96, the minimum is 80."""
    found = minimum_potential(build("chain", 8, (32, 48)))
    assert 80 - BELOW <= found.f2 <= 80 * CERTIFIED
    assert found.status == "exact"
    assert dict(found.starts)["tight frames"] == pytest.approx(120, abs=BELOW)


def test_local_minima_are_left_behind():
    """Random starts of this chain end at 28.375 and 28.625 too."""
    found = minimum_potential(build("chain", 3072, (2, 4, 8, 16)))
    assert found.f2 == pytest.approx(28, abs=BELOW)
    ends = [value for name, value in found.starts if name == "random"]
    assert any(abs(end - 28.375) < 0.01 or abs(end - 28.625) < 0.01 for end in ends)


@pytest.mark.parametrize("widths", [(12, 24, 48), (8, 16, 32, 64), (16, 8, 16, 32)])
def test_denser_skips_lower_the_minimum(widths):
    """F in the order dense <= residual_all <= residual < chain at equal widths."""
    found = [
        minimum_potential(build(kind, 3072, widths), restarts=1).f
        for kind in ("dense", "residual_all", "residual", "chain")
    ]
    assert found[0] <= found[1] * (1 + 1e-9)
    assert found[1] <= found[2] * (1 + 1e-9)
    assert found[2] < found[3] * (1 - 1e-3)


def test_more_overlaps_alone_bound_the_gain():
    """Identities may vanish, so F2 is at most that of the chain, and F falls with the square root of N at least."""
    chain = minimum_potential(build("chain", 3072, (8, 16, 32)), restarts=0)
    for kind in ("residual", "residual_all", "dense"):
        found = minimum_potential(build(kind, 3072, (8, 16, 32)), restarts=0)
        assert found.f <= chain.f * math.sqrt(chain.pairs / found.pairs) + 1e-12


def test_each_status_has_its_meaning():
    certified = build("chain", 12, (12, 24))
    assert minimum_potential(certified, restarts=4).status == "exact"
    assert minimum_potential(certified, restarts=0).status == "constructed"
    open_ = build("residual_all", 6, (6, 12, 18, 30))  # neither construction nor search meets its lower bound
    found = minimum_potential(open_, restarts=2)
    assert found.status == "upper"
    assert found.f2 > found.lower.value * CERTIFIED
    assert [name for name, _ in found.starts][-3:] == ["construction, moved", "random", "random"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_dictionary_that_is_returned_has_the_value(kind):
    for structure in (build(kind, 9, (4, 6, 9)), build(kind, 2, (3, 4, 4), kernels=2, strides=(1, 2, 1), grid=4)):
        found = minimum_potential(structure, restarts=0)
        gram = explicit_gram(structure, found.filters, found.identity)
        # The constructions' zero potential is a sum of squares of rounding.
        assert float(gram.square().sum()) == pytest.approx(found.f2, abs=1e-9)
        assert found.pairs == explicit_overlaps(structure) == overlap_count(structure)
        assert found.f2 >= found.lower.value - BELOW


@pytest.mark.parametrize("kind", ["chain", "residual", "dense", "dense_front"])
def test_the_input_counts_no_further_than_the_first_layer_reaches(kind):
    """The same minimum for d = k_1 and d = 3072, as block row 1 may be rotated."""
    narrow, wide = (minimum_potential(build(kind, d, (4, 6, 8)), restarts=1) for d in (4, 3072))
    assert wide.f2 == narrow.f2
    assert wide.starts == narrow.starts
    assert (wide.status, wide.pairs) == (narrow.status, narrow.pairs)
    assert wide.filters["block.1.1"].shape == (1, 3072, 4, 1, 1)
    assert torch.equal(wide.filters["block.1.1"][:, :4], narrow.filters["block.1.1"])
    assert lower_bound(build(kind, 2, (4, 6, 8))).value > wide.f2 + 1


@pytest.mark.parametrize(
    ("widths", "strides", "grid"), [((8,), 1, 8), ((4, 8), 1, 8), ((16,), 2, 8), ((4, 24), (1, 2), 8)]
)
def test_convolutional_chains_reach_the_minimum_of_dense_ones(widths, strides, grid):
    structure = build("chain", 3, widths, kernels=3, strides=strides, grid=grid)
    k = [size * side**2 for size, side in zip(structure.sizes, structure.grids, strict=True)]
    exact = simple_chain(k)
    found = minimum_potential(structure, restarts=2)
    assert (exact.status, found.status) == ("exact", "exact")
    assert found.f2 == pytest.approx(exact.value, rel=1e-9)
    # Search alone gets near as well.
    assert min(value for name, value in found.starts if name == "random") <= exact.value * NEAR


def test_the_minimum_of_a_convolution_does_not_depend_on_the_grid():
    small, large = (
        minimum_potential(build("chain", 2, (4, 8), kernels=3, grid=p), restarts=1) for p in (5, 20)
    )  # 2 f - 1 = 5 positions are enough
    assert small.f == pytest.approx(large.f, rel=1e-9)
    assert small.lower.value * 16 == pytest.approx(large.lower.value, rel=1e-9)


def test_the_same_seed_gives_the_same_result():
    structure = build("dense", 3, (3, 6, 8))
    first, again, other = (minimum_potential(structure, restarts=1, seed=seed) for seed in (0, 0, 1))
    assert (first.f2, first.starts, first.gradient) == (again.f2, again.starts, again.gradient)
    assert all(torch.equal(values, again.filters[name]) for name, values in first.filters.items())
    assert first.starts != other.starts


def test_more_restarts_keep_the_first_ones():
    """Bit for bit, as a start is searched from as if it were alone."""
    structure = build("dense", 3, (3, 6, 8))
    few, many = (minimum_potential(structure, restarts=n).starts for n in (1, 3))
    assert many[: len(few)] == few
    assert len(many) == len(few) + 2


def test_the_gradient_vanishes_at_a_minimum():
    structure = build("dense", 3, (3, 6, 8))
    found = minimum_potential(structure, restarts=0)
    assert found.status == "upper"  # so that the search went on to the end
    assert found.gradient < 1e-3 * found.f2


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_scaled_to_unit_length(kind):
    structure = build(kind, 4, (3, 5, 2, 4))
    # The last layer of a chain has no identity, and residual ones pass on some channels only: these do not count.
    unit = module._unit_columns(structure, (random_filters(structure), random_identity(structure)))
    columns = dictionary(structure, *unit).norm(dim=1)
    torch.testing.assert_close(columns, torch.ones_like(columns), rtol=0, atol=1e-12)


def test_threads_are_given_back():
    torch.set_num_threads(2)  # a fixture restores what was before
    minimum_potential(build("chain", 4, (4, 8)), restarts=1)
    assert torch.get_num_threads() == 2


def test_negative_restarts_are_refused():
    with pytest.raises(ValueError, match="restarts: expected at least 0, got -1"):
        minimum_potential(build("chain", 4, (4, 8)), restarts=-1)
