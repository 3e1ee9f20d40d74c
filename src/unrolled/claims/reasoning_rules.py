"""The tests behind claims R1 to R8: each function maps records to cells.

Effects are oriented so that the claim wants them positive. ``gd - nag`` is the paired difference over seeds of the
best-of runs. The words of each rule stand beside the claim in :mod:`unrolled.claims.reasoning`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.claims.claim import Cell, Role, beside, make_cell, mean_cell
from unrolled.claims.grid import Grid
from unrolled.claims.statistics import (
    Interval,
    paired_difference,
    spearman_difference,
    spearman_interval,
    statistic_interval,
)
from unrolled.solvers import properties

GENERALIZATION = "reasoning/generalization"
RNN = "reasoning/rnn"
LEARNED_STEP = "reasoning/learned_step"

PAIR = ("gd", "nag")
LATE = 10
"""Smallest k that the rules call large."""

STILL_ERRS = 0.1
"""R2: a k counts while NAG's mean training error is above this."""

SATURATED = 0.02
"""R5: largest relative spread of the training error that counts as level."""

STEP_TOLERANCE = 1e-6
"""R7: relative slack at the borders of the step range, a few roundings of a 32-bit step."""

# Each is a maximisation of some milliseconds, and the same few settings come back for every width and metric.
sensitivity = lru_cache(maxsize=8192)(properties.sensitivity)
stab_times_cvg = lru_cache(maxsize=1024)(properties.stab_times_cvg)
standard_bound = lru_cache(maxsize=1024)(properties.standard_bound)


def faster_convergence(frame: pd.DataFrame) -> list[Cell]:
    """Return R1's cells: the training error falls with k, and NAG is below GD at equal k >= 2."""
    grid = Grid(frame, [GENERALIZATION])
    cells = []
    for width in grid.widths():
        steps = grid.steps("train_loss", width, PAIR)
        for solver in PAIR:
            cells += changes(grid, "train_loss", width, solver, steps, sign=-1, part="error falls with k")
        for k in (k for k in steps if k >= 2):
            difference = grid.between_solvers("train_loss", width, k, "gd", "nag")
            cells.append(mean_cell("error", "gd - nag", width, k, difference, role=Role.HEADLINE))
    return cells


def better_representation(frame: pd.DataFrame) -> list[Cell]:
    """Return R2's cells: the energy net is nearer to the truth under NAG while NAG still errs."""
    grid = Grid(frame, [GENERALIZATION])
    cells = []
    for width in grid.widths():
        for k in grid.steps("representation_error", width, PAIR):
            difference = grid.between_solvers("representation_error", width, k, "gd", "nag")
            still_errs = grid.values("train_loss", width, "nag", k).mean() > STILL_ERRS
            role = Role.HEADLINE if still_errs and k >= 2 else Role.BESIDE
            cells.append(mean_cell("representation error", "gd - nag", width, k, difference, role=role))
    return cells


def early_gap(frame: pd.DataFrame) -> list[Cell]:
    """Return R3's cells: with 32 hidden units the gap first rises with k, and NAG's is not the smaller one."""
    return with_raw_gap(Grid(frame, [GENERALIZATION]), _early_gap)


def _early_gap(grid: Grid, metric: str) -> list[Cell]:
    width, cells = 32, []
    steps = grid.steps(metric, width, PAIR)
    named = [k for k in steps if 2 <= k <= 5]
    for solver in PAIR:
        early = [k for k in steps if k <= 5]
        cells += changes(grid, metric, width, solver, early, sign=1, part="gap rises with k", role=Role.HEADLINE)
    for k in named:
        difference = grid.between_solvers(metric, width, k, "nag", "gd")
        cells.append(mean_cell("gap not smaller", "nag - gd", width, k, difference, condition=Interval.not_below_zero))
    return cells


def late_gap(frame: pd.DataFrame) -> list[Cell]:
    """Return R4's cells: with 16 hidden units NAG's gap turns down earlier and is smaller at large k."""
    grid = Grid(frame, [GENERALIZATION])
    predictors = [_predictor(grid, metric, 16, [solver]) for metric in ("gap_excess", "gap") for solver in PAIR]
    return with_raw_gap(grid, _late_gap) + [cell for cells in predictors for cell in cells]


