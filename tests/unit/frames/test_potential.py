import numpy as np
import pytest
import torch

from unrolled.frames import dictionary as make_dictionary
from unrolled.frames import potential as potential_module
from unrolled.frames.bounds import convolutional_coherence, welch_coherence, welch_potential
from unrolled.frames.overlap import overlap_count
from unrolled.frames.potential import Potential, frame_potential, mutual_coherence
from unrolled.frames.starts import tight_frame
from unrolled.frames.structure import KINDS, StructureError, build

from .explicit import ALL_STRUCTURES, explicit_gram
from .naive import random_filters, random_identity

# Sums of up to 1e5 squares of numbers of at most 1, of total order 100, in float64.
ROUNDING = 1e-10


@pytest.fixture(scope="module", params=[(name, t) for name in ALL_STRUCTURES for t in (False, True)], ids=str)
def case(request):
    structure = ALL_STRUCTURES[request.param[0]]
    filters = random_filters(structure)
    return structure, filters, random_identity(structure) if request.param[1] else None


def test_potential_and_coherence_are_those_of_the_dictionary(case):
    structure, filters, identity = case
    gram = explicit_gram(structure, filters, identity)
    found = frame_potential(structure, filters, identity)
    f2 = gram.square().sum((1, 2))
    torch.testing.assert_close(found.f2, f2, rtol=0, atol=ROUNDING)
    assert found.pairs == overlap_count(structure)
    torch.testing.assert_close(found.f, (f2 / found.pairs).sqrt(), rtol=0, atol=ROUNDING)
    coherence = mutual_coherence(structure, filters, identity)
    torch.testing.assert_close(coherence, gram.abs().amax((1, 2)), rtol=0, atol=ROUNDING)


def test_the_potential_is_never_above_the_coherence(case):
    structure, filters, identity = case
    assert (frame_potential(structure, filters, identity).f <= mutual_coherence(structure, filters, identity)).all()


def test_the_length_of_a_column_does_not_count(case):
    structure, filters, _ = case
    identity = random_identity(structure)
    scales = random_identity(structure, seed=8)
    before = frame_potential(structure, filters, identity).f2
    scaled = {
        b.name: filters[b.name] * (0.1 + scales[b.column - 1])[:, None, :, None, None]
        for b in structure.blocks
        if b.learned
    }
    lengths = [t * (0.1 + s) for t, s in zip(identity, scales, strict=True)]
    torch.testing.assert_close(frame_potential(structure, scaled, lengths).f2, before, rtol=0, atol=ROUNDING)
    # The learned parts alone are another dictionary.
    if any(not b.learned for b in structure.blocks):
        assert not torch.allclose(frame_potential(structure, scaled, identity).f2, before, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_symmetries_of_fully_connected_frames(kind):
    structure = ALL_STRUCTURES[f"{kind}-fc"]
    filters, identity = random_filters(structure), random_identity(structure)
    before = frame_potential(structure, filters, identity).f2
    generator = torch.Generator().manual_seed(4)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0]
    turned = torch.einsum("ab,rbkyx->rakyx", rotation, filters["block.1.1"])
    turned = frame_potential(structure, filters | {"block.1.1": turned}, identity).f2
    torch.testing.assert_close(turned, before, rtol=0, atol=ROUNDING)
    if not kind.endswith("_front"):  # there the last layer has an identity, which knows its units
        last = {b.name: filters[b.name].flip(2) for b in structure.column_blocks(structure.layers)}
        torch.testing.assert_close(
            frame_potential(structure, filters | last, identity).f2, before, rtol=0, atol=ROUNDING
        )
        first = filters | {"block.1.1": filters["block.1.1"].flip(2)}
        assert not torch.allclose(frame_potential(structure, first, identity).f2, before, rtol=1e-3)


@pytest.mark.parametrize("name", [f"{kind}-{form}" for kind in KINDS for form in ("fc", "mixed")] + ["dense-stride"])
def test_the_gradient_is_that_of_finite_differences(name):
    structure = ALL_STRUCTURES[name]
    filters = {key: value.requires_grad_() for key, value in random_filters(structure, replicas=1).items()}
    identity = [t.requires_grad_() for t in random_identity(structure, replicas=1)]

    def f2(*values):
        return frame_potential(structure, dict(zip(filters, values, strict=False)), values[len(filters) :]).f2

    assert torch.autograd.gradcheck(f2, (*filters.values(), *identity), fast_mode=True)


