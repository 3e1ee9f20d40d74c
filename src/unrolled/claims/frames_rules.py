"""The tests behind claims C1, C2, C5, C6 and C8: errors of trained nets against their structure.

Each function maps records to cells. Errors are test errors of the best-of runs; effects are oriented so that the claim
wants them positive. The words of each rule stand beside the claim in :mod:`unrolled.claims.frames`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.claims.claim import Cell, Role, make_cell, mean_cell
from unrolled.claims.correlation import kendall_correlation, partial_rank_correlation
from unrolled.claims.statistics import (
    Interval,
    Statistic,
    paired_difference,
    rank_correlation,
    spearman_interval,
    statistic_interval,
)
from unrolled.claims.structures import Family, Nets, complete

FULLY_CONNECTED = "frames/fully_connected"
FULLY_CONNECTED_MINIMUM = "frames/fully_connected_minimum"
CONVOLUTIONAL = "frames/convolutional"
CONVOLUTIONAL_MINIMUM = "frames/convolutional_minimum"
DENSE = "frames/dense"
DENSE_MINIMUM = "frames/dense_minimum"

HIGH = 0.7
"""C1: a rank correlation above this is high."""

MANY_SHAPES = 20
"""C1: shapes that a correlation needs to count."""

FEW_SHAPES = 5
"""C6, C8: likewise, for families with fewer members."""

SMALL_LOSS = 0.05
"""C2: largest mean loss of the smallest third that is still small, in share of test images."""

DEEP, LESS_DEEP = 10, 5
"""C5: blocks a group of a deep net, and of the one that it is compared with."""

MARGIN = 0.03
"""C5: by how much a deep chain errs more than the residual net of its size, in share of test images."""


def frames_cell(
    group: str | None, part: str, difference: str, interval: Interval, *, holds: bool, role: Role = Role.COUNTED
) -> Cell:
    """Return a cell whose place is a group."""
    return make_cell(part, difference, None, None, interval, holds=holds, role=role, group=group)


def error_correlation(frame: pd.DataFrame) -> list[Cell]:
    """Return C1's cells: with regularisation min F ranks the errors of fully connected chains, and better so."""
    nets = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    cells, families = [], []
    for data in nets.data_sets():
        regularised, plain = _both_weights(nets, data)
        if regularised.empty or regularised.shape[1] < FEW_SHAPES:
            continue
        family, other = nets.family(regularised), nets.family(plain)
        enough = family.size >= MANY_SHAPES
        families += [family] if enough else []
        cells += _correlations(data, family, other, enough=enough)
        cells += predictors(data, "with regularisation", family) + predictors(data, "without regularisation", other)
    return cells + mean_correlation("rank correlation with regularisation, mean over data sets", families)


def _correlations(data: str, family: Family, other: Family, *, enough: bool) -> list[Cell]:
    """Return the two conditions of C1 on one data set; they count where there are shapes enough."""
    over = f"over {family.size} shapes"
    high = spearman_interval(family.errors, family.f_min)
    joint = np.hstack([family.errors, other.errors])
    better = statistic_interval(joint, partial(_correlation_difference, first=family.f_min, second=other.f_min))
    roles = (Role.HEADLINE, Role.COUNTED) if enough else (Role.BESIDE, Role.BESIDE)
    part = f"rank correlation of min F and error {over} (wants > {HIGH})"
    return [
        frames_cell(data, part, "with", high, holds=high.low > HIGH, role=roles[0]),
        frames_cell(
            data,
            f"rank correlation of min F and error {over}",
            "with - without",
            better,
            holds=better.above_zero(),
            role=roles[1],
        ),
    ]


