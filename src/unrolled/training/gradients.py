"""Losses and gradients of reasoning layers, written out by hand and in place.

Values of the M middle eigenvalues lie as ``(M, R, B)``: the axis of few entries outermost, so that every operation runs
over whole arrays. The readable twin is :class:`unrolled.networks.reasoning.ReasoningEnsemble` with autograd.

Nothing here may round by an element's place in memory or by the number of threads. So there is no reduction but along
an axis of one replica's rows, and none of torch's functions that treat the end of an array in another way than the rest
(sigmoid, pow, exp2); sums and products, also addcmul, lerp and exp, were measured to treat all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unrolled.networks.reasoning import ReasoningEnsemble
from unrolled.training.optimizers import Tensors
from unrolled.training.residuals import UNROLLED, Residual, Unrolled

LEAST_LOSS = 1e-30
"""Divides in place of a smaller loss, where the subgradient is 0."""


class StepSizes:
    """The step sizes of R replicas that are all learned or all fixed, and what follows from them alone.

    Attributes:
        size: ``(R, 1)`` s.
        momentum: ``(R, 1)`` NAG's a.
        ends: ``(2, R, 1)`` p_k at the known eigenvalues L and mu.
        ends_by_size: ``(2, R, 1)`` its slope in s, where learned.

    Args:
        ensemble: the whole pack.
        members: replicas of it, deepest first.
    """

    def __init__(self, ensemble: ReasoningEnsemble, members: Sequence[int]) -> None:
        self.learned = bool(ensemble.learn_step_size[members[0]])
        self.range, self.accelerated = ensemble.step_range, ensemble.solver == "nag"
        self.strong_convexity = ensemble.problems.strong_convexity
        self.order = 1 + (self.learned and self.accelerated)
        self.size = ensemble.step_size[list(members)].to(ensemble.inputs)[:, None]
        known = self.size.new_tensor([ensemble.problems.smoothness, self.strong_convexity])
        self.known = known[:, None, None].expand(2, len(members), 1).contiguous()
        self.residual: Unrolled = UNROLLED[ensemble.solver](ensemble.steps[list(members)].tolist(), self.known)
        self._follow()

    def update(self, logit: Tensor) -> None:
        """Follow learned step sizes to their logits ``(R,)``."""
        if self.learned:
            low, high = self.range
            # As in the ensemble: a row of a softmax, since sigmoid rounds by place.
            self.gate = torch.softmax(torch.stack([logit, torch.zeros_like(logit)], dim=-1), dim=-1)[:, :1]
            self.size = low + (high - low) * self.gate
            self._follow()

    def _follow(self) -> None:
        root = torch.sqrt(self.strong_convexity * self.size)
        self.momentum = (1 - root) / (1 + root)
        self.momentum_slope = -root / (self.size * (1 + root) * (1 + root))
        found = self.residual(1 - self.size * self.known, self.momentum, self.order if self.learned else 0)
        self.ends = (1 - found.r) / self.known
        if self.learned:
            self.ends_by_size = self.by_size(self.known, found)

    def by_size(self, eigenvalues: Tensor, found: Residual) -> Tensor:
        """Return dp/ds = dr/dB - a'(s) dr/da / e."""
        assert found.by_shrink is not None
        if found.by_momentum is None:
            return found.by_shrink.clone()
        return found.by_shrink - self.momentum_slope * found.by_momentum / eigenvalues

    def logit_gradient(self, by_size: Tensor) -> Tensor:
        """Return the gradient ``(R,)`` in the logits for one in s."""
        low, high = self.range
        return by_size * ((high - low) * self.gate * (1 - self.gate))[:, 0]


