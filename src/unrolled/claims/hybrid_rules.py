"""The tests behind claims H1 to H4: inference of trained hybrid nets against their errors and gaps.

Each function maps records to cells; effects are oriented so that the claim wants them positive. The words of each rule
stand beside the claim in :mod:`unrolled.claims.hybrid`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unrolled.claims.claim import Cell, Role, make_cell
from unrolled.claims.correlation import measured_rank_correlation, partial_rank_correlation
from unrolled.claims.frames_rules import mean_correlation, predictors
from unrolled.claims.hybrid_runs import HybridRuns, aligned, side_by_side, trained_trials
from unrolled.claims.statistics import Interval, spearman_interval, statistic_interval
from unrolled.claims.structures import KEY, Family, minima_of
from unrolled.records.select import holds_list

DEPTH = "hybrid/depth"
STEP = "hybrid/step"
WIDTH = "hybrid/width"
WIDTH_MINIMUM = "hybrid/width_minimum"
ROBUST = "hybrid/robust"

GRIDS = (STEP, DEPTH)
"""Experiments over solvers, sweeps k and step sizes."""

ENOUGH = 6
"""H1, H2: cells that a rank correlation needs to count."""

SOME = 4
"""H1, H2: cells from which one stands beside."""

STRUCTURES = 5
"""H3: structures that a rank correlation needs."""

LEVELS = 3
"""H3: different minimum potentials that it needs: those of nets of one width are 0 up to the input's width."""

ROUNDING = 1e-5
"""H4: largest rise of the mean objective, relative to what inference can gain, that 32-bit arithmetic leaves over."""

REACHED = 1e-3
"""H4: relative objective after the long run that counts as the minimum."""

MOST_REACH = 0.95
"""H4: share of a solver's nets that must reach it."""

DESCENT = ("block_prox", "ista")
"""H4: solvers whose every sweep lowers the objective at a safe step."""

SAFE_FACTOR = 1.0
"""H4: largest factor on the safe step that is safe for all solvers."""


def convergence_and_error(frame: pd.DataFrame) -> list[Cell]:
    """Return H1's cells: at equal k, nets whose inference is nearer its end fit the training set better."""
    cells: list[Cell] = []
    tables: list[NDArray[np.float64]] = []
    seeds: list[pd.Index] = []
    for experiment in GRIDS:
        for name, rows in HybridRuns(frame, experiment).nets():
            for k in sorted(int(k) for k in rows["solver.steps"].unique() if k > 1):
                own = rows[rows["solver.steps"] == k]
                axes = ["solver.name", "solver.step_size"]
                group = f"{name}, k = {k}, {experiment}"
                for metric, main in (("train_loss", True), ("train_error", False)):
                    found = aligned(own, axes, ["convergence", metric])
                    table = side_by_side(found["convergence"], found[metric])
                    role = Role.HEADLINE if main and _count(table) >= ENOUGH else Role.BESIDE
                    cells += _measured(group, "distance at k", metric, table, role, k)
                    if role is Role.HEADLINE:
                        tables.append(table)
                        seeds.append(found[metric].index)
    part = "rank correlation of distance at k and train_loss, mean over places"
    return cells + _mean_over_places(part, tables, seeds)


def stability_and_gap(frame: pd.DataFrame) -> list[Cell]:
    """Return H2's cells: the measured product Stab x Cvg ranks the gaps over solvers, sweeps and step sizes."""
    cells: list[Cell] = []
    tables: list[NDArray[np.float64]] = []
    seeds: list[pd.Index] = []
    axes = ["solver.steps", "solver.name", "solver.step_size"]
    for experiment in GRIDS:
        for name, rows in HybridRuns(frame, experiment).nets():
            group = f"{name}, {experiment}"
            for gap in ("gap", "gap_error"):
                found = aligned(rows, axes, ["stability", "convergence", "train_loss", gap])
                found = {key: _one_feedforward(table) for key, table in found.items()}
                table = side_by_side(found["stability"] * found["convergence"], found[gap])
                counts = gap == "gap" and _count(table) >= ENOUGH
                role = Role.HEADLINE if counts else Role.BESIDE
                cells += _measured(group, "Stab x Cvg", gap, table, role, None)
                if counts:
                    tables.append(table)
                    seeds.append(found[gap].index)
                    for label, other in (
                        ("Stab", found["stability"]),
                        ("Cvg", found["convergence"]),
                        ("-train_loss", -found["train_loss"]),
                    ):
                        cells += _measured(group, label, gap, side_by_side(other, found[gap]), Role.BESIDE, None)
    return cells + _mean_over_places("rank correlation of Stab x Cvg and gap, mean over places", tables, seeds)


