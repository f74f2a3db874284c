"""When jobs ended, in at most so many steps however long it took.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from asyncflow.report.values import Timeline

__all__ = ["TimeHistogram"]

_MOST_STEPS = 120
_CENTURY = 20
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 7 * 86400, 30 * 86400, 365 * 86400)


class TimeHistogram:
    """Counts endings by the time of the service's clock; the steps widen as the time grows. Another century's are passed over."""

    def __init__(self) -> None:
        self._steps = iter(_STEPS)
        self._step: int = next(self._steps)
        self._counts: dict[str, Counter[int]] = {}
        self._first: int | None = None
        self._last = 0

    def add(self, at: datetime, outcome: str) -> None:
        """Count an ending."""
        if at.year // 100 != _CENTURY:
            return
        second = int(at.timestamp())
        counts = self._counts.get(outcome)
        if counts is None:
            counts = self._counts[outcome] = Counter()
        counts[second // self._step] += 1
        if self._first is None or second < self._first:
            self._first = second
        self._last = max(self._last, second)
        while self._last // self._step - self._first // self._step >= _MOST_STEPS:
            self._widen()

    def _widen(self) -> None:
        wider = next(self._steps)
        for outcome, counts in self._counts.items():
            merged: Counter[int] = Counter()
            for place, number in counts.items():
                merged[place * self._step // wider] += number
            self._counts[outcome] = merged
        self._step = wider

    def timeline(self) -> Timeline | None:
        """Return the counts, None if nothing has ended at a known time."""
        if self._first is None:
            return None
        first, last = self._first // self._step, self._last // self._step
        places = range(first, last + 1)
        outcomes = {outcome: [counts[place] for place in places] for outcome, counts in sorted(self._counts.items())}
        return Timeline(datetime.fromtimestamp(first * self._step, UTC), float(self._step), outcomes)
