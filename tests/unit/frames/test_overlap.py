from itertools import pairwise

import pytest

from unrolled.frames.dictionary import dictionary
from unrolled.frames.overlap import classes_of, layer_pairs, norm_taps, overlap_count, period_of
from unrolled.frames.structure import KINDS, build, resnet

from .explicit import ALL_STRUCTURES, explicit_overlaps
from .naive import random_filters


@pytest.mark.parametrize("name", ALL_STRUCTURES)
def test_the_count_is_that_of_the_boolean_product(name):
    assert overlap_count(ALL_STRUCTURES[name]) == explicit_overlaps(ALL_STRUCTURES[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("widths", [(1,), (5,), (2, 7), (7, 2, 5), (2, 3, 5, 4, 1)])
def test_the_count_of_fully_connected_frames(kind, widths):
    structure = build(kind, 3, widths)
    assert overlap_count(structure) == explicit_overlaps(structure)


def test_the_count_of_chains_by_the_formula():
    widths = (400, 800, 1600, 3200)
    own = sum(k * (k - 1) for k in widths)
    neighbours = 2 * sum(a * b for a, b in pairwise(widths))
    assert overlap_count(build("chain", 3072, widths)) == own + neighbours


@pytest.mark.parametrize(("stride", "reach"), [(1, 5), (2, 3)])
def test_the_count_of_a_convolution_by_the_formula(stride, reach):
    """Per position an atom meets k (2 [(f-1)/s] + 1)^2 - 1 of its own layer and k_0 f^2 of the layer below."""
    d, k, p = 2, 3, 16
    structure = build("chain", 2, (d, k), kernels=(1, 3), strides=(1, stride), grid=p)
    q = p // stride
    below = p**2 * d * (d - 1)  # kernel 1
    assert overlap_count(structure) == below + q**2 * k * (k * reach**2 - 1) + 2 * q**2 * k * d * 9


def test_the_count_per_position_does_not_depend_on_large_grids():
    per_position = {
        overlap_count(build("dense", 2, (3, 2, 4), kernels=3, strides=(1, 2, 1), grid=p)) / p**2 for p in (16, 20, 32)
    }
    assert len(per_position) == 1
    small = overlap_count(build("dense", 2, (3, 2, 4), kernels=3, strides=(1, 2, 1), grid=6)) / 36
    assert small < per_position.pop()


def test_denser_skips_overlap_more():
    counts = [overlap_count(resnet(kind, 4, 2)) for kind in ("chain", "residual", "residual_all", "dense")]
    assert counts == sorted(counts)
    assert len(set(counts)) == 4


@pytest.mark.parametrize("name", [name for name in ALL_STRUCTURES if not name.endswith("fc")])
def test_taps_of_every_class_have_the_lengths_of_the_atoms(name):
    """An atom at a position of some class has just the taps that norm_taps says, and positions repeat with a period."""
    structure = ALL_STRUCTURES[name]
    filters = random_filters(structure, replicas=1)
    norms = dictionary(structure, filters)[0].square().sum(0).split(list(structure.column_sizes))
    for j, found in enumerate(norms, 1):
        side, spacing = structure.grids[j], structure.spacings[j]
        classes = period_of(structure, j) // spacing
        assert classes**2 == classes_of(structure, j)
        expected = 0.0
        for block in structure.column_blocks(j):
            taps = norm_taps(structure, block)
            assert taps.shape == (classes**2, max(block.kernel, 1) ** 2)
            if block.learned:
                energy = filters[block.name][0].square().sum(0).flatten(1)  # (k, taps)
            else:
                energy = (found.new_ones(structure.sizes[j]).cumsum(0) <= structure.diagonal(block)).double()[:, None]
            expected = expected + energy @ found.new_tensor(taps).T  # (k, classes)
        expected = expected.unflatten(1, (classes, classes)).tile(1, side // classes, side // classes)
        assert (found.reshape_as(expected) - expected).abs().max() < 1e-12


def test_pairs_of_layers_are_those_that_share_row_blocks():
    for structure in ALL_STRUCTURES.values():
        rows = {j: {b.row for b in structure.column_blocks(j)} for j in range(1, structure.layers + 1)}
        expected = [(j, k) for j in rows for k in rows if j <= k and rows[j] & rows[k]]
        assert [pair.layers for pair in layer_pairs(structure)] == expected
        for pair in layer_pairs(structure):
            assert len(pair.classes) == len(pair.other_classes) == len(pair.diagonal) == pair.places
            homes = classes_of(structure, pair.layers[0]) if pair.layers[0] == pair.layers[1] else 0
            assert pair.diagonal.sum() == homes
