from __future__ import annotations

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image
from tests.unit.figures.factory import COMMIT

from unrolled.figures.curves import new_drawing
from unrolled.figures.save import provenance, read_metadata, save_figure
from unrolled.figures.style import figure_style

CAPTION = "Gap · against k, ‖Q‖ & <mean> over n = 4 seeds."


@pytest.fixture
def rows(records: pd.DataFrame) -> pd.DataFrame:
    return records.iloc[:7]


def _save(rows: pd.DataFrame, stem: Path) -> list[Path]:
    with figure_style():
        drawing, axes = new_drawing(1, 1)
        axes[0, 0].plot([1, 2], [3, 4], label="a")
        return save_figure(drawing, stem, rows, CAPTION)


def test_png_metadata_is_readable_by_any_reader(rows, tmp_path):
    png, _ = _save(rows, tmp_path / "deep" / "figure")
    with Image.open(png) as image:
        assert image.info["Description"] == CAPTION
        source = json.loads(image.info["Source"])
    trials = sorted(rows["trial"])
    assert source["trials"] == trials
    assert source["trial_count"] == 7
    assert source["git_commits"] == [COMMIT]
    assert source["digest"] == hashlib.sha256("\n".join(trials).encode()).hexdigest()


def test_svg_metadata_is_readable_as_xml_and_says_the_same(rows, tmp_path):
    png, svg = _save(rows, tmp_path / "figure")
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert read_metadata(svg) == read_metadata(png)
    assert read_metadata(svg)["caption"] == CAPTION


def test_other_records_give_another_digest(records):
    assert provenance(records.iloc[:7])["digest"] != provenance(records.iloc[:8])["digest"]


def test_one_changed_checkout_marks_all(rows):
    assert provenance(rows)["git_dirty"] is False
    changed = rows.assign(git_dirty=[None] * 6 + [True], git_commit=[None] * 6 + ["f" * 40])
    assert provenance(changed)["git_dirty"] is True
    assert provenance(changed)["git_commits"] == ["f" * 40]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(rows, tmp_path, monkeypatch):
    png, svg = _save(rows, tmp_path / "figure")
    before = png.read_bytes()

    def broken(self, path, **keywords):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        _save(rows, tmp_path / "figure")
    assert png.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [png, svg]


def test_reading_a_foreign_file_says_what_to_do(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="draw it again"):
        read_metadata(tmp_path / "plain.png")
    with pytest.raises(ValueError, match=r"expected a \.png or \.svg"):
        read_metadata(tmp_path / "plain.pdf")