def _late_gap(grid: Grid, metric: str) -> list[Cell]:
    width = 16
    steps = grid.steps(metric, width, PAIR)
    cells = []
    for k in (k for k in steps if k >= LATE):
        difference = grid.between_solvers(metric, width, k, "gd", "nag")
        cells.append(mean_cell("gap", "gd - nag", width, k, difference, role=Role.HEADLINE))
    if len(steps) >= 2:
        table = grid.complete(metric, width, [(solver, k) for solver in PAIR for k in steps])
        turn = statistic_interval(table, lambda means: _turn_difference(means, np.asarray(steps)))
        cells.append(make_cell("k of the largest gap", "gd - nag", width, None, turn, holds=turn.above_zero()))
    return cells


def _turn_difference(means: NDArray[np.float64], steps: NDArray[np.int_]) -> NDArray[np.float64]:
    """Return argmax over k of the first half of the cells minus that of the second half, as k."""
    first, second = np.split(means, 2, axis=-1)
    return (steps[first.argmax(axis=-1)] - steps[second.argmax(axis=-1)]).astype(np.float64)


def _predictor(grid: Grid, metric: str, width: int, solvers: Sequence[str]) -> list[Cell]:
    """Return the rank correlation of the gap with Stab * Cvg over (solver, k), as a cell that does not count."""
    names = "+".join(solvers)
    places = [(solver, k) for solver in solvers for k in grid.steps(metric, width, solvers)]
    if len(places) < 3:
        return []
    interval = spearman_interval(grid.complete(metric, width, places), _predicted(grid, places)[0])
    part = "rank correlation with stab * cvg"
    cell = make_cell(part, names, width, None, interval, holds=False, role=Role.BESIDE)
    return beside([cell], "raw gap") if metric == "gap" else [cell]


def saturation(frame: pd.DataFrame) -> list[Cell]:
    """Return R5's cells: without hidden units the error is level above 0 and the gap stays, at the last three k."""
    grid, width = Grid(frame, [GENERALIZATION]), 0
    last = grid.steps("train_loss", width, PAIR)[-3:]
    if len(last) < 3:
        return []
    cells = []
    for solver in PAIR:
        table = grid.complete("train_loss", width, [(solver, k) for k in last])
        spread = statistic_interval(table, _relative_spread)
        part = f"relative spread of the error (wants < {SATURATED})"
        cells.append(make_cell(part, solver, width, None, spread, holds=spread.effect < SATURATED))
        for k in last:
            error, gap = grid.values("train_loss", width, solver, k), grid.values("gap", width, solver, k)
            cells.append(mean_cell("error above 0", solver, width, k, error))
            cells.append(mean_cell("gap above 0", solver, width, k, gap, role=Role.HEADLINE))
            excess = grid.values("gap_excess", width, solver, k)
            cells.append(mean_cell("gap excess", solver, width, k, excess, role=Role.BESIDE))
    return cells


