"""The dictionary of a frame by plain loops over atoms, the slow twin of the operator, and random frames."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.frames.operator import FrameOperator
from unrolled.frames.structure import KINDS, Block, Structure, build


def random_filters(structure: Structure, replicas: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Normal float64 filters whose atoms have about unit norm."""
    generator = torch.Generator().manual_seed(seed)
    filters = {}
    for block in structure.blocks:
        if block.learned:
            shape = (replicas, *structure.channels(block), block.kernel, block.kernel)
            scale = (shape[1] * block.kernel**2) ** -0.5
            filters[block.name] = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    return filters


def random_identity(structure: Structure, replicas: int = 2, seed: int = 5) -> list[Tensor]:
    """Lengths in [0, 1) of every layer's identities."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(replicas, k, generator=generator, dtype=torch.float64) for k in structure.sizes[1:]]


def structures() -> dict[str, Structure]:
    """Every kind, fully connected, convolutional, and with strides, even kernels and channels that shrink."""
    found = {}
    for kind in KINDS:
        found[f"{kind}-fc"] = build(kind, 6, (4, 5, 3, 7))
        found[f"{kind}-conv"] = build(kind, 2, (3, 2, 4), kernels=3, grid=5)
        found[f"{kind}-stride"] = build(kind, 2, (3, 4, 2, 3), kernels=(3, 2, 3, 1), strides=(2, 1, 2, 1), grid=8)
    return found


STRUCTURES = structures()


def naive_block(structure: Structure, block: Block, filters: dict[str, Tensor], lengths: Tensor | None) -> Tensor:
    """One block of one replica, entry by entry, indexed [c, y, x, o, v, u]."""
    p, q = structure.grids[structure.row_layer(block.row)], structure.grids[block.column]
    rows, columns = structure.channels(block)
    matrix = torch.zeros(rows, p, p, columns, q, q, dtype=torch.float64)
    margin = (block.kernel - 1) // 2
    fine, ratio = p >= q, max(p // q, q // p)
    few = min(p, q)
    for v in range(few):
        for u in range(few):
            if not block.learned:
                for o in range(min(rows, columns)):
                    t = 1.0 if lengths is None else lengths[o]
                    matrix[o, v, u, o, ratio * v, ratio * u] = block.sign * t
                continue
            for i in range(block.kernel):
                for j in range(block.kernel):
                    a, b = ratio * v + i - margin, ratio * u + j - margin
                    entry = filters[block.name][:, :, i, j]
                    if fine:
                        matrix[:, a % p, b % p, :, v, u] += entry
                    else:
                        matrix[:, v, u, :, a % q, b % q] += entry
    return matrix.reshape(rows * p * p, columns * q * q)


def naive_dictionary(operator: FrameOperator) -> Tensor:
    """The whole dictionary of every replica, ``(R, D, M)``."""
    structure = operator.structure
    row_ends, column_ends = (
        [sum(s[:i]) for i in range(len(s) + 1)] for s in (structure.row_sizes, structure.column_sizes)
    )
    full = torch.zeros(operator.replicas, row_ends[-1], column_ends[-1], dtype=torch.float64)
    for r in range(operator.replicas):
        filters = {name: f[r] for name, f in operator.filters.items()}
        for b in structure.blocks:
            lengths = None if operator.identity is None else operator.identity[b.column - 1][r]
            place = (slice(*row_ends[b.row - 1 : b.row + 1]), slice(*column_ends[b.column - 1 : b.column + 1]))
            full[r][place] = naive_block(structure, b, filters, lengths)
    return full


def normal(*shape: int, seed: int = 1) -> Tensor:
    """A normal float64 tensor."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
