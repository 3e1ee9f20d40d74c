"""Tracking: records mirrored to Weights & Biases, offline by default."""

from unrolled.tracking.runs import Mirrored, TrackerError, TrackerSettings, log_pack, log_records, logged_run

__all__ = ["Mirrored", "TrackerError", "TrackerSettings", "log_pack", "log_records", "logged_run"]
