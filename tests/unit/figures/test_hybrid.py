"""Entries of the figures on hybrid nets, and what they select."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import ROBUST, STEP, WIDTH, WIDTH_MINIMUM, as_read, hybrid_records

from unrolled.figures.hybrid import FIGURES
from unrolled.figures.render import render_figures
from unrolled.figures.save import read_metadata
from unrolled.figures.spec import UndrawableError


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return hybrid_records(steps=(1, 4, 16), sizes=(0.5, 1.0), widths=(32, 64), seeds=range(2))


@pytest.fixture(scope="module")
def tiny() -> pd.DataFrame:
    """Few panels, as drawing takes a second a picture."""
    return hybrid_records(data=("mnist1d",), steps=(1, 4), sizes=(0.5, 1.0), widths=(32, 64), seeds=range(2))


def without(frame: pd.DataFrame, experiment: str) -> pd.DataFrame:
    return frame[[experiment not in names for names in frame["experiments"]]]


def test_the_seven_figures_are_there_in_order() -> None:
    assert list(FIGURES) == [
        "unrolling_depth",
        "step_heatmap",
        "width_skip",
        "inference",
        "robustness",
        "data_sets",
        "masking",
    ]
    assert all(name == figure.name for name, figure in FIGURES.items())


def test_every_figure_says_what_the_papers_say_and_where() -> None:
    for figure in FIGURES.values():
        assert figure.experiments
        assert all(name.startswith("hybrid/") for name in (*figure.experiments, *figure.untrained))
        for text in (figure.title, figure.message, figure.place, figure.look, figure.shows):
            assert len(text) > 10
            assert "  " not in text


def test_all_are_drawn_and_drawn_again_alike_from_shuffled_files(tiny: pd.DataFrame, tmp_path: Path) -> None:
    first = render_figures(tiny, tmp_path / "a", "hybrid")
    assert {file.name: file.reason for file in first} == dict.fromkeys(FIGURES)
    second = render_figures(as_read(tiny.sample(frac=1.0, random_state=1)), tmp_path / "b", "hybrid")
    for one, two in zip(first, second, strict=True):
        assert one.paths[0].read_bytes() == two.paths[0].read_bytes(), one.name
        shown = FIGURES[one.name].select(tiny)
        assert read_metadata(one.paths[1])["trials"] == sorted(shown["trial"])


def test_the_smallest_run_can_be_drawn(tmp_path: Path) -> None:
    """One seed, one k, one width, one step size, attacks in one norm: as a smoke run may leave them."""
    small = hybrid_records(data=("mnist1d",), steps=(1,), sizes=(1.0,), widths=(32,), seeds=[0])
    small = small.assign(attack_l2=None, robust_pgd_l2=None, robust_random_linf=None)
    small["attack_steps"] = [[20] if isinstance(value, list) else None for value in small["attack_steps"]]
    small["robust_by_steps_linf"] = [[0.5] if isinstance(v, list) else None for v in small["robust_by_steps_linf"]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = render_figures(small, tmp_path, "hybrid")
    assert {file.name: file.reason for file in files} == dict.fromkeys(FIGURES)
    assert all("n = 1 training seed, so no interval" in file.caption for file in files)


def test_captions_say_where_intervals_are_not_drawn(records: pd.DataFrame) -> None:
    for name, figure in FIGURES.items():
        caption = figure.caption(figure.select(records))
        said = "intervals are not drawn" if name == "step_heatmap" else "with its 95 % bootstrap interval"
        assert f"n = 2 training seeds{'; ' if name == 'step_heatmap' else ' '}{said}." in caption


def test_inference_is_shown_at_the_middle_k_above_one(records: pd.DataFrame) -> None:
    figure = FIGURES["inference"]
    assert set(figure.select(records)["solver.steps"]) == {16}
    assert set(figure.select(records[records["solver.steps"] != 16])["solver.steps"]) == {4}
    assert set(figure.select(records[records["solver.steps"] == 1])["solver.steps"]) == {1}


@pytest.mark.parametrize("name", list(FIGURES))
def test_missing_records_give_a_reason(name: str, records: pd.DataFrame) -> None:
    figure = FIGURES[name]
    lost = figure.experiments[0]
    with pytest.raises(UndrawableError, match=f"no records of {lost}: run"):
        figure.select(without(records, lost))
    with pytest.raises(UndrawableError, match="no usable run"):
        figure.select(records.assign(status="failed"))
    with pytest.raises(UndrawableError, match="no records of"):
        figure.select(pd.DataFrame())


@pytest.mark.parametrize("name", ["robustness", "data_sets", "masking"])
def test_nets_that_were_not_attacked_give_a_reason(name: str, records: pd.DataFrame) -> None:
    attacked = [column for column in records if column.startswith(("robust_", "attack_"))]
    for frame in (records.drop(columns=attacked), records.assign(**dict.fromkeys(attacked))):
        with pytest.raises(UndrawableError, match=r"set attack.linf or attack.l2"):
            FIGURES[name].select(frame)


def test_a_solver_without_a_style_is_named(tiny: pd.DataFrame) -> None:
    other = tiny.assign(**{"solver.name": tiny["solver.name"].replace("fista", "newton")})
    with pytest.raises(UndrawableError, match="no style for solver newton"):
        FIGURES["step_heatmap"].layout(FIGURES["step_heatmap"].select(other))


def test_experiments_are_those_of_the_claims() -> None:
    read = {name for figure in FIGURES.values() for name in (*figure.experiments, *figure.untrained)}
    assert read == {"hybrid/depth", STEP, WIDTH, WIDTH_MINIMUM, ROBUST}
