from __future__ import annotations

import matplotlib as mpl
import pytest

from unrolled.figures.style import INFERENCE_STYLES, OKABE_ITO, SOLVER_STYLES, figure_style


def test_settings_are_restored_even_after_an_error():
    before = dict(mpl.rcParams)

    def fail_inside() -> None:
        with figure_style():
            assert mpl.rcParams["svg.hashsalt"] == "unrolled"
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert dict(mpl.rcParams) == before


def test_a_users_settings_do_not_reach_the_figures():
    with mpl.rc_context({"lines.dash_capstyle": "round", "axes.labelpad": 40.0}), figure_style():
        assert mpl.rcParams["axes.labelpad"] == mpl.rcParamsDefault["axes.labelpad"]
        assert mpl.rcParams["lines.dash_capstyle"] == mpl.rcParamsDefault["lines.dash_capstyle"]


@pytest.mark.parametrize("field", ["label", "color", "marker", "linestyle"])
def test_solvers_differ_in_every_way_a_reader_can_see(field):
    for styles, count in ((SOLVER_STYLES, 3), (INFERENCE_STYLES, 4)):
        values = [getattr(style, field) for style in styles.values()]
        assert len(set(values)) == len(styles) == count


def test_colours_come_from_the_palette():
    assert {style.color for style in (*SOLVER_STYLES.values(), *INFERENCE_STYLES.values())} <= set(OKABE_ITO.values())
