"""The charts of a report: inline SVG that stretches to its place, with the numbers as tooltips and all words outside.

Pure: no clock, no I/O, no asyncio. Colours are classes of the page, so that light and dark share the drawings.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from asyncflow.report.formatting import OUTCOMES, clock, count, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncflow.report.values import Durations, Timeline

__all__ = ["box_plot", "columns", "share_bar", "stacked_bar"]


def _svg(name: str, width: float, height: float, inner: list[str], title: str) -> str:
    return (
        f'<svg class="{name}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{"".join(inner)}</svg>'
    )


def _rect(name: str, x: float, y: float, width: float, height: float, *, title: str = "") -> str:
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{name}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}">{tip}</rect>'


def stacked_bar(outcomes: Mapping[str, int]) -> str:
    """Return a bar with a part for each outcome; a single job among thousands is still seen."""
    total = sum(outcomes.values())
    parts = [_rect("none", 0, 0, 1000, 10)]
    x = 0.0
    present = {key: outcomes[key] for key in OUTCOMES if outcomes.get(key)}
    widths = {key: max(1000 * number / total, 4.0) for key, number in present.items()}
    scale = 1000 / sum(widths.values()) if widths else 1.0
    for key, number in present.items():
        width = widths[key] * scale
        parts.append(_rect(key, x, 0, width, 10, title=f"{number:,} {OUTCOMES[key]}"))
        x += width
    title = ", ".join(f"{number:,} {OUTCOMES[key]}" for key, number in present.items())
    return _svg("stack", 1000, 10, parts, title or "no jobs")


def share_bar(part: int, most: int, name: str) -> str:
    """Return a bar as long as *part* is of *most*."""
    return _svg("share", 1000, 10, [_rect(name, 0, 0, max(1000 * part / most, 6.0), 10)], f"{part:,} of {most:,}")


def box_plot(durations: Durations, longest: float) -> str:
    """Return the spread of *durations* on an axis from 0 to *longest*: a line to the 95th percentile, a box for half."""

    def x(seconds: float) -> float:
        return 1000 * min(seconds / longest, 1.0) if longest else 0.0

    low, high = x(durations.shortest), x(durations.p95)
    box = _rect("box", x(durations.p25), 8, max(x(durations.p75) - x(durations.p25), 4.0), 14)
    parts = [
        _rect("axis", 0, 14.5, 1000, 1),
        _rect("line", low, 13.5, max(high - low, 4.0), 3),
        box,
        _rect("tick", max(x(durations.median) - 2.5, 0.0), 4, 5, 22),
    ]
    names = ("shortest", "p25", "median", "p75", "p95", "longest")
    words = f"{count(durations.jobs, 'job')}: {', '.join(f'{name} {clock(getattr(durations, name))}' for name in names)}"
    return _svg("plot", 1000, 30, [f"<title>{escape(words)}</title>", *parts], words)


def columns(timeline: Timeline) -> str:
    """Return a column for each step of *timeline*, stacked by outcome."""
    length = max((len(counts) for counts in timeline.outcomes.values()), default=0)
    stacks = [
        {key: timeline.outcomes[key][place] for key in OUTCOMES if key in timeline.outcomes and timeline.outcomes[key][place]}
        for place in range(length)
    ]
    most = max((sum(stack.values()) for stack in stacks), default=0) or 1
    width = 1000 / max(length, 1)
    parts = [_rect("grid", 0, 200 * line / 4, 1000, 0.6) for line in range(5)]
    for place, stack in enumerate(stacks):
        y, after = 200.0, place * timeline.step
        said = ", ".join(f"{number:,} {OUTCOMES[key]}" for key, number in stack.items())
        for key, number in stack.items():
            height = 200 * number / most
            y -= height
            parts.append(_rect(key, place * width, y, width * 0.86, height, title=f"after {span(after)}: {said}"))
    return _svg("columns", 1000, 200, parts, "jobs by the time of their end")