def _both_weights(nets: Nets, data: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return errors of the chains with and without regularisation: the same shapes and the same seeds in both."""
    tables = [complete(nets.table(data, "chain", regularised=on)) for on in (True, False)]
    if any(table.empty for table in tables):
        return pd.DataFrame(), pd.DataFrame()
    shapes = tables[0].columns.intersection(tables[1].columns)
    seeds = tables[0].index.intersection(tables[1].index)
    first, second = (table.loc[seeds, shapes] for table in tables)
    return first, second


def _correlation_difference(
    means: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the correlation of the first cells with one predictor minus that of the others with another."""
    split = len(first)
    return rank_correlation(means[..., :split], first) - rank_correlation(means[..., split:], second)


def predictors(group: str, label: str, family: Family, measured: str = "error") -> list[Cell]:
    """Return rank correlations of the error with min F and with the number of parameters, as cells beside.

    Spearman's, Kendall's, and each predictor's with the other held fixed. The rival is minus the logarithm of the
    network's parameters, so that a positive number means that more of them lower the error. ``measured`` is the name of
    what stands in ``family.errors``.
    """
    if family.size < FEW_SHAPES:
        return []
    rival = -family.log_parameters
    statistics: dict[str, Statistic] = {}
    for name, own, other in (("min F", family.f_min, rival), ("-log parameters", rival, family.f_min)):
        beyond = "-log parameters" if name == "min F" else "min F"
        statistics[f"Spearman, {name} and {measured}"] = partial(rank_correlation, predictor=own)
        statistics[f"Kendall, {name} and {measured}"] = partial(kendall_correlation, predictor=own)
        given = partial(partial_rank_correlation, predictor=own, given=other)
        statistics[f"partial Spearman, {name} and {measured} given {beyond}"] = given
    return [
        frames_cell(group, part, label, statistic_interval(family.errors, statistic), holds=False, role=Role.BESIDE)
        for part, statistic in statistics.items()
    ]


def mean_correlation(part: str, families: Sequence[Family]) -> list[Cell]:
    """Return the cell of the mean rank correlation over families, on their shared seeds; nothing for one family."""
    if len(families) < 2:
        return []
    shared = pd.concat([family.errors for family in families], axis=1, join="inner")
    ends = np.cumsum([family.size for family in families])

    def average(means: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = np.split(means, ends[:-1], axis=-1)
        found = [rank_correlation(own, family.f_min) for own, family in zip(parts, families, strict=True)]
        return np.mean(found, axis=0)

    interval = statistic_interval(shared.to_numpy(), average)
    return [frames_cell(None, part, f"{len(families)} families", interval, holds=False, role=Role.EFFECT)]


def regularisation_gain(frame: pd.DataFrame) -> list[Cell]:
    """Return C2's cells: regularisation helps the largest fully connected nets and no others."""
    nets = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    cells = []
    for data in nets.data_sets():
        regularised, plain = _both_weights(nets, data)
        third = regularised.shape[1] // 3
        if third < 2:
            continue
        gain = plain - regularised
        family = nets.family(gain)
        order = np.argsort(family.log_parameters, kind="stable")
        small, large = (gain.iloc[:, chosen].mean(axis=1) for chosen in (order[:third], order[-third:]))
        parts = (f"gain of the {third} largest shapes", f"gain of the {third} smallest shapes (wants none)")
        cells += [
            _gain(data, parts[0], large, Role.HEADLINE, f"{data}, largest third"),
            _gain(data, parts[1], small, Role.COUNTED, f"{data}, smallest third"),
            _gain(data, "gain, largest third - smallest third", large - small, Role.BESIDE, data),
        ]
        trend = spearman_interval(gain, family.log_parameters)
        part = "rank correlation of gain and log parameters"
        cells.append(frames_cell(data, part, "without - with", trend, holds=False, role=Role.BESIDE))
    return cells


def _gain(data: str, part: str, per_seed: pd.Series, role: Role, group: str) -> Cell:
    condition = Interval.above_zero if role is Role.HEADLINE else _none_or_small_loss
    return mean_cell(part, "without - with", None, None, per_seed, role=role, condition=condition, group=group)


def _none_or_small_loss(gain: Interval) -> bool:
    """Whether a gain is not positive beyond doubt, and a loss smaller than :data:`SMALL_LOSS`."""
    return gain.low <= 0 and gain.effect > -SMALL_LOSS


def depth(frame: pd.DataFrame) -> list[Cell]:
    """Return C5's cells: deep chains err more than less deep ones, and more than residual nets of their size."""
    runs = Nets(frame, [CONVOLUTIONAL, DENSE], [CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM]).runs
    if runs.empty or "network.depth" not in runs:
        return []
    runs = runs[~runs["regularised"] & runs["network.depth"].notna() & np.isfinite(runs["test_error"].astype(float))]
    by = ["data.name", "network.width", *(["network.groups"] if "network.groups" in runs else [])]
    cells = []
    for place, rows in runs.groupby(by, dropna=False, sort=True):
        group = f"{place[0]}, b = {int(place[1])}" + (
            f", {int(place[2])} groups" if _several(runs, "network.groups") else ""
        )
        errors = {
            (str(kind), int(n)): own.set_index("seed")["test_error"].astype(np.float64)
            for (kind, n), own in rows.groupby(["network.skip", "network.depth"])
        }
        cells += _deep_cells(group, errors) + _depth_changes(group, errors)
    return cells


def _several(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and rows[column].nunique() > 1


def _deep_cells(group: str, errors: dict[tuple[str, int], pd.Series]) -> list[Cell]:
    """Return the conditions of C5 for one width and data set, as far as the records hold the nets they name."""
    cells, start = [], errors.get(("chain", LESS_DEEP))
    for n in sorted(n for kind, n in errors if kind == "chain" and n >= DEEP):
        if start is not None:
            rise = paired_difference(errors["chain", n], start)
            part = f"error of the chain, n = {n} - n = {LESS_DEEP}"
            cells.append(mean_cell(part, "chain", None, None, rise, role=Role.HEADLINE, group=group))
    if cells and ("chain", DEEP) in errors and ("residual", DEEP) in errors:
        ahead = paired_difference(errors["chain", DEEP], errors["residual", DEEP])
        part = f"error at n = {DEEP} (wants > {MARGIN})"
        cells.append(
            mean_cell(part, "chain - residual", None, None, ahead, condition=lambda i: i.low > MARGIN, group=group)
        )
    return cells


def _depth_changes(group: str, errors: dict[tuple[str, int], pd.Series]) -> list[Cell]:
    """Return the change of the error to the next n, for every kind, beside."""
    cells = []
    for kind in sorted({kind for kind, _ in errors}):
        depths = sorted(n for name, n in errors if name == kind)
        for before, n in pairwise(depths):
            change = paired_difference(errors[kind, n], errors[kind, before])
            part = f"error, n = {n} - n = {before}"
            cells.append(mean_cell(part, kind, None, None, change, role=Role.BESIDE, group=group))
    return cells


def residual_criterion(frame: pd.DataFrame) -> list[Cell]:
    """Return C6's cells: min F ranks residual nets no worse than their parameters do, and better than chains."""
    nets = Nets(frame, [CONVOLUTIONAL, DENSE], [CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM])
    cells, families = [], []
    for data in nets.data_sets():
        found = {
            kind: nets.family(table)
            for kind in nets.kinds(data)
            if (table := complete(nets.table(data, kind, regularised=False))).shape[1] >= FEW_SHAPES
        }
        for kind, family in found.items():
            cells += predictors(data, kind, family)
        if "residual" not in found:
            continue
        families.append(found["residual"])
        cells += _criterion(data, found["residual"], found.get("chain"))
    return cells + mean_correlation("rank correlation of residual nets, mean over data sets", families)


def _criterion(data: str, residual: Family, chain: Family | None) -> list[Cell]:
    """Return C6's three conditions on one data set, each a vote; without chains the last one is left out."""
    part = "rank correlation of min F and error"
    own = spearman_interval(residual.errors, residual.f_min)
    rival = statistic_interval(
        residual.errors,
        lambda means: rank_correlation(means, residual.f_min) - rank_correlation(means, -residual.log_parameters),
    )
    over = f"over {residual.size} nets"
    cells = [
        frames_cell(f"{data}, residual", f"{part} {over}", "residual", own, holds=own.above_zero(), role=Role.HEADLINE),
        frames_cell(
            f"{data}, against the parameters",
            f"{part} {over} (wants not below 0)",
            "min F - (-log parameters)",
            rival,
            holds=rival.not_below_zero(),
        ),
    ]
    if chain is not None:
        joint = pd.concat([residual.errors, chain.errors], axis=1, join="inner").to_numpy()
        lead = statistic_interval(joint, partial(_correlation_difference, first=residual.f_min, second=chain.f_min))
        group = f"{data}, against chains"
        cells.append(frames_cell(group, part, "residual - chain", lead, holds=lead.above_zero()))
    return cells


def every_data_set(frame: pd.DataFrame) -> list[Cell]:
    """Return C8's cells: min F and error are positively rank-correlated on every data set and in every family."""
    fully = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    grids = Nets(frame, [CONVOLUTIONAL, DENSE], [CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM])
    cells: list[Cell] = []
    families: list[Family] = []
    for data in fully.data_sets():
        tables = {on: complete(fully.table(data, "chain", regularised=on)) for on in (True, False)}
        named = not tables[True].empty
        for on, table in tables.items():
            label = "with regularisation" if on else "without regularisation"
            role = Role.HEADLINE if on == named else Role.BESIDE
            cells += _positive(f"{data}, fully connected", label, fully, table, role, families)
    for data in grids.data_sets():
        for kind in grids.kinds(data):
            table = complete(grids.table(data, kind, regularised=False))
            role = Role.HEADLINE if kind.startswith(("residual", "dense")) else Role.BESIDE
            cells += _positive(f"{data}, convolutional {kind}", "without regularisation", grids, table, role, families)
    return cells + mean_correlation("rank correlation, mean over data sets and families", families)


def _positive(
    group: str, label: str, nets: Nets, table: pd.DataFrame, role: Role, families: list[Family]
) -> list[Cell]:
    """Return the cell of one family, and note the family where it counts; nothing for too few structures."""
    if table.shape[1] < FEW_SHAPES:
        return []
    family = nets.family(table)
    families += [family] if role.counts else []
    interval = spearman_interval(family.errors, family.f_min)
    part = f"rank correlation of min F and error over {family.size} nets"
    return [frames_cell(group, part, label, interval, holds=interval.above_zero(), role=role)]
