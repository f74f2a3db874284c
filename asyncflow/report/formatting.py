"""How the renderings of a report say things.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from asyncflow.report.values import Captchas, RunReport

__all__ = ["OUTCOMES", "captcha_line", "clock", "count", "moment", "money", "per_cent", "requests_line", "span"]

OUTCOMES = {
    "succeeded": "succeeded",
    "partial": "partial",
    "no_output": "no output",
    "failed": "failed",
    "abandoned": "given up",
}


def count(number: int, noun: str) -> str:
    """Return *number* with *noun*, in the plural unless it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def clock(seconds: float) -> str:
    """Return *seconds* in few letters: `0.8s`, `43s`, `1:43`, `2:05:00`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def span(seconds: float) -> str:
    """Return *seconds* in words: `0.8 s`, `43 s`, `1 min 43 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def money(dollars: float) -> str:
    """Return *dollars* to the cent, and very small sums to a tenth of one."""
    return f"${dollars:,.2f}" if dollars >= 0.0995 or not dollars else f"${dollars:.3f}"


def per_cent(part: int, whole: int) -> str:
    """Return the share of *part*, full and empty only where they are; "-" of nothing."""
    if not whole:
        return "-"
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1%"
    return ">99%" if 99 < share < 100 else f"{share:.0f}%"


def moment(at: datetime) -> str:
    """Return a time as people write it."""
    return f"{at:%d %b %Y, %H:%M} UTC"


def captcha_line(captchas: Captchas) -> str:
    """Return how many solutions were bought, and what they may have cost."""
    refused = f", {captchas.refused:,} refused" if captchas.refused else ""
    return f"{count(captchas.attempts, 'solution')}{refused}, about {money(captchas.cost)}"


def requests_line(report: RunReport) -> str:
    """Return how often the service was asked, "" where that is not known."""
    parts = [] if report.requests is None else [count(report.requests, "request")]
    if report.polls is not None:
        failed = f", {report.failed_polls:,} without an answer" if report.failed_polls else ""
        parts.append(f"{count(report.polls, 'poll')}{failed}")
    return "; ".join(parts)
