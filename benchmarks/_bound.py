"""The least number of requests a job takes at a given mean lateness, for a known distribution of durations.

It shares no code with `asyncflow.polling`: dynamic programming over a fine grid, forwards over nothing but the true distribution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Bound:
    """The lower bound for jobs whose *durations* are a large sample of the true distribution."""

    def __init__(self, durations: Sequence[float], *, step: float = 0.5, limit: float = math.inf) -> None:
        cells = int(max(durations) / step) + 2
        counts = [0] * (cells + 1)
        sums = [0.0] * (cells + 1)
        for duration in durations:
            counts[math.ceil(duration / step)] += 1
            sums[math.ceil(duration / step)] += duration
        self._step = step
        self._window = cells if limit == math.inf else max(1, int(limit / step))
        total = len(durations)
        self._share = [0.0] * (cells + 1)
        self._mass = [0.0] * (cells + 1)
        share = mass = 0.0
        for cell in range(cells + 1):
            share += counts[cell] / total
            mass += sums[cell] / total
            self._share[cell], self._mass[cell] = share, mass
        self._points: dict[float, tuple[float, float]] = {}

    def requests(self, lateness: float) -> float:
        """Return the least mean number of requests a job at this mean *lateness*, between the two nearest optimal plans."""
        low, high = 1e-3, 1e4
        for _ in range(24):
            price = math.sqrt(low * high)
            late, _requests = self._solve(price)
            low, high = (low, price) if late > lateness else (price, high)
        (late_a, requests_a), (late_b, requests_b) = self._solve(low), self._solve(high)
        if late_b <= late_a:
            return requests_a
        return requests_a + (requests_b - requests_a) * (lateness - late_a) / (late_b - late_a)

    def _solve(self, price: float) -> tuple[float, float]:
        if price not in self._points:
            self._points[price] = self._plan(price)
        return self._points[price]

    def _plan(self, price: float) -> tuple[float, float]:
        share, mass, step = self._share, self._mass, self._step
        last = len(share) - 1
        cost = [0.0] * (last + 1)
        following = [last] * (last + 1)
        furthest = last
        for cell in range(last - 1, -1, -1):
            best = math.inf
            top = min(furthest, cell + self._window)
            for other in range(top, cell, -1):
                if cost[other] >= best:
                    break  # What is still to come costs less the later one looks, so no earlier poll can be better.
                here = cost[other] + other * step * (share[other] - share[cell]) - mass[other] + mass[cell]
                if here < best:
                    best, following[cell] = here, other
            furthest = following[cell]
            cost[cell] = best + price * (1.0 - share[cell])
        requests = late = 0.0
        cell = 0
        while cell < last and share[cell] < 1.0 - 1e-12:
            other = following[cell]
            requests += 1.0 - share[cell]
            late += other * step * (share[other] - share[cell]) - mass[other] + mass[cell]
            cell = other
        return late, requests
