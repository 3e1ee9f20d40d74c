"""Circular strided convolution of many replicas at once, and its adjoint: the products with a learned block."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor


def correlate(z: Tensor, weight: Tensor, stride: int) -> Tensor:
    r"""Return :math:`v_{oq} = \sum_{ct} \theta_{oct} z_{c, sq + t - \lfloor (f-1)/2 \rfloor}`, positions circular.

    Args:
        z: ``(R, N, c, p, p)``.
        weight: filters of each replica, ``(R, o, c, f, f)`` with f <= p.
        stride: s, a divisor of p.

    Returns:
        ``(R, N, o, p / s, p / s)``.

    Example:
        >>> import torch
        >>> correlate(torch.arange(4.0).reshape(1, 1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2), 2).item()
        6.0
    """
    if _pointwise(z, weight, stride):
        return (z.flatten(2) @ weight.flatten(2).mT)[..., None, None]
    before, after = _margins(weight)
    padded = nnf.pad(z.flatten(0, 1), (before, after, before, after), mode="circular").unflatten(0, z.shape[:2])
    # One replica at a time: how a grouped convolution rounds depends on the number of its groups.
    return torch.stack([nnf.conv2d(own, w, stride=stride) for own, w in zip(padded, weight, strict=True)])


def spread(v: Tensor, weight: Tensor, stride: int) -> Tensor:
    r"""Return the adjoint of :func:`correlate`: every entry of v puts its filter around position s q.

    Args:
        v: ``(R, N, o, q, q)``.
        weight: filters of each replica, ``(R, o, c, f, f)`` with f <= s q.
        stride: s.

    Returns:
        ``(R, N, c, s q, s q)``.
    """
    if _pointwise(v, weight, stride):
        return (v.flatten(2) @ weight.flatten(2))[..., None, None]
    before, after = _margins(weight)
    # The output padding is what a stride leaves out at the end, so that the side is s q and the margins.
    padded = torch.stack(
        [
            nnf.conv_transpose2d(own, w, stride=stride, output_padding=stride - 1)
            for own, w in zip(v, weight, strict=True)
        ]
    )
    return _fold(_fold(padded, before, after, 3), before, after, 4)


def _pointwise(z: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether there is one position, as in fully connected layers: a matrix product is faster then."""
    return z.shape[-1] == weight.shape[-1] == stride == 1


def _margins(weight: Tensor) -> tuple[int, int]:
    before = (weight.shape[-1] - 1) // 2
    return before, weight.shape[-1] - 1 - before


def _fold(padded: Tensor, before: int, after: int, axis: int) -> Tensor:
    """Add the margins to the positions that they are copies of: the adjoint of circular padding."""
    side = padded.shape[axis] - before - after
    inner = padded.narrow(axis, before, side).clone()
    inner.narrow(axis, side - before, before).add_(padded.narrow(axis, 0, before))
    inner.narrow(axis, 0, after).add_(padded.narrow(axis, before + side, after))
    return inner
