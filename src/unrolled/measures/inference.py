r"""How inference goes in a trained hybrid net: its energy and its distance to the minimiser, sweep by sweep.

The minimiser w* of each row is the lowest that any of the solvers reaches in a long run at its safe step, in float64.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor

from unrolled.frames.quadratic import GramForm, Quadratic
from unrolled.frames.unrolled import SOLVERS, sweeps, unroll
from unrolled.networks.hybrid import HybridClassifiers
from unrolled.training.optimizers import Tensors

LONG, LONG_CONVOLUTIONAL = 1000, 200
"""Sweeps of a long run, or k where that is more; fewer where a sweep is a hundred times as dear."""

ROWS = 32
"""Test rows that are looked at, the first ones."""

EVERY = 100
"""Sweeps of which each is looked at; after them those that a record keeps."""

STABILITY_ITERATIONS = 8
"""Of the power iteration on the derivative of the codes."""

DIFFERENCE = 1e-6
"""Length of the differences that stand for products with that derivative, relative to inputs of length 1."""

FULL_RANK = 1e-12
"""Share of the largest eigenvalue of B^T B that its smallest exceeds where the minimiser counts as unique."""


def inference_measures(ensemble: HybridClassifiers, weights: Tensors, rows: Tensor) -> dict[str, Tensor]:
    r"""Measure the convergence and the stability of every replica's own inference.

    Args:
        ensemble: the replicas.
        weights: their fitted parameters.
        rows: ``(m,)`` test rows; the first :data:`ROWS` are used.

    Returns:
        In float64: ``inference_sweep`` ``(R, T)`` numbers t of sweeps, from 0 on; ``inference_objective``
        ``(R, T)`` mean over rows of E(w_t) - E* over that of E(0) - E*; ``inference_distance`` ``(R, T)`` mean of
        \|w_t - w*\| / \|w*\|; ``inference_minimum`` mean E*; ``inference_rise`` the largest rise of the objective from
        one sweep looked at to the next; ``inference_own`` the objective after the long run; ``inference_spread`` that
        of the solver that came out highest of all, at safe steps; ``convergence`` the distance after k sweeps;
        ``stability`` the mean over rows of the spectral norm of dw_k / dx; ``step_size_taken``; and, for fully
        connected frames, ``unique_minimum``, whether B has full column rank. Each ``(R,)`` unless said.
    """
    long = max(LONG_CONVOLUTIONAL if ensemble.structure.convolutional else LONG, ensemble.inference.steps)
    with torch.enable_grad():
        exact = ensemble.to(torch.float64)
        double = {name: w.detach().double() for name, w in weights.items()}
        x = exact.taken(rows[:ROWS].to(ensemble.device).expand(ensemble.replicas, -1))
        with torch.no_grad():
            problem = exact.problem(double, x)
            best, lowest, spread = _minimum(problem, exact.replicas, long)
            found = _course(exact, double, problem, x, best, lowest, long) | {"inference_spread": spread}
        found["stability"] = stability(exact, double, x)
    found["step_size_taken"] = exact.steps_taken(double)
    if isinstance(problem, GramForm):
        values = torch.linalg.eigvalsh(problem.gram)
        found["unique_minimum"] = (values[:, 0] > FULL_RANK * values[:, -1]).double()
    return found


def _minimum(problem: Quadratic, replicas: int, long: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return w* ``(R, N, K)``, E* ``(R, N)``, and the relative energy of the highest end of any solver, ``(R,)``."""
    one = torch.ones(replicas, dtype=torch.float64, device=problem.start().device)
    ends = torch.stack([unroll(problem, solver, long, one) for solver in SOLVERS])
    values = torch.stack([problem.value(codes) for codes in ends])
    values = torch.where(torch.isfinite(values), values, torch.inf)
    lowest, which = values.min(0)
    best = ends.gather(0, which[None, :, :, None].expand(1, *ends.shape[1:]))[0]
    above = (values - lowest).mean(2) / _drop(problem, lowest)
    return best, lowest, above.max(0).values


