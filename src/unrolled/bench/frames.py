"""Deep frames: minimum potentials of the papers' nets, and the potential of filters against that of their matrix."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.bench.timing import FULL, Effort, torch_threads
from unrolled.frames.dictionary import Filters, dictionary, random_filters
from unrolled.frames.minimum import minimum_potential
from unrolled.frames.potential import frame_potential
from unrolled.frames.structure import Structure, build, resnet

INPUTS = 3072
"""Dimension of a CIFAR-10 image."""

GROWING_ONLY = 4096
"""Width that the papers' figure has in growing nets alone."""

CONVOLUTIONAL = ("chain", "residual", "dense")
COMPARED = resnet("residual", 8, 1, grid=8, groups=1)
"""A net of three layers, small enough for its matrix of 1216 x 1536."""

REPEATS = 10
"""How often the potential of the filters is taken in the time of that of the matrix."""


def bench_frames(effort: Effort) -> dict[str, object]:
    """Time minimum potentials, on all cores, and one potential with its gradient, on one.

    Args:
        effort: which nets, and how often the potential is timed.

    Returns:
        ``frames_fc<n>_seconds`` for n fully connected nets, all 78 in a full run; ``frames_minimum_conv_seconds``,
        absent in a quick run; ``frames_speedup_vs_dense``.
    """
    connected = scatter(effort.frame_widths)
    figures: dict[str, object] = {f"frames_fc{len(connected)}_seconds": minimum_seconds(connected)}
    if effort.frame_channels:
        nets = [resnet(kind, width, 1) for width in effort.frame_channels for kind in CONVOLUTIONAL]
        figures["frames_minimum_conv_seconds"] = minimum_seconds(nets)
    return figures | {"frames_speedup_vs_dense": speedup(COMPARED, effort.turns)}


def scatter(widths: Sequence[int] = FULL.frame_widths) -> list[Structure]:
    """Return the fully connected nets of the papers' scatter figure whose widest layer is one of these.

    Args:
        widths: each at least 8.

    Reference:
        Murdock, Lucey, arXiv 2003.13866, figure of error against minimum potential.

    Example:
        >>> len(scatter()), scatter((16,))[2].sizes
        (78, (3072, 2, 4, 8, 16))
    """
    found = []
    for m in widths:
        shapes: list[tuple[int, ...]] = [(m // 2, m), (m // 4, m // 2, m), (m // 8, m // 4, m // 2, m)]
        if m != GROWING_ONLY:
            shapes += [(m, m // 2, m), (m, m // 2, m // 4, m)]
        found += [build("chain", INPUTS, shape) for shape in shapes]
    return found


def minimum_seconds(structures: Sequence[Structure]) -> float:
    """Return how long the minimum potentials take together, one after the other, once."""
    with torch_threads(None):
        began = time.perf_counter()
        for structure in structures:
            minimum_potential(structure)
        return time.perf_counter() - began


def speedup(structure: Structure, turns: int) -> float:
    """Return how many times faster value and gradient come from filters than from the matrix; median over turns.

    Args:
        structure: both take.
        turns: how often both are timed, after one run that is not.
    """
    filters = random_filters(structure, [np.random.default_rng(0)], torch.float32)
    matrix = MatrixPotential(structure, filters)
    with torch_threads(1):
        _seconds(lambda: filter_gradient(structure, filters)), _seconds(lambda: matrix.gradient(filters))
        ratios = []
        for _ in range(turns):
            fast = _seconds(lambda: [filter_gradient(structure, filters) for _ in range(REPEATS)]) / REPEATS
            ratios.append(_seconds(lambda: matrix.gradient(filters)) / fast)
    return statistics.median(ratios)


def filter_gradient(structure: Structure, filters: Filters) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return F2 ``(1,)`` and its gradient for every block of filters, without the matrix."""
    return _differentiated(filters, lambda leaves: frame_potential(structure, leaves, check=False).f2)


class MatrixPotential:
    """The potential by its definition: from all inner products of the columns of the dictionary.

    Args:
        structure: small enough for the matrix.
        filters: its learned blocks, for their shapes.
    """

    def __init__(self, structure: Structure, filters: Filters) -> None:
        # Where each entry of the matrix comes from is found once: it is no part of what is timed.
        numbers, first = {}, 1
        for name, values in filters.items():
            numbers[name] = torch.arange(first, first + values.numel(), dtype=torch.float64).view(values.shape)
            first += values.numel()
        ones = [torch.full((1, k), float(first), dtype=torch.float64) for k in structure.sizes[1:]]
        source = dictionary(structure, numbers, ones)[0].long()
        self.source = torch.where(source < 0, first + 1, source)
        self.constants = torch.tensor([0.0]), torch.tensor([1.0, -1.0])

    def gradient(self, filters: Filters) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return F2 ``(1,)`` and its gradient for every block of filters."""
        return _differentiated(filters, self._value)

    def _value(self, leaves: Filters) -> Tensor:
        zero, ones = (constant.to(next(iter(leaves.values())).dtype) for constant in self.constants)
        values = torch.cat([zero, *(leaf.flatten() for leaf in leaves.values()), ones])
        columns = values.take(self.source)
        unit = columns / columns.norm(dim=0)
        gram = unit.T @ unit
        return (gram.square().sum() - gram.diagonal().square().sum()).view(1)


def _differentiated(filters: Filters, value: Callable[[Filters], Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    leaves = {name: values.detach().requires_grad_() for name, values in filters.items()}
    found = value(leaves)
    return found.detach(), torch.autograd.grad(found.sum(), tuple(leaves.values()))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
