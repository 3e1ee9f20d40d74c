"""Records: one row a trial, the only interface between running and everything after."""

from unrolled.records.select import best_runs, of_experiment
from unrolled.records.store import RecordStore, load_records

__all__ = ["RecordStore", "best_runs", "load_records", "of_experiment"]
