"""Entries of the figures on deep frames, and what they select."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.frames_factory import (
    CONVOLUTIONAL,
    CONVOLUTIONAL_MINIMUM,
    FULLY_CONNECTED,
    FULLY_CONNECTED_MINIMUM,
    classified,
    frames_records,
    minimised,
)

from unrolled.figures.frames import FIGURES
from unrolled.figures.render import render_figures
from unrolled.figures.save import read_metadata
from unrolled.figures.spec import UndrawableError
from unrolled.frames.structure import build


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return frames_records(widest=(8, 16, 32), filters=(4, 8), depths=(1, 3, 5), seeds=range(3))


def test_the_six_figures_are_there_in_order() -> None:
    assert list(FIGURES) == [
        "gram_patterns",
        "coherence_and_potential",
        "error_against_minimum",
        "parameter_efficiency",
        "depth",
        "potential_in_training",
    ]
    assert all(name == figure.name for name, figure in FIGURES.items())


def test_every_figure_says_what_the_papers_say_and_where() -> None:
    for figure in FIGURES.values():
        assert figure.experiments
        assert all(name.startswith("frames/") for name in (*figure.experiments, *figure.untrained))
        for text in (figure.title, figure.message, figure.place, figure.look, figure.shows):
            assert len(text) > 10
            assert "  " not in text


def as_read(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records as a file gives them: arrays for lists, None where there is none."""
    lists = ["gram", "gram_pattern", "gram_sizes", "curve_epoch", "curve_potential", "curve_train_loss"]
    return records.assign(
        **{name: [np.asarray(v) if isinstance(v, list) else None for v in records[name]] for name in lists}
    )


def test_all_are_drawn_and_drawn_again_alike_from_shuffled_files(records: pd.DataFrame, tmp_path: Path) -> None:
    first = render_figures(records, tmp_path / "a", "frames")
    assert {file.name: file.reason for file in first} == dict.fromkeys(FIGURES)
    second = render_figures(as_read(records.sample(frac=1.0, random_state=1)), tmp_path / "b", "frames")
    for one, two in zip(first, second, strict=True):
        assert one.paths[0].read_bytes() == two.paths[0].read_bytes(), one.name
        shown = FIGURES[one.name].select(records)
        assert read_metadata(one.paths[1])["trials"] == sorted(shown["trial"])


def test_the_smallest_run_can_be_drawn(tmp_path: Path) -> None:
    """One seed, few nets, minima of 0, one epoch: as a smoke run may leave them."""
    small = frames_records(data=("digits",), widest=(8,), filters=(4,), depths=(1,), seeds=[0])
    small["f_min"] = small["f_min"].where([CONVOLUTIONAL_MINIMUM not in names for names in small["experiments"]], 0.0)
    for column in ("curve_epoch", "curve_potential"):
        small[column] = [value[:1] if isinstance(value, list) else None for value in small[column]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = render_figures(small, tmp_path, "frames")
    assert {file.name: file.reason for file in files} == dict.fromkeys(FIGURES)
    assert all("n = 1 training seed, so no interval" in file.caption for file in files[2:])


def test_selection_keeps_the_best_rate_and_all_minima_of_trained_nets() -> None:
    net, other = build("chain", 64, (8, 16)), build("chain", 64, (16, 32))
    rows = [row for lr in (1e-3, 1e-4) for row in classified(FULLY_CONNECTED, net, "digits", lr=lr)]
    rows += [minimised(FULLY_CONNECTED_MINIMUM, each, "digits") for each in (net, other)]
    figure = FIGURES["error_against_minimum"]
    chosen = figure.select(pd.DataFrame(rows))
    assert set(chosen["optim.lr"].dropna()) == {1e-3}
    assert len(chosen) == 2 * 4 + 1, "two weights, four seeds, one minimum"
    assert "n = 4 training seeds" in figure.caption(chosen)


def test_regularised_convolutional_nets_are_left_out(records: pd.DataFrame) -> None:
    both = records.copy()
    convolutional = [CONVOLUTIONAL in names for names in both["experiments"]]
    half = both[convolutional].assign(**{"optim.potential_weight": 0.1})
    half = half.assign(trial=half["trial"].str[::-1])
    for name in ("depth", "parameter_efficiency"):
        chosen = FIGURES[name].select(pd.concat([both, half], ignore_index=True))
        assert len(chosen) == len(FIGURES[name].select(both))
        with pytest.raises(UndrawableError, match="run potential weight 0"):
            FIGURES[name].select(pd.concat([both[~np.array(convolutional)], half], ignore_index=True))


@pytest.mark.parametrize("name", list(FIGURES))
def test_missing_records_give_a_reason(name: str, records: pd.DataFrame) -> None:
    figure = FIGURES[name]
    lost = figure.experiments[0]
    rest = records[[lost not in names for names in records["experiments"]]]
    with pytest.raises(UndrawableError, match=f"no records of {lost}: run"):
        figure.select(rest)
    with pytest.raises(UndrawableError, match="no usable run"):
        figure.select(records.assign(status="failed"))
    with pytest.raises(UndrawableError, match="no records of"):
        figure.select(pd.DataFrame())


@pytest.mark.parametrize("name", ["error_against_minimum", "parameter_efficiency", "depth"])
def test_missing_minima_give_a_reason_that_names_their_experiment(name: str, records: pd.DataFrame) -> None:
    figure = FIGURES[name]
    rest = records[[figure.untrained[0] not in names for names in records["experiments"]]]
    with pytest.raises(UndrawableError, match=f"no finite value of f_min .* {figure.untrained[0]}"):
        figure.select(rest)


def test_other_minima_than_of_the_trained_nets_give_a_reason(records: pd.DataFrame, tmp_path: Path) -> None:
    net, other = build("chain", 64, (8, 16)), build("chain", 64, (16, 32))
    rows = [*classified(FULLY_CONNECTED, net, "digits"), minimised(FULLY_CONNECTED_MINIMUM, other, "digits")]
    files = {file.name: file for file in render_figures(pd.DataFrame(rows), tmp_path, "frames")}
    assert "f_min" in (files["error_against_minimum"].reason or "")
    assert files["coherence_and_potential"].reason is None


def test_no_gram_matrix_gives_a_reason(records: pd.DataFrame) -> None:
    with pytest.raises(UndrawableError, match="only small fully connected structures"):
        FIGURES["gram_patterns"].select(records.assign(gram=None))
