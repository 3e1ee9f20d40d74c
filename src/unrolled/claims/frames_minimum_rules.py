"""The tests behind claims C3, C4, C9 and C10: minimum potentials of structures, and potentials of dictionaries.

A minimum potential is a number of the structure alone, so nothing here is drawn at random but the weights of trained
nets (C9). Comparisons of structures are exact: n is the number of structures compared, the interval of a single
comparison is a point, that of a summary reaches from the smallest to the largest value, and only shares of structures
have a bootstrap interval, which resamples the structures and says how far the share depends on which were chosen.

Effects are oriented so that the claim wants them positive. The words of each rule stand beside the claim in
:mod:`unrolled.claims.frames`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from unrolled.claims.claim import Cell, Role, mean_cell
from unrolled.claims.frames_rules import (
    CONVOLUTIONAL,
    CONVOLUTIONAL_MINIMUM,
    DENSE,
    DENSE_MINIMUM,
    FULLY_CONNECTED,
    FULLY_CONNECTED_MINIMUM,
    frames_cell,
)
from unrolled.claims.grid import trials_of
from unrolled.claims.statistics import Interval, mean_interval, paired_difference
from unrolled.claims.structures import Nets, complete, minima_of
from unrolled.frames.structure import parse_numbers
from unrolled.records.select import NET_CELL, best_runs

GRAM = "frames/gram"
WEIGHT = "frames/weight"
IMAGES = (CONVOLUTIONAL, CONVOLUTIONAL_MINIMUM, DENSE, DENSE_MINIMUM)

SLACK = 0.01
"""C3: "at most" allows this much of F, as both sides are numerical minima with local ones a few percent above."""

CHAIN_LAYERS = 3
"""C3: layers from which the kinds differ in their empty blocks."""

MIN_PAIRS = 3
"""C4: pairs that a share needs."""

WELL_ABOVE = 1.1
"""C9: a potential is well above the minimum from this multiple of it."""

BOUND_SLACK = 1e-4
"""C9: relative slack of F <= coherence, some roundings of 32-bit weights."""

CLOSED_FORM = {2: 2 / 9, 3: 6 / 41, 4: 14 / 169}
"""C10: c of F ~ sqrt(c / k_1) by the number of layers, each twice as wide as the one before."""

CLOSED_FORM_SLACK = 0.05
"""C10: relative distance to the closed form, which leaves out terms of order 1 / k_1."""

_ORDER = (("residual_all", "dense"), ("residual", "residual_all"), ("chain", "residual"))
"""C3: (larger, smaller) minimum potential."""


def skip_order(frame: pd.DataFrame) -> list[Cell]:
    """Return C3's cells: at equal widths dense <= residual_all <= residual < chain."""
    minima = minima_of(frame, [GRAM, FULLY_CONNECTED_MINIMUM, CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM])
    cells, drops = [], []
    for (data, shape), rows in minima.groupby(["data.name", "shape"], sort=True) if len(minima) else ():
        values = dict(zip(rows["network.skip"], rows["f_min"], strict=True))
        if rows["layers"].iloc[0] < CHAIN_LAYERS or not values.get("chain", 0.0) > 0:
            continue
        for larger, smaller in _ORDER:
            if larger in values and smaller in values:
                strict = larger == "chain"
                allowed = values[larger] if strict else values[larger] * (1 + SLACK)
                holds = values[smaller] < allowed if strict else values[smaller] <= allowed
                part = f"min F (wants {'above 0' if strict else 'not below 0'})"
                difference = values[larger] - values[smaller]
                role = Role.HEADLINE if strict else Role.COUNTED
                cells.append(exact_cell(f"{data}, {shape}", part, f"{larger} - {smaller}", difference, holds, role))
                drops += [difference / values[larger]] if strict else []
    return cells + range_cell("1 - min F of residual / min F of chain", "residual - chain", drops)


def exact_cell(group: str, part: str, difference: str, value: float, holds: bool, role: Role = Role.COUNTED) -> Cell:
    """Return the cell of a comparison of two structures: nothing is drawn, so the interval is a point and n is 2."""
    return frames_cell(group, part, difference, Interval(value, value, value, 2), holds=holds, role=role)


def range_cell(part: str, difference: str, values: Sequence[float]) -> list[Cell]:
    """Return the claim's effect over structures: the mean, with the smallest and largest value as its ends."""
    if len(values) == 0:
        return []
    interval = Interval(float(np.mean(values)), float(np.min(values)), float(np.max(values)), len(values))
    return [frames_cell(None, f"{part}, smallest to largest", difference, interval, holds=False, role=Role.EFFECT)]


