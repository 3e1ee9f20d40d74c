"""The static report: one self-contained HTML file from records, claims and figures.

Its modules are imported by name: matplotlib and SciPy's statistics take half a second to load, which a command that
only wants to know :class:`unrolled.report.errors.ReportError` need not spend.
"""
