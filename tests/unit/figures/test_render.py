from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.unit.figures.factory import synthetic_records

from unrolled.figures.reasoning import FIGURES
from unrolled.figures.render import THEORIES, figures_of, render_figures
from unrolled.figures.save import read_metadata
from unrolled.records.store import RecordStore

SCRIPT = Path(__file__).parents[3] / "scripts" / "plot.py"


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    return synthetic_records(steps=(2, 5), widths=(16,), seeds=range(2))


@pytest.fixture(scope="module")
def drawn(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return folder, render_figures(small, folder, "reasoning")


def test_every_figure_is_drawn_in_both_formats(drawn):
    folder, files = drawn
    assert [file.name for file in files] == list(FIGURES)
    for file in files:
        assert file.reason is None
        assert [path.relative_to(folder).as_posix() for path in file.paths] == [
            f"reasoning/{file.name}.png",
            f"reasoning/{file.name}.svg",
        ]
    assert len(list(folder.rglob("*"))) == 1 + 2 * len(FIGURES), "no temporary file stays"


def test_drawing_again_from_shuffled_records_gives_the_same_bytes(drawn, small, tmp_path):
    _, files = drawn
    again = render_figures(small.sample(frac=1.0, random_state=1), tmp_path, "reasoning")
    for first, second in zip(files, again, strict=True):
        for one, two in zip(first.paths, second.paths, strict=True):
            assert one.read_bytes() == two.read_bytes(), one.name


def test_files_name_the_trials_they_show(drawn, small):
    _, files = drawn
    for file in files:
        shown = FIGURES[file.name].select(small)
        assert read_metadata(file.paths[0])["trials"] == sorted(shown["trial"])
        assert read_metadata(file.paths[1])["caption"] == file.caption


def test_changed_records_change_the_bytes(drawn, small, tmp_path, monkeypatch):
    folder, _ = drawn
    only = {"learned_step_size": FIGURES["learned_step_size"]}
    monkeypatch.setattr("unrolled.figures.render.THEORIES", {"reasoning": only})
    changed = small.assign(learned_step=small["learned_step"] * 0.9)
    (file,) = render_figures(changed, tmp_path, "reasoning")
    assert file.paths[0].read_bytes() != (folder / "reasoning" / "learned_step_size.png").read_bytes()


def test_missing_experiments_give_a_reason_and_old_files_go(small, tmp_path):
    stale = tmp_path / "reasoning" / "training_error.png"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    kept = small[[e == ["reasoning/learned_step"] for e in small["experiments"]]].assign(learned_step=np.nan)
    files = render_figures(kept, tmp_path, "reasoning")
    reasons = {file.name: file.reason for file in files}
    assert "no records of reasoning/generalization" in reasons["training_error"]
    assert "no finite value of learned_step" in reasons["learned_step_size"]
    assert all(reasons.values())
    assert all(file.paths == () for file in files)
    assert not stale.exists()


def test_empty_records_give_reasons(tmp_path):
    files = render_figures(pd.DataFrame(), tmp_path, "all")
    assert len(files) == sum(map(len, THEORIES.values()))
    assert all("no records" in file.reason for file in files)


def test_unknown_theory_lists_the_known_ones():
    assert [figure.name for figure in figures_of("reasoning")] == list(FIGURES)
    assert len(figures_of("all")) == sum(len(figures_of(theory)) for theory in THEORIES)
    assert len({figure.name for figure in figures_of("all")}) == len(figures_of("all")), "the page names them once"
    with pytest.raises(ValueError, match="unknown theory 'chess': expected all, reasoning"):
        figures_of("chess")


def _main(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    spec = importlib.util.spec_from_file_location("plot_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["plot.py", *arguments])
    return module.main()


def test_script_draws_what_is_there_and_says_what_is_not(small, tmp_path, monkeypatch, capsys):
    learned = small[[e == ["reasoning/learned_step"] for e in small["experiments"]]]
    RecordStore(tmp_path / "records").write(learned.assign(pack="p"))
    assert _main("--results", str(tmp_path), monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "drawn" in printed
    assert "not drawn  training_error: no records" in printed
    assert (tmp_path / "figures" / "reasoning" / "learned_step_size.svg").is_file()


def test_script_without_records_fails_with_advice(tmp_path, monkeypatch, capsys):
    assert _main("--results", str(tmp_path / "none"), monkeypatch=monkeypatch) == 1
    assert "make reproduce" in capsys.readouterr().err
