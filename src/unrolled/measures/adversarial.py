"""Attacks on the inputs of an ensemble of classifiers: FGSM, PGD, and a search without gradients.

They climb the log-odds of a wrong answer (:func:`unrolled.measures.misclassification.log_odds`), whose gradient has
the direction of that of the cross-entropy. A row that has been answered wrongly is settled: attacks return the input
that did it, and the clean one where that is answered wrongly already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from unrolled.measures.misclassification import Scores, Worst, checked, climb, judged
from unrolled.measures.perturbation import Ball, Bound, Radius, per_row, unit

STEP_SHARE = 2.5
"""All steps of PGD together, in radii: enough to cross the ball and to walk along its border."""


def fgsm(
    scores: Scores,
    inputs: Tensor,
    labels: Tensor,
    radius: Radius,
    norm: str,
    low: Bound = None,
    high: Bound = None,
) -> Tensor:
    r"""Return the inputs after one step to the border of the ball: the fast gradient sign method.

    .. math:: x_0 + \epsilon\, d(g), \qquad d(g) = \mathrm{sign}(g) \text{ (Linf), } g / \lVert g \rVert_2 \text{ (L2)}

    Args:
        scores: the classifiers.
        inputs: ``(R, B, ...)`` clean inputs.
        labels: ``(R, B)`` integers from 0.
        radius: >= 0, in the units of the inputs; a number, or one a replica.
        norm: ``linf`` or ``l2``.
        low: smallest valid value, or None.
        high: largest valid value, or None.

    Returns:
        ``(R, B, ...)``.

    Raises:
        ValueError: an argument outside its range, or shapes that do not fit.

    Reference:
        Goodfellow, Shlens and Szegedy 2015, "Explaining and harnessing adversarial examples".
    """
    ball = Ball(inputs, radius, norm, low, high)
    checked(scores, ball.inputs, labels)
    wrong, _, gradient = climb(scores, ball.inputs, labels)
    moved = ball.project(ball.inputs + ball.radius * ball.steepest(gradient))
    return torch.where(per_row(wrong, inputs), ball.inputs, moved)


def pgd(
    scores: Scores,
    inputs: Tensor,
    labels: Tensor,
    radius: Radius,
    norm: str,
    *,
    steps: int,
    restarts: int = 1,
    step_size: float | None = None,
    draws: Sequence[np.random.Generator] = (),
    low: Bound = None,
    high: Bound = None,
    found: Tensor | None = None,
) -> Tensor:
    r"""Return the worst inputs that projected gradient ascent passes.

    .. math:: x_{t+1} = P\big(x_t + \alpha\, d(g_t)\big), \qquad d(g) = \mathrm{sign}(g) \text{ or } g/\lVert g\rVert_2

    Restart 0 begins at the clean input, the others anywhere in the ball. Of all points passed, those of the starts
    included, the first one that is answered wrongly is kept, or else the one of the highest log-odds.

    Args:
        scores: the classifiers.
        inputs: ``(R, B, ...)`` clean inputs.
        labels: ``(R, B)`` integers from 0.
        radius: >= 0, in the units of the inputs; a number, or one a replica.
        norm: ``linf`` or ``l2``.
        steps: >= 1.
        restarts: >= 1; restart after restart takes the next draws, so that fewer restarts try the same starts.
        step_size: of every step, > 0; by default :data:`STEP_SHARE` radii over the steps.
        draws: each replica's own random numbers, needed beyond one restart.
        low: smallest valid value, or None.
        high: largest valid value, or None.
        found: ``(R, B, ...)`` inputs of the ball to keep where nothing worse is found, such as those of a smaller
            radius; the clean ones by default.

    Returns:
        ``(R, B, ...)``.

    Raises:
        ValueError: an argument outside its range, or shapes that do not fit.

    Reference:
        Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", section 2.1.

    Deviation:
        The worst point passed is kept, not the last.
    """
    ball = Ball(inputs, radius, norm, low, high)
    _check_count("steps", steps)
    _check_count("restarts", restarts)
    if restarts > 1:
        _check_draws(draws, inputs)
    best = Worst(scores, _begun(ball, found), labels)
    step = STEP_SHARE * ball.radius / steps if step_size is None else _checked_step(step_size)
    starts = torch.cat([ball.inputs, *(ball.random(draws) for _ in range(restarts - 1))], 1)
    rows = inputs.shape[1]
    for x, wrong, loss in ascent(scores, starts, labels.repeat(1, restarts), ball.repeated(restarts), steps, step):
        for part in range(0, restarts * rows, rows):
            best.offer(*(own[:, part : part + rows] for own in (x, wrong, loss)))
        if bool(best.wrong.all()):  # settled rows do not change, so the other replicas have no say in the result
            break
    return best.inputs


def ascent(
    scores: Scores, start: Tensor, labels: Tensor, ball: Ball, steps: int, step: float | Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the points of projected gradient ascent, steps + 1 of them from the start on.

    Args:
        scores: the classifiers.
        start: ``(R, B, ...)`` inputs of the ball.
        labels: ``(R, B)``.
        ball: the allowed inputs.
        steps: number of steps.
        step: length of a step, a number or a tensor that broadcasts to the inputs.

    Yields:
        Inputs ``(R, B, ...)``, whether they are answered wrongly ``(R, B)``, and their log-odds ``(R, B)``.
    """
    x = start
    for _ in range(steps):
        wrong, loss, gradient = climb(scores, x, labels)
        yield x, wrong, loss
        x = ball.project(x + step * ball.steepest(gradient))
    yield x, *judged(scores, x, labels)


