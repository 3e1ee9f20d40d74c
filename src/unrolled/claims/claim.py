"""What a claim is, what testing it yields, and how tested cells become a verdict.

A *cell* is one tested condition: a part of the claim at one place, which is a (width, k) or a named group like a data
set. A cell holds or not by its interval over seeds. Cells at the same place are one vote: the vote is won if all of
them hold. The verdict counts votes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import pandas as pd

from unrolled.claims.statistics import MIN_SEEDS, Interval, mean_interval

Place = tuple[int | None, int | None] | str
"""Where a condition is tested: (width, k), or the name of a group."""

MOST_NAMED = 6
"""Groups that a note names; of more it gives the number."""


class Verdict(StrEnum):
    """Outcome of testing a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT_REPRODUCED = "not reproduced"
    NOT_RUN = "not run"


class Role(StrEnum):
    """What a cell is for.

    ``HEADLINE`` cells count and make up the claim's effect; ``COUNTED`` cells count only; ``BESIDE`` cells are
    reported for the reader and do not count. An ``EFFECT`` cell does not count either; it is the claim's effect, for
    statistics that exist over all seeds only, so that no mean over headline cells can be taken seed by seed.
    """

    HEADLINE = "headline"
    COUNTED = "counted"
    BESIDE = "beside"
    EFFECT = "effect"

    @property
    def counts(self) -> bool:
        """Whether cells of this role are conditions of the verdict."""
        return self in (Role.HEADLINE, Role.COUNTED)


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
        group: the place, where it is not (width, k): a data set, a structure; None otherwise.
    """

    part: str
    solver: str
    width: int | None
    k: int | None
    interval: Interval
    holds: bool | None
    role: Role
    per_seed: pd.Series | None = field(default=None, repr=False, compare=False)
    group: str | None = None

    @property
    def place(self) -> Place:
        """The vote that the cell belongs to: its group, or its (width, k)."""
        return (self.width, self.k) if self.group is None else self.group

    @property
    def label(self) -> str:
        """The part, opened by the group where there is one."""
        return self.part if self.group is None else f"{self.group}: {self.part}"


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
    group: str | None = None,
) -> Cell:
    """Return a cell; ``holds`` becomes None where the cell does not count or has no interval."""
    known = role.counts and interval.tested
    return Cell(part, solver, width, k, interval, bool(holds) if known else None, role, per_seed, group)


def mean_cell(
    part: str,
    solver: str,
    width: int | None,
    k: int | None,
    per_seed: pd.Series,
    *,
    role: Role = Role.COUNTED,
    condition: Callable[[Interval], bool] = Interval.above_zero,
    group: str | None = None,
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
        group: the place, where it is not (width, k).

    Returns:
        The cell with the mean's interval.
    """
    interval = mean_interval(per_seed.to_numpy())
    holds = condition(interval)
    return make_cell(part, solver, width, k, interval, holds=holds, role=role, per_seed=per_seed, group=group)


def beside(cells: Sequence[Cell], prefix: str) -> list[Cell]:
    """Return the cells as ones that do not count, their part opened by ``prefix``."""
    return [replace(cell, part=f"{prefix}: {cell.part}", holds=None, role=Role.BESIDE) for cell in cells]


def votes(cells: Sequence[Cell]) -> dict[Place, bool]:
    """Return for every tested place whether all its conditions hold.

    A place with a counting cell of fewer than two seeds is not tested and left out.
    """
    held: dict[Place, list[bool | None]] = {}
    for cell in cells:
        if cell.role.counts:
            held.setdefault(cell.place, []).append(cell.holds)
    return {place: all(outcomes) for place, outcomes in held.items() if None not in outcomes}


def headline(cells: Sequence[Cell]) -> list[Cell]:
    """Return the headline cells at tested places."""
    tested = votes(cells)
    return [cell for cell in cells if cell.role is Role.HEADLINE and cell.place in tested]


def judge(cells: Sequence[Cell]) -> Verdict:
    """Return the verdict of the tested cells.

    Reproduced if every tested place holds, partly if at least two thirds of them do, else not reproduced. Without
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
    """Return the claim's effect: its effect cell, or the mean over its headline cells per seed, then over seeds.

    Args:
        cells: all cells of a claim.

    Returns:
        Interval over the seeds that every tested headline cell has; a single headline cell keeps its own interval.
        NaN with n = 0 if there is no tested headline cell.
    """
    named = headline(cells)
    given = [cell for cell in cells if cell.role is Role.EFFECT] if named else []
    if len(given or named) == 1:
        return (given or named)[0].interval
    columns = [cell.per_seed for cell in named if cell.per_seed is not None]
    if not columns:
        return Interval(math.nan, math.nan, math.nan, 0)
    shared = pd.concat(columns, axis=1, join="inner")
    return mean_interval(shared.mean(axis=1).to_numpy())


def explain(cells: Sequence[Cell]) -> str:
    """Return a note for the ledger: which places were tested, what was left out, or why nothing was."""
    counting = [cell for cell in cells if cell.role.counts]
    if not any(cell.role is Role.HEADLINE for cell in counting):
        return "not run: no cell that the rule names is in the records"
    if not headline(cells):
        return f"not run: fewer than {MIN_SEEDS} paired seeds in every cell"
    tested = votes(cells)
    lost = {cell.place for cell in counting} - set(tested)
    note = f"{_places(tested)}; {sum(tested.values())} of {len(tested)} conditions hold"
    return note + (f"; {len(lost)} left out (fewer than {MIN_SEEDS} paired seeds)" if lost else "")


def _places(tested: Iterable[Place]) -> str:
    """Name the tested places: the groups, or the k and widths."""
    groups = sorted(place for place in tested if isinstance(place, str))
    if groups:
        return f"tested: {'; '.join(groups)}" if len(groups) <= MOST_NAMED else f"tested at {len(groups)} places"
    pairs = [place for place in tested if not isinstance(place, str)]
    return f"k tested: {_listed(k for _, k in pairs)}; widths tested: {_listed(width for width, _ in pairs)}"


def _listed(numbers: Iterable[int | None]) -> str:
    known = sorted({number for number in numbers if number is not None})
    return ", ".join(map(str, known)) if known else "none"
