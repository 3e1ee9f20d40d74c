"""Every plotted point of the attacked nets against a plain loop over the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.unit.claims.hybrid_factory import RADII, ROBUST, hybrid_records
from tests.unit.figures.hybrid_panels import drawn, line, mean, own_rows

from unrolled.figures.style import INFERENCE_STYLES, OKABE_ITO


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return hybrid_records(steps=(1, 4, 16), sizes=(0.5, 1.0), widths=(32, 64), seeds=range(2))


def test_robust_accuracy_is_one_minus_the_error(records: pd.DataFrame) -> None:
    axes = drawn("robustness", records)
    assert [ax.get_title().split(", ")[0] for ax in axes[:, 0]] == ["digits", "mnist1d"]
    ax = axes[0, 3]
    assert "ell_2" in ax.get_title()
    assert ax.get_title().endswith("FISTA")
    for k, label in ((1, "$k$ = 1, feed-forward"), (16, "$k$ = 16")):
        x, y = line(ax, label)
        assert x.tolist() == list(RADII["l2"])
        rows = own_rows(records, ROBUST, data__name="digits", solver__name="fista", solver__steps=k)
        expected = [1 - mean(rows, "robust_pgd_l2", i) for i in range(5)]
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        colour = next(own.get_color() for own in ax.lines if own.get_label() == label)
        (dotted,) = (own for own in ax.lines if own.get_color() == colour and own.get_linestyle() == ":")
        expected = [1 - mean(rows, "robust_fgsm_l2", i) for i in range(5)]
        np.testing.assert_allclose(dotted.get_ydata(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("colour", "column", "entry"),
    [
        ("blue", "test_error", None),
        ("vermillion", "robust_pgd_linf", 2),
        ("orange", "robust_pgd_l2", 2),
        ("green", "gap_error", None),
    ],
)
def test_data_sets_show_errors_at_the_middle_radius(
    records: pd.DataFrame, colour: str, column: str, entry: int | None
) -> None:
    ax = drawn("data_sets", records).flat[1]
    assert ax.get_title().startswith("mnist1d\nradius")
    style = INFERENCE_STYLES["fista"]
    (found,) = (own for own in ax.lines if own.get_color() == OKABE_ITO[colour] and own.get_marker() == style.marker)
    for k, value in zip(found.get_xdata(), found.get_ydata(), strict=True):
        rows = own_rows(records, ROBUST, data__name="mnist1d", solver__name="fista", solver__steps=k)
        assert value == pytest.approx(mean(rows, column, entry), rel=1e-12)


def test_masking_shows_steps_random_search_and_the_far_radius(records: pd.DataFrame) -> None:
    far = records["robust_far_linf"].where(records["solver.name"] != "fista", records["robust_far_linf"] * 0.5)
    axes = drawn("masking", records.assign(robust_far_linf=far))
    ax = axes[0, 1]
    assert ax.get_title() == "digits, FISTA\nat the far radius: error ≥ 0.50"
    x, y = line(ax, "$k$ = 4")
    assert x.tolist() == [1, 5, 20, 50]
    rows = own_rows(records, ROBUST, data__name="digits", solver__name="fista", solver__steps=4)
    np.testing.assert_allclose(y, [mean(rows, "robust_by_steps_linf", i) for i in range(4)], rtol=1e-12)
    colour = next(own.get_color() for own in ax.lines if own.get_label() == "$k$ = 4")
    (level,) = (own for own in ax.lines if own.get_color() == colour and own.get_linestyle() == ":")
    assert level.get_ydata()[0] == pytest.approx(mean(rows, "robust_random_linf", 2), rel=1e-12)