def random_search(
    scores: Scores,
    inputs: Tensor,
    labels: Tensor,
    radius: Radius,
    norm: str,
    *,
    queries: int,
    draws: Sequence[np.random.Generator],
    low: Bound = None,
    high: Bound = None,
    found: Tensor | None = None,
) -> Tensor:
    r"""Return the worst inputs that a random walk on the border of the ball finds, without gradients.

    A proposal is taken where it raises the log-odds. For Linf it flips the change of some values between -radius and
    radius, of each with a chance that falls from 1/2 to 1/n; for L2 it turns the change at random, by an angle whose
    tangent falls from about 1 to :math:`1/\sqrt n`. Where this succeeds and PGD does not, the gradients mislead.

    Args:
        scores: the classifiers.
        inputs: ``(R, B, ...)`` clean inputs, of n values each.
        labels: ``(R, B)`` integers from 0.
        radius: >= 0, in the units of the inputs; a number, or one a replica.
        norm: ``linf`` or ``l2``.
        queries: number of points tried, >= 1.
        draws: each replica's own random numbers.
        low: smallest valid value, or None.
        high: largest valid value, or None.
        found: as in :func:`pgd`.

    Returns:
        ``(R, B, ...)``.

    Raises:
        ValueError: an argument outside its range, or shapes that do not fit.

    Reference:
        Andriushchenko et al. 2020, "Square attack", algorithm 1 (the scheme; here without squares). Athalye, Carlini
        and Wagner 2018, "Obfuscated gradients give a false sense of security", section 3.1 (why).
    """
    ball = Ball(inputs, radius, norm, low, high)
    _check_count("queries", queries)
    _check_draws(draws, inputs)
    best = Worst(scores, _begun(ball, found), labels)
    first, last = (1 / 2, 1 / inputs[0, 0].numel()) if norm == "linf" else (1.0, inputs[0, 0].numel() ** -0.5)
    change = torch.ones_like(ball.inputs) if norm == "linf" else torch.zeros_like(ball.inputs)
    loss = torch.full_like(best.loss, -math.inf)
    for query in range(queries):
        # The first proposal is any point of the border: it stands in for a start.
        reach = first * min(1.0, last / first) ** (query / queries)
        proposal = _flipped(ball, change, reach, draws) if norm == "linf" else _turned(ball, change, reach, draws)
        x = ball.project(ball.inputs + ball.radius * proposal)
        wrong, own = judged(scores, x, labels)
        best.offer(x, wrong, own)
        change, loss = torch.where(per_row(own > loss, x), proposal, change), torch.where(own > loss, own, loss)
        if bool(best.wrong.all()):
            break
    return best.inputs


def _flipped(ball: Ball, change: Tensor, reach: float, draws: Sequence[np.random.Generator]) -> Tensor:
    """Return the signs with each flipped with this chance."""
    chance = ball.drawn([d.random(change.shape[1:], dtype=np.float32) for d in draws])
    return torch.where(chance < reach, -change, change)


def _turned(ball: Ball, change: Tensor, reach: float, draws: Sequence[np.random.Generator]) -> Tensor:
    """Return the directions turned at random, by an angle whose tangent is about this."""
    normal = ball.drawn([d.standard_normal(change.shape[1:], dtype=np.float32) for d in draws])
    return unit(change + reach / math.sqrt(normal[0, 0].numel()) * normal)


def _begun(ball: Ball, found: Tensor | None) -> Tensor:
    """Return the inputs found before, or else the clean ones."""
    if found is not None and found.shape != ball.inputs.shape:
        raise ValueError(
            f"found: expected the shape of the inputs {tuple(ball.inputs.shape)}, got {tuple(found.shape)}"
        )
    return ball.inputs if found is None else found.detach()


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name}: expected an integer >= 1, got {count}")


def _check_draws(draws: Sequence[np.random.Generator], inputs: Tensor) -> None:
    if len(draws) != len(inputs):
        raise ValueError(f"draws: expected one generator for each of {len(inputs)} replicas, got {len(draws)}")


def _checked_step(step_size: float) -> float:
    if not (step_size > 0 and math.isfinite(step_size)):
        raise ValueError(f"step_size: expected a finite number > 0, got {step_size}")
    return step_size