class Table:
    """Each replica's n training rows, as ``[x, 1, c, -y*, known]`` side by side, and a copy in the order of an epoch.

    c and y* are those of the middle eigenvalues. With fixed steps the two known eigenvalues leave a constant part of a
    row's squared distance, which is the last column; with learned ones their c and -y* are.

    Args:
        ensemble: the whole pack.
        rows: ``(R, n)`` row numbers of its data set.
        steps: step sizes of the R replicas.
    """

    def __init__(self, ensemble: ReasoningEnsemble, rows: Tensor, steps: StepSizes) -> None:
        inputs, c, y = (of_rows(t, rows) for t in (ensemble.inputs, ensemble.coefficients, ensemble.target))
        known = torch.cat([c[..., [0, -1]], -y[..., [0, -1]]], dim=-1)
        if not steps.learned:
            known = _known_square(steps, known.permute(2, 0, 1))[1][..., None]
        parts = [inputs, torch.ones_like(inputs[..., :1]), c[..., 1:-1], -y[..., 1:-1], known]
        self.taken = torch.cat(parts, dim=-1)
        self.rows = self.taken.flatten(0, 1).clone()
        self.inputs, self.middle = inputs.shape[-1] + 1, c.shape[-1] - 2
        self.first = torch.arange(len(rows), device=rows.device)[:, None] * rows.shape[1]

    def take(self, order: Tensor) -> None:
        """Put each replica's rows into an order ``(R, n)``, for all :class:`Rows` to read."""
        torch.index_select(self.rows, 0, (order + self.first).reshape(-1), out=self.taken.view(self.rows.shape))


def of_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Return ``values[rows]`` for rows ``(R, n)``, looked up once where all replicas share them by ``expand``."""
    if rows.stride(0):
        return values[rows]
    return values[rows[0]].expand(*rows.shape, *values.shape[1:])


def _known_square(steps: StepSizes, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is off at L and mu, ``(2, R, B)``, and its square; known: ``(4, R, B)`` [c, c, -y*, -y*]."""
    off = steps.ends * known[:2] + known[2:]
    return off, off[0] * off[0] + off[1] * off[1]


class Rows:
    """B rows of each replica: where they stand in the order of an epoch.

    Attributes:
        x: ``(R, B, K)`` inputs and 1.
        c, minus_y: ``(M, R, B)``.
        known: ``(1 or 4, R, B)``, see :class:`Table`.
    """

    def __init__(self, table: Table, start: int, stop: int) -> None:
        self.size, k, middle = stop - start, table.inputs, table.middle
        taken = table.taken[:, start:stop]
        self.x, self.columns = taken[..., :k], taken[..., k:].permute(2, 0, 1)
        self.features = taken.new_empty(self.columns.shape)
        self.c, self.minus_y, self.known = self.features.split([middle, middle, len(self.features) - 2 * middle])

    def refresh(self) -> None:
        """Follow the table to another order."""
        self.features.copy_(self.columns)


