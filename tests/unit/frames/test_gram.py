import pytest
import torch

from unrolled.frames.dictionary import dictionary
from unrolled.frames.gram import dense_energy, fourier_energy, gram_block, squared_lengths
from unrolled.frames.overlap import classes_of, layer_pairs, period_of
from unrolled.frames.potential import frame_potential
from unrolled.frames.structure import build

from .explicit import ALL_STRUCTURES
from .naive import random_filters, random_identity

# Sums of at most a few hundred products of numbers of order 1, in float64.
ROUNDING = 1e-12
# Parseval adds rounding of the waves.
FOURIER_ROUNDING = 1e-10


@pytest.fixture(scope="module", params=ALL_STRUCTURES)
def case(request):
    structure = ALL_STRUCTURES[request.param]
    filters, identity = random_filters(structure), random_identity(structure)
    return structure, filters, identity, dictionary(structure, filters, identity)


def test_lengths_are_those_of_the_dictionary(case):
    structure, filters, identity, matrix = case
    columns = matrix.square().sum(1).split(list(structure.column_sizes), 1)
    for j, (found, expected) in enumerate(zip(squared_lengths(structure, filters, identity), columns, strict=True), 1):
        side = structure.grids[j]
        classes = period_of(structure, j) // structure.spacings[j]
        assert found.shape == (2, classes_of(structure, j), structure.sizes[j])
        tiles = found.mT.unflatten(2, (classes, classes)).repeat(1, 1, side // classes, side // classes)
        torch.testing.assert_close(tiles.flatten(1), expected, rtol=0, atol=ROUNDING)


def test_the_correlations_are_the_toeplitz_gram(case):
    """Sum of squares and largest entry over (class, lag), each repeated over the grid, are those of B^T B."""
    structure, filters, identity, matrix = case
    parts = matrix.split(list(structure.column_sizes), 2)
    for pair in layer_pairs(structure):
        j, other = pair.layers
        gram = gram_block(structure, pair, filters, identity)
        explicit = parts[j - 1].mT @ parts[other - 1]
        assert gram.shape == (2, pair.places, structure.sizes[j], structure.sizes[other])
        total = pair.repeats * gram.square().sum((1, 2, 3))
        torch.testing.assert_close(total, explicit.square().sum((1, 2)), rtol=ROUNDING, atol=0)
        # The same entries, not only the same energy: fourth powers too.
        torch.testing.assert_close(
            pair.repeats * gram.pow(4).sum((1, 2, 3)), explicit.pow(4).sum((1, 2)), rtol=ROUNDING, atol=0
        )
        extremes = torch.stack([gram.flatten(1).amax(1), gram.flatten(1).amin(1).clamp_max(0)])
        twins = torch.stack([explicit.flatten(1).amax(1), explicit.flatten(1).amin(1).clamp_max(0)])
        torch.testing.assert_close(extremes, twins, rtol=0, atol=ROUNDING)


def test_fouriers_basis_has_the_same_energy():
    compared = 0
    for structure in ALL_STRUCTURES.values():
        filters, identity = random_filters(structure), random_identity(structure)
        for pair in layer_pairs(structure):
            learned = any(meeting.first[0].learned and meeting.second[0].learned for meeting in pair.meetings)
            if not (structure.convolutional and pair.uniform and learned):
                continue
            j, other = pair.layers
            # Within a layer the identities are orthogonal and count on the diagonal alone, which is left out.
            here = [torch.zeros_like(t) for t in identity] if j == other else identity
            gram = gram_block(structure, pair, filters, here)
            home = gram[:, torch.as_tensor(pair.diagonal)].diagonal(dim1=2, dim2=3)  # empty between two layers
            energy = gram.square().sum((1, 2, 3)) - home.square().sum((1, 2))
            found = fourier_energy(structure, pair, filters, dict(enumerate(identity)))
            torch.testing.assert_close(found, energy, rtol=FOURIER_ROUNDING, atol=FOURIER_ROUNDING)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize(("rows", "atoms"), [(3, 7), (7, 3), (4, 4)])
def test_the_energy_of_a_fully_connected_layer_and_its_derivatives(rows, atoms):
    """Both ways round, as the smaller of B^T B and B B^T is formed; second derivatives recompute the product."""
    structure = build("chain", rows, (atoms,))
    matrix = random_filters(structure)["block.1.1"]

    def energy(values):
        return dense_energy(structure, 1, {"block.1.1": values})

    gram = matrix[..., 0, 0].mT @ matrix[..., 0, 0]
    off = gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(energy(matrix), off.square().sum((1, 2)), rtol=ROUNDING, atol=ROUNDING)
    matrix.requires_grad_()
    assert torch.autograd.gradcheck(energy, matrix)
    assert torch.autograd.gradgradcheck(energy, matrix)


def test_what_an_evaluation_caches_serves_a_gradient():
    """Tensors made in inference mode may not be saved for a gradient, so none of them may be cached."""
    # Sizes that no other test has, so that nothing is cached before.
    structure = build("residual", 1, (2, 2, 3), kernels=(7, 3, 5), strides=(1, 2, 1), grid=22)
    filters = random_filters(structure)
    with torch.inference_mode():
        before = frame_potential(structure, filters).f2
    for values in filters.values():
        values.requires_grad_()
    after = frame_potential(structure, filters).f2
    after.sum().backward()
    assert torch.equal(before, after)
    assert all(bool(torch.isfinite(values.grad).all()) for values in filters.values())
