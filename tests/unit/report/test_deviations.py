from __future__ import annotations

import pandas as pd
from tests.unit.claims.frames_factory import frames_records

from unrolled.report.deviations import deviations


def _text(frame) -> dict[str, str]:
    return {entry.title: entry.here for entry in deviations(frame, "reasoning")}


def test_the_search_is_read_from_the_records(records):
    here = _text(records)["Optimisers, rates, epochs and seeds"]
    assert "optimiser adam; learning rate 0.001, 0.01; 500 epochs; 3 training seeds" in here
    changed = records.assign(**{"optim.epochs": records["optim.epochs"].where(records["optim.epochs"].isna(), 7)})
    assert "7 epochs" in _text(changed)["Optimisers, rates, epochs and seeds"]


def test_entries_that_do_not_apply_are_left_out(records):
    properties = records[records["task"] == "properties"]
    assert "Optimisers, rates, epochs and seeds" not in _text(properties)
    assert "Real images" in _text(records)
    assert "Real images" not in _text(records.assign(**{"data.name": "patches"}))


def test_every_entry_says_all_three(records):
    entries = deviations(records, "all")
    assert len({entry.title for entry in entries}) == len(entries) > 9
    assert all(entry.paper and entry.here and entry.why for entry in entries)
    assert deviations(records, "frames") == []


def test_frames_entries_come_with_frames_records(records):
    frames = frames_records(widest=(8,), filters=(), seeds=range(2))
    entries = deviations(frames, "frames")
    titles = [entry.title for entry in entries]
    for word in ("orientation", "circular padding", "batch normalisation", "the potential in the loss", "counts"):
        assert any(word in title for title in titles), word
    assert all(entry.paper and entry.here and entry.why for entry in entries)
    searched = entries[-1].here
    assert "digits, mnist1d; potential weight 0, 0.001, 0.01, 0.1, 1; optimiser adam" in searched
    assert "2 training seeds" in searched
    minima = frames[frames["task"] == "minimum"]
    assert len(deviations(minima, "frames")) == len(entries) - 1
    both = pd.concat([records, frames], ignore_index=True)
    assert deviations(both, "all") == deviations(records, "reasoning") + entries
    assert deviations(frames, "reasoning") == []
