"""Minimise one function from many starts at once: L-BFGS on an ensemble, each start with its own history and step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps points ``(R, n)`` to values ``(R,)`` and gradients ``(R, n)``; no start sees another."""

MEMORY = 10
SUFFICIENT = 1e-4
"""Share of the linear decrease that a step must reach (Armijo)."""

HALVINGS = 20
STALL = 1e-9
STALL_ITERATIONS = 8
"""A start ends where this many iterations together have lowered its value by less than that share."""


@dataclass(frozen=True)
class Descent:
    """Where the starts ended.

    Attributes:
        points: ``(R, n)``.
        values: ``(R,)``.
        gradient: ``(R,)`` Euclidean length of the gradient.
        iterations: of the start that took longest.
        converged: ``(R,)`` whether it met its goal or stalled, rather than ran out of iterations or started where the
            value is NaN or infinite.
    """

    points: Tensor
    values: Tensor
    gradient: Tensor
    iterations: int
    converged: Tensor


def descend(objective: Objective, starts: Tensor, *, goal: float, most_iterations: int) -> Descent:
    """Run L-BFGS with backtracking from every start until its value reaches the goal or stalls.

    Args:
        objective: smooth where the iterates go.
        starts: ``(R, n)``.
        goal: value at which a start is done.
        most_iterations: upper limit.

    Returns:
        The last points. Values never rise.

    Reference:
        Nocedal and Wright, Numerical Optimization, 2nd ed., algorithms 7.4 (two loops) and 3.1 (backtracking).
    """
    x = starts.clone()
    value, gradient = objective(x)
    memory = _Memory()
    best_before = [value]
    moving = torch.isfinite(value) & (value > goal)
    done = 0
    while done < most_iterations and bool(moving.any()):
        direction = -memory.times_inverse_hessian(gradient)
        slope = (direction * gradient).sum(1)
        wrong = slope >= 0  # rounding has spoilt the history: fall back on the gradient
        direction[wrong], slope[wrong] = -gradient[wrong], -gradient[wrong].square().sum(1)
        if done == 0:
            length = gradient.norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
            size = (x.norm(dim=1) / length).clamp_max(1.0) * 0.1
        else:
            size = torch.ones_like(value)
        new, new_value, new_gradient = _backtrack(objective, (x, value, gradient), direction, slope, size, moving)
        memory.add(new - x, new_gradient - gradient)
        x, value, gradient = new, new_value, new_gradient
        best_before.append(value)
        done += 1
        stalled = torch.zeros_like(moving)
        if done >= STALL_ITERATIONS:
            earlier = best_before[-1 - STALL_ITERATIONS]
            stalled = earlier - value <= STALL * earlier.abs()
        moving = moving & (value > goal) & ~stalled
    return Descent(x, value, gradient.norm(dim=1), done, ~moving & torch.isfinite(value))


def _backtrack(
    objective: Objective,
    at: tuple[Tensor, Tensor, Tensor],
    direction: Tensor,
    slope: Tensor,
    size: Tensor,
    moving: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve each start's step until it decreases its value enough; a start without such a step stays."""
    x, value, gradient = at
    new, new_value, new_gradient = x.clone(), value.clone(), gradient.clone()
    open_ = moving.clone()
    for _ in range(HALVINGS):
        tried = torch.where(open_[:, None], x + size[:, None] * direction, new)
        found, slopes = objective(tried)
        good = open_ & torch.isfinite(found) & (found <= value + SUFFICIENT * size * slope)
        new[good], new_value[good], new_gradient[good] = tried[good], found[good], slopes[good]
        open_ = open_ & ~good
        if not bool(open_.any()):
            break
        size = torch.where(open_, size / 2, size)
    return new, new_value, new_gradient


class _Memory:
    """The last steps and changes of the gradient, and the inverse Hessian that they suggest."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.inverse: list[Tensor] = []

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step; one without positive curvature counts for nothing."""
        curvature = (step * change).sum(1)
        usable = curvature > torch.finfo(step.dtype).eps * step.norm(dim=1) * change.norm(dim=1)
        self.steps.append(step)
        self.changes.append(change)
        self.inverse.append(torch.where(usable, 1 / torch.where(usable, curvature, 1.0), 0.0))
        if len(self.steps) > MEMORY:
            for items in (self.steps, self.changes, self.inverse):
                items.pop(0)

    def times_inverse_hessian(self, gradient: Tensor) -> Tensor:
        """Return H g for every start."""
        q = gradient.clone()
        shares = []
        for step, change, rho in reversed(list(zip(self.steps, self.changes, self.inverse, strict=True))):
            share = rho * (step * q).sum(1)
            q -= share[:, None] * change
            shares.append(share)
        if self.steps:
            step, change, rho = self.steps[-1], self.changes[-1], self.inverse[-1]
            scale = 1 / (rho * change.square().sum(1)).clamp_min(torch.finfo(q.dtype).tiny)
            q *= torch.where(rho > 0, scale, 1.0)[:, None]
        for step, change, rho in zip(self.steps, self.changes, self.inverse, strict=True):
            share = shares.pop() - rho * (change * q).sum(1)
            q += share[:, None] * step
        return q
