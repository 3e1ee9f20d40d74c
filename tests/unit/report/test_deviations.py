from __future__ import annotations

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
