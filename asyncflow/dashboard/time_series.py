"""The request budget over time, in as many steps as a small chart has room for.

Pure: no clock, no I/O, no asyncio. Whatever the length of the watch, all of it is shown: when the steps are used up, each two
become one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from asyncflow import PacerStats

__all__ = ["TimeSeries", "Totals"]


class Totals(Struct, frozen=True):
    """What has been counted since the start: requests, answers 429, failed requests."""

    requests: int = 0
    throttled: int = 0
    failed: int = 0

    @classmethod
    def of(cls, stats: PacerStats) -> Totals:
        """Return the counts of a budget."""
        return cls(sum(stats.starts.values()), stats.throttled, stats.failures)


class TimeSeries:
    """How many of each `Totals` fell into each step; a step lasts `step` seconds, and the first one begins at `start`."""

    def __init__(self, start: float, totals: Totals | None = None, *, step: float = 2.0, most: int = 180) -> None:
        self.start: float = start
        self.step: float = step
        self._most = most
        self._last = totals or Totals()
        self.requests: list[int] = []
        self.throttled: list[int] = []
        self.failed: list[int] = []

    def __len__(self) -> int:
        return len(self.requests)

    def note(self, now: float, totals: Totals) -> bool:
        """Take in the counts of *now*; return whether a step was finished by that.

        What has happened since the last time falls into the steps since then, in equal parts as far as whole numbers go.
        """
        number = int((now - self.start) / self.step)
        if number <= len(self):
            return False
        last, self._last = self._last, totals
        new = number - len(self)
        for series, before, after in (
            (self.requests, last.requests, totals.requests),
            (self.throttled, last.throttled, totals.throttled),
            (self.failed, last.failed, totals.failed),
        ):
            count = max(after - before, 0)
            series += [count * (place + 1) // new - count * place // new for place in range(new)]
        while len(self) > self._most:
            self._halve()
        return True

    def _halve(self) -> None:
        for series in (self.requests, self.throttled, self.failed):
            if len(series) % 2:
                # Half a pair is kept by giving it an empty other half; the step that is under way ends it.
                series.append(0)
            series[:] = [first + second for first, second in zip(series[::2], series[1::2], strict=True)]
        self.step *= 2
