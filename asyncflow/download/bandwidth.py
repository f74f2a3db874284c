"""How fast bytes may come: a bucket of them, filled at a steady rate.

Pure: no clock, no I/O, no asyncio; times are seconds on whatever clock the caller keeps.
"""

from __future__ import annotations

__all__ = ["ByteBucket", "batch_bytes"]

LARGEST_BATCH = 1 << 20
_SMALLEST_BATCH = 16 << 10
_BURST = 0.25
"""Seconds of the rate that may come at once after a rest."""


class ByteBucket:
    """Spreads bytes at *rate* a second, None for no limit.

    What was received is paid for afterwards, and the debt is waited off: nobody knows beforehand how much comes. So several may
    take at once, and all of them together keep to the rate.
    """

    def __init__(self, rate: float | None = None) -> None:
        self.rate: float | None = rate
        self._balance = 0.0
        self._at: float | None = None

    def take(self, size_bytes: int, now: float) -> float:
        """Pay for *size_bytes* received *now*; return the seconds to wait before more is received."""
        rate = self.rate
        if rate is None:
            return 0.0
        rest = 0.0 if self._at is None else max(now - self._at, 0.0)
        self._at = now
        self._balance = min(self._balance + rest * rate, rate * _BURST) - size_bytes
        return max(-self._balance / rate, 0.0)


def batch_bytes(rate: float | None) -> int:
    """Return how many bytes are gathered before they are written: 1 MiB, less where that would take a noticeable time."""
    if rate is None:
        return LARGEST_BATCH
    return max(_SMALLEST_BATCH, min(LARGEST_BATCH, int(rate * _BURST)))
