"""The departures of the work on hybrid nets, and what they read from the records."""

from __future__ import annotations

import pandas as pd
import pytest
from tests.unit.claims.frames_factory import frames_records
from tests.unit.claims.hybrid_factory import hybrid_records

from unrolled.report.deviations import deviations
from unrolled.report.settings import settings_table


@pytest.fixture(scope="module")
def hybrid() -> pd.DataFrame:
    return hybrid_records(steps=(1, 4), sizes=(1.0,), widths=(32,), seeds=range(2))


def test_entries_come_with_their_records(hybrid: pd.DataFrame) -> None:
    entries = deviations(hybrid, "hybrid")
    titles = [entry.title for entry in entries]
    for word in ("first sweep", "the attack", "masked gradients", "depth", "data sets"):
        assert any(word in title for title in titles), word
    assert len(set(titles)) == len(titles)
    assert all(title.startswith("Hybrid nets: ") for title in titles)
    assert all(entry.paper and entry.here and entry.why for entry in entries)
    assert deviations(hybrid, "all") == entries
    assert deviations(hybrid, "frames") == deviations(hybrid, "reasoning") == []


def test_the_last_entry_is_read_from_the_records(hybrid: pd.DataFrame) -> None:
    last = deviations(hybrid, "hybrid")[-1].here
    assert "digits, mnist1d; admm, block_prox, fista, ista with k = 1, 4; optimiser adam" in last
    assert last.endswith("2 training seeds.")
    minima = hybrid[hybrid["task"] == "minimum"]
    assert len(deviations(minima, "hybrid")) == len(deviations(hybrid, "hybrid")) - 1


def test_normalisation_is_named_where_nets_are_convolutional(hybrid: pd.DataFrame) -> None:
    def named(frame: pd.DataFrame) -> bool:
        return any("normalisation" in entry.title for entry in deviations(frame, "hybrid"))

    assert not named(hybrid)
    assert named(hybrid.assign(structure="chain 1: 8x16 on 28x28"))


def test_theories_are_numbered_one_after_the_other(hybrid: pd.DataFrame) -> None:
    frames = frames_records(widest=(8,), filters=(), seeds=range(2))
    both = pd.concat([hybrid, frames], ignore_index=True)
    assert deviations(both, "all") == deviations(frames, "frames") + deviations(hybrid, "hybrid")


def test_settings_that_two_theories_bring_stand_once(hybrid: pd.DataFrame) -> None:
    frames = frames_records(widest=(8,), filters=(), seeds=range(2))
    table = settings_table(pd.concat([hybrid, frames], ignore_index=True))
    headings = [heading for heading, _ in table.rows]
    assert len(set(headings)) == len(headings)
    rows, at = dict(table.rows), table.experiments.index("hybrid/robust")
    assert rows["data set"][at] == "digits, mnist1d"
    assert rows["first sweep"][at] == "unit"
    assert rows["largest attack radius, l2"][at] == "2"
    assert "first sweep" not in dict(settings_table(frames).rows)
