"""Every rule on invented records: where the claim is true, where the opposite is, and where records are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from tests.unit.claims.hybrid_factory import (
    DEPTH,
    ROBUST,
    STEP,
    WIDTH,
    WIDTH_MINIMUM,
    Change,
    Metrics,
    as_read,
    hybrid_records,
    true_minimum,
)

from unrolled.claims import ledger
from unrolled.claims.claim import Cell, Role, Verdict, judge, summarise, votes
from unrolled.claims.hybrid import CLAIMS
from unrolled.frames.structure import Structure

SMALL = {"steps": (1, 4, 16), "widths": (16, 32, 64)}
COUNTS_NETS = {"H4"}
"""Claims in which no seed appears."""


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A twentieth of the resamples: enough for effects far from their limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.claims.statistics.RESAMPLES", 499)
        yield


@pytest.fixture(scope="module")
def true_frame() -> pd.DataFrame:
    return hybrid_records(**SMALL)


@pytest.fixture(scope="module")
def true_cells(true_frame: pd.DataFrame) -> dict[str, list[Cell]]:
    return {name: claim.evaluate(true_frame) for name, claim in CLAIMS.items()}


def replaced(**formulas: Callable[[Metrics, int], object]) -> Change:
    """Return a change that sets metrics by formulas of (true metrics, k)."""

    def change(metrics: Metrics, structure: Structure, solver: str, k: int, size: float) -> Metrics:
        return metrics | {name: formula(metrics, k) for name, formula in formulas.items() if name in metrics}

    return change


def number(metrics: Metrics, name: str) -> float:
    return float(str(metrics[name]))


def fragile(metrics: Metrics, structure: Structure, solver: str, k: int, size: float) -> Metrics:
    """The more sweeps, the easier to attack."""
    if "robust_pgd_linf" not in metrics:
        return metrics
    curve = [0.1, *(0.3 + 0.02 * k for _ in range(4))]
    return metrics | {"robust_pgd_linf": curve, "robust_pgd_l2": curve}


def _rising(metrics: Metrics) -> list[float]:
    count = len(list(metrics["inference_sweep"]))  # type: ignore[call-overload]
    return [1.0 - 0.5 * (t % 2) for t in range(count)]


OPPOSITE: dict[str, Callable[[], pd.DataFrame]] = {
    "C7": lambda: hybrid_records(**SMALL, change=fragile),
    "H1": lambda: hybrid_records(**SMALL, change=replaced(train_loss=lambda m, k: 2 - number(m, "train_loss"))),
    "H2": lambda: hybrid_records(**SMALL, change=replaced(gap=lambda m, k: 2 - number(m, "gap"))),
    "H3": lambda: hybrid_records(**SMALL, minimum=lambda net: 0.5 - true_minimum(net)),
    "H4": lambda: hybrid_records(
        **SMALL, change=replaced(inference_objective=lambda m, k: _rising(m), inference_own=lambda m, k: 0.1)
    ),
    "H5": lambda: hybrid_records(**SMALL, change=replaced(robust_far_linf=lambda m, k: 0.6)),
}


def counting(cells: list[Cell], group: str = "") -> list[Cell]:
    return [cell for cell in cells if cell.role.counts and (cell.group or "").startswith(group)]


def without(frame: pd.DataFrame, *experiments: str) -> pd.DataFrame:
    return frame[[not set(experiments) & set(names) for names in frame["experiments"]]]


def only(frame: pd.DataFrame, experiment: str) -> pd.DataFrame:
    return frame[[experiment in names for names in frame["experiments"]]]


@pytest.mark.parametrize("name", list(CLAIMS))
def test_reproduced_where_the_claim_is_true(name: str, true_cells: dict[str, list[Cell]]) -> None:
    cells = true_cells[name]
    assert [cell for cell in counting(cells) if not cell.holds] == []
    assert judge(cells) is Verdict.REPRODUCED
    effect = summarise(cells)
    assert effect.low > 0
    assert effect.n >= 4


@pytest.mark.parametrize("name", list(CLAIMS))
def test_not_reproduced_where_the_opposite_is_true(name: str) -> None:
    assert judge(CLAIMS[name].evaluate(OPPOSITE[name]())) is Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("name", ["C7", "H1", "H2", "H3"])
def test_not_reproduced_where_nothing_depends_on_anything(name: str) -> None:
    generator = np.random.default_rng(5)

    def noise(metrics: Metrics, k: int) -> float:
        return 0.5 + 0.1 * generator.normal()

    def curve(metrics: Metrics, k: int) -> list[float]:
        return np.sort(generator.uniform(size=5)).tolist()

    change = replaced(train_loss=noise, gap=noise, test_error=noise, robust_pgd_linf=curve, robust_pgd_l2=curve)
    assert judge(CLAIMS[name].evaluate(hybrid_records(**SMALL, change=change))) is Verdict.NOT_REPRODUCED


@pytest.mark.parametrize("name", list(CLAIMS))
def test_one_seed_is_not_run_unless_nothing_is_drawn(name: str) -> None:
    cells = CLAIMS[name].evaluate(hybrid_records(**SMALL, seeds=[0]))
    assert judge(cells) is (Verdict.REPRODUCED if name in COUNTS_NETS else Verdict.NOT_RUN)


@pytest.mark.parametrize("name", list(CLAIMS))
def test_unfinished_runs_change_nothing(name: str, true_frame: pd.DataFrame, true_cells: dict[str, list[Cell]]) -> None:
    spoiled = true_frame[true_frame["seed"] == 0].copy()
    spoiled = spoiled.assign(trial=spoiled["trial"].str[::-1], seed=100, status="diverged", f_min=0.0, train_loss=9.0)
    assert CLAIMS[name].evaluate(pd.concat([spoiled, true_frame], ignore_index=True)) == true_cells[name]


@pytest.mark.parametrize("name", list(CLAIMS))
def test_files_and_lists_say_the_same(name: str, true_frame: pd.DataFrame, true_cells: dict[str, list[Cell]]) -> None:
    assert CLAIMS[name].evaluate(as_read(true_frame.sample(frac=1.0, random_state=1))) == true_cells[name]


@pytest.mark.parametrize(
    ("name", "lost"),
    [("C7", ROBUST), ("H1", STEP), ("H3", WIDTH), ("H3", WIDTH_MINIMUM), ("H5", ROBUST)],
)
def test_a_lost_experiment_is_not_run(name: str, lost: str, true_frame: pd.DataFrame) -> None:
    assert judge(CLAIMS[name].evaluate(without(true_frame, lost))) is Verdict.NOT_RUN


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("C7", ["attack_linf", "attack_l2"]),
        ("H1", ["convergence"]),
        ("H2", ["stability"]),
        ("H3", ["gap"]),
        ("H4", ["inference_objective"]),
        ("H5", ["robust_far_linf"]),
    ],
)
def test_lost_columns_are_not_run(name: str, columns: list[str], true_frame: pd.DataFrame) -> None:
    for frame in (true_frame.drop(columns=columns), true_frame.assign(**dict.fromkeys(columns))):
        assert judge(CLAIMS[name].evaluate(frame)) is Verdict.NOT_RUN


def test_the_ledger_names_what_is_missing(true_frame: pd.DataFrame) -> None:
    results = {result.claim.id: result for result in ledger.evaluate_claims(without(true_frame, STEP), "hybrid")}
    assert results["H2"].verdict is Verdict.REPRODUCED
    assert "no records of hybrid/step" in results["H2"].note
    assert results["H1"].verdict is Verdict.NOT_RUN
    assert {result.verdict for result in ledger.evaluate_claims(pd.DataFrame(), "hybrid")} == {Verdict.NOT_RUN}


def test_h1_places_are_numbers_of_sweeps_without_the_first(true_cells: dict[str, list[Cell]]) -> None:
    assert set(votes(true_cells["H1"])) == {f"mnist1d, k = {k}, hybrid/step" for k in (4, 16)}
    beside = [cell for cell in true_cells["H1"] if cell.role is Role.BESIDE and "hybrid/depth" in (cell.group or "")]
    assert {cell.part.rsplit("over ")[1] for cell in beside} == {"4 cells"}, "too few solvers to count"


def test_h1_is_the_rank_correlation_of_seed_means(true_frame: pd.DataFrame, true_cells: dict[str, list[Cell]]) -> None:
    rows = only(true_frame, STEP)
    rows = rows[rows["solver.steps"] == 4]
    means = rows.groupby(["solver.name", "solver.step_size"])[["convergence", "train_loss"]].mean()
    (cell,) = counting(true_cells["H1"], "mnist1d, k = 4,")
    assert cell.interval.effect == pytest.approx(spearmanr(*means.to_numpy().T).statistic, rel=1e-12)


def test_h2_counts_the_feedforward_net_once(true_frame: pd.DataFrame, true_cells: dict[str, list[Cell]]) -> None:
    (cell,) = counting(true_cells["H2"], "digits")
    assert cell.part.endswith("over 9 cells"), "four solvers at two k > 1, and one at k = 1"
    rows = only(true_frame, DEPTH)
    rows = rows[(rows["data.name"] == "digits") & ((rows["solver.steps"] > 1) | (rows["solver.name"] == "admm"))]
    rows = rows.assign(product=rows["stability"] * rows["convergence"])
    means = rows.groupby(["solver.name", "solver.steps"])[["product", "gap"]].mean()
    assert cell.interval.effect == pytest.approx(spearmanr(*means.to_numpy().T).statistic, rel=1e-12)


def test_h2_reports_each_factor_and_the_rival_beside(true_cells: dict[str, list[Cell]]) -> None:
    parts = {cell.part.split(" over ")[0] for cell in true_cells["H2"] if cell.role is Role.BESIDE}
    wanted = {f"rank correlation of {name} and gap" for name in ("Stab", "Cvg", "-train_loss")}
    assert parts == wanted | {"rank correlation of Stab x Cvg and gap_error"}


def test_h3_asks_for_more_than_the_parameters_say() -> None:
    def change(metrics: Metrics, structure: Structure, solver: str, k: int, size: float) -> Metrics:
        return metrics | {"gap": 0.9 - 0.05 * np.log2(structure.network_parameters(10))}

    outcome = {cell.group: cell.holds for cell in counting(CLAIMS["H3"].evaluate(hybrid_records(change=change)))}
    assert outcome["digits, beyond the parameters"] is False


def test_h3_needs_five_structures() -> None:
    few = hybrid_records(steps=(4,), widths=(16,), data=("digits",))
    assert judge(CLAIMS["H3"].evaluate(few)) is Verdict.NOT_RUN


def test_h3_is_not_tested_where_all_minima_are_zero(true_frame: pd.DataFrame) -> None:
    zero = true_frame.assign(f_min=true_frame["f_min"] * 1e-6)
    assert CLAIMS["H3"].evaluate(zero) == []


def test_h4_finds_a_single_net_that_rises(true_frame: pd.DataFrame) -> None:
    def outcome(rise: float, first: bool = False) -> bool | None:
        frame = true_frame.copy()
        chosen = (frame["solver.name"] == "ista") & (frame["solver.steps"] == 4) & (frame["solver.step_size"] == 1)
        at = frame.index[chosen & frame["train_loss"].notna()][0]
        curve = list(frame.at[at, "inference_objective"])
        curve[1 if first else 3] = curve[0 if first else 2] + rise
        frame.at[at, "inference_objective"] = curve
        return {cell.group: cell.holds for cell in counting(CLAIMS["H4"].evaluate(frame))}["ista, every sweep"]

    assert outcome(0.5e-5), "rounding of 32-bit weights"
    assert not outcome(2e-5)
    assert not outcome(np.inf)
    assert not outcome(np.nan), "no number is a rise, too"
    assert outcome(1.0, first=True), "the unit step of the first sweep promises nothing"


def test_h4_reads_the_recorded_rise_where_the_first_step_is_safe(true_frame: pd.DataFrame) -> None:
    frame = true_frame.assign(**{"solver.first_step": "safe"})
    assert judge(CLAIMS["H4"].evaluate(frame)) is Verdict.REPRODUCED
    for rise in (0.1, np.inf):
        rose = frame.assign(inference_rise=frame["inference_rise"].where(frame["solver.name"] != "ista", rise))
        outcome = {cell.group: cell.holds for cell in counting(CLAIMS["H4"].evaluate(rose))}
        assert not outcome["ista, every sweep"]
        assert outcome["block_prox, every sweep"]


@pytest.mark.parametrize("column", ["solver.step_size", "solver.learn_step_size", "solver.step_rule"])
def test_h4_looks_at_safe_steps_only(column: str, true_frame: pd.DataFrame) -> None:
    value = {"solver.step_size": 1.5, "solver.learn_step_size": True, "solver.step_rule": "absolute"}[column]
    assert CLAIMS["H4"].evaluate(true_frame.assign(**{column: value})) == []


def test_h4_allows_one_net_in_twenty_to_be_slow(true_frame: pd.DataFrame) -> None:
    chosen = (true_frame["solver.name"] == "admm") & (true_frame["solver.step_size"] <= 1)
    admm = true_frame.index[chosen]

    def holds(share: float) -> bool | None:
        frame = true_frame.copy()
        frame.loc[admm[: int(share * len(admm))], "inference_own"] = 0.5
        return {cell.group: cell.holds for cell in counting(CLAIMS["H4"].evaluate(frame))}["admm, long run"]

    assert holds(0.04)
    assert not holds(0.1)
