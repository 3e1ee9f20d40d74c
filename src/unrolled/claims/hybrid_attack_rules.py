"""The tests behind claims C7 and H5: hybrid nets under attack.

Errors are shares of wrong answers on the attacked test rows. Effects are oriented so that the claim wants them
positive: error of the feed-forward net minus that of the iterated one. The words of each rule stand beside the claim in
:mod:`unrolled.claims.hybrid`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from unrolled.claims.claim import Cell, Role, beside, make_cell, mean_cell
from unrolled.claims.hybrid_rules import ROBUST
from unrolled.claims.hybrid_runs import HybridRuns, curves
from unrolled.claims.statistics import Interval, finite, paired_difference, statistic_interval

NORMS = {"linf": "l-infinity", "l2": "l2"}
"""Suffix of the columns and name of the norm of a perturbation."""

SMALL_LOSS = 0.02
"""C7: largest loss of clean accuracy that still matches, in share of test rows."""

WEAKER = 0.01
"""H5: by how much the mean error of a stronger attack may lie below that of a weaker one."""

FAR = 0.99
"""H5: error that an attack of a very large radius must reach."""

Runs = dict[int, pd.DataFrame]
"""Best runs of one solver on one structure, by k."""


def iterated_inference(frame: pd.DataFrame) -> list[Cell]:
    """Return C7's cells: the deepest inference matches the feed-forward net's accuracy and is more robust."""
    cells: list[Cell] = []
    for name, solver, runs in _solvers(frame):
        depths = sorted(runs)
        if 1 not in runs or len(depths) < 2:
            continue
        group, last = f"{name}, {solver}", depths[-1]
        cells += _against_feedforward(group, runs, last)
        for k in depths[1:-1]:
            cells += beside(_against_feedforward(group, runs, k), f"k = {k}")
        for k in depths[1:]:
            cells += _more_attacks(group, runs, k)
    return cells


def _solvers(frame: pd.DataFrame) -> Iterator[tuple[str, str, Runs]]:
    """Yield (net, solver, runs by k) of the attacked nets."""
    attacked = HybridRuns(frame, ROBUST)
    for name, rows in attacked.nets():
        attacked.require_one(rows, ["solver.name", "solver.steps"])
        for solver, own in rows.groupby("solver.name", sort=True):
            yield name, str(solver), {int(k): part for k, part in own.groupby("solver.steps", sort=True)}


def _against_feedforward(group: str, runs: Runs, k: int) -> list[Cell]:
    """Return the conditions of C7 at one k, nothing where no norm was attacked."""
    cells = []
    for norm, named in NORMS.items():
        gains = _gains(runs, k, norm, "pgd")
        if gains.empty:
            continue
        radius = middle(gains.columns)
        part = f"PGD error, {named} radius {radius:g}"
        cells.append(mean_cell(part, _difference(k), None, k, gains[radius], role=Role.HEADLINE, group=group))
    if not cells:
        return []
    clean = paired_difference(_by_seed(runs[1], "test_error"), _by_seed(runs[k], "test_error"))
    part = f"clean test error (wants not below 0, and above -{SMALL_LOSS})"
    return [mean_cell(part, _difference(k), None, k, clean, condition=_matches, group=group), *cells]


def _difference(k: int) -> str:
    return f"k = 1 - k = {k}"


def _matches(gain: Interval) -> bool:
    """Whether a loss is not beyond doubt, and at most :data:`SMALL_LOSS`."""
    return gain.not_below_zero() and gain.effect >= -SMALL_LOSS


def _by_seed(rows: pd.DataFrame, column: str) -> pd.Series:
    return finite(rows.set_index("seed")[column]) if column in rows else pd.Series(dtype=np.float64)


def middle(radii: pd.Index) -> float:
    """Return the middle of ascending radii that start at 0: entry len // 2."""
    return float(radii[len(radii) // 2])


def errors(rows: pd.DataFrame, norm: str, attack: str) -> pd.DataFrame:
    """Return the error under an attack, one row a seed, one column a radius, the first of which is 0."""
    return curves(rows, f"attack_{norm}", f"robust_{attack}_{norm}")


def _gains(runs: Runs, k: int, norm: str, attack: str) -> pd.DataFrame:
    """Return error at k = 1 minus error at k by seed and radius, for the radii and seeds that both have."""
    return _less(errors(runs[1], norm, attack), errors(runs[k], norm, attack))


def _less(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    if first.empty or second.empty:
        return pd.DataFrame()
    seeds, radii = first.index.intersection(second.index), first.columns.intersection(second.columns)
    return (first.loc[seeds, radii] - second.loc[seeds, radii]).sort_index()


def _more_attacks(group: str, runs: Runs, k: int) -> list[Cell]:
    """Return what stands beside C7: the other radii, FGSM, the strongest of all attacks, the area under the curve."""
    cells = []
    for norm, named in NORMS.items():
        gains = _gains(runs, k, norm, "pgd")
        if gains.empty:
            continue
        centre = middle(gains.columns)
        found = {
            f"PGD error, {named} radius {radius:g}": gains[radius] for radius in gains if radius not in (0, centre)
        }
        found[f"PGD error beyond the clean error, {named} radius {centre:g}"] = gains[centre] - gains.iloc[:, 0]
        single = _gains(runs, k, norm, "fgsm")
        found |= {f"FGSM error, {named} radius {radius:g}": single[radius] for radius in single if radius > 0}
        worst = _less(_strongest(runs[1], norm), _strongest(runs[k], norm))
        found[f"error under the strongest attack, {named} radius {centre:g}"] = worst[centre]
        area = np.trapezoid(gains.to_numpy(), gains.columns.to_numpy(np.float64), axis=1) / max(gains.columns)
        found[f"area under the curve of PGD accuracy, {named} (share of its range; k - 1)"] = pd.Series(
            area, index=gains.index
        )
        cells += [
            mean_cell(part, _difference(k), None, k, values, role=Role.BESIDE, group=group)
            for part, values in found.items()
        ]
    return cells


def _strongest(rows: pd.DataFrame, norm: str) -> pd.DataFrame:
    """Return for every seed and radius the largest error over the attacks: what is known of the worst case."""
    tables = [table for attack in ("pgd", "fgsm", "random") if not (table := errors(rows, norm, attack)).empty]
    return pd.concat(tables).groupby(level=0).max() if tables else pd.DataFrame()


def unmasked_gradients(frame: pd.DataFrame) -> list[Cell]:
    """Return H5's cells: at every net the attack through gradients behaves as it must where gradients are sound."""
    cells: list[Cell] = []
    for name, solver, runs in _solvers(frame):
        for k, rows in runs.items():
            group = f"{name}, {solver}, k = {k}"
            far = _by_seed(rows, "robust_far_linf")
            if len(far):
                part = f"PGD error at a very large l-infinity radius (wants a mean >= {FAR})"
                cells.append(
                    mean_cell(part, solver, None, k, far, role=Role.HEADLINE, condition=_nearly_all, group=group)
                )
            cells += _growth(group, solver, k, rows)
            for norm, named in NORMS.items():
                for rival in ("fgsm", "random"):
                    cells += _at_least_as_strong(group, solver, k, rows, (norm, named), rival)
    return cells


def _nearly_all(error: Interval) -> bool:
    return error.effect >= FAR


def _growth(group: str, solver: str, k: int, rows: pd.DataFrame) -> list[Cell]:
    """Return the condition that more steps of PGD do not find less, and beside it what they find more."""
    table = curves(rows, "attack_steps", "robust_by_steps_linf")
    if table.shape[1] < 2:
        return []
    rises = pd.DataFrame({later: table[later] - table[before] for before, later in pairwise(table.columns)})
    part = f"smallest rise of PGD error to the next number of steps (wants >= -{WEAKER})"
    interval = statistic_interval(rises.to_numpy(), _smallest)
    total = table.iloc[:, -1] - table.iloc[:, 0]
    first, last = int(table.columns[0]), int(table.columns[-1])
    return [
        make_cell(part, solver, None, k, interval, holds=_no_weaker(interval), group=group),
        mean_cell(f"PGD error, {last} - {first} steps", solver, None, k, total, role=Role.BESIDE, group=group),
    ]


def _at_least_as_strong(
    group: str, solver: str, k: int, rows: pd.DataFrame, norm: tuple[str, str], rival: str
) -> list[Cell]:
    """Return the condition that PGD finds no fewer wrong answers than a weaker attack at any radius."""
    lead = _less(errors(rows, norm[0], "pgd"), errors(rows, norm[0], rival))
    lead = lead.loc[:, [radius for radius in lead if radius > 0]]
    if lead.empty:
        return []
    interval = statistic_interval(lead.to_numpy(), _smallest)
    named = {"fgsm": "FGSM", "random": "random search"}[rival]
    part = f"smallest lead of PGD over {named}, {norm[1]} radii (wants >= -{WEAKER})"
    mean = f"lead of PGD over {named}, mean over {norm[1]} radii"
    return [
        make_cell(part, solver, None, k, interval, holds=_no_weaker(interval), group=group),
        mean_cell(mean, solver, None, k, lead.mean(axis=1), role=Role.BESIDE, group=group),
    ]


def _smallest(means: np.ndarray) -> np.ndarray:
    return np.asarray(means.min(axis=-1))


def _no_weaker(lead: Interval) -> bool:
    """Whether the mean over seeds is above minus :data:`WEAKER`: the point decides, as a few rows flip by chance."""
    return lead.effect >= -WEAKER