def share_cell(group: str, part: str, difference: str, held: Sequence[bool], role: Role = Role.COUNTED) -> Cell:
    """Return the cell of a share of structures, which wants at least two thirds; its interval resamples structures."""
    interval = mean_interval(np.asarray(held, dtype=np.float64))
    holds = 3 * sum(held) >= 2 * len(held)  # in integers: no rounding
    return frames_cell(
        group, f"{part} (share of {len(held)}, wants >= 2/3)", difference, interval, holds=holds, role=role
    )


def efficiency(frame: pd.DataFrame) -> list[Cell]:
    """Return C4's cells: residual nets have a lower min F than chains of their size, dense nets than both."""
    minima = minima_of(frame, [CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM])
    cells, pooled = [], []
    for data, rows in minima.groupby("data.name", sort=True) if len(minima) else ():
        named = {
            "chain - residual": ("min F of residual below that of the chain of equal shape", _below_chain(rows)),
            "residual - dense": ("min F of a dense net with no more parameters below residual", _dense_below(rows)),
        }
        for difference, (part, held) in named.items():
            if len(held) >= MIN_PAIRS:
                cells.append(share_cell(f"{data}, {difference}", part, difference, held, Role.HEADLINE))
                pooled += held
    if len(cells) > 1:
        interval = mean_interval(np.asarray(pooled, dtype=np.float64))
        cells.append(frames_cell(None, "share of all pairs", "all", interval, holds=False, role=Role.EFFECT))
    return cells


def _below_chain(rows: pd.DataFrame) -> list[bool]:
    """Return for every shape that both kinds have whether the residual net's min F is the lower one."""
    kinds = rows[rows["network.skip"].isin(["chain", "residual"])]
    pairs = kinds.pivot_table(index="shape", columns="network.skip", values="f_min", aggfunc="min")
    if pairs.shape[1] < 2:
        return []
    pairs = pairs.dropna()
    pairs = pairs[pairs.max(axis=1) > 0]  # two nets whose minimum is 0 say nothing
    return [bool(low) for low in pairs["residual"] < pairs["chain"]]


def _dense_below(rows: pd.DataFrame) -> list[bool]:
    """Return for every residual net whether a dense net with no more parameters has a lower min F.

    Residual nets smaller than every dense net have no partner, and those whose minimum is 0 leave nothing to lower.
    """
    dense = rows[rows["network.skip"] == "dense"]
    held = []
    for net in rows[(rows["network.skip"] == "residual") & (rows["f_min"] > 0)].to_dict("records"):
        rivals = dense.loc[dense["network_parameters"] <= net["network_parameters"], "f_min"]
        held += [bool(rivals.min() < net["f_min"])] if len(rivals) else []
    return held


def potential_falls(frame: pd.DataFrame) -> list[Cell]:
    """Return C9's cells: F <= coherence; random and initial F well above the minimum; F falls in training."""
    return _bound(frame) + _random(frame) + _training(frame) + _weights(frame)


def _bound(frame: pd.DataFrame) -> list[Cell]:
    """Return the cell of coherence - F over all dictionaries of the records, smallest to largest."""
    names = [FULLY_CONNECTED, FULLY_CONNECTED_MINIMUM, *IMAGES, GRAM, WEIGHT]
    trials = trials_of(frame, names)
    trials = trials[trials["status"] == "finished"] if len(trials) else trials
    margins, held = [], True
    for state in ("random", "trained", "min"):
        columns = [f"coherence_{state}", f"f_{state}"]
        if set(columns) <= set(trials.columns):
            pairs = trials[columns].astype(float).to_numpy()
            pairs = pairs[np.isfinite(pairs).all(axis=1)]
            margins.append(pairs[:, 0] - pairs[:, 1])
            held = held and bool((pairs[:, 0] >= pairs[:, 1] * (1 - BOUND_SLACK)).all())
    found = np.concatenate(margins) if margins else np.empty(0)
    if not len(found):
        return []
    interval = Interval(float(found.mean()), float(found.min()), float(found.max()), len(found))
    part = "coherence - F over all dictionaries, smallest to largest (wants none below 0)"
    return [frames_cell("coherence", part, "random, trained and minimal", interval, holds=held)]


def _random(frame: pd.DataFrame) -> list[Cell]:
    """Return for every data set the share of structures whose random dictionaries are well above the minimum."""
    minima = minima_of(frame, [FULLY_CONNECTED_MINIMUM, CONVOLUTIONAL_MINIMUM, DENSE_MINIMUM])
    if "f_random" not in minima:
        return []
    cells = []
    for data, rows in minima[minima["f_random"].notna()].groupby("data.name", sort=True):
        held = [bool(above) for above in rows["f_random"] > WELL_ABOVE * rows["f_min"]]
        part = f"F of random dictionaries above {WELL_ABOVE} min F"
        cells.append(share_cell(f"{data}, random", part, "random - minimum", held))
    return cells


