r"""Layers of convolutional frames with circular padding: products with their blocks, and batch normalisation.

Values of R replicas lie as ``(R, C, P, B)``: channels, positions of a square grid row by row, and the batch innermost,
so that a patch is copied by whole rows of memory, and a product with filters is one multiplication of matrices.

Nothing here rounds by the number of replicas: products are those of one of them, sums run along one channel of one
replica, and the rest is done entry by entry. At these sizes (a few channels, small grids) the convolutions of the
vendor's library took two to five times as long, grouped or replica by replica.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5
"""Added to the variance of a channel, as is usual."""


@dataclass(frozen=True)
class Geometry:
    """Where the taps of a filter read: output position q reads position ``stride q + direction (t - centre)``.

    Args:
        kernel: side f of the filter; its centre is (f - 1) // 2.
        stride: distance s of the positions that neighbouring outputs read around.
        side: of the grid that is read.
        direction: 1 for a correlation, -1 for its transpose (stride 1 only).
    """

    kernel: int
    stride: int
    side: int
    direction: int = 1

    @property
    def out(self) -> int:
        """Side of the grid of outputs."""
        return self.side // self.stride

    @property
    def transposed(self) -> Geometry:
        """The same with the taps reversed, for stride 1."""
        return Geometry(self.kernel, self.stride, self.side, -self.direction)

    def positions(self, device: torch.device) -> Tensor:
        """Return ``(f f, q q)``: the position that each tap reads for each output."""
        return _positions(self, device)


@lru_cache(maxsize=256)
def _positions(geometry: Geometry, device: torch.device) -> Tensor:
    axis = geometry.direction * (torch.arange(geometry.kernel) - (geometry.kernel - 1) // 2)[:, None]
    axis = (axis + geometry.stride * torch.arange(geometry.out)) % geometry.side  # (f, q)
    flat = axis[:, None, :, None] * geometry.side + axis[None, :, None, :]  # (f, f, q, q)
    return flat.reshape(geometry.kernel**2, geometry.out**2).to(device)


def correlate(values: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
    r"""Return :math:`y[o, q] = \sum_{c, t} F[o, c, t]\, z[c, s q \pm (t - \text{centre})]` on a circular grid.

    Args:
        values: ``(R, C, P, B)`` z.
        filters: ``(R, O, C, f, f)`` F.
        geometry: which position each tap reads.

    Returns:
        ``(R, O, Q, B)``, differentiable once in both.
    """
    out: Tensor = _Correlation.apply(values, filters, geometry)
    return out


class _Correlation(torch.autograd.Function):
    """Patches times filters; with stride 1 so is the gradient, of whose patches both products are made.

    One replica at a time: its patches stay in the cache.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, filters: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(values, filters)
        ctx.geometry = geometry
        replicas, outputs = filters.shape[:2]
        out = values.new_empty(replicas, outputs, geometry.out**2, values.shape[3])
        for patches, own, result in zip(_patches(values, geometry), filters.flatten(2), out.flatten(2), strict=True):
            torch.mm(own, patches, out=result)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        values, filters = ctx.saved_tensors
        back = _back if ctx.geometry.stride == 1 else _back_strided
        return *back(values, filters, gradient.contiguous(), ctx.geometry, ctx.needs_input_grad[0]), None


def _back(
    values: Tensor, filters: Tensor, gradient: Tensor, geometry: Geometry, wanted: bool
) -> tuple[Tensor | None, Tensor]:
    replicas, outputs, channels = filters.shape[:3]
    turned = filters.transpose(1, 2).flatten(2)  # (R, C, O f f)
    by_filters = torch.empty_like(turned)
    by_values = torch.empty_like(values)
    for r, patches in enumerate(_patches(gradient, geometry.transposed)):
        torch.mm(values[r].flatten(1), patches.mT, out=by_filters[r])
        if wanted:
            torch.mm(turned[r], patches, out=by_values[r].flatten(1))
    by_filters = by_filters.view(replicas, channels, outputs, -1).transpose(1, 2).reshape(filters.shape)
    return by_values if wanted else None, by_filters


