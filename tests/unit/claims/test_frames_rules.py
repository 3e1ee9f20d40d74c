"""Every rule on invented records: where the claim is true, where the opposite is, and where records are missing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.frames_factory import (
    FULLY_CONNECTED,
    GRAM,
    KIND_FACTOR,
    LAMBDA,
    WEIGHT,
    frames_records,
    true_error,
    true_minimum,
)

from unrolled.claims import frames_minimum_rules as minimum_rules
from unrolled.claims import frames_rules as rules
from unrolled.claims import ledger
from unrolled.claims.claim import Cell, Role, Verdict, explain, judge, summarise, votes
from unrolled.claims.frames import CLAIMS
from unrolled.config.check import experiment_names
from unrolled.frames.structure import Structure


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A tenth of the resamples: enough for effects far from their limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrolled.claims.statistics.RESAMPLES", 999)
        yield


SMALL = {"widest": (8, 16, 32, 64), "filters": (4, 8), "depths": (1, 5, 10)}
EXACT = {"C3", "C4", "C10"}
"""Claims on minimum potentials alone, in which no seed appears."""


def swapped_weights(structure: Structure, weight: float) -> float:
    return true_error(structure, 0.0 if structure.convolutional or weight > 0 else LAMBDA)


def swapped_kinds(structure: Structure, weight: float) -> float:
    """The residual nets turn up, the chains fall."""
    turn = 0.004 * structure.layers
    return 0.1 + (turn if structure.kind == "residual" else -turn)


def against_potential(structure: Structure, weight: float) -> float:
    return 0.5 - true_minimum(structure)


def inverted_kinds(structure: Structure) -> float:
    factor = KIND_FACTOR[structure.kind]
    return true_minimum(structure) / factor**2


def growing_with_width(structure: Structure) -> float:
    return 0.01 * math.sqrt(max(structure.sizes[1:])) * structure.layers


def rising(frame: pd.DataFrame) -> pd.DataFrame:
    """Potentials that start at the minimum, rise in training and exceed the coherence."""
    start = frame["f_initial"]
    return frame.assign(f_trained=1.5 * start, coherence_trained=start, f_random=frame["f_min"])


OPPOSITE: dict[str, Callable[[], pd.DataFrame]] = {
    "C1": lambda: frames_records(**SMALL, error=swapped_weights),
    "C2": lambda: frames_records(**SMALL, error=swapped_weights),
    "C3": lambda: frames_records(**SMALL, minimum=inverted_kinds),
    "C4": lambda: frames_records(**SMALL, minimum=inverted_kinds),
    "C5": lambda: frames_records(**SMALL, error=swapped_kinds),
    "C6": lambda: frames_records(**SMALL, error=against_potential),
    "C8": lambda: frames_records(**SMALL, error=against_potential),
    "C9": lambda: rising(frames_records(**SMALL)),
    "C10": lambda: frames_records(**SMALL, minimum=growing_with_width),
}


@pytest.fixture(scope="module")
def true_frame() -> pd.DataFrame:
    return frames_records(**SMALL)


@pytest.fixture(scope="module")
def true_cells(true_frame: pd.DataFrame) -> dict[str, list[Cell]]:
    return {name: claim.evaluate(true_frame) for name, claim in CLAIMS.items()}


def counting(cells: list[Cell], group: str = "") -> list[Cell]:
    return [cell for cell in cells if cell.role.counts and (cell.group or "").startswith(group)]


def without(frame: pd.DataFrame, *experiments: str) -> pd.DataFrame:
    return frame[[not set(experiments) & set(names) for names in frame["experiments"]]]


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


@pytest.mark.parametrize("name", list(CLAIMS))
def test_one_seed_is_not_run_unless_nothing_is_drawn(name: str, true_cells: dict[str, list[Cell]]) -> None:
    cells = CLAIMS[name].evaluate(frames_records(**SMALL, seeds=[0]))
    if name in EXACT:
        assert cells == true_cells[name]
    else:
        assert judge(cells) is Verdict.NOT_RUN


@pytest.mark.parametrize("name", list(CLAIMS))
def test_unfinished_runs_change_nothing(name: str, true_frame: pd.DataFrame, true_cells: dict[str, list[Cell]]) -> None:
    spoiled = true_frame[true_frame["seed"] == 0].copy()
    spoiled = spoiled.assign(trial=spoiled["trial"].str[::-1], seed=100, status="diverged", f_min=0.0, test_error=9.0)
    assert CLAIMS[name].evaluate(pd.concat([spoiled, true_frame], ignore_index=True)) == true_cells[name]


@pytest.mark.parametrize("name", list(CLAIMS))
def test_lost_experiments_are_not_run_or_leave_what_is_there(name: str, true_frame: pd.DataFrame) -> None:
    lost = CLAIMS[name].experiments[0]
    cells = CLAIMS[name].evaluate(without(true_frame, lost))
    if name == "C3":  # equal widths are in the convolutional minima too
        assert {cell.group.split(",")[1] for cell in counting(cells) if cell.group} == {" 1"}
    elif name == "C8":
        assert set(votes(cells)) == {"digits, convolutional dense", "digits, convolutional residual"}
    else:
        assert judge(cells) is Verdict.NOT_RUN


def test_the_ledger_names_what_is_missing(true_frame: pd.DataFrame) -> None:
    results = {
        result.claim.id: result for result in ledger.evaluate_claims(without(true_frame, GRAM, WEIGHT), "frames")
    }
    assert results["C3"].verdict is Verdict.REPRODUCED
    assert "no records of frames/gram" in results["C3"].note
    assert "frames/weight" in results["C9"].note.partition("no records of ")[2]
    empty = ledger.evaluate_claims(pd.DataFrame(), "frames")
    assert {result.verdict for result in empty} == {Verdict.NOT_RUN}


def test_one_data_set_is_tested_alone(true_frame: pd.DataFrame) -> None:
    cells = CLAIMS["C1"].evaluate(true_frame[true_frame["data.name"] == "mnist1d"])
    assert set(votes(cells)) == {"mnist1d"}
    assert explain(cells) == "tested: mnist1d; 1 of 1 conditions hold"
    assert summarise(cells) == counting(cells)[0].interval, "a single data set keeps its own interval"


def test_notes_name_few_places_and_count_many(true_cells: dict[str, list[Cell]]) -> None:
    assert explain(true_cells["C1"]) == "tested: digits; mnist1d; 2 of 2 conditions hold"
    places = len(votes(true_cells["C10"]))
    assert explain(true_cells["C10"]) == f"tested at {places} places; {places} of {places} conditions hold"


def test_cells_of_groups_are_written_with_their_group(true_frame: pd.DataFrame) -> None:
    table = ledger.cell_table(ledger.evaluate_claims(true_frame, "frames"))
    assert list(table) == list(ledger.CELL_COLUMNS)
    assert table["width"].isna().all()
    first = table[table["part"].str.startswith("digits: rank correlation of min F and error over 20 shapes (wants")]
    assert first[["claim", "n", "holds"]].to_numpy().tolist() == [["C1", 4, True]]


def test_c1_needs_twenty_shapes() -> None:
    few = CLAIMS["C1"].evaluate(frames_records(widest=(8, 16, 32), filters=()))
    assert judge(few) is Verdict.NOT_RUN
    assert {cell.role for cell in few} == {Role.BESIDE}


def test_c1_needs_more_than_a_high_correlation() -> None:
    """Without regularisation the errors follow min F as well: one of two conditions fails everywhere."""
    cells = CLAIMS["C1"].evaluate(frames_records(**SMALL, error=lambda net, weight: true_error(net, LAMBDA)))
    high, better = counting(cells)[:2]
    assert (high.holds, better.holds) == (True, False)
    assert judge(cells) is Verdict.NOT_REPRODUCED


def test_c1_reports_the_rival_and_what_is_left_beside_it(true_cells: dict[str, list[Cell]]) -> None:
    parts = {cell.part: cell.interval for cell in true_cells["C1"] if cell.solver == "with regularisation"}
    assert len(parts) == 6
    assert parts["Spearman, min F and error"].effect > parts["Spearman, -log parameters and error"].effect > 0.8
    given = parts["partial Spearman, -log parameters and error given min F"]
    assert given.effect < 0.5, "parameters say little beyond min F in these records"
    assert all(interval.n == 4 for interval in parts.values())


def test_c2_allows_a_small_loss_of_small_nets_and_no_large_one(true_frame: pd.DataFrame) -> None:
    def verdict(loss: float) -> list[bool | None]:
        def error(net: Structure, weight: float) -> float:
            return true_error(net, weight) + (loss if weight > 0 and net.parameters < 2000 else 0.0)

        cells = CLAIMS["C2"].evaluate(frames_records(**SMALL, data=("digits",), error=error))
        return [cell.holds for cell in counting(cells)]

    assert verdict(0.03) == [True, True]
    assert verdict(0.08) == [True, False]
    assert verdict(-0.03) == [True, False], "a gain of the small nets too"


def test_c3_compares_only_nets_that_can_differ(true_frame: pd.DataFrame) -> None:
    for changed in (
        true_frame.assign(f_min=true_frame["f_min"].where(true_frame["network.skip"] != "chain", 0.0)),
        true_frame[true_frame["network.skip"] != "chain"],
    ):
        assert judge(CLAIMS["C3"].evaluate(changed)) is Verdict.NOT_RUN


def test_c3_at_most_has_a_slack_and_below_has_none() -> None:
    def verdict(residual_all: float, residual: float) -> dict[str, bool | None]:
        factor = {"chain": 1.0, "residual": residual, "residual_all": residual_all, "dense": 0.5}
        return {cell.solver: cell.holds for cell in counting(CLAIMS["C3"].evaluate(_gram_only(factor)))}

    assert verdict(0.805, 0.8) == {
        "residual_all - dense": True,
        "residual - residual_all": True,
        "chain - residual": True,
    }
    assert verdict(0.82, 0.8)["residual - residual_all"] is False
    assert verdict(0.8, 1.0)["chain - residual"] is False


def _gram_only(factor: dict[str, float]) -> pd.DataFrame:
    frame = frames_records(**SMALL, seeds=[0])
    frame = frame[[GRAM in names for names in frame["experiments"]]]
    return frame.assign(f_min=[0.1 * factor[kind] for kind in frame["network.skip"]])


def test_c4_asks_for_two_thirds_of_the_pairs(true_frame: pd.DataFrame) -> None:
    shapes = sorted({tuple(pair) for pair in true_frame[["network.width", "network.depth"]].dropna().to_numpy()})
    assert len(shapes) == 6

    def holds(lost: int) -> bool | None:
        frame = true_frame.copy()
        for width, n in shapes[:lost]:
            here = (frame["network.width"] == width) & (frame["network.depth"] == n)
            frame.loc[here & (frame["network.skip"] == "residual"), "f_min"] = 1.0
        cells = CLAIMS["C4"].evaluate(frame)
        return next(cell.holds for cell in cells if cell.solver == "chain - residual")

    assert [holds(lost) for lost in range(4)] == [True, True, True, False]


def test_c5_needs_five_and_ten_blocks(true_frame: pd.DataFrame) -> None:
    for lost in (5, 10):
        assert judge(CLAIMS["C5"].evaluate(true_frame[true_frame["network.depth"] != lost])) is Verdict.NOT_RUN
    only_chain = true_frame[true_frame["network.skip"] == "chain"]
    assert {cell.solver for cell in counting(CLAIMS["C5"].evaluate(only_chain))} == {"chain"}


def test_c5_wants_the_margin() -> None:
    def error(net: Structure, weight: float) -> float:
        return 0.1 + (0.0015 * net.layers if net.kind == "chain" else 0.04)

    cells = counting(CLAIMS["C5"].evaluate(frames_records(**SMALL, data=(), error=error)))
    rise, ahead = (next(cell for cell in cells if cell.solver == name) for name in ("chain", "chain - residual"))
    assert rise.holds
    assert 0 < ahead.interval.effect < rules.MARGIN
    assert not ahead.holds


def test_c6_compares_with_the_number_of_parameters() -> None:
    def error(net: Structure, weight: float) -> float:
        """Parameters alone decide; min F follows the width more than the depth, so it ranks worse."""
        return 0.5 - 0.03 * math.log2(net.parameters)

    def minimum(net: Structure) -> float:
        return 0.1 / net.sizes[1] if net.kind == "residual" else true_minimum(net)

    cells = CLAIMS["C6"].evaluate(frames_records(**SMALL, error=error, minimum=minimum))
    outcome = {cell.group: cell.holds for cell in counting(cells)}
    assert outcome["digits, residual"] is True
    assert outcome["digits, against the parameters"] is False


def test_c6_and_c8_need_five_nets() -> None:
    few = frames_records(widest=(8, 16, 32), filters=(4, 8), depths=(1, 5))
    assert judge(CLAIMS["C6"].evaluate(few)) is Verdict.NOT_RUN
    assert not [cell for cell in CLAIMS["C8"].evaluate(few) if "convolutional" in (cell.group or "")]


def test_c8_names_every_family_once(true_cells: dict[str, list[Cell]]) -> None:
    assert sorted(map(str, votes(true_cells["C8"]))) == [
        "digits, convolutional dense",
        "digits, convolutional residual",
        "digits, fully connected",
        "mnist1d, fully connected",
    ]
    weights = {cell.solver for cell in counting(true_cells["C8"], "digits, fully connected")}
    assert weights == {"with regularisation"}


def test_c9_finds_a_single_dictionary_above_its_coherence(true_frame: pd.DataFrame) -> None:
    frame = true_frame.copy()
    first = frame.index[frame["f_trained"].notna()][0]
    frame.loc[first, "coherence_trained"] = frame.loc[first, "f_trained"] * (1 - 1e-5)
    (bound,) = counting(CLAIMS["C9"].evaluate(frame), "coherence")
    assert bound.holds, "rounding of 32-bit weights"
    frame.loc[first, "coherence_trained"] = frame.loc[first, "f_trained"] * 0.99
    (bound,) = counting(CLAIMS["C9"].evaluate(frame), "coherence")
    assert not bound.holds
    assert bound.interval.low < 0


def test_c9_effect_is_the_share_of_the_excess_that_training_removes(true_frame: pd.DataFrame) -> None:
    rows = true_frame[[FULLY_CONNECTED in names for names in true_frame["experiments"]]]
    rows = rows[rows["optim.potential_weight"] > 0]
    f_min = {
        (row["structure"], row["parameters"]): row["f_min"]
        for row in true_frame[true_frame["f_min"].notna()].to_dict("records")
    }
    shares: dict[tuple[str, int], list[float]] = {}
    for row in rows.to_dict("records"):
        low = f_min[row["structure"], row["parameters"]]
        low = 0.0 if low < 1e-4 else low
        share = (row["f_initial"] - row["f_trained"]) / (row["f_initial"] - low)
        shares.setdefault((row["data.name"], row["seed"]), []).append(share)
    expected = np.mean([np.mean(found) for found in shares.values()])
    assert summarise(CLAIMS["C9"].evaluate(true_frame)).effect == pytest.approx(expected, rel=1e-9)


def test_c10_closed_form_and_both_ways_to_grow(true_cells: dict[str, list[Cell]]) -> None:
    cells = true_cells["C10"]
    # Doubling all widths leaves 1 / sqrt(2), but for terms of order 1 / k_1.
    assert summarise(cells).effect == pytest.approx(1 - 1 / math.sqrt(2), abs=0.02)
    assert {cell.solver for cell in counting(cells)} == {"narrow - wide", "shallow - deep", "measured - closed form"}


def test_c10_leaves_overcomplete_first_layers_out() -> None:
    cells = CLAIMS["C10"].evaluate(frames_records(widest=(64, 128, 256), filters=(), data=("mnist1d",)))
    named = [cell.group or "" for cell in counting(cells) if "closed form" in (cell.group or "")]
    assert named
    assert all(int(group.split("k_1 = ")[1].split(",")[0]) <= 40 for group in named)


def test_constants_are_those_of_the_closed_form() -> None:
    for layers, c in minimum_rules.CLOSED_FORM.items():
        widths = [10_000 * 2**j for j in range(layers)]
        f2 = sum(later**2 / before - later for before, later in itertools.pairwise(widths))
        pairs = sum(k**2 for k in widths) + 2 * sum(a * b for a, b in itertools.pairwise(widths))
        assert f2 / pairs * widths[0] == pytest.approx(c, rel=1e-12)


def test_every_experiment_is_named_as_the_records_name_it() -> None:
    named = {name for claim in CLAIMS.values() for name in claim.experiments}
    assert named == {name for name in experiment_names() if name.startswith("frames/")}
