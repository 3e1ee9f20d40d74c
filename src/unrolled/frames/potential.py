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

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.frames.dictionary import Filters, Identities, check_filters, unit_identities
from unrolled.frames.overlap import LayerPair, Meeting, classes_of, layer_pairs, norm_taps, overlap_count
from unrolled.frames.structure import Block, Structure


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
    lengths = squared_lengths(structure, filters, identity)
    inverse = [1 / n.clamp_min(torch.finfo(n.dtype).tiny) for n in lengths]
    total = -_as_sum(lengths, structure)
    for pair, gram in gram_places(structure, filters, identity):
        j, other = pair.layers
        first = inverse[j - 1][:, _index(pair.classes, gram)]  # (R, g, k)
        second = inverse[other - 1][:, _index(pair.other_classes, gram)]  # (R, g, k')
        weighted = (first.unsqueeze(-2) @ gram.square() @ second.unsqueeze(-1)).sum((1, 2, 3))
        total = total + pair.repeats * (1 if j == other else 2) * weighted
    return Potential(total, overlap_count(structure))


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
    for pair, gram in gram_places(structure, filters, identity):
        j, other = pair.layers
        first = inverse[j - 1][:, _index(pair.classes, gram)].unsqueeze(-1)
        second = inverse[other - 1][:, _index(pair.other_classes, gram)].unsqueeze(-2)
        entries = (first * gram * second).abs()
        entries[:, torch.as_tensor(pair.diagonal)] *= 1 - torch.eye(*entries.shape[-2:]).to(entries)
        largest = torch.maximum(largest, entries.flatten(1).amax(1))
    return largest


def squared_lengths(structure: Structure, filters: Filters, identity: Identities) -> list[Tensor]:
    """Return the squared lengths of the atoms of every layer, ``(R, classes, k_j)`` each."""
    lengths = []
    for j in range(1, structure.layers + 1):
        total = identity[j - 1].new_zeros(identity[j - 1].shape[0], classes_of(structure, j), structure.sizes[j])
        for block in structure.column_blocks(j):
            taps = _norm_taps(structure, block).to(total)  # (classes, taps)
            if block.learned:
                energy = filters[block.name].square().sum(1).flatten(2)  # (R, k, taps)
                total = total + taps @ energy.mT
            else:
                kept = identity[j - 1].square() * _reach(structure, block).to(total)
                total = total + taps * kept.unsqueeze(1)
        lengths.append(total)
    return lengths


def gram_places(structure: Structure, filters: Filters, identity: Identities) -> Iterator[tuple[LayerPair, Tensor]]:
    """Yield, for each pair of layers, the Gram of the columns as they are, ``(R, places, k_j, k_j')``.

    The columns are not normalised: their lengths depend on the class of their position.
    """
    for pair in layer_pairs(structure):
        j, other = pair.layers
        shape = (identity[0].shape[0], pair.places, structure.sizes[j], structure.sizes[other])
        parts = [_meeting(structure, meeting, filters, identity) for meeting in pair.meetings]
        if not structure.convolutional:  # every contribution adds to the only place
            whole = sum(part.expand(shape[0], 1, *shape[2:]) for part in parts)
            assert isinstance(whole, Tensor)
            yield pair, whole
            continue
        gram = identity[0].new_zeros(shape)
        for meeting, part in zip(pair.meetings, parts, strict=True):
            source, target = _index(meeting.pairs, gram), _index(meeting.places, gram)
            gram = gram.index_add(1, target, part[:, source])
        yield pair, gram


def _meeting(structure: Structure, meeting: Meeting, filters: Filters, identity: Identities) -> Tensor:
    """Return the products of all pairs of taps of two blocks of one row block, ``(R, taps * taps', k, k')``."""
    first, second = meeting.first, meeting.second
    if first.learned and second.learned:
        a, b = _rows_first(filters[first.name]), _rows_first(filters[second.name])  # (R, c, taps k)
        k, other = structure.sizes[first.column], structure.sizes[second.column]
        product = (a.mT @ b).unflatten(2, (-1, other)).unflatten(1, (-1, k))  # (R, taps, k, taps', k')
        return product.transpose(2, 3).flatten(1, 2)
    t, u = identity[first.column - 1], identity[second.column - 1]
    if first.learned:
        reach = structure.diagonal(second)
        taps = filters[first.name][:, :reach].flatten(3).permute(0, 3, 2, 1)  # (R, taps, k, reach)
        return _padded(taps * (second.sign * u[:, None, None, :reach]), structure.sizes[second.column], 3)
    if second.learned:
        reach = structure.diagonal(first)
        taps = filters[second.name][:, :reach].flatten(3).permute(0, 3, 1, 2)  # (R, taps', reach, k')
        return _padded(taps * (first.sign * t[:, None, :reach, None]), structure.sizes[first.column], 2)
    reach = min(structure.diagonal(first), structure.diagonal(second))
    both = torch.diag_embed(first.sign * second.sign * t[:, :reach] * u[:, :reach]).unsqueeze(1)
    return _padded(_padded(both, structure.sizes[first.column], 2), structure.sizes[second.column], 3)


def _rows_first(filters: Tensor) -> Tensor:
    """Return ``(R, c, taps k)`` of filters ``(R, c, k, f, f)``."""
    return filters.flatten(3).transpose(2, 3).flatten(2)


def _padded(values: Tensor, size: int, dim: int) -> Tensor:
    """Return the values with zeros after them along an axis, up to a size."""
    missing = size - values.shape[dim]
    if missing == 0:
        return values
    shape = list(values.shape)
    shape[dim] = missing
    return torch.cat([values, values.new_zeros(shape)], dim)


def _as_sum(lengths: list[Tensor], structure: Structure) -> Tensor:
    """Return ``(R,)`` the sum of the squared diagonal of the normalised Gram: the number of atoms that are not zero."""
    counts = [
        (n.detach() > 0).to(n).sum((1, 2)) * (size / (structure.sizes[j] * n.shape[1]))
        for j, (n, size) in enumerate(zip(lengths, structure.column_sizes, strict=True), 1)
    ]
    return torch.stack(counts).sum(0)


def _index(numbers: object, like: Tensor) -> Tensor:
    return torch.as_tensor(numbers, device=like.device)


@lru_cache(maxsize=4096)
def _norm_taps(structure: Structure, block: Block) -> Tensor:
    return torch.as_tensor(norm_taps(structure, block))


@lru_cache(maxsize=4096)
def _reach(structure: Structure, block: Block) -> Tensor:
    """Return ``(k_j,)`` which channels of a layer an identity passes on."""
    return torch.arange(structure.sizes[block.column]) < structure.diagonal(block)