def _relative_spread(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (largest - smallest) / mean over the cells; 0 where all are 0."""
    level = means.mean(axis=-1)
    spread = means.max(axis=-1) - means.min(axis=-1)
    return np.divide(spread, level, out=np.zeros_like(level), where=level > 0)


def recurrent_layer(frame: pd.DataFrame) -> list[Cell]:
    """Return R6's cells: the RNN layer fits no worse than GD and has a larger gap than GD and NAG."""
    grid = Grid(frame, [RNN, GENERALIZATION])
    cells = []
    for width in grid.widths():
        for k in (k for k in grid.steps("train_loss", width, ("rnn", "gd")) if k >= 5):
            difference = grid.between_solvers("train_loss", width, k, "gd", "rnn")
            cells.append(mean_cell("error", "gd - rnn", width, k, difference, condition=Interval.not_below_zero))
    return cells + with_raw_gap(grid, _recurrent_gap)


def _recurrent_gap(grid: Grid, metric: str) -> list[Cell]:
    cells = []
    for width in grid.widths():
        for k in (k for k in grid.steps(metric, width, ("rnn", *PAIR)) if k >= 5):
            for other in PAIR:
                difference = grid.between_solvers(metric, width, k, "rnn", other)
                cells.append(mean_cell("gap", f"rnn - {other}", width, k, difference, role=Role.HEADLINE))
    return cells


def learned_step_size(frame: pd.DataFrame) -> list[Cell]:
    """Return R7's cells: learned steps stay in range, and lower the sensitivity of the layer at large k."""
    fixed = Grid(frame, [GENERALIZATION])
    learned = Grid(frame, [LEARNED_STEP], learned_step=True)
    cells = []
    for width in learned.widths():
        for solver in PAIR:
            cells += _in_range(learned, width, solver)
            for k in learned.steps("learned_step", width, [solver]):
                cells += _less_sensitive(fixed, learned, width, solver, k)
    return cells


def _in_range(learned: Grid, width: int, solver: str) -> list[Cell]:
    """Return the cell of the share of trials, over all k and rates, whose learned step is in range; it wants 1."""
    trials = learned.trials
    here = (trials["solver.name"] == solver) & (trials["network.width"] == width) & (trials["status"] == "finished")
    rows = trials[here & trials["learned_step"].notna()]
    if rows.empty:
        return []
    mu, smoothness = (learned.constant(f"data.{name}", [solver]) for name in ("strong_convexity", "smoothness"))
    c0 = learned.constant("solver.min_step_size", [solver])
    low, high = properties.step_range(solver, mu, smoothness, c0)
    inside = rows["learned_step"].between(low * (1 - STEP_TOLERANCE), high * (1 + STEP_TOLERANCE))
    share = inside.astype(np.float64).groupby(rows["seed"]).mean()
    part = "share of learned steps in range (wants 1)"
    return [mean_cell(part, solver, width, None, share, condition=lambda interval: bool(inside.all()))]


def _less_sensitive(fixed: Grid, learned: Grid, width: int, solver: str, k: int) -> list[Cell]:
    """Return the cell of Sens(k, fixed step) - Sens(k, learned step), paired by seed; it counts for large k."""
    chosen = learned.values("learned_step", width, solver, k)
    given = fixed.values("solver.step_size", width, solver, k)
    if given.empty:
        return []
    mu, smoothness = (learned.constant(f"data.{name}", [solver]) for name in ("strong_convexity", "smoothness"))
    first, second = (steps.map(lambda s: sensitivity(solver, k, s, mu, smoothness)) for steps in (given, chosen))
    difference = paired_difference(first, second)
    role = Role.HEADLINE if k >= LATE else Role.BESIDE
    return [mean_cell("sensitivity, fixed - learned step", solver, width, k, difference, role=role)]


def gap_predictor(frame: pd.DataFrame) -> list[Cell]:
    """Return R8's cells: Stab * Cvg ranks the gap over (algorithm, k) better than the standard bound does."""
    return with_raw_gap(Grid(frame, [GENERALIZATION]), _gap_predictor)


def _gap_predictor(grid: Grid, metric: str) -> list[Cell]:
    cells = []
    for width in grid.widths():
        places = [(solver, k) for solver in PAIR for k in grid.steps(metric, width, PAIR)]
        # With one k there are two cells, and any ranking of two is perfect or reversed.
        if len(places) < 3:
            continue
        table = grid.complete(metric, width, places)
        ours, standard = _predicted(grid, places)
        correlations = spearman_interval(table, ours), spearman_interval(table, standard)
        difference = spearman_difference(table, ours, standard)
        holds = correlations[0].low > correlations[1].high
        role = Role.HEADLINE if width == 16 else Role.BESIDE
        part = "rank correlation, stab * cvg - standard bound"
        cells.append(make_cell(part, "gd+nag", width, None, difference, holds=holds, role=role))
        for name, interval in zip(("stab * cvg", "standard bound"), correlations, strict=True):
            part = f"rank correlation with {name}"
            cells.append(make_cell(part, "gd+nag", width, None, interval, holds=False, role=Role.BESIDE))
    return cells


def _predicted(grid: Grid, places: Sequence[tuple[str, int]]) -> tuple[list[float], list[float]]:
    """Return Stab * Cvg and the standard bound at each (solver, k), with the runs' step size and constants."""
    solvers = sorted({solver for solver, _ in places})
    mu, smoothness = (grid.constant(f"data.{name}", solvers) for name in ("strong_convexity", "smoothness"))
    steps = {solver: grid.constant("solver.step_size", [solver]) for solver in solvers}
    settings = [(solver, k, steps[solver], mu, smoothness) for solver, k in places]
    ours = [stab_times_cvg(*setting) for setting in settings]
    return ours, [standard_bound(*setting) for setting in settings]


def changes(
    grid: Grid,
    metric: str,
    width: int,
    solver: str,
    steps: Sequence[int],
    *,
    sign: int,
    part: str,
    role: Role = Role.COUNTED,
) -> list[Cell]:
    """Return one cell for each pair of neighbouring k: the metric's change, times ``sign``, at the later k."""
    return [
        mean_cell(part, solver, width, k, sign * grid.between_steps(metric, width, solver, k, before), role=role)
        for before, k in pairwise(steps)
    ]


def with_raw_gap(grid: Grid, cells_of: Callable[[Grid, str], list[Cell]]) -> list[Cell]:
    """Return the cells for ``gap_excess`` and, beside them, the same cells for the raw gap."""
    return cells_of(grid, "gap_excess") + beside(cells_of(grid, "gap"), "raw gap")