def _training(frame: pd.DataFrame) -> list[Cell]:
    """Return for every data set the share of the excess over the minimum that training removes, and the start."""
    nets = Nets(frame, [FULLY_CONNECTED], [FULLY_CONNECTED_MINIMUM])
    cells = []
    for data in nets.data_sets():
        for on in (True, False):
            tables = [nets.table(data, "chain", regularised=on, metric=name) for name in ("f_initial", "f_trained")]
            if any(table.empty for table in tables):
                continue
            cells += _excess(data, nets, tables[0], tables[1], regularised=on)
    return cells


def _excess(data: str, nets: Nets, initial: pd.DataFrame, trained: pd.DataFrame, *, regularised: bool) -> list[Cell]:
    """Return the cells of one data set and weight; only those with regularisation count."""
    minimum = pd.Series(nets.family(initial).f_min, index=initial.columns)
    above = initial.mean() > WELL_ABOVE * minimum
    cells = []
    if regularised:
        part = f"F of initial weights above {WELL_ABOVE} min F"
        cells.append(share_cell(f"{data}, initial", part, "initial - minimum", [bool(held) for held in above]))
    removed = ((initial - trained) / (initial - minimum)).loc[:, above]
    table = complete(removed)
    if table.shape[1]:
        label = "with" if regularised else "without"
        part = f"share of F's excess over the minimum that training removes, mean over {table.shape[1]} nets"
        role = Role.HEADLINE if regularised else Role.BESIDE
        group = f"{data}, training"
        cells.append(mean_cell(part, f"{label} regularisation", None, None, table.mean(axis=1), role=role, group=group))
    return cells


def _weights(frame: pd.DataFrame) -> list[Cell]:
    """Return the fall of the trained F from one potential weight to the next larger one, beside."""
    trials = trials_of(frame, [WEIGHT])
    if trials.empty or not {"train_loss", "f_trained"} <= set(trials.columns):
        return []
    runs = best_runs(trials, NET_CELL)
    runs = runs.assign(weight=runs["optim.potential_weight"].astype(float).fillna(0.0))
    cells = []
    for (data, structure, _), rows in runs.groupby(["data.name", "structure", "parameters"], sort=True):
        by_weight = {float(weight): own.set_index("seed")["f_trained"] for weight, own in rows.groupby("weight")}
        for lighter, heavier in pairwise(sorted(by_weight)):
            fall = paired_difference(by_weight[lighter], by_weight[heavier])
            part, group = f"F of trained weights at weight {lighter:g} - {heavier:g}", f"{data}, {structure}"
            cells.append(mean_cell(part, "chain", None, None, fall, role=Role.BESIDE, group=group))
    return cells


def growth(frame: pd.DataFrame) -> list[Cell]:
    """Return C10's cells: wider and deeper growth lower min F, as the closed form says."""
    minima = minima_of(frame, [FULLY_CONNECTED_MINIMUM])
    cells, drops = [], []
    for data, rows in minima.groupby("data.name", sort=True) if len(minima) else ():
        values = _growing(rows)
        for (layers, first), f_min in sorted(values.items()):
            cells.append(_closed_form(str(data), layers, first, f_min))
            if (layers, 2 * first) in values:
                drop = f_min - values[layers, 2 * first]
                group = f"{data}, {layers} layers, k_1 = {first} to {2 * first}"
                cells.append(exact_cell(group, "min F, wider", "narrow - wide", drop, drop > 0, Role.HEADLINE))
                drops.append(drop / f_min)
            if (layers + 1, first) in values:
                drop = f_min - values[layers + 1, first]
                group = f"{data}, k_1 = {first}, {layers} to {layers + 1} layers"
                cells.append(exact_cell(group, "min F, deeper", "shallow - deep", drop, drop > 0, Role.HEADLINE))
    return cells + range_cell("share of min F lost when all widths double", "narrow - wide", drops)


def _growing(rows: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Return min F by (layers, k_1) of the chains whose widths double and whose first layer is not overcomplete."""
    found = {}
    for net in rows[rows["network.skip"] == "chain"].to_dict("records"):
        widths: Sequence[int] = parse_numbers("widths", net["network.widths"]) if net["network.widths"] else ()
        doubles = all(later == 2 * earlier for earlier, later in pairwise(widths))
        if len(widths) in CLOSED_FORM and doubles and widths[0] <= net["inputs"] and net["f_min"] > 0:
            found[len(widths), widths[0]] = float(net["f_min"])
    return found


def _closed_form(data: str, layers: int, first: int, f_min: float) -> Cell:
    """Return the cell of one net's relative distance to sqrt(c / k_1): within the slack, on either side."""
    distance = f_min / math.sqrt(CLOSED_FORM[layers] / first) - 1
    group = f"{data}, {layers} layers, k_1 = {first}, closed form"
    part = f"min F / sqrt(c / k_1) - 1 (wants within {CLOSED_FORM_SLACK})"
    return exact_cell(group, part, "measured - closed form", distance, abs(distance) <= CLOSED_FORM_SLACK)
