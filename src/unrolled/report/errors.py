"""What the report says when it cannot be written; apart, so that commands know it without what draws figures."""


class ReportError(RuntimeError):
    """The report cannot be written; the message says what is missing and what to do."""
