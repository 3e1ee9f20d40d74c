"""What a claim is, what testing it yields, and how tested cells become a verdict.

A *cell* is one tested condition: a part of the claim at one (width, k). A cell holds or not by its interval over
seeds. Cells at the same (width, k) are one vote: the vote is won if all of them hold. The verdict counts votes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pandas as pd

from unrolled.claims.statistics import MIN_SEEDS, Interval, mean_interval


class Verdict(StrEnum):
    """Outcome of testing a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    NOT_RUN = "not run"


class Role(StrEnum):
    """What a cell is for.

    ``HEADLINE`` cells count and make up the claim's effect; ``COUNTED`` cells count only; ``BESIDE`` cells are
    reported for the reader and do not count.
    """

    HEADLINE = "headline"
    COUNTED = "counted"
    BESIDE = "beside"


@dataclass(frozen=True)
class Cell:
    """One tested condition, oriented so that the claim wants a positive effect unless its part says otherwise.

    Attributes:
        part: the condition in a few words.
        solver: algorithm, or the difference taken, like ``gd - nag``.
        width: hidden units of the energy net; None if the condition spans widths.
        k: solver steps; None if the condition spans k.
        interval: effect with its interval over seeds.
        holds: whether the condition is met; None for cells that do not count or have fewer than two seeds.
        role: whether it counts.
        per_seed: effect of each seed, indexed by seed; None where the statistic exists only over all seeds.
    """

    part: str
    solver: str
    width: int | None
    k: int | None
    interval: Interval
    holds: bool | None
    role: Role
    per_seed: pd.Series | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Claim:
    """One statement of a paper with the rule that decides it, fixed before the runs.

    Attributes:
        id: short name like ``R1``.
        theory: room of the theory, like ``reasoning``.
        paper: authors, title, venue.
        place: where the paper says it.
        statement: what it says, in our words.
        metric: the measured quantity, its sign and unit.
        rule: when the claim counts as reproduced.
        experiments: names of the experiments whose records it reads.
        evaluate: maps records to tested cells.
    """

    id: str
    theory: str
    paper: str
    place: str
    statement: str
    metric: str
    rule: str
    experiments: tuple[str, ...]
    evaluate: Callable[[pd.DataFrame], list[Cell]]


def make_cell(
    part: str,
    solver: str,
    width: int | None,
    k: int | None,
    interval: Interval,
    *,
    holds: bool,
    role: Role = Role.COUNTED,
    per_seed: pd.Series | None = None,
) -> Cell:
    """Return a cell; ``holds`` becomes None where the cell does not count or has no interval."""
    known = role is not Role.BESIDE and interval.tested
    return Cell(part, solver, width, k, interval, bool(holds) if known else None, role, per_seed)


def mean_cell(
    part: str,
    solver: str,
    width: int | None,
    k: int | None,
    per_seed: pd.Series,
    *,
    role: Role = Role.COUNTED,
    condition: Callable[[Interval], bool] = Interval.above_zero,
) -> Cell:
    """Return the cell of a mean over seeds.

    Args:
        part: the condition in a few words.
        solver: algorithm or difference.
        width: hidden units, or None.
        k: solver steps, or None.
        per_seed: one number a seed, indexed by seed, finite.
        role: whether the cell counts.
        condition: what the interval must satisfy; by default it must lie above 0.

    Returns:
        The cell with the mean's interval.
    """
    interval = mean_interval(per_seed.to_numpy())
    return make_cell(part, solver, width, k, interval, holds=condition(interval), role=role, per_seed=per_seed)


def beside(cells: Sequence[Cell], prefix: str) -> list[Cell]:
    """Return the cells as ones that do not count, their part opened by ``prefix``."""
    return [replace(cell, part=f"{prefix}: {cell.part}", holds=None, role=Role.BESIDE) for cell in cells]


def votes(cells: Sequence[Cell]) -> dict[tuple[int | None, int | None], bool]:
    """Return for every tested (width, k) whether all its conditions hold.

    A (width, k) with a counting cell of fewer than two seeds is not tested and left out.
    """
    held: dict[tuple[int | None, int | None], list[bool | None]] = {}
    for cell in cells:
        if cell.role is not Role.BESIDE:
            held.setdefault((cell.width, cell.k), []).append(cell.holds)
    return {place: all(outcomes) for place, outcomes in held.items() if None not in outcomes}


def headline(cells: Sequence[Cell]) -> list[Cell]:
    """Return the headline cells at tested (width, k)."""
    tested = votes(cells)
    return [cell for cell in cells if cell.role is Role.HEADLINE and (cell.width, cell.k) in tested]


def judge(cells: Sequence[Cell]) -> Verdict:
    """Return the verdict of the tested cells.

    Reproduced if every tested (width, k) holds, partly if at least two thirds of them do, else not reproduced. Without
    a tested headline cell the claim's subject was not measured: not run.

    Args:
        cells: all cells of a claim.

    Returns:
        The verdict.
    """
    if not headline(cells):
        return Verdict.NOT_RUN
    outcomes = list(votes(cells).values())
    if all(outcomes):
        return Verdict.REPRODUCED
    # In integers: two thirds of three is two, with no rounding.
    return Verdict.PARTLY if 3 * sum(outcomes) >= 2 * len(outcomes) else Verdict.NOT_REPRODUCED


def summarise(cells: Sequence[Cell]) -> Interval:
    """Return the claim's effect: the mean over its headline cells per seed, then over seeds.

    Args:
        cells: all cells of a claim.

    Returns:
        Interval over the seeds that every tested headline cell has; a single headline cell keeps its own interval.
        NaN with n = 0 if there is no tested headline cell.
    """
    named = headline(cells)
    if len(named) == 1:
        return named[0].interval
    columns = [cell.per_seed for cell in named if cell.per_seed is not None]
    if not columns:
        return Interval(math.nan, math.nan, math.nan, 0)
    shared = pd.concat(columns, axis=1, join="inner")
    return mean_interval(shared.mean(axis=1).to_numpy())


def explain(cells: Sequence[Cell]) -> str:
    """Return a note for the ledger: which k and widths were tested, what was left out, or why nothing was."""
    counting = [cell for cell in cells if cell.role is not Role.BESIDE]
    if not any(cell.role is Role.HEADLINE for cell in counting):
        return "not run: no cell that the rule names is in the records"
    if not headline(cells):
        return f"not run: fewer than {MIN_SEEDS} paired seeds in every cell"
    tested = votes(cells)
    lost = {(cell.width, cell.k) for cell in counting} - set(tested)
    note = f"k tested: {_listed(k for _, k in tested)}; widths tested: {_listed(width for width, _ in tested)}"
    note += f"; {sum(tested.values())} of {len(tested)} conditions hold"
    return note + (f"; {len(lost)} left out (fewer than {MIN_SEEDS} paired seeds)" if lost else "")


def _listed(numbers: object) -> str:
    known = sorted({number for number in numbers if number is not None})  # type: ignore[attr-defined]
    return ", ".join(map(str, known)) if known else "none"
