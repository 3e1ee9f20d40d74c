import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from unrolled.frames.dictionary import check_filters, dictionary, random_filters, unit_identities
from unrolled.frames.structure import StructureError, build

from .explicit import ALL_STRUCTURES
from .naive import naive_block, random_identity
from .naive import random_filters as plain_filters

ROUNDING = 1e-13


def parts_of(structure, matrix):
    """The blocks of one replica's dictionary by (row, column)."""
    rows = matrix.split(list(structure.row_sizes), 0)
    return {
        (i, j): part
        for i, row in enumerate(rows, 1)
        for j, part in enumerate(row.split(list(structure.column_sizes), 1), 1)
    }


@pytest.mark.parametrize("name", ALL_STRUCTURES)
def test_blocks_are_those_of_plain_loops_and_zero_elsewhere(name):
    structure = ALL_STRUCTURES[name]
    filters, identity = plain_filters(structure), random_identity(structure)
    whole = dictionary(structure, filters, identity)
    assert whole.shape == (2, sum(structure.row_sizes), structure.atoms)
    for r in range(2):
        parts = parts_of(structure, whole[r])
        for block in structure.blocks:
            mine = {name: f[r] for name, f in filters.items()}
            twin = naive_block(structure, block, mine, identity[block.column - 1][r])
            torch.testing.assert_close(parts.pop((block.row, block.column)), twin, rtol=0, atol=ROUNDING)
        assert all(not part.any() for part in parts.values())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2), (1, 1), (4, 1), (5, 2)])
def test_the_transposed_block_is_a_convolution(kernel, stride):
    """B^T x is torch's convolution of x, padded around the corner, with the filters as they are."""
    structure = build("chain", 2, (3,), kernels=kernel, strides=stride, grid=8)
    filters = plain_filters(structure, replicas=1)
    x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    before, after = (kernel - 1) // 2, kernel // 2
    padded = functional.pad(x, (before, after, before, after), mode="circular")
    convolved = functional.conv2d(padded, filters["block.1.1"][0].transpose(0, 1), stride=stride)
    product = dictionary(structure, filters)[0].T @ x.flatten()
    torch.testing.assert_close(product, convolved.flatten(), rtol=0, atol=ROUNDING)


def test_identities_between_grids_take_every_second_position():
    structure = build("residual", 1, (2, 1, 2), kernels=2, strides=(1, 2, 1), grid=4)
    whole = dictionary(structure, plain_filters(structure, replicas=1), random_identity(structure, replicas=1))
    skip = parts_of(structure, whole[0])[3, 1]  # row block 3 has the size of layer 2: one channel on 2x2
    t = random_identity(structure, replicas=1)[0][0]
    expected = torch.zeros(2, 2, 2, 4, 4, dtype=torch.float64)
    for y in range(2):
        for x in range(2):
            expected[y, x, 0, 2 * y, 2 * x] = -t[0]  # the second channel is left out
    torch.testing.assert_close(skip, expected.reshape(4, 32), rtol=0, atol=0)


def test_identities_are_one_by_default():
    structure = ALL_STRUCTURES["residual-mixed"]
    filters = plain_filters(structure)
    ones = unit_identities(structure, filters)
    assert [tuple(t.shape) for t in ones] == [(2, k) for k in structure.sizes[1:]]
    assert torch.equal(dictionary(structure, filters), dictionary(structure, filters, ones))


@pytest.mark.parametrize("name", ["dense-fc", "residual-stride"])
def test_random_filters_have_columns_of_squared_length_two_on_average(name):
    structure = ALL_STRUCTURES[name]
    filters = random_filters(structure, [np.random.default_rng(seed) for seed in range(2000)])
    check_filters(structure, filters)
    for j in range(1, structure.layers + 1):
        parts = [filters[b.name] for b in structure.column_blocks(j) if b.learned]
        squared = sum(part.square().sum((1, 3, 4)) for part in parts)  # (R, k)
        entries = sum(part[0, :, 0].numel() for part in parts)
        # A squared length has variance 8 / entries; six standard errors of the mean over replicas and units.
        assert abs(float(squared.mean()) - 2) < 6 * (8 / entries / squared.numel()) ** 0.5


def test_each_generator_makes_its_own_replica():
    structure = ALL_STRUCTURES["dense-conv"]
    three = random_filters(structure, [np.random.default_rng(seed) for seed in range(3)])
    last = random_filters(structure, [np.random.default_rng(2)], torch.float32)
    for name, values in three.items():
        assert torch.equal(values[2:].float(), last[name])
        assert not torch.equal(values[0], values[1])


def test_filters_of_other_structures_are_refused():
    structure = ALL_STRUCTURES["dense-fc"]
    good = plain_filters(structure)
    check_filters(structure, good)
    with pytest.raises(StructureError, match=r"filters: expected block\.1\.1, .*, got none"):
        check_filters(structure, {})
    with pytest.raises(StructureError, match=r"block\.1\.1: expected \(R, 6, 4, 1, 1\), got \(2, 4, 6, 1, 1\)"):
        check_filters(structure, good | {"block.1.1": good["block.1.1"].transpose(1, 2)})
    with pytest.raises(StructureError, match=r"expected \(R, 6, 4, 1, 1\), got \(6, 4, 1, 1\)"):
        check_filters(structure, good | {"block.1.1": good["block.1.1"][0]})
    for bad in (float("nan"), float("inf")):
        spoilt = good["block.3.1"].clone()
        spoilt[1, 0, 0] = bad
        with pytest.raises(StructureError, match=r"block\.3\.1: expected finite numbers, got NaN or infinity"):
            dictionary(structure, good | {"block.3.1": spoilt})


def test_large_dictionaries_are_refused(monkeypatch):
    structure = ALL_STRUCTURES["chain-fc"]
    entries = 2 * sum(structure.row_sizes) * structure.atoms
    module = sys.modules[check_filters.__module__]  # the package's attribute of this name is the function
    monkeypatch.setattr(module, "MOST_ENTRIES", entries)
    dictionary(structure, plain_filters(structure))
    monkeypatch.setattr(module, "MOST_ENTRIES", entries - 1)
    with pytest.raises(StructureError, match=r"expected at most .* entries, got 2 x 18 x 19; frame_potential works"):
        dictionary(structure, plain_filters(structure))
