"""Structures that strain the fast code, and the potential by the explicit dictionary: the slow twin."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.frames.dictionary import dictionary
from unrolled.frames.structure import KINDS, Structure, build

from .naive import STRUCTURES


def _straining() -> dict[str, Structure]:
    """Four layers, filters that meet around the corner, several strides, and a last grid of one position."""
    found = {}
    for kind in KINDS:
        found[f"{kind}-wrap"] = build(kind, 2, (3, 2, 3), kernels=3, grid=3)
        # Of four layers on one grid, dense ones meet by identities and by learned blocks at once.
        found[f"{kind}-deep"] = build(kind, 1, (2, 3, 2, 2), kernels=(3, 2, 3, 2), grid=5)
        found[f"{kind}-mixed"] = build(kind, 2, (3, 2, 2, 3), kernels=(3, 1, 2, 2), strides=(1, 2, 1, 1), grid=4)
        found[f"{kind}-point"] = build(kind, 1, (3, 2, 2), kernels=(4, 2, 1), strides=(2, 2, 1), grid=4)
    return found


ALL_STRUCTURES = STRUCTURES | _straining()
"""Every kind: fully connected, convolutional, with strides, with wrapping filters; channels that grow and shrink."""


def explicit_gram(structure: Structure, filters: dict[str, Tensor], identity: list[Tensor] | None = None) -> Tensor:
    """The Gram matrix of the normalised columns, ``(R, M, M)``, with zeros on the diagonal."""
    matrix = dictionary(structure, filters, identity)
    unit = matrix / matrix.norm(dim=1, keepdim=True)
    gram = unit.mT @ unit
    return gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))


def explicit_overlaps(structure: Structure) -> int:
    """N by the boolean product of the zero patterns."""
    ones = {
        b.name: torch.ones(1, *structure.channels(b), b.kernel, b.kernel, dtype=torch.float64)
        for b in structure.blocks
        if b.learned
    }
    pattern = (dictionary(structure, ones)[0] != 0).double()
    return int(((pattern.T @ pattern) > 0).sum()) - structure.atoms
