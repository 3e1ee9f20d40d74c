"""Every plotted point against a plain loop over the records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from scipy import stats
from tests.unit.claims.frames_factory import (
    CONVOLUTIONAL,
    FULLY_CONNECTED,
    FULLY_CONNECTED_MINIMUM,
    LAMBDA,
    classified,
    frames_records,
    gram_pattern,
    minimised,
    true_minimum,
)

from unrolled.figures.curves import new_drawing
from unrolled.figures.frames import FIGURES
from unrolled.figures.frames_draw import DICTIONARIES
from unrolled.figures.frames_tables import paper_dots
from unrolled.figures.style import KIND_STYLES, figure_style
from unrolled.frames.structure import build


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return frames_records(widest=(8, 16, 32), filters=(4, 8), depths=(1, 3, 5), seeds=range(3))


def drawn(name: str, frame: pd.DataFrame) -> np.ndarray:
    figure = FIGURES[name]
    rows = figure.select(frame)
    with figure_style():
        _, axes = new_drawing(*figure.layout(rows))
        return figure.draw(rows, axes)


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = (own for own in ax.lines if own.get_label() == label)
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def mean_errors(records: pd.DataFrame, experiment: str, **wanted: object) -> dict[tuple[str, int], float]:
    values: dict[tuple[str, int], list[float]] = {}
    for row in records.to_dict("records"):
        if experiment in row["experiments"] and all(row[key.replace("__", ".")] == v for key, v in wanted.items()):
            values.setdefault((row["structure"], row["parameters"]), []).append(row["test_error"])
    return {key: float(np.mean(found)) for key, found in values.items()}


def lowest(records: pd.DataFrame) -> dict[tuple[str, int], float]:
    rows = records[records["f_min"].notna()]
    return {(row["structure"], row["parameters"]): row["f_min"] for row in rows.to_dict("records")}


@pytest.mark.parametrize(("row", "data"), [(0, "digits"), (1, "mnist1d")])
@pytest.mark.parametrize(("column", "weight"), [(0, 0.0), (1, LAMBDA)])
def test_scatter_shows_mean_errors_at_minima(
    records: pd.DataFrame, row: int, data: str, column: int, weight: float
) -> None:
    ax = drawn("error_against_minimum", records)[row, column]
    errors = mean_errors(records, FULLY_CONNECTED, data__name=data, optim__potential_weight=weight)
    f_min = lowest(records)
    expected = sorted((f_min[key], error) for key, error in errors.items())
    dots = ax.collections[-1]
    np.testing.assert_allclose(sorted(map(tuple, dots.get_offsets())), expected, rtol=1e-12)
    title = ax.get_title()
    rho = stats.spearmanr(*np.transpose(expected)).statistic
    assert title.startswith(f"{data}, with")
    assert f"= {rho:.2f}, $n$ = {len(expected)} nets" in title
    assert ("0.01" in title) == (weight > 0)
    bars = next(c for c in ax.collections if hasattr(c, "get_segments"))
    assert len(bars.get_segments()) == len(expected)


def test_scatter_of_one_weight_says_that_the_other_is_missing(records: pd.DataFrame) -> None:
    plain = records[records["optim.potential_weight"].fillna(0) == 0]
    axes = drawn("error_against_minimum", plain)
    assert [text.get_text() for text in axes[0, 1].texts] == ["no runs"]


def test_the_papers_dots_are_drawn_on_their_data_set_only(records: pd.DataFrame) -> None:
    net = build("chain", 3072, (8, 16))
    rows = [*classified(FULLY_CONNECTED, net, "cifar10"), minimised(FULLY_CONNECTED_MINIMUM, net, "cifar10")]
    axes = drawn("error_against_minimum", pd.concat([records, pd.DataFrame(rows)], ignore_index=True))
    x, y = line(axes[0, 0], "the paper's dots (validation error)")
    assert len(x) == 72, "panel a"
    assert len(line(axes[0, 1], "the paper's dots (validation error)")[0]) == 60, "panel b"
    at = np.flatnonzero(paper_dots()["widths"] == "8x16")[0]
    assert (x[at], y[at]) == (0.1709, 0.597)
    assert not axes[1, 0].lines
    assert axes[0, 0].get_title().startswith("cifar10")


def test_the_papers_dots_hold_its_labelled_nets() -> None:
    dots = paper_dots().set_index("widths")
    assert dots.loc["400x800x1600x3200", ["f_plain", "error_plain"]].tolist() == [0.0146, 0.653]
    # The labelled dots lie at the closed form: it is the same potential. Read off to about 0.0003.
    for widths in ((64, 32, 64), (128, 256)):
        shown = dots.loc["x".join(map(str, widths)), "f_plain"]
        assert shown == pytest.approx(true_minimum(build("chain", 3072, widths)), abs=5e-4)


def test_dictionaries_are_drawn_with_equality_below_them(records: pd.DataFrame) -> None:
    axes = drawn("coherence_and_potential", records)
    ax = axes.flat[0]
    assert ax.get_title() == "digits"
    x, y = line(ax, DICTIONARIES["min"]["label"])
    minima = records[[FULLY_CONNECTED_MINIMUM in names for names in records["experiments"]]]
    here = minima[minima["data.name"] == "digits"]
    np.testing.assert_allclose(sorted(x), sorted(here["f_min"]))
    np.testing.assert_allclose(sorted(y), sorted(here["coherence_min"]))
    for look in DICTIONARIES.values():
        x, y = line(ax, look["label"])
        assert (y >= x).all()
    x, y = line(ax, r"$\mu$ = $F$, the least possible")
    assert x.tolist() == y.tolist()
    trained = line(ax, DICTIONARIES["regularised"]["label"])[0]
    assert len(trained) == 3 * len(here), "every seed of every shape"


@pytest.mark.parametrize("kind", ["chain", "residual", "dense"])
def test_depth_curves_are_means_over_seeds_and_minima(records: pd.DataFrame, kind: str) -> None:
    axes = drawn("depth", records)
    label = KIND_STYLES[kind].label
    x, y = line(axes[0, 1], label)
    own = records[(records["network.skip"] == kind) & (records["network.width"] == 8)]
    for n, error in zip(x, y, strict=True):
        rows = own[(own["network.depth"] == n) & own["test_error"].notna()]
        assert error == pytest.approx(rows["test_error"].mean(), rel=1e-12)
    assert x.tolist() == [1, 3, 5]
    assert axes[0, 1].get_title() == "digits, $b$ = 8"
    colour = KIND_STYLES[kind].color
    (potential,) = (found for found in axes[1, 1].lines if found.get_color() == colour)
    expected = own[own["f_min"].notna()].sort_values("network.depth")["f_min"]
    np.testing.assert_allclose(potential.get_ydata(), expected, rtol=1e-12)


def test_efficiency_shows_every_net_of_every_kind(records: pd.DataFrame) -> None:
    axes = drawn("parameter_efficiency", records)
    f_min, errors = lowest(records), mean_errors(records, CONVOLUTIONAL)
    for kind in ("chain", "residual", "dense"):
        keys = [key for key in errors if key[0].startswith(f"{kind} ")]
        x, y = line(axes[0, 0], KIND_STYLES[kind].label)
        np.testing.assert_allclose(sorted(y), sorted(f_min[key] for key in keys))
        _, error = line(axes[0, 1], KIND_STYLES[kind].label)
        np.testing.assert_allclose(sorted(error), sorted(errors[key] for key in keys))
        assert len(x) == 6
    assert axes[0, 0].get_xlabel() == axes[0, 1].get_xlabel() == "network parameters (count)"


def test_gram_panels_show_pattern_and_size(records: pd.DataFrame) -> None:
    axes = drawn("gram_patterns", records)
    assert [ax.get_title() for ax in axes[0]] == ["chain", "residual", "residual, every layer", "dense"]
    for ax, below, kind in zip(axes[0], axes[1], ("chain", "residual", "residual_all", "dense"), strict=True):
        expected = gram_pattern(build(kind, 8, (8, 16, 16, 24)))
        np.testing.assert_array_equal(ax.images[0].get_array(), expected)
        shown = below.images[0].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(shown), ~expected)
        np.testing.assert_array_equal(np.diag(shown), 1.0)


def test_gram_panels_wrap_after_four_kinds(records: pd.DataFrame) -> None:
    extra = minimised("frames/gram", build("dense_front", 8, (8, 16, 16, 24)), "digits")
    axes = drawn("gram_patterns", pd.concat([records, pd.DataFrame([extra])], ignore_index=True))
    assert axes.shape == (4, 4)
    assert axes[2, 0].get_title() == "dense, analysis form"
    assert not axes[2, 1].axison


def test_potential_curves_keep_the_last_value_of_runs_that_stopped(records: pd.DataFrame) -> None:
    weighted = records[["frames/weight" in names for names in records["experiments"]]].copy()
    short = weighted.index[(weighted["optim.potential_weight"] == 1.0) & (weighted["seed"] == 0)][0]
    frame = records.copy()
    for column in ("curve_epoch", "curve_potential", "curve_train_loss"):
        frame.at[short, column] = frame.at[short, column][:3]
    ax = drawn("potential_in_training", frame).flat[0]
    x, y = line(ax, r"$\lambda$ = 1")
    curves = [row["curve_potential"] for row in weighted[weighted["optim.potential_weight"] == 1.0].to_dict("records")]
    seeds = weighted[weighted["optim.potential_weight"] == 1.0]["seed"].tolist()
    stopped = [[*c[:3], c[2], c[2]] if seed == 0 else c for c, seed in zip(curves, seeds, strict=True)]
    assert x.tolist() == [0, 5, 10, 20, 30]
    np.testing.assert_allclose(y, np.mean(stopped, axis=0), rtol=1e-12)
    floor = line(ax, "minimum of the structure")[1]
    assert (y > floor[0]).all()
