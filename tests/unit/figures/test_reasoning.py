from __future__ import annotations

from unrolled.figures.reasoning import FIGURES


def test_the_six_figures_are_there_in_order():
    assert list(FIGURES) == [
        "algorithm_properties",
        "training_error",
        "representation_error",
        "generalization_gap",
        "learned_step_size",
        "gap_against_n",
    ]
    assert all(name == figure.name for name, figure in FIGURES.items())


def test_every_figure_says_what_the_paper_says_and_where():
    for figure in FIGURES.values():
        assert figure.experiments
        assert all(name.startswith("reasoning/") for name in figure.experiments)
        for text in (figure.title, figure.message, figure.place, figure.look, figure.shows):
            assert len(text) > 10
