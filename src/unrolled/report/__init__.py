"""The static report: one self-contained HTML file from records, claims and figures."""

from unrolled.report.deviations import Deviation, deviations
from unrolled.report.page import ReportError, write_report
from unrolled.report.presentation import present

__all__ = ["Deviation", "ReportError", "deviations", "present", "write_report"]
