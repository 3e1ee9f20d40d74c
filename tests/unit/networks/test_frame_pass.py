"""The feed-forward pass against one sweep in the explicit dictionary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unrolled.frames.dictionary import dictionary
from unrolled.frames.structure import KINDS, Structure, build
from unrolled.networks.frame_pass import feed_forward
from unrolled.networks.frames import FrameClassifiers

ROUNDING = 1e-12
"""Float64 sums of some hundred terms of order one."""

STRUCTURES = [
    *(build(kind, 12, (7, 9, 5, 9)) for kind in KINDS),
    *(build(kind, 2, (3, 4, 3, 5), kernels=(3, 2, 3, 1), strides=(1, 1, 2, 1), grid=6) for kind in KINDS),
    *(build(kind, 2, (3, 2, 3), kernels=3, strides=(1, 2, 2), grid=12) for kind in KINDS),
]


def ensemble(structure: Structure, replicas: int = 2) -> FrameClassifiers:
    """Random images that a structure reads, with three classes."""
    side = structure.grid
    images = torch.randn(20, structure.sizes[0], side, side, generator=torch.Generator().manual_seed(0))
    return FrameClassifiers(structure, images, torch.arange(20) % 3, 3, [0.0] * replicas, dtype=torch.float64)


def swept(structure: Structure, parameters: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """One Gauss-Seidel sweep of block proximal gradient from 0 in the explicit dictionary, x ``(R, B, K_0)``.

    The step of an analysis row is on its own block row alone, which is what the network does.
    """
    filters = {name: value for name, value in parameters.items() if name.startswith("block.")}
    b = dictionary(structure, filters)  # (R, D, M)
    replicas, batch = x.shape[:2]
    w = x.new_zeros(replicas, batch, structure.atoms)
    y = torch.cat([x, x.new_zeros(replicas, batch, b.shape[1] - x.shape[2])], dim=2)
    layers, top, left = [], 0, 0
    for i, (rows, columns) in enumerate(zip(structure.row_sizes, structure.column_sizes, strict=True), 1):
        block_row = slice(top, top + rows)
        rest = y[:, :, block_row] - w @ b[:, block_row].mT
        z = rest @ b[:, block_row, left : left + columns]  # (R, B, K_i)
        side = structure.grids[i] ** 2
        if structure.convolutional:
            z = z.view(replicas, batch, -1, side)
            deviation, mean = torch.var_mean(z, (1, 3), correction=0, keepdim=True)
            z = (z - mean) / (deviation + 1e-5).sqrt()
            z = z * parameters[f"scale.{i}"][:, None, :, None] + parameters[f"shift.{i}"][:, None, :, None]
            z = z.flatten(2)
        else:
            z = z + parameters[f"bias.{i}"][:, None]
        w[:, :, left : left + columns] = z.relu()
        layers.append(z.relu())
        top, left = top + rows, left + columns
    return layers


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda s: s.describe())
def test_the_pass_is_one_sweep_of_inference(structure: Structure) -> None:
    nets = ensemble(structure)
    draw = torch.Generator().manual_seed(1)
    parameters = {
        name: value + 0.3 * torch.randn(value.shape, dtype=value.dtype, generator=draw)
        for name, value in nets.initial_parameters([3, 4]).items()
    }
    images = torch.randn(2, 6, structure.sizes[0], structure.grid, structure.grid, dtype=torch.float64, generator=draw)
    found = nets.layers(parameters, images)
    expected = swept(structure, parameters, images.flatten(2))
    for layer, twin in zip(found, expected, strict=True):
        if structure.convolutional:
            layer = layer.permute(0, 3, 1, 2).flatten(2)
        assert float(twin.abs().max()) > 0.1
        torch.testing.assert_close(layer, twin, rtol=0, atol=ROUNDING * 100)


def test_skips_change_the_pass() -> None:
    # The twin shares the zero pattern with the pass: that every kind differs from the chain is seen here.
    images = torch.randn(5, 12, 1, 1, generator=torch.Generator().manual_seed(0)).double()
    last = {}
    for kind in KINDS:
        nets = ensemble(build(kind, 12, (12, 12, 12, 12)))
        last[kind] = nets.layers(nets.initial_parameters([0, 1]), images)[-1]
    for kind in set(KINDS) - {"chain"}:
        assert float((last[kind] - last["chain"]).abs().max()) > 0.1, kind


def test_statistics_that_are_given_are_used() -> None:
    structure = build("residual", 2, (3, 4, 3), kernels=3, grid=6)
    nets = ensemble(structure)
    parameters = nets.initial_parameters([3, 4])
    rows = torch.arange(12).expand(2, -1)
    statistics = nets.statistics(parameters, rows)
    images = torch.randn(12, 2, 6, 6, generator=torch.Generator().manual_seed(5)).double()
    alone = torch.cat([nets.outputs(parameters, part, statistics) for part in images.split(1)], dim=1)
    torch.testing.assert_close(alone, nets.outputs(parameters, images, statistics), rtol=0, atol=ROUNDING)
    assert float((alone - nets.outputs(parameters, images)).abs().max()) > 0.01
    # With the batch's own statistics the same comes out as without any.
    found: list = []
    x = nets._taken(rows)
    whole = feed_forward(structure, parameters, x, None, found)[-1]
    torch.testing.assert_close(feed_forward(structure, parameters, x, found)[-1], whole, rtol=0, atol=ROUNDING)