class Layer:
    """The losses of B rows of each replica, and their gradient.

    Args:
        ensemble: the whole pack.
        members: replicas of it, deepest first.
        steps: their step sizes.
        size: B.
    """

    def __init__(self, ensemble: ReasoningEnsemble, members: Sequence[int], steps: StepSizes, size: int) -> None:
        replicas, middle, like = len(members), ensemble.eigenvalues.shape[1] - 2, ensemble.inputs
        self.steps, self.width, self.size = steps, ensemble.width, size
        self.span = ensemble.problems.smoothness - ensemble.problems.strong_convexity
        # Numbers as tensors: torch would make them of Python's in each call, which takes longer than the sum.
        self.one, self.low, self.least = like.new_tensor([1, ensemble.problems.strong_convexity, LEAST_LOSS])
        depths = ensemble.steps[list(members)].tolist()
        # After one step of GD or NAG, or none, nothing depends on the net: rounding is no gradient.
        self.reach = (self.span / size * like.new_tensor([depth > 1 for depth in depths]))[:, None]

        self.hidden, self.hidden_slope = like.new_empty((2, replicas, size, self.width))
        self.logits = like.new_empty((replicas, middle, size))
        self.logits_t = self.logits.transpose(0, 1)
        self.share, self.e, self.shrink, self.p, self.off, self.work = like.new_empty((6, middle, replicas, size))
        self.shares = self.share.unbind()
        self.row, self.loss, self.inverse = like.new_empty((3, replicas, size))
        self.residual: Unrolled = UNROLLED[ensemble.solver](depths, self.share)

    def losses(self, weights: Tensors, rows: Rows, learn: bool) -> Tensor:
        """Return the loss ``(R, B)`` of each row; with ``learn``, keep what :meth:`gradient` needs."""
        self.find_eigenvalues(weights, rows)
        return self.distances(rows, learn)

    def find_eigenvalues(self, weights: Tensors, rows: Rows) -> Tensor:
        """Let the net choose the middle eigenvalues ``e``, ``(M, R, B)``."""
        self._net(weights, rows)
        return torch.add(self.low, self.share, alpha=self.span, out=self.e)

    def distances(self, rows: Rows, learn: bool = False) -> Tensor:
        """Return the distance ``(R, B)`` of the layer's output to y*, with the middle eigenvalues that ``e`` holds."""
        steps, e = self.steps, self.e
        torch.sub(self.one, torch.mul(e, steps.size, out=self.shrink), out=self.shrink)
        momentum = steps.momentum.expand(self.loss.shape).contiguous() if steps.accelerated else steps.momentum
        self.found = self.residual(self.shrink, momentum, steps.order if learn else 0)
        torch.sub(self.one, self.found.r, out=self.p).div_(e)
        torch.addcmul(rows.minus_y, self.p, rows.c, out=self.off)
        square = rows.known[0]
        if steps.learned:
            self.known_off, square = _known_square(steps, rows.known)
        for off in self.off:
            square = torch.addcmul(square, off, off, out=self.loss)
        return self.loss.sqrt_()

    def _net(self, weights: Tensors, rows: Rows) -> None:
        """Shares of the middle eigenvalues in (mu, L): the softmax of the net's output."""
        if self.width:
            torch.bmm(rows.x, weights["hidden"], out=self.hidden).relu_()
            torch.bmm(weights["output"], self.hidden.mT, out=self.logits)
            torch.add(self.logits_t, weights["bias"].T[..., None], out=self.share)
        else:
            torch.bmm(weights["output"], rows.x.mT, out=self.logits)
            self.share.copy_(self.logits_t)
        self.share.sub_(_fold(torch.maximum, self.shares, self.row)).exp_()
        self.share.div_(_fold(torch.add, self.shares, self.row))

    def gradient(self, weights: Tensors, rows: Rows, out: Tensors) -> None:
        """Write the gradient of the mean loss, at what :meth:`losses` was last called with."""
        found, steps, slope = self.found, self.steps, self.work
        assert found.by_shrink is not None
        off = self.off.mul_(rows.c)
        torch.maximum(self.loss, self.least, out=self.inverse)
        if steps.learned:
            total = _total(off * steps.by_size(self.e, found))
            total += _total(self.known_off * rows.known[:2] * steps.ends_by_size)
            out["step_logit"].copy_(steps.logit_gradient((total / self.inverse).sum(1) / self.size))
        # dp/de = (s dr/dB - p) / e
        torch.mul(found.by_shrink, steps.size, out=slope).sub_(self.p).div_(self.e)
        slope.mul_(off).mul_(torch.div(self.reach, self.inverse, out=self.inverse))
        mean = torch.mul(slope[0], self.shares[0], out=self.row)
        for part, share in zip(slope[1:], self.shares[1:], strict=True):
            mean.addcmul_(part, share)
        torch.mul(slope.sub_(mean), self.share, out=self.logits_t)
        self._net_gradient(weights, rows, out)

    def _net_gradient(self, weights: Tensors, rows: Rows, out: Tensors) -> None:
        if not self.width:
            torch.bmm(self.logits, rows.x, out=out["output"])
            return
        torch.bmm(self.logits, self.hidden, out=out["output"])
        torch.sum(self.logits, dim=-1, out=out["bias"])
        slope = torch.bmm(self.logits.mT, weights["output"], out=self.hidden_slope)
        torch.ops.aten.threshold_backward.grad_input(slope, self.hidden, 0, grad_input=slope)
        torch.bmm(rows.x.mT, slope, out=out["hidden"])


def _fold(operation: Callable[..., Tensor], parts: Sequence[Tensor], out: Tensor) -> Tensor:
    """Join parts one after the other: torch's reductions may order them by an element's place."""
    joined = parts[0] if len(parts) > 1 else out.copy_(parts[0])
    for part in parts[1:]:
        joined = operation(joined, part, out=out)
    return joined


def _total(parts: Tensor) -> Tensor:
    return _fold(torch.add, parts.unbind(), torch.empty_like(parts[0]))