def test_the_gradient_in_the_columns_by_hand():
    """dF2/dB of unit columns is 4 B (G - I), less its part along each column, as the length does not count."""
    structure = build("chain", 5, (7,))
    filters = random_filters(structure)
    values = filters["block.1.1"].requires_grad_()
    frame_potential(structure, filters).f2.sum().backward()
    b = values.detach()[..., 0, 0]
    length = b.norm(dim=1, keepdim=True)
    unit = b / length
    g = 4 * unit @ explicit_gram(structure, {"block.1.1": values.detach()})
    expected = (g - unit * (unit * g).sum(1, keepdim=True)) / length
    torch.testing.assert_close(values.grad[..., 0, 0], expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", ["chain", "residual", "dense", "residual_front"])
def test_the_potential_does_not_depend_on_large_grids(kind):
    """From 2 f - 1 positions on, in the coarsest grid that is read, filters do not meet around the corner."""
    structures = [build(kind, 2, (3, 4, 2), kernels=3, strides=(1, 2, 1), grid=p) for p in (10, 16, 32)]
    filters, identity = random_filters(structures[0]), random_identity(structures[0])
    found = torch.stack([frame_potential(s, filters, identity).f for s in structures])
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=1e-12, atol=0)
    small = build(kind, 2, (3, 4, 2), kernels=3, strides=(1, 2, 1), grid=6)
    assert not torch.allclose(frame_potential(small, filters, identity).f, found[0], rtol=1e-3)


@pytest.mark.parametrize(("k", "d"), [(5, 2), (9, 4), (12, 5), (3, 8), (16, 16)])
def test_tight_frames_have_the_potential_of_welch(k, d):
    structure = build("chain", d, (k,))
    frame = torch.as_tensor(tight_frame(d, k))[None, :, :, None, None]
    bound = welch_potential(k, d).value
    assert float(frame_potential(structure, {"block.1.1": frame}).f2) == pytest.approx(bound, abs=ROUNDING)
    assert (frame_potential(structure, random_filters(structure)).f2 > bound).all()


def test_equiangular_frames_alone_have_equal_potential_and_coherence():
    simplex = np.linalg.svd(np.eye(5) - 1 / 5)[2][:4] @ (np.eye(5) - 1 / 5)
    structure = build("chain", 4, (5,))
    filters = {"block.1.1": torch.as_tensor(simplex)[None, :, :, None, None]}
    f, mu = float(frame_potential(structure, filters).f), float(mutual_coherence(structure, filters))
    assert f == pytest.approx(welch_coherence(5, 4).value, abs=1e-12)
    assert mu == pytest.approx(f, abs=1e-12)


def test_no_convolution_is_below_the_bound_of_its_coherence():
    for stride, kernel, k in ((1, 3, 6), (2, 4, 24), (2, 3, 16)):
        structure = build("chain", 2, (k,), kernels=kernel, strides=stride, grid=8)
        found = frame_potential(structure, random_filters(structure, replicas=5))
        assert (found.f >= convolutional_coherence(k, 2, kernel, stride, 8).value).all()


@pytest.mark.parametrize("name", ALL_STRUCTURES)
def test_a_replica_knows_no_others(name):
    """Bit for bit: a replica's potential does not depend on how many there are."""
    structure = ALL_STRUCTURES[name]
    filters, identity = random_filters(structure, replicas=3), random_identity(structure, replicas=3)
    together = frame_potential(structure, filters, identity).f2, mutual_coherence(structure, filters, identity)
    for r in range(3):
        mine = {key: value[r : r + 1] for key, value in filters.items()}, [t[r : r + 1] for t in identity]
        assert torch.equal(frame_potential(structure, *mine).f2, together[0][r : r + 1])
        assert torch.equal(mutual_coherence(structure, *mine), together[1][r : r + 1])


@pytest.mark.parametrize("name", ["residual_all-fc", "dense-conv", "residual-stride"])
def test_the_size_of_a_call_changes_nothing(name, monkeypatch):
    structure = ALL_STRUCTURES[name]
    filters = random_filters(structure)
    together = frame_potential(structure, filters).f2
    monkeypatch.setattr(potential_module, "TOGETHER_NUMBERS", 1)
    assert torch.equal(frame_potential(structure, filters).f2, together)


def test_single_precision_is_close():
    for name in ("dense-fc", "residual-conv", "dense-stride"):
        structure = ALL_STRUCTURES[name]
        filters = random_filters(structure)
        single = frame_potential(structure, {key: value.float() for key, value in filters.items()}).f2
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), frame_potential(structure, filters).f2, rtol=1e-5, atol=0)


def test_networks_are_above_their_minimum_of_tight_frames():
    """Random weights with identities of length 1, as in a network before training."""
    structure = build("chain", 32, (8, 16, 32))
    assert (frame_potential(structure, random_filters(structure)).f2 > 1.5 * (16 + 32)).all()


def test_frames_without_overlaps_have_no_potential():
    structure = build("chain", 3, (1,))
    found = frame_potential(structure, random_filters(structure))
    assert found.pairs == 0
    assert torch.equal(found.f, torch.zeros(2, dtype=torch.float64))
    assert torch.equal(mutual_coherence(structure, random_filters(structure)), torch.zeros(2, dtype=torch.float64))
    # Differences of rounded sums may be a little below zero.
    assert float(Potential(torch.tensor([-1e-15]), 4).f) == 0


def test_bad_filters_are_refused():
    structure = ALL_STRUCTURES["chain-fc"]
    filters = random_filters(structure)
    filters["block.2.2"][0, 0, 0] = float("nan")
    for function in (frame_potential, mutual_coherence, make_dictionary):
        with pytest.raises(StructureError, match="expected finite numbers"):
            function(structure, filters)
    assert bool(frame_potential(structure, filters, check=False).f2.isnan()[0])
