"""What a run cost and what it was worth: `RunReport`, as values, as a table and as a page.

Pure: no clock, no I/O, no asyncio. `ReportBuilder` takes events in as they come; a `RunReport` is what it says at a moment.
"""

from asyncflow.report.builder import ReportBuilder, reason_of
from asyncflow.report.values import (
    CAPTCHA_PRICES,
    Captchas,
    Credits,
    Durations,
    Files,
    Reason,
    ReportGroup,
    RunReport,
    Timeline,
)

__all__ = [
    "CAPTCHA_PRICES",
    "Captchas",
    "Credits",
    "Durations",
    "Files",
    "Reason",
    "ReportBuilder",
    "ReportGroup",
    "RunReport",
    "Timeline",
    "reason_of",
]