def _one_feedforward(table: pd.DataFrame) -> pd.DataFrame:
    """Keep one of the cells at k = 1, which are all the same net: several would tie with each other."""
    single = [column for column in table.columns if column[0] == 1]
    return table.drop(columns=single[1:]) if single else table


def _count(table: NDArray[np.float64]) -> int:
    """Return the cells of a table of two sides."""
    return table.shape[1] // 2 if table.size else 0


def _measured(
    group: str, predictor: str, metric: str, table: NDArray[np.float64], role: Role, k: int | None
) -> list[Cell]:
    """Return the cell of a rank correlation of two measured quantities; nothing for too few cells."""
    if _count(table) < SOME:
        return []
    interval = statistic_interval(table, measured_rank_correlation)
    part = f"rank correlation of {predictor} and {metric} over {_count(table)} cells"
    holds = interval.above_zero()
    return [make_cell(part, "all solvers", None, k, interval, holds=holds, role=role, group=group)]


def _mean_over_places(part: str, tables: Sequence[NDArray[np.float64]], seeds: Sequence[pd.Index]) -> list[Cell]:
    """Return the effect: the mean rank correlation over places, on their shared seeds; nothing for one place."""
    if len(tables) < 2:
        return []
    frames = [pd.DataFrame(table, index=index) for table, index in zip(tables, seeds, strict=True)]
    joint = pd.concat(frames, axis=1, join="inner").to_numpy(np.float64)
    ends = np.cumsum([table.shape[1] for table in tables])[:-1]

    def average(means: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.mean([measured_rank_correlation(own) for own in np.split(means, ends, axis=-1)], axis=0)

    interval = statistic_interval(joint, average)
    return [make_cell(part, f"{len(tables)} places", None, None, interval, holds=False, role=Role.EFFECT)]


def minimum_and_gap(frame: pd.DataFrame) -> list[Cell]:
    """Return H3's cells: the minimum potential ranks the gaps over widths and kinds, beyond the parameters."""
    cells: list[Cell] = []
    families: list[Family] = []
    for data, rows in _with_minima(frame):
        found = {metric: _family(rows, metric) for metric in ("gap", "gap_error", "test_error")}
        family = found["gap"]
        if family is None:
            continue
        families.append(family)
        cells += _potential_cells(data, family)
        for metric, own in found.items():
            cells += predictors(data, f"all kinds, {metric}", own, metric) if own is not None else []
        for kind, part in rows.groupby("network.skip", sort=True):
            alone = _family(part, "gap")
            cells += predictors(data, f"{kind}, gap", alone, "gap") if alone is not None else []
    return cells + mean_correlation("rank correlation of min F and gap, mean over data sets", families)


def _potential_cells(data: str, family: Family) -> list[Cell]:
    """Return the two conditions of H3 on one data set, each a vote."""
    over = f"over {family.size} structures"
    own = spearman_interval(family.errors, family.f_min)
    beyond = statistic_interval(
        family.errors, partial(partial_rank_correlation, predictor=family.f_min, given=-family.log_parameters)
    )
    return [
        make_cell(
            f"rank correlation of min F and gap {over}",
            "all kinds",
            None,
            None,
            own,
            holds=own.above_zero(),
            role=Role.HEADLINE,
            group=f"{data}, min F",
        ),
        make_cell(
            f"partial rank correlation of min F and gap given -log parameters {over}",
            "all kinds",
            None,
            None,
            beyond,
            holds=beyond.above_zero(),
            group=f"{data}, beyond the parameters",
        ),
    ]


def _with_minima(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the runs over widths of every data set, joined to the minimum potentials of their structures."""
    runs = HybridRuns(frame, WIDTH)
    found = minima_of(frame, [WIDTH_MINIMUM])
    if runs.runs.empty or found.empty:
        return
    minima = found.sort_values("f_min", kind="stable").drop_duplicates(KEY)[[*KEY, "f_min"]]
    rows = runs.runs.drop(columns="f_min", errors="ignore").merge(minima, on=KEY)
    for data, own in rows.groupby("data.name", sort=True):
        runs.require_one(own, ["network.skip", *KEY])
        yield str(data), own


def _family(rows: pd.DataFrame, metric: str) -> Family | None:
    """Return a metric over structures with their predictors; None for too few of them, or of different potentials."""
    table = aligned(rows, ["network.skip", *KEY], [metric])[metric]
    if table.shape[1] < STRUCTURES:
        return None
    known = rows.drop_duplicates(["network.skip", *KEY]).set_index(["network.skip", *KEY]).loc[list(table.columns)]
    f_min, parameters = (known[name].to_numpy(np.float64) for name in ("f_min", "network_parameters"))
    if len(np.unique(f_min)) < LEVELS:
        return None
    return Family(table, f_min, np.log2(parameters))


def inference_falls(frame: pd.DataFrame) -> list[Cell]:
    """Return H4's cells: the objective falls sweep by sweep, and every solver's long run reaches one minimum."""
    nets = _safe_nets(trained_trials(frame, [DEPTH, STEP, WIDTH, ROBUST]))
    cells: list[Cell] = []
    held: list[bool] = []
    for solver, rows in nets.groupby("solver.name", sort=True) if len(nets) else ():
        rises = _known(pd.Series([_rise(row) for row in rows.to_dict("records")]))
        if len(rises):
            fell = [bool(rise <= ROUNDING) for rise in rises]
            counts = solver in DESCENT
            held += fell if counts else []
            part = f"nets whose objective never rises by more than {ROUNDING:g} (share of {len(fell)}, wants 1)"
            role = Role.HEADLINE if counts else Role.BESIDE
            cells.append(_share_of_nets(f"{solver}, every sweep", part, str(solver), fell, 1.0, role))
            cells += _largest(str(solver), "largest rise of the objective", rises)
        ends = _known(rows["inference_own"]) if "inference_own" in rows else pd.Series(dtype=float)
        if len(ends):
            reached = [bool(end <= REACHED) for end in ends]
            part = f"nets whose long run ends within {REACHED:g} (share of {len(ends)}, wants >= {MOST_REACH})"
            cells.append(_share_of_nets(f"{solver}, long run", part, str(solver), reached, MOST_REACH, Role.COUNTED))
            cells += _largest(str(solver), "largest relative objective after the long run", ends)
    if held:
        share = float(np.mean(held))
        interval = Interval(share, share, share, len(held))
        part = "nets whose objective never rises, share over solvers"
        cells.append(make_cell(part, ", ".join(DESCENT), None, None, interval, holds=False, role=Role.EFFECT))
    return cells


def _safe_nets(nets: pd.DataFrame) -> pd.DataFrame:
    """Keep the nets at a fixed step that is at most the safe one."""
    if nets.empty:
        return nets
    learned = nets["solver.learn_step_size"].isin([True])
    absolute = nets["solver.step_rule"].eq("absolute") if "solver.step_rule" in nets else learned & False
    return nets[~learned & ~absolute & (nets["solver.step_size"].astype(float) <= SAFE_FACTOR)]


def _rise(row: dict[str, object]) -> float:
    """Return the largest rise of the mean objective between neighbouring sweeps, without a first sweep of step 1.

    The unit step of the first sweep makes it the feed-forward pass; it may be above the safe one and promises nothing.
    """
    if row.get("solver.first_step") != "unit":
        return _number(row.get("inference_rise"))
    sweeps, objective = row.get("inference_sweep"), row.get("inference_objective")
    if not (holds_list(sweeps) and holds_list(objective)):
        return float("nan")
    after = np.asarray(objective, np.float64)[np.asarray(sweeps, np.int64) >= 1]
    # An objective that is not a number has left their range upwards; from infinite to infinite is no rise.
    rises = np.diff(np.where(np.isnan(after), np.inf, after))
    return float(np.fmax(rises, 0.0).max(initial=0.0))


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))


def _known(values: pd.Series) -> pd.Series:
    """Return the values that are there; an infinite one is there, and is a violation."""
    return values.astype(np.float64).dropna()


def _share_of_nets(group: str, part: str, solver: str, held: Sequence[bool], wanted: float, role: Role) -> Cell:
    """Return the cell of a property that nets have or lack: all are looked at, so the interval is a point."""
    share = float(np.mean(held))
    interval = Interval(share, share, share, len(held))
    return make_cell(part, solver, None, None, interval, holds=share >= wanted, role=role, group=group)


def _largest(solver: str, part: str, values: pd.Series) -> list[Cell]:
    worst = float(values.max())
    interval = Interval(worst, worst, worst, len(values))
    return [make_cell(part, solver, None, None, interval, holds=False, role=Role.BESIDE, group=solver)]
