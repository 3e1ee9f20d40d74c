r"""Gram matrices of the layers of a deep frame, from its filters.

Two ways to the same numbers. Place by place: the products of all pairs of taps are added up at the (class, lag) where
:mod:`unrolled.frames.overlap` says that they meet. In Fourier's basis, for layers on one grid: the Gram is block
diagonal over frequencies, :math:`\hat G(\omega) = \hat B(\omega)^* \hat B(\omega)`, and by Parseval its sum of squares
is that over lags; a grid of as many frequencies as there are lags is enough, whatever the size of the real one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from unrolled.frames.dictionary import Filters, Identities
from unrolled.frames.overlap import LayerPair, Meeting, classes_of, norm_taps
from unrolled.frames.structure import Block, Structure


def tap_energies(structure: Structure, filters: Filters) -> dict[str, Tensor]:
    """Return the squares of every learned block summed over its taps, name -> ``(R, k_row, k_col)``."""
    return {
        b.name: filters[b.name].square().flatten(3).sum(3) if b.kernel > 1 else filters[b.name].flatten(2).square()
        for b in structure.blocks
        if b.learned
    }


def squared_lengths(
    structure: Structure, filters: Filters, identity: Identities, energies: Filters | None = None
) -> list[Tensor]:
    """Return the squared lengths of the atoms of every layer, ``(R, classes, k_j)`` each.

    Args:
        structure: which blocks there are.
        filters: learned entries.
        identity: coefficients of the identities.
        energies: those of :func:`tap_energies`, where they are known.
    """
    energies = tap_energies(structure, filters) if energies is None else energies
    lengths = []
    for j in range(1, structure.layers + 1):
        one = classes_of(structure, j) == 1
        parts = []
        for block in structure.column_blocks(j):
            if block.learned and one:
                parts.append(energies[block.name].sum(1, keepdim=True))
            elif block.learned:
                energy = filters[block.name].square().sum(1).flatten(2)  # (R, k, taps)
                parts.append(_norm_taps(structure, block).to(energy) @ energy.mT)
            else:
                kept = identity[j - 1].square() * _reach(structure, block).to(identity[j - 1])
                parts.append(kept.unsqueeze(1) if one else _norm_taps(structure, block).to(kept) * kept.unsqueeze(1))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        lengths.append(total)
    return lengths


def meets_one_identity(structure: Structure, pair: LayerPair) -> bool:
    """Whether the Gram of two layers is one learned block times one identity, each tap at a place of its own."""
    if len(pair.meetings) != 1 or len(pair.meetings[0].first) != 1 or pair.layers[0] == pair.layers[1]:
        return False
    (meeting,) = pair.meetings
    return (
        meeting.first[0].learned != meeting.second[0].learned
        and all(classes_of(structure, j) == 1 for j in pair.layers)
        and len(meeting.pairs) == pair.places
    )


def identity_energy(
    structure: Structure, pair: LayerPair, energies: Filters, identity: Identities, scale: Sequence[Tensor]
) -> Tensor:
    """Return ``(R,)`` the sum of squares of a Gram of which :func:`meets_one_identity` holds.

    Args:
        structure: which blocks there are.
        pair: the two layers.
        energies: those of :func:`tap_energies`.
        identity: coefficients of the identities.
        scale: inverse squared lengths of the columns, ``(R, 1, k)``, of the first and the second layer.
    """
    first, second = pair.meetings[0].first[0], pair.meetings[0].second[0]
    fixed, learned = (second, first) if first.learned else (first, second)
    of_fixed, of_learned = (scale[1], scale[0]) if first.learned else (scale[0], scale[1])
    reach = structure.diagonal(fixed)
    weight = (identity[fixed.column - 1].square() * of_fixed[:, 0])[:, :reach, None]  # (R, reach, 1)
    return (((weight * energies[learned.name][:, :reach]).sum(1)) * of_learned[:, 0]).sum(1)


def gram_block(structure: Structure, pair: LayerPair, filters: Filters, identity: Identities) -> Tensor:
    """Return the Gram of one pair of layers at every place, ``(R, places, k_j, k_j')``, columns not normalised."""
    j, other = pair.layers
    parts = [_products(structure, meeting, filters, identity) for meeting in pair.meetings]
    if not structure.convolutional:  # every contribution adds to the only place
        return torch.stack(torch.broadcast_tensors(*parts)).sum(0) if len(parts) > 1 else parts[0]
    gram = identity[j - 1].new_zeros(identity[j - 1].shape[0], pair.places, structure.sizes[j], structure.sizes[other])
    for meeting, part in zip(pair.meetings, parts, strict=True):
        source, target = (torch.as_tensor(numbers, device=gram.device) for numbers in (meeting.pairs, meeting.places))
        gram = gram.index_add(1, target, part[:, source])
    return gram


def _products(structure: Structure, meeting: Meeting, filters: Filters, identity: Identities) -> Tensor:
    """Return the products of all pairs of taps, ``(R, taps * taps', k, k')``, summed over the meeting's row blocks."""
    first, second = meeting.first[0], meeting.second[0]
    k, other = structure.sizes[first.column], structure.sizes[second.column]
    if first.learned and second.learned:
        a, b = (_tall(blocks, filters) for blocks in (meeting.first, meeting.second))  # (R, c, taps k)
        product = (a.mT @ b).unflatten(2, (-1, other)).unflatten(1, (-1, k))  # (R, taps, k, taps', k')
        return product.transpose(2, 3).flatten(1, 2)
    parts = [
        _with_identity(structure, *blocks, filters, identity)
        for blocks in zip(meeting.first, meeting.second, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _with_identity(structure: Structure, first: Block, second: Block, filters: Filters, identity: Identities) -> Tensor:
    k, other = structure.sizes[first.column], structure.sizes[second.column]
    t, u = identity[first.column - 1], identity[second.column - 1]
    if first.learned:
        reach = structure.diagonal(second)
        taps = filters[first.name][:, :reach].flatten(3).permute(0, 3, 2, 1)  # (R, taps, k, reach)
        return _padded(taps * (second.sign * u[:, None, None, :reach]), other, 3)
    if second.learned:
        reach = structure.diagonal(first)
        taps = filters[second.name][:, :reach].flatten(3).permute(0, 3, 1, 2)  # (R, taps', reach, k')
        return _padded(taps * (first.sign * t[:, None, :reach, None]), k, 2)
    reach = min(structure.diagonal(first), structure.diagonal(second))
    both = torch.diag_embed(first.sign * second.sign * t[:, :reach] * u[:, :reach]).unsqueeze(1)
    return _padded(_padded(both, k, 2), other, 3)


def _tall(blocks: Sequence[Block], filters: Filters) -> Tensor:
    """Return the filters of several row blocks over one another, ``(R, c, taps k)``."""
    parts = [filters[block.name].flatten(3).transpose(2, 3).flatten(2) for block in blocks]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def fourier_energy(structure: Structure, pair: LayerPair, filters: Filters, identity: Identities) -> Tensor:
    """Return ``(R,)`` the sum of squares over all lags of the Gram of two layers on one grid.

    Args:
        structure: which blocks there are.
        pair: layers for which ``pair.uniform`` holds.
        filters: of columns of unit length.
        identity: of columns of unit length.

    Returns:
        The sum over lags and channels, for one position of the first atom. Within a layer the diagonal is left out.
    """
    j, other = pair.layers
    side = min(structure.grids[j], 2 * pair.reach + 1)
    if j == other:
        # The identities of a layer are orthogonal: they add to the diagonal only.
        learned = [meeting.first for meeting in pair.meetings if meeting.first[0].learned]
        parts = [_transformed(structure, blocks, filters, identity, side) for blocks in learned]
        real, imaginary = (torch.cat([part[i] for part in parts], 2) for i in (0, 1))
        gram = _small_complex_gram(real, imaginary)
    else:
        gram = _cross_gram(structure, pair, filters, identity, side)
    weights = _frequencies(side)[1].to(gram[0])
    # Not a product of a matrix and a vector, which rounds by the number of rows.
    energy = (weights * (gram[0].square() + gram[1].square()).flatten(2).sum(2)).sum(1) / side**2
    return energy - _learned_lengths(structure, j, filters).square().sum(1) if j == other else energy


def dense_energy(structure: Structure, layer: int, filters: Filters) -> Tensor:
    """Return ``(R,)`` the sum of squares of the Gram of one fully connected layer, the diagonal left out.

    Args:
        structure: without positions.
        layer: number of the layer.
        filters: of columns of unit length.
    """
    learned = [block for block in structure.column_blocks(layer) if block.learned]
    tall = _tall(learned, filters)  # (R, c, k)
    energy: Tensor = _GramEnergy.apply(tall)
    return energy - tall.square().sum(1).square().sum(1)


class _GramEnergy(torch.autograd.Function):
    """Sum of squares of B^T B for B of shape ``(R, c, k)``: one product forward and, as it is symmetric, one backward.

    B^T B and B B^T have the same sum of squares: the smaller one is formed.
    """

    @staticmethod
    def forward(ctx: Any, tall: Tensor) -> Tensor:
        gram = _small_real_gram(tall)
        ctx.save_for_backward(tall, gram)
        return gram.flatten(1).square().sum(1)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        tall, gram = ctx.saved_tensors
        if torch.is_grad_enabled():  # second derivatives: the saved product is a constant to them
            gram = _small_real_gram(tall)
        product = gram @ tall if tall.shape[1] < tall.shape[2] else tall @ gram
        return 4 * upstream[:, None, None] * product


def _small_real_gram(tall: Tensor) -> Tensor:
    """Return B B^T or B^T B, ``(R, n, n)``: the smaller one."""
    return tall @ tall.mT if tall.shape[1] < tall.shape[2] else tall.mT @ tall


def _small_complex_gram(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Return B^* B or B B^*, which have the same sum of squares: the smaller one."""
    if real.shape[2] < real.shape[3]:
        real, imaginary = real.mT, imaginary.mT
    return real.mT @ real + imaginary.mT @ imaginary, real.mT @ imaginary - imaginary.mT @ real


def _cross_gram(
    structure: Structure, pair: LayerPair, filters: Filters, identity: Identities, side: int
) -> tuple[Tensor, Tensor]:
    gram: tuple[Tensor, Tensor] | None = None
    for meeting in pair.meetings:
        a = _transformed(structure, meeting.first, filters, identity, side)
        b = _transformed(structure, meeting.second, filters, identity, side)
        real, imaginary = a[0].mT @ b[0] + a[1].mT @ b[1], a[0].mT @ b[1] - a[1].mT @ b[0]
        gram = (real, imaginary) if gram is None else (gram[0] + real, gram[1] + imaginary)
    assert gram is not None
    return gram


def _learned_lengths(structure: Structure, layer: int, filters: Filters) -> Tensor:
    """Return ``(R, k)`` the squared lengths of the learned parts of a layer's atoms."""
    parts = [filters[b.name].square().sum((1, 3, 4)) for b in structure.column_blocks(layer) if b.learned]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def _transformed(
    structure: Structure, blocks: Sequence[Block], filters: Filters, identity: Identities, side: int
) -> tuple[Tensor, Tensor]:
    """Return real and imaginary parts of the blocks at every frequency, ``(R, frequencies, rows, k)``."""
    block = blocks[0]
    if not block.learned:
        t, (rows, k) = identity[block.column - 1], structure.channels(block)
        reach = structure.diagonal(block)
        real = _padded(_padded(torch.diag_embed(block.sign * t[:, :reach]), rows, 1), k, 2)
        real = torch.cat([real] * len(blocks), 1) if len(blocks) > 1 else real
        real = real.unsqueeze(1).expand(-1, len(_frequencies(side)[1]), -1, -1)
        return real, torch.zeros_like(real)
    ratio = structure.grids[structure.row_layer(block.row)] // structure.grids[block.column]
    basis = _basis(block.kernel, ratio, side).to(_first(filters))  # (2, frequencies * phases, taps)
    tall = _tall(blocks, filters).unflatten(2, (block.kernel**2, -1))  # (R, c, taps, k)
    whole = basis[:, None, None] @ tall  # (2, R, c, frequencies * phases, k)
    parts = whole.unflatten(3, (len(_frequencies(side)[1]), ratio**2)).permute(0, 1, 3, 4, 2, 5).flatten(3, 4)
    return parts[0], parts[1]


def _first(filters: Filters) -> Tensor:
    return next(iter(filters.values()))


# Cached tensors are made outside of inference mode: a gradient may need what an evaluation made first.
@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _frequencies(side: int) -> tuple[Tensor, Tensor]:
    """Return half of the frequencies of a square grid, ``(n, 2)``, and how often each counts: 1 or 2."""
    seen: dict[tuple[int, int], int] = {}
    for y in range(side):
        for x in range(side):
            mirror = (-y % side, -x % side)
            if mirror in seen and mirror != (y, x):
                seen[mirror] = 2
            else:
                seen[y, x] = 1
    return torch.tensor(list(seen)), torch.tensor(list(seen.values()), dtype=torch.float64)


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _basis(kernel: int, ratio: int, side: int) -> Tensor:
    """Return ``(2, frequencies * phases, taps)``: cosines and sines of the taps, sorted by their row's phase."""
    offsets = range(-((kernel - 1) // 2), kernel // 2 + 1)
    frequencies = _frequencies(side)[0].double()
    waves = torch.zeros(2, len(frequencies), ratio**2, kernel**2, dtype=torch.float64)
    for ty, y in enumerate(offsets):
        for tx, x in enumerate(offsets):
            phase, tap = (y % ratio) * ratio + x % ratio, ty * kernel + tx
            angle = 2 * math.pi / side * (frequencies @ torch.tensor([y // ratio, x // ratio], dtype=torch.float64))
            waves[0, :, phase, tap], waves[1, :, phase, tap] = angle.cos(), -angle.sin()
    return waves.flatten(1, 2)


def _padded(values: Tensor, size: int, dim: int) -> Tensor:
    """Return the values with zeros after them along an axis, up to a size."""
    missing = size - values.shape[dim]
    if missing == 0:
        return values
    shape = list(values.shape)
    shape[dim] = missing
    return torch.cat([values, values.new_zeros(shape)], dim)


@lru_cache(maxsize=65536)
@torch.inference_mode(False)
def _norm_taps(structure: Structure, block: Block) -> Tensor:
    return torch.as_tensor(norm_taps(structure, block))


@lru_cache(maxsize=65536)
@torch.inference_mode(False)
def _reach(structure: Structure, block: Block) -> Tensor:
    """Return ``(k_j,)`` which channels of a layer an identity passes on."""
    return torch.arange(structure.sizes[block.column]) < structure.diagonal(block)
