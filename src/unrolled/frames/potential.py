r"""The deep frame potential: how far a network's dictionary is from orthogonal, as it is seen through its zero pattern.

With :math:`\bar B` the dictionary with columns of unit length and :math:`G = \bar B^\top \bar B`,

.. math:: F_2 = \|G - I\|_F^2, \qquad F = \sqrt{F_2 / N}, \qquad \mu = \max_{i \ne j} |G_{ij}|,

where N counts the ordered pairs of distinct atoms that share a row of the zero pattern. F is the root mean square of
the Gram entries that may be non-zero, so :math:`F \le \mu`.

Convolutional frames are never written out: the Gram of two layers is a correlation of their filters, and the tables of
:mod:`unrolled.frames.overlap` say which products of taps add up to which of its entries.

Reference:
    Murdock, Lucey, arXiv 2003.13866, section 3; Murdock, Cazenavette, Lucey, arXiv 2103.05804, sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.frames.dictionary import Filters, Identities, check_filters, unit_identities
from unrolled.frames.gram import (
    dense_energy,
    fourier_energy,
    gram_block,
    identity_energy,
    meets_one_identity,
    squared_lengths,
    tap_energies,
)
from unrolled.frames.overlap import LayerPair, layer_pairs, overlap_count
from unrolled.frames.structure import Block, Structure

TOGETHER_NUMBERS = 4_000_000
"""Gram entries that are computed in one call: layers of one shape share calls up to here, which bounds the memory."""


@dataclass(frozen=True)
class Potential:
    """The potential of R dictionaries of one structure.

    Attributes:
        f2: ``(R,)`` squared Frobenius norm of G - I, over the whole grid.
        pairs: N, the structural number of ordered pairs that may overlap.
    """

    f2: Tensor
    pairs: int

    @property
    def f(self) -> Tensor:
        """``(R,)`` root mean square F of the entries that may be non-zero; 0 where there are none."""
        return (self.f2.clamp_min(0) / max(self.pairs, 1)).sqrt()


def frame_potential(
    structure: Structure, filters: Filters, identity: Identities | None = None, *, check: bool = True
) -> Potential:
    """Return the potential, differentiable in filters and identities.

    Args:
        structure: which blocks there are.
        filters: ``Block.name`` -> ``(R, k_row, k_col, f, f)``, of any length a column.
        identity: one ``(R, k_j)`` a layer, the coefficients t of the identities; 1 by default, as in networks.
        check: look for NaN and wrong shapes first; off inside loops that have looked.

    Returns:
        F2, and F through N.

    Raises:
        StructureError: filters of other shapes, or not finite.

    Example:
        >>> from unrolled.frames.structure import build
        >>> two = torch.tensor([[[[[1.0]], [[1.0]]]]])  # one row, two atoms
        >>> frame_potential(build("chain", 1, (2,)), {"block.1.1": two}).f2
        tensor([2.])
    """
    if check:
        check_filters(structure, filters)
    identity = unit_identities(structure, filters) if identity is None else identity
    energies = tap_energies(structure, filters)
    lengths = squared_lengths(structure, filters, identity, energies)
    inverse = [n.clamp_min(torch.finfo(n.dtype).tiny).rsqrt() for n in lengths]
    replicas = inverse[0].shape[0]
    parts: list[Tensor] = []
    for pairs in _alike(structure):
        a_call = max(1, TOGETHER_NUMBERS // (replicas * _entries(structure, pairs[0])))
        for start in range(0, len(pairs), a_call):
            some = pairs[start : start + a_call]
            values = energies if meets_one_identity(structure, some[0]) else filters
            energy = _off_diagonal(structure, some, values, identity, inverse)
            parts += energy.split(replicas) if len(some) > 1 else [energy]
    # One by one, as the order of a sum must not depend on how many replicas or pairs there are in a call.
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return Potential(total, overlap_count(structure))


def _off_diagonal(
    structure: Structure, pairs: Sequence[LayerPair], filters: Filters, identity: Identities, inverse: Sequence[Tensor]
) -> Tensor:
    """Return the squares of the normalised Gram entries of pairs of one shape, ``(pairs * R,)``, diagonal left out.

    ``filters`` are :func:`tap_energies` where that is all that the pairs need.
    """
    (j, other), pair = pairs[0].layers, pairs[0]
    stacked = {
        block.name: _joined([filters[b.name] for b in blocks])
        for block, *blocks in zip(_learned(pair), *map(_learned, pairs), strict=True)
    }
    lengths = {own: _joined([inverse[p.layers[i] - 1] for p in pairs]) for i, own in enumerate((j, other))}
    fractions = {own - 1: _joined([identity[p.layers[i] - 1] for p in pairs]) for i, own in enumerate((j, other))}
    count = pair.repeats * (1 if j == other else 2)
    if not structure.convolutional and j == other:
        if not _learned(pair):
            return torch.zeros_like(lengths[j][:, 0, 0])
        unit = {b.name: stacked[b.name] * lengths[j][:, 0, None, :, None, None] for b in _learned(pair)}
        return count * dense_energy(structure, j, unit)
    if meets_one_identity(structure, pair):
        scale = [lengths[j].square(), lengths[other].square()]
        return count * identity_energy(structure, pair, stacked, fractions, scale)
    if _by_fourier(structure, pair):
        unit = {b.name: stacked[b.name] * lengths[b.column][:, 0, None, :, None, None] for b in _learned(pair)}
        return count * fourier_energy(
            structure, pair, unit, {i: t * lengths[i + 1][:, 0] for i, t in fractions.items()}
        )
    gram = gram_block(structure, pair, stacked, fractions)
    first = lengths[j][:, torch.as_tensor(pair.classes, device=gram.device)]  # (R, g, k)
    second = lengths[other][:, torch.as_tensor(pair.other_classes, device=gram.device)]  # (R, g, k')
    normalised = gram * first.unsqueeze(-1) * second.unsqueeze(-2)
    energy = normalised.square().flatten(1).sum(1)
    if j == other:
        home = normalised[:, torch.as_tensor(pair.diagonal, device=gram.device)]
        energy = energy - home.diagonal(dim1=-2, dim2=-1).square().flatten(1).sum(1)
    return count * energy


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _by_fourier(structure: Structure, pair: LayerPair) -> bool:
    """Whether Fourier's basis takes less work: where learned filters meet learned ones, on one grid."""
    return (
        structure.convolutional
        and pair.uniform
        and any(meeting.first[0].learned and meeting.second[0].learned for meeting in pair.meetings)
    )


