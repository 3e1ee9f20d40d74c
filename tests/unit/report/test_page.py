from __future__ import annotations

import base64
import importlib.util
import io
import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from tests.unit.report.factory import VERDICTS, synthetic_claims

from unrolled.figures.reasoning import FIGURES
from unrolled.records.store import RecordStore
from unrolled.report.errors import ReportError
from unrolled.report.page import write_report

SCRIPT = Path(__file__).parents[3] / "scripts" / "report.py"
VOID = {"meta", "img", "br", "link", "input", "hr"}
LIMIT_BYTES = 3_000_000


class Page(HTMLParser):
    """Collects elements, checks that every tag is closed by its own, and joins the text a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.seen.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.seen))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source(records, figures, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("report") / "deep" / "index.html"
    assert write_report(records, synthetic_claims(), figures, out, "smoke", "reasoning") == out
    assert [path.name for path in out.parent.iterdir()] == ["index.html"], "no temporary file stays"
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source) -> Page:
    return Page(source)


def test_html_is_well_formed(page, source):
    assert page.open == []
    assert source.startswith("<!doctype html>")
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identities)) == len(identities)
    targets = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert set(targets) <= set(identities)


def test_every_claim_is_shown_with_its_numbers(page, source):
    for claim in synthetic_claims():
        assert f'id="claim-{claim["id"]}"' in source
        assert claim["statement"] in page.text
        assert claim["rule"] in page.text
    assert "0.123 [0.1, 0.2]" in page.text
    assert "– [–, –]" in page.text
    assert "section 4 <and> 5" in page.text, "text is escaped, not swallowed"
    for verdict in VERDICTS:
        assert f"2 {verdict}" in page.text


def test_every_figure_is_embedded_or_explained(page, figures):
    images = page.all("img")
    assert len(images) == len(FIGURES) - 1
    drawn = [name for name in FIGURES if name != "gap_against_n"]
    for name, image in zip(drawn, images, strict=True):
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert data == (figures / "reasoning" / f"{name}.png").read_bytes()
        assert Image.open(io.BytesIO(data)).width > 1000
        assert len(image["alt"]) > 60
    assert "Not drawn: no records of reasoning/training_size" in page.text
    for figure in FIGURES.values():
        assert figure.message in page.text


def test_nothing_is_loaded_from_anywhere(page, source):
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
        if tag == "a":
            assert attributes["href"].startswith(("#", "https://arxiv.org/abs/"))
        else:
            assert "href" not in attributes
    assert not page.all("link")
    assert not page.all("script")
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_page_is_small_and_works_for_everyone(page, source):
    assert len(source.encode()) < LIMIT_BYTES
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert "prefers-color-scheme: dark" in source
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    boxes = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_provenance_settings_and_commands_are_there(page, records):
    for text in ("0123456789abcdef", "2.14.1", "cpu: test", "eager", f"{len(records):,} in"):
        assert text in page.text
    assert "make reproduce SCALE=smoke THEORY=reasoning" in page.text
    assert "python scripts/train.py -m experiment=reasoning/rnn scale=smoke" in page.text
    assert "1 trial failed: 1 × ValueError: test." in page.text


def test_writing_twice_gives_the_same_bytes(source, records, figures, tmp_path):
    shuffled = records.sample(frac=1.0, random_state=2)
    out = write_report(shuffled, synthetic_claims(), figures, tmp_path / "index.html", "smoke", "reasoning")
    assert out.read_text(encoding="utf-8") == source


def test_a_picture_of_other_records_is_marked(source, records, figures, tmp_path):
    fewer = records[records["seed"] != 2]
    out = write_report(fewer, [], figures, tmp_path / "index.html", "smoke", "reasoning")
    text = Page(out.read_text(encoding="utf-8")).text
    assert "This picture shows other records" in text
    assert "This picture shows other records" not in source


def test_without_claims_and_pictures_the_page_says_what_to_run(records, tmp_path):
    out = write_report(records, [], tmp_path / "none", tmp_path / "index.html", "smoke", "all")
    page = Page(out.read_text(encoding="utf-8"))
    assert "run make claims" in page.text
    assert page.text.count("the picture has not been drawn yet") == len(FIGURES) - 1
    assert not page.all("img")


def test_claims_of_other_theories_are_left_out(records, tmp_path):
    foreign = [claim | {"theory": "frames"} for claim in synthetic_claims(1)]
    out = write_report(records, foreign, tmp_path, tmp_path / "index.html", "smoke", "reasoning")
    assert "claim-R1" not in out.read_text(encoding="utf-8")


def test_errors_say_what_to_do(records, tmp_path):
    with pytest.raises(ReportError, match="make reproduce SCALE=smoke THEORY=reasoning"):
        write_report(records[:0], [], tmp_path, tmp_path / "index.html", "smoke", "reasoning")
    claims = [claim | {"verdict": "maybe"} for claim in synthetic_claims(1)]
    with pytest.raises(ReportError, match="unknown verdict maybe: expected one of reproduced"):
        write_report(records, claims, tmp_path, tmp_path / "index.html", "smoke", "reasoning")
    with pytest.raises(ValueError, match="unknown theory"):
        write_report(records, [], tmp_path, tmp_path / "index.html", "smoke", "chess")
    assert not (tmp_path / "index.html").exists()


def _main(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    spec = importlib.util.spec_from_file_location("report_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["report.py", *arguments])
    return module.main()


def test_script_reports_from_records_on_disk(records, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "smoke"
    RecordStore(folder / "records").write(records.assign(pack="p"))
    (folder / "claims.json").write_text(json.dumps(synthetic_claims(2)))
    assert _main("--results", str(folder), "--theory", "reasoning", monkeypatch=monkeypatch) == 0
    out = Path(capsys.readouterr().out.strip())
    assert out == folder / "report" / "index.html"
    text = Page(out.read_text(encoding="utf-8")).text
    assert "what holds at scale smoke" in text
    assert "Invented statement number 2" in text


def test_script_explains_failures(records, tmp_path, monkeypatch, capsys):
    assert _main("--results", str(tmp_path), monkeypatch=monkeypatch) == 1
    assert "make reproduce" in capsys.readouterr().err
    RecordStore(tmp_path / "records").write(records.assign(pack="p"))
    (tmp_path / "claims.json").write_text("{")
    assert _main("--results", str(tmp_path), monkeypatch=monkeypatch) == 1
    assert "make claims" in capsys.readouterr().err