def _drop(problem: Quadratic, lowest: Tensor) -> Tensor:
    """Return the mean over rows of E(0) - E*, ``(R,)``; 1 where zero is the minimiser, as in a dead net."""
    drop = (problem.value(problem.start()) - lowest).mean(1)
    return torch.where(drop > 0, drop, 1.0)


def _course(
    ensemble: HybridClassifiers,
    weights: Tensors,
    problem: Quadratic,
    x: Tensor,
    best: Tensor,
    lowest: Tensor,
    long: int,
) -> dict[str, Tensor]:
    """Return the measures of the net's own iteration, from 0 and with its own first sweep."""
    how, drop, size = ensemble.inference, _drop(problem, lowest), best.square().sum(2).sqrt()
    size = torch.where(size > 0, size, 1.0)
    start = ensemble.first_pass(weights, x) if how.first_step == "unit" else None
    begin = [problem.start(), *([] if start is None else [start])]
    going = sweeps(problem, how.solver, ensemble.steps_taken(weights), how.rule, start)
    kept = sweeps_kept(how.steps, long)
    energies, distances = [], []
    for t, codes in enumerate((*begin, *islice(going, long + 1 - len(begin)))):
        if t <= EVERY or t in kept:
            value = problem.value(codes)
            # Codes that left the range of numbers have an infinite energy, never none.
            energies.append((torch.where(torch.isfinite(value), value, torch.inf) - lowest).mean(1) / drop)
        if t in kept:
            distances.append(((codes - best).square().sum(2).sqrt() / size).mean(1))
    energy, distance = torch.stack(energies, 1), torch.stack(distances, 1)
    seen = sorted({*range(min(EVERY, long) + 1), *kept})
    later = energy[:, len(begin) - 1 :]  # a feed-forward pass is not a descent
    return {
        "inference_sweep": torch.tensor(kept, device=energy.device).double().expand(len(energy), -1),
        "inference_objective": energy[:, [seen.index(t) for t in kept]],
        "inference_distance": distance,
        "inference_minimum": lowest.mean(1),
        "inference_rise": later.diff(dim=1).nan_to_num(0.0, torch.inf).max(1).values.clamp_min(0),
        "inference_own": energy[:, -1],
        "convergence": distance[:, kept.index(how.steps)],
    }


def sweeps_kept(steps: int, long: int) -> list[int]:
    """Return the sweeps that a record keeps: each up to 20, k, and then evenly on a log scale up to the last."""
    spaced = np.geomspace(20, long, 16).round().astype(int).tolist()
    return sorted({*range(21), steps, *spaced} & set(range(long + 1)))


def stability(ensemble: HybridClassifiers, weights: Tensors, x: Tensor) -> Tensor:
    """Return the spectral norm of the derivative of the codes after k sweeps in the inputs, a mean over rows.

    By power iteration: products with the transpose by automatic differentiation, those with the derivative itself by
    differences, which are exact but for rounding where no unit changes sides.

    Args:
        ensemble: the replicas, in float64.
        weights: their parameters.
        x: inputs, ``(R, N, ...)``.

    Returns:
        ``(R,)``.
    """
    leaf = x.detach().clone().requires_grad_()
    codes, _ = ensemble.codes(weights, leaf)
    fixed, axes = codes.detach(), tuple(range(2, x.ndim))
    left = fixed
    for _ in range(STABILITY_ITERATIONS):
        (right,) = torch.autograd.grad(codes, leaf, _unit(left, (2,)), retain_graph=True)
        with torch.no_grad():
            moved = ensemble.codes(weights, x + DIFFERENCE * _unit(right, axes))[0]
        left = (moved - fixed) / DIFFERENCE
    return left.square().sum(2).sqrt().mean(1)


def _unit(v: Tensor, axes: tuple[int, ...]) -> Tensor:
    length = v.square().sum(axes, keepdim=True).sqrt()
    return v / torch.where(length > 0, length, 1.0)