def _learned(pair: LayerPair) -> list[Block]:
    """Return the learned blocks that a pair of layers reads, each once."""
    both = [block for meeting in pair.meetings for block in (*meeting.first, *meeting.second) if block.learned]
    return list(dict.fromkeys(both))


def _entries(structure: Structure, pair: LayerPair) -> int:
    j, other = pair.layers
    return pair.places * structure.sizes[j] * structure.sizes[other]


@lru_cache(maxsize=256)
def _alike(structure: Structure) -> tuple[tuple[LayerPair, ...], ...]:
    """Return the pairs of layers sorted into those that differ in nothing but the filters' values."""
    groups: dict[object, list[LayerPair]] = {}
    for pair in layer_pairs(structure):
        shape = [
            (
                structure.channels(block), block.kernel, block.sign, block.column == pair.layers[0],
                structure.grids[structure.row_layer(block.row)], structure.grids[block.column],
            )
            for meeting in pair.meetings
            for block in (*meeting.first, *meeting.second)
        ]  # fmt: skip
        same = (pair.layers[0] == pair.layers[1], pair.repeats, pair.classes.tobytes(), pair.other_classes.tobytes())
        meetings = tuple((len(m.first), m.pairs.tobytes(), m.places.tobytes()) for m in pair.meetings)
        groups.setdefault((tuple(shape), same, meetings), []).append(pair)
    return tuple(map(tuple, groups.values()))


def mutual_coherence(structure: Structure, filters: Filters, identity: Identities | None = None) -> Tensor:
    """Return ``(R,)`` the largest absolute inner product of two distinct normalised atoms.

    Raises:
        StructureError: filters of other shapes, or not finite.
    """
    check_filters(structure, filters)
    identity = unit_identities(structure, filters) if identity is None else identity
    lengths = squared_lengths(structure, filters, identity)
    inverse = [n.clamp_min(torch.finfo(n.dtype).tiny).rsqrt() for n in lengths]
    largest = torch.zeros_like(lengths[0][:, 0, 0])
    for pair in layer_pairs(structure):
        gram = gram_block(structure, pair, filters, identity)
        j, other = pair.layers
        first = inverse[j - 1][:, torch.as_tensor(pair.classes, device=gram.device)].unsqueeze(-1)
        second = inverse[other - 1][:, torch.as_tensor(pair.other_classes, device=gram.device)].unsqueeze(-2)
        entries = (first * gram * second).abs()
        entries[:, torch.as_tensor(pair.diagonal)] *= 1 - torch.eye(*entries.shape[-2:]).to(entries)
        largest = torch.maximum(largest, entries.flatten(1).amax(1))
    return largest
