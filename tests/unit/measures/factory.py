"""Classifiers to attack, and their random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from unrolled.data.streams import generator
from unrolled.measures.misclassification import Scores


def draws(seeds: Sequence[int]) -> list[np.random.Generator]:
    return [generator(seed, "attack") for seed in seeds]


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(shape), dtype=dtype)


class Linear:
    """Binary linear classifiers, one a replica: the second score minus the first is w.x + b."""

    def __init__(self, replicas: int, dimension: int, seed: int = 0) -> None:
        self.w, self.b = normal(seed, replicas, dimension), normal(seed + 1, replicas)

    def __call__(self, x: Tensor) -> Tensor:
        s = torch.einsum("rbd,rd->rb", x, self.w) + self.b[:, None]
        return torch.stack([-s / 2, s / 2], -1)

    def margins(self, x: Tensor, labels: Tensor) -> Tensor:
        """By how much each answer is right, ``(R, B)``."""
        s = self(x)
        return (s[..., 1] - s[..., 0]) * (2 * labels - 1)

    def labels(self, x: Tensor, wrong: float = 0.1) -> Tensor:
        """The answers at x, some of them turned round."""
        right = self(x).argmax(-1)
        turned = torch.as_tensor(np.random.default_rng(7).random(right.shape) < wrong)
        return torch.where(turned, 1 - right, right)


def relu_net(seeds: Sequence[int], sizes: Sequence[int], dtype: torch.dtype = torch.float64) -> Scores:
    """Nets without training; a replica's weights follow from its seed alone."""
    weights = [
        torch.stack([normal(100 * seed + layer, a, b, dtype=dtype) * (2 / a) ** 0.5 for seed in seeds])
        for layer, (a, b) in enumerate(pairwise(sizes))
    ]

    def scores(x: Tensor) -> Tensor:
        x = x.flatten(2)
        for w in weights[:-1]:
            x = torch.bmm(x, w).relu()
        return torch.bmm(x, weights[-1])

    return scores
