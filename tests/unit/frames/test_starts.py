import numpy as np
import pytest

from unrolled.frames.bounds import simple_chain
from unrolled.frames.chain_constructions import clean_allocation
from unrolled.frames.dictionary import check_filters, random_filters
from unrolled.frames.potential import frame_potential
from unrolled.frames.starts import constructed_starts, random_starts, tight_frame
from unrolled.frames.structure import KINDS, build

from .explicit import ALL_STRUCTURES

ROUNDING = 1e-10

CHAINS = ["chain", "residual", "residual_all", "dense"]
"""Kinds whose frames without identities fall apart into layers, as those of a chain do."""


def potential(structure, start):
    return float(frame_potential(structure, *start).f2)


@pytest.mark.parametrize(("rows", "atoms"), [(1, 1), (1, 4), (2, 3), (3, 4), (4, 5), (5, 12), (6, 7), (7, 3), (4, 4)])
def test_tight_frames_are_tight(rows, atoms):
    frame = tight_frame(rows, atoms)
    np.testing.assert_allclose((frame**2).sum(0), 1, atol=1e-12)
    if atoms > rows:
        np.testing.assert_allclose(frame @ frame.T, atoms / rows * np.eye(rows), atol=1e-12)
    else:
        np.testing.assert_allclose(frame.T @ frame, np.eye(atoms), atol=1e-12)


@pytest.mark.parametrize(("rows", "atoms"), [(0, 3), (3, 0)])
def test_empty_frames_are_refused(rows, atoms):
    with pytest.raises(ValueError, match=f"at least one row and one atom, got {rows} and {atoms}"):
        tight_frame(rows, atoms)


@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("sizes", [(3072, 2, 4, 8, 16), (16, 16, 32, 16), (8, 32, 48), (6, 6, 12, 18, 30), (5, 7)])
def test_constructions_have_the_potential_that_is_said_of_them(kind, sizes):
    structure = build(kind, min(sizes[0], 64), sizes[1:])
    starts = constructed_starts(structure)
    assert potential(structure, starts["tight frames"]) == pytest.approx(simple_chain(sizes).value, abs=ROUNDING)
    clean, bound = clean_allocation((min(sizes[0], 64), *sizes[1:]))
    if clean == structure.sizes:
        assert list(starts) == ["tight frames"]
    elif kind == "chain":
        found = potential(structure, starts["tight frames and identities"])
        assert found == pytest.approx(bound.value, abs=ROUNDING)
        assert found <= simple_chain(sizes).value + ROUNDING


@pytest.mark.parametrize(
    ("channels", "widths", "kernels", "strides"),
    [
        (3, (8,), 3, 1),
        (3, (4, 8), 3, 1),
        (3, (4, 6, 12), 3, 1),
        (3, (16,), 3, 2),
        (1, (4, 20), (3, 3), (2, 2)),
        (2, (3, 17), (2, 2), (1, 2)),
        (1, (5, 6), (1, 2), (2, 1)),
    ],
)
def test_convolutions_reach_the_potential_of_dense_frames(channels, widths, kernels, strides):
    """Tight frames of filters that do not meet: sum_j max(0, K_j^2 / K_{j-1} - K_j), K_j = k_j p_j^2."""
    structure = build("chain", channels, widths, kernels=kernels, strides=strides, grid=8)
    # With a stride above the kernel not all rows are reached: only s^2 -> f^2 of them count.
    reached = [min(f, s) ** 2 for f, s in zip(structure.kernels, structure.strides, strict=True)]
    expected = sum(
        q**2 * max(0.0, k * k / (below * rows) - k)
        for k, below, q, rows in zip(structure.sizes[1:], structure.sizes, structure.grids[1:], reached, strict=False)
    )
    found = potential(structure, constructed_starts(structure)["tight frames"])
    assert found == pytest.approx(expected, rel=1e-12, abs=ROUNDING)
    if all(f >= s for f, s in zip(structure.kernels, structure.strides, strict=True)):
        k = [size * side**2 for size, side in zip(structure.sizes, structure.grids, strict=True)]
        assert found == pytest.approx(simple_chain(k).value, rel=1e-12, abs=ROUNDING)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith("_front")])
def test_analysis_frames_have_potential_in_their_first_layer_alone(kind):
    for d, widths in ((6, (4, 5, 3)), (4, (9, 3, 12))):
        (start,) = constructed_starts(build(kind, d, widths)).values()
        expected = max(0, widths[0] ** 2 / d - widths[0])
        assert potential(build(kind, d, widths), start) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("name", ALL_STRUCTURES)
def test_every_construction_is_a_dictionary_without_empty_atoms(name):
    structure = ALL_STRUCTURES[name]
    for filters, identity in constructed_starts(structure).values():
        check_filters(structure, filters)
        assert [tuple(t.shape) for t in identity] == [(1, k) for k in structure.sizes[1:]]
        for j, t in enumerate(identity, 1):
            energy = sum(filters[b.name].square().sum((1, 3, 4)) for b in structure.column_blocks(j) if b.learned)
            has_identity = any(not b.learned for b in structure.column_blocks(j))
            assert ((energy + t.square() * has_identity) > 0.99).all()


def test_random_starts_are_those_of_their_generators():
    structure = ALL_STRUCTURES["dense-stride"]
    filters, identity = random_starts(structure, [np.random.default_rng(seed) for seed in range(3)])
    (second, lengths) = random_starts(structure, [np.random.default_rng(1)])
    for name, values in filters.items():
        assert values[1:2].equal(second[name])
        assert values.equal(random_filters(structure, [np.random.default_rng(seed) for seed in range(3)])[name])
    for t, mine in zip(identity, lengths, strict=True):
        assert t[1:2].equal(mine)
        assert bool(((t >= 0) & (t < 1)).all())
        assert not t[0].equal(t[1])
