"""What k steps of GD or NAG leave of the error, with slopes, in place, for replicas sorted by k, deepest first.

The readable twin is :mod:`unrolled.solvers.filters`. Sorting makes the replicas that still iterate a prefix, so nothing
is computed and thrown away. All operations are ones that round an element the same wherever it lies in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Residual(NamedTuple):
    """A residual r and its slopes, each ``(M, R, B)``; the next call overwrites them.

    Attributes:
        r: r_k at B = 1 - s e.
        by_shrink: d r / d B, where asked for.
        by_momentum: d r / d a, where asked for; None for GD.
    """

    r: Tensor
    by_shrink: Tensor | None = None
    by_momentum: Tensor | None = None


class Unrolled(Protocol):
    """A solver that is unrolled on M x B elements of each of R replicas."""

    def __call__(self, shrink: Tensor, momentum: Tensor, order: int) -> Residual:
        """Return r, and as many slopes as ``order`` says (0: none, 1: in B, 2: in a too)."""
        ...


class UnrolledGD:
    """r = B^k and k B^(k-1), by repeated squaring.

    Args:
        steps: ``(R,)`` k of each replica, falling.
        like: any tensor of the elements' shape ``(M, R, B)``, type and device.
    """

    def __init__(self, steps: Sequence[int], like: Tensor) -> None:
        lower = [max(k, 1) - 1 for k in steps]
        self.power, self.base, self.r, self.slope = (torch.empty_like(like) for _ in range(4))
        self.steps = like.new_tensor(steps)[:, None]
        self.multiplied = [
            [(self.power[:, run], run) for run in _runs([bool(n >> bit & 1) for n in lower])]
            for bit in range(max(lower).bit_length())
        ]
        # Squared are those with a higher bit left; the others might overflow.
        more = [sum(n >> (bit + 1) > 0 for n in lower) for bit in range(len(self.multiplied))]
        self.squared = [self.base[:, :count] for count in more if count]
        self.standing = self.r[:, sum(k > 0 for k in steps) :]

    def __call__(self, shrink: Tensor, momentum: Tensor, order: int) -> Residual:
        """Return r, and k B^(k-1) where ``order`` is not 0; the momentum plays no part."""
        base = shrink
        self.power.fill_(1)
        for bit, multiplied in enumerate(self.multiplied):
            if bit:
                out = self.squared[bit - 1]
                factor = base[:, : out.shape[1]]
                base = torch.mul(factor, factor, out=out)
            for power, run in multiplied:
                power.mul_(base[:, run])
        torch.mul(self.power, shrink, out=self.r)
        if self.standing.numel():
            self.standing.fill_(1)
        return Residual(self.r, torch.mul(self.power, self.steps, out=self.slope) if order else None)


class _Turn(NamedTuple):
    """Views for one step of NAG: ``(slopes + 1, M, active, B)`` of the replicas that still iterate."""

    now: Tensor
    before: Tensor
    ahead: Tensor
    active: int
    finished: tuple[Tensor, Tensor] | None
    """Where the result of those at their last step goes, and where it stands."""


class UnrolledNAG:
    """NAG's recurrence r+ = B w, w = r + a (r - r-), and its slopes by the product rule.

    Args:
        steps: ``(R,)`` k of each replica, falling.
        like: any tensor of the elements' shape ``(M, R, B)``, type and device.
    """

    def __init__(self, steps: Sequence[int], like: Tensor) -> None:
        # Stacks of r, dr/dB and dr/da: one operation serves all three.
        self.buffers = like.new_empty((4, 3, *like.shape))
        self.counts = [sum(k > done for k in steps) for done in range(max(steps) + 1)]
        self.turns = lru_cache(self._turns)

    def _turns(self, order: int) -> list[_Turn]:
        now, before, ahead, out = self.buffers[:, : order + 1]
        turns = []
        for count, left in zip(self.counts[:-1], self.counts[1:], strict=True):
            before, now = now, before  # the new r takes the place of the last but one
            ends = (out[:, :, left:count], now[:, :, left:count]) if left < count else None
            turns.append(_Turn(before[:, :, :count], now[:, :, :count], ahead[:, :, :count], count, ends))
        return turns

    def __call__(self, shrink: Tensor, momentum: Tensor, order: int) -> Residual:
        """Return r, and as many slopes as ``order`` says (0: none, 1: in B, 2: in a too)."""
        stacks = self.buffers[:, : order + 1]
        stacks.zero_()[:, 0] = 1
        for now, before, ahead, active, finished in self.turns(order):
            torch.sub(now, before, out=ahead)
            change = ahead[0].clone() if order == 2 else None
            torch.addcmul(now, ahead, momentum[:active], out=ahead)
            if change is not None:
                ahead[2].add_(change)
            torch.mul(ahead, shrink[:, :active], out=before)
            if order:
                before[1].add_(ahead[0])
            if finished is not None:
                finished[0].copy_(finished[1])
        return Residual(*stacks[3])


UNROLLED: dict[str, type[UnrolledGD] | type[UnrolledNAG]] = {"gd": UnrolledGD, "nag": UnrolledNAG}
"""Name of a solver -> its residual, as ``UNROLLED[name](steps, like)``."""


def _runs(flags: Sequence[bool]) -> list[slice]:
    """Return where a sequence is true, as slices."""
    found, start = [], 0
    for flag, group in groupby(flags):
        stop = start + len(list(group))
        if flag:
            found.append(slice(start, stop))
        start = stop
    return found
