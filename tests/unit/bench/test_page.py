from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path

import pytest
from tests.unit.bench.factory import bench_figures

from unrolled.bench.meanings import MEANINGS, SECTIONS, meaning_of
from unrolled.bench.page import render_page, shown, write_bench


def cells(page: str) -> dict[str, str]:
    """Name -> value of every row of the page's tables."""
    found = re.findall(r"<code>(\w+)</code></th><td class=\"value[^>]*>(.*?)</td>", page)
    assert len(dict(found)) == len(found)
    return {name: html.unescape(value) for name, value in found}


def test_page_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    table = write_bench(bench_figures(), tmp_path / "results" / "bench.json")
    written = json.loads((tmp_path / "results" / "bench.json").read_text())
    page = (tmp_path / "results" / "bench.html").read_text()
    assert written == bench_figures()
    assert page == render_page(written)
    values = cells(page)
    assert set(values) == set(written)
    for name, value in written.items():
        unit = meaning_of(name).unit
        assert values[name] == f"{shown(value)} {unit}".strip()
        assert re.search(rf"^{name} +{re.escape(shown(value))}$", table, flags=re.MULTILINE)


def test_every_figure_has_a_description_and_every_description_a_figure() -> None:
    figures = bench_figures(paper_grid_hours_gpu=1.0)
    used = {meaning_of(name).says for name in figures}
    assert not [name for name in figures if meaning_of(name).section == "Other"], "describe them in bench/meanings.py"
    for meaning in MEANINGS:
        opening = meaning.says.split("{")[0]
        assert any(text.startswith(opening) for text in used), meaning.key
        assert meaning.section in SECTIONS


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("trainer_us_k_30_gd", "Solver GD with k = 30."),
        ("trainer_us_width_0_nag", "Solver NAG with 0 hidden units."),
        ("pack_peak_mb_256", "With a pack of 256."),
        ("sweep_overhead_ms_per_trial_1000", "A trial of a packed sweep of 1,000."),
        ("paper_grid_us_gd_16_sgd", "Solver GD, 16 hidden units, SGD."),
        ("paper_grid_us_gd_16_sgd_gpu", "On the GPU: Solver GD, 16 hidden units, SGD."),
    ],
)
def test_a_family_is_described_with_its_parts(key: str, says: str) -> None:
    assert meaning_of(key).says == says


def test_an_unknown_figure_is_shown_and_not_hidden() -> None:
    assert cells(render_page(bench_figures(new_thing=3.0)))["new_thing"] == "3"


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = render_page(bench_figures())
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "a &lt;fast&gt; one" in page
    images = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert 2 <= len(images) <= 4
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)


def test_the_page_says_where_there_was_no_gpu_and_where_the_run_was_quick() -> None:
    no_gpu, quick = "No GPU was there", "This is a quick run"
    page, other = render_page(bench_figures()), render_page(bench_figures(paper_grid_hours_gpu=1.0, mode="quick"))
    assert no_gpu in page
    assert no_gpu not in other
    assert quick not in page
    assert quick in other


def test_a_figure_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_bench(bench_figures(import_mb=float("nan")), tmp_path / "bench.json")
    assert not list(tmp_path.iterdir())
