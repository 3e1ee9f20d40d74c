"""From cells to votes to a verdict."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from unrolled.claims.claim import Cell, Role, Verdict, beside, explain, judge, mean_cell, summarise, votes
from unrolled.claims.statistics import Interval


def cell(k: int, value: float, role: Role = Role.HEADLINE, *, width: int = 16, seeds: int = 3) -> Cell:
    return mean_cell("part", "gd", width, k, pd.Series([value] * seeds, dtype=float), role=role)


@pytest.mark.parametrize(
    ("holding", "failing", "verdict"),
    [
        (3, 0, Verdict.REPRODUCED),
        (2, 1, Verdict.PARTLY),
        (4, 2, Verdict.PARTLY),
        (5, 3, Verdict.NOT_REPRODUCED),
        (1, 1, Verdict.NOT_REPRODUCED),
        (0, 3, Verdict.NOT_REPRODUCED),
        (0, 0, Verdict.NOT_RUN),
    ],
)
def test_verdict_counts_two_thirds(holding: int, failing: int, verdict: Verdict) -> None:
    cells = [cell(k, 1.0) for k in range(holding)] + [cell(100 + k, -1.0) for k in range(failing)]
    assert judge(cells) is verdict


def test_a_place_holds_only_if_all_its_conditions_do() -> None:
    cells = [cell(1, 1.0), cell(1, -1.0, Role.COUNTED), cell(1, 1.0, width=32), cell(2, 1.0)]
    assert votes(cells) == {(16, 1): False, (32, 1): True, (16, 2): True}
    assert judge(cells) is Verdict.PARTLY


def test_cells_beside_do_not_count() -> None:
    failing = beside([cell(2, -1.0)], "raw gap")
    assert failing[0].part == "raw gap: part"
    assert failing[0].holds is None
    assert judge([cell(1, 1.0), *failing]) is Verdict.REPRODUCED
    assert judge(failing) is Verdict.NOT_RUN


def test_counted_cells_alone_do_not_make_a_verdict() -> None:
    assert judge([cell(1, 1.0, Role.COUNTED)]) is Verdict.NOT_RUN


def test_one_seed_is_not_tested() -> None:
    single = cell(2, 1.0, seeds=1)
    assert single.holds is None
    assert judge([single]) is Verdict.NOT_RUN
    assert "fewer than 2 paired seeds" in explain([single])
    assert judge([cell(1, 1.0), single]) is Verdict.REPRODUCED
    assert "1 left out" in explain([cell(1, 1.0), single])


def test_a_place_with_an_untested_condition_is_left_out() -> None:
    cells = [cell(1, 1.0), cell(2, 1.0), cell(2, -1.0, Role.COUNTED, seeds=1)]
    assert votes(cells) == {(16, 1): True}
    assert summarise(cells).effect == 1.0


def test_effect_is_the_mean_over_cells_of_seeds_that_all_have() -> None:
    first = mean_cell("a", "gd", 16, 1, pd.Series({1: 1.0, 2: 2.0, 3: 3.0}), role=Role.HEADLINE)
    second = mean_cell("a", "gd", 16, 2, pd.Series({2: 4.0, 3: 5.0, 4: 100.0}), role=Role.HEADLINE)
    other = mean_cell("b", "gd", 16, 2, pd.Series({2: 50.0, 3: 50.0}), role=Role.COUNTED)
    assert summarise([first, second, other]) == Interval(3.5, 3.0, 4.0, 2)


def grouped(group: str, value: float, role: Role = Role.HEADLINE) -> Cell:
    return mean_cell("part", "with", None, None, pd.Series([value] * 3), role=role, group=group)


def test_cells_of_a_group_are_one_vote() -> None:
    cells = [grouped("digits", 1.0), grouped("digits", -1.0, Role.COUNTED), grouped("cifar10", 1.0)]
    assert votes(cells) == {"digits": False, "cifar10": True}
    assert explain(cells) == "tested: cifar10; digits; 1 of 2 conditions hold"
    assert cells[0].label == "digits: part"
    assert cell(1, 1.0).label == "part"
    many = [grouped(f"structure {i}", 1.0) for i in range(7)]
    assert explain(many) == "tested at 7 places; 7 of 7 conditions hold"


def test_an_effect_cell_is_the_effect_and_does_not_count() -> None:
    effect = grouped("all", -5.0, Role.EFFECT)
    cells = [grouped("digits", 1.0), grouped("cifar10", 1.0), effect]
    assert effect.holds is None
    assert judge(cells) is Verdict.REPRODUCED
    assert summarise(cells).effect == -5.0
    assert judge([effect]) is Verdict.NOT_RUN
    assert math.isnan(summarise([effect]).effect), "no effect without a tested headline"


def test_no_cells_no_effect() -> None:
    interval = summarise([])
    assert interval.n == 0
    assert math.isnan(interval.effect)
    assert explain([]).startswith("not run")


def test_note_lists_what_was_tested() -> None:
    assert explain([cell(5, 1.0), cell(2, -1.0)]) == "k tested: 2, 5; widths tested: 16; 1 of 2 conditions hold"
