"""Quantiles of many durations in little memory.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from array import array
from math import inf
from random import Random

from asyncflow.report.values import Durations

__all__ = ["ReservoirSample"]

_ROOM = 4096


class ReservoirSample:
    """Keeps the first 4,096 numbers and, of more, a sample in which each is as likely as any other."""

    __slots__ = ("_count", "_kept", "_longest", "_random", "_shortest")

    def __init__(self) -> None:
        self._count = 0
        self._kept = array("d")
        self._shortest = inf
        self._longest = -inf
        self._random: Random | None = None

    def add(self, seconds: float) -> None:
        """Take a number in."""
        self._count += 1
        self._shortest = min(self._shortest, seconds)
        self._longest = max(self._longest, seconds)
        if len(self._kept) < _ROOM:
            self._kept.append(seconds)
            return
        if self._random is None:
            self._random = Random(_ROOM)  # the same events make the same report
        if (place := int(self._random.random() * self._count)) < _ROOM:
            self._kept[place] = seconds

    def summary(self) -> Durations | None:
        """Return the quantiles, None if nothing was taken in."""
        if not self._count:
            return None
        kept = sorted(self._kept)
        p25, median, p75, p95 = (_quantile(kept, part) for part in (0.25, 0.5, 0.75, 0.95))
        return Durations(self._count, self._shortest, p25, median, p75, p95, self._longest)


def _quantile(ordered: list[float], part: float) -> float:
    """Return the value below which *part* of *ordered* lies, between two neighbours in proportion."""
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 3)
