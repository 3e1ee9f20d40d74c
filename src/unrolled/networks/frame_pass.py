r"""The feed-forward pass of a deep frame: block rows in turn, each layer from those before it.

.. math:: w_i = \mathrm{relu}\Big(N_i\big(B_{ii}^\top (y_i - \sum_{k<i} B_{ik} w_k)\big)\Big)

with :math:`N_i(z) = z + b_i` in fully connected nets, and a batch normalisation with scale and shift in convolutional
ones. Values lie as ``(R, B, k)`` in the former, as ``(R, k, positions, B)`` in the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import pad

from unrolled.frames.structure import Block, Structure
from unrolled.networks.convolution import Geometry, Statistics, correlate, normalised_relu, statistics_of

Parameters = dict[str, Tensor]


def feed_forward(
    structure: Structure,
    parameters: Parameters,
    x: Tensor,
    given: Sequence[Statistics] | None = None,
    found: list[Statistics] | None = None,
) -> list[Tensor]:
    """Return the layers w_1, ..., w_l.

    Args:
        structure: of the frame.
        parameters: ``block.<row>.<column>`` of every learned block ``(R, k_row, k_col, f, f)``; ``bias.<layer>``, or
            ``scale.<layer>`` and ``shift.<layer>``, each ``(R, k)``.
        x: the inputs.
        given: statistics of the normalisations, one a layer; those of the batch itself by default.
        found: a list to which the statistics of the batch are appended.
    """
    done: list[Tensor] = []
    for i in range(1, structure.layers + 1):
        rest = _rest(structure, parameters, done, i) if i > 1 else x
        (diagonal,) = (block for block in structure.row_blocks(i) if block.column == i)
        if not structure.convolutional:
            done.append(_units(parameters, rest, diagonal))
            continue
        if diagonal.learned:
            geometry = Geometry(diagonal.kernel, structure.strides[i - 1], structure.grids[i - 1])
            rest = correlate(rest, parameters[diagonal.name].transpose(1, 2), geometry)
        if found is not None:
            found.append(statistics_of(rest))
        own = None if given is None else given[i - 1]
        done.append(normalised_relu(rest, parameters[f"scale.{i}"], parameters[f"shift.{i}"], own))
    return done


def _units(parameters: Parameters, rest: Tensor, diagonal: Block) -> Tensor:
    bias = parameters[f"bias.{diagonal.column}"][:, None]
    if not diagonal.learned:
        return torch.relu(rest + bias)
    return torch.relu(torch.baddbmm(bias, rest, parameters[diagonal.name].flatten(2)))


def _rest(structure: Structure, parameters: Parameters, done: Sequence[Tensor], row: int) -> Tensor:
    """Return y_i - sum_{k<i} B_ik w_k of a block row i > 1, where y_i = 0."""
    blocks = [block for block in structure.row_blocks(row) if block.column < row]
    terms = [_identity(structure, done[b.column - 1], b) for b in blocks if not b.learned]
    learned = [block for block in blocks if block.learned]
    if structure.convolutional:
        for _, group in groupby(learned, key=lambda block: structure.grids[block.column]):
            terms.append(_convolved(structure, parameters, done, list(group)))
    else:
        terms += [torch.bmm(done[b.column - 1], -parameters[b.name].flatten(2).mT) for b in learned]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _convolved(structure: Structure, parameters: Parameters, done: Sequence[Tensor], blocks: list[Block]) -> Tensor:
    """Return -sum_k B_ik w_k over layers k on the same grid, as one convolution of all their channels."""
    layer = structure.row_layer(blocks[0].row)
    source, target = structure.grids[blocks[0].column], structure.grids[layer]
    filters = torch.cat([parameters[block.name] for block in blocks], dim=2)
    values = torch.cat([done[block.column - 1] for block in blocks], dim=1)
    step = source // target
    # On one grid B is the transpose of a correlation; towards a coarser grid its rows are the filters.
    geometry = Geometry(blocks[0].kernel, step, source, -1 if step == 1 else 1)
    return correlate(values, -filters, geometry)


def _identity(structure: Structure, values: Tensor, block: Block) -> Tensor:
    """Return -B_ik w_k of an identity: subsampled, channels left out or padded with zeros."""
    layer = structure.row_layer(block.row)
    rows = structure.sizes[layer]
    kept = structure.diagonal(block)
    passed = values if block.sign < 0 else -values
    if not structure.convolutional:
        return pad(passed[..., :kept], (0, rows - kept)) if (kept, kept) != structure.channels(block) else passed
    source, target = structure.grids[block.column], structure.grids[layer]
    if source != target:
        replicas, channels, _, batch = passed.shape
        grid = passed.view(replicas, channels, source, source, batch)
        step = source // target
        passed = grid[:, :, ::step, ::step].reshape(replicas, channels, -1, batch)
    if (kept, kept) != structure.channels(block):
        passed = pad(passed[:, :kept], (0, 0, 0, 0, 0, rows - kept))
    return passed