def _back_strided(
    values: Tensor, filters: Tensor, gradient: Tensor, geometry: Geometry, wanted: bool
) -> tuple[Tensor | None, Tensor]:
    flat = gradient.flatten(2)
    by_filters = torch.stack([own @ patches.mT for own, patches in zip(flat, _patches(values, geometry), strict=True)])
    if not wanted:
        return None, by_filters.view(filters.shape)
    parts = torch.stack([own.mT @ g for own, g in zip(filters.flatten(2), flat, strict=True)])
    parts = parts.view(*values.shape[:2], -1, values.shape[3])
    # Tap by tap, so that a position is added to in a fixed order: within a tap no position is read twice.
    by_values = torch.zeros_like(values)
    positions = geometry.positions(values.device)
    for tap, part in zip(positions, parts.split(positions.shape[1], dim=2), strict=True):
        by_values.index_add_(2, tap, part)
    return by_values, by_filters.view(filters.shape)


def _patches(values: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """Yield ``(C f f, Q B)``: what each tap reads for each output; the next replica's overwrite them."""
    positions = geometry.positions(values.device)
    channels, batch = values.shape[1], values.shape[3]
    taken = values.new_empty(channels, positions.numel(), batch)
    for own in values:
        torch.index_select(own, 1, positions.view(-1), out=taken)
        yield taken.view(channels * len(positions), -1)


@dataclass(frozen=True)
class Statistics:
    """Mean and inverse deviation of a layer's channels, each ``(R, C)``."""

    mean: Tensor
    inverse: Tensor


def statistics_of(values: Tensor) -> Statistics:
    """Return the statistics of values ``(R, C, P, B)`` over positions and batch."""
    flat = values.flatten(2)
    mean = flat.sum(2) / flat.shape[2]
    centred = flat - mean[..., None]
    return Statistics(mean, torch.rsqrt((centred * centred).sum(2) / flat.shape[2] + EPSILON))


def normalised_relu(values: Tensor, scale: Tensor, shift: Tensor, given: Statistics | None = None) -> Tensor:
    r"""Return :math:`\mathrm{relu}(\gamma (z - m) / \sigma + \beta)`.

    Args:
        values: ``(R, C, P, B)`` z.
        scale: ``(R, C)`` gamma.
        shift: ``(R, C)`` beta.
        given: m and 1 / sigma; those of the values themselves by default, and the gradient goes through them.

    Returns:
        The shape of the values, differentiable once.
    """
    if given is not None:
        factor = given.inverse * scale
        offset = shift - given.mean * factor
        return torch.relu(torch.addcmul(offset[..., None, None], values, factor[..., None, None]))
    out: Tensor = _Normalised.apply(values, scale, shift)
    return out


class _Normalised(torch.autograd.Function):
    """Batch normalisation and ReLU in one, with the sums written out: few passes over memory."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        flat = values.flatten(2)
        count = flat.shape[2]
        unit = flat - (flat.sum(2, keepdim=True) / count)
        inverse = torch.rsqrt((unit * unit).sum(2, keepdim=True) / count + EPSILON)
        unit.mul_(inverse)
        out = torch.addcmul(shift[..., None], unit, scale[..., None]).relu_()
        ctx.save_for_backward(unit, inverse, scale, out)
        return out.view(values.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        unit, inverse, scale, out = ctx.saved_tensors
        count = unit.shape[2]
        g = torch.ops.aten.threshold_backward(gradient.reshape(out.shape), out, 0)
        by_shift, by_scale = g.sum(2), (g * unit).sum(2)
        # dz = gamma / sigma (g - mean g - u mean(g u))
        g.sub_((by_shift / count)[..., None]).addcmul_(unit, (-by_scale / count)[..., None])
        g.mul_(inverse * scale[..., None])
        return g.view(gradient.shape), by_scale, by_shift
