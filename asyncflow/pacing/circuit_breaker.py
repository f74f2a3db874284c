"""Whether the service is down, and when to ask it whether it still is."""

_FAILURES_TO_OPEN = 8
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_GOLDEN = 0.618033988749895


class CircuitBreaker:
    """Opens after eight failures with no answer between; two failures in a hundred would take millennia to come in eights.

    *phase* (0 to 1) is where the spread of the pauses begins.
    """

    def __init__(self, phase: float) -> None:
        self.is_open: bool = False
        self.failures: int = 0  # In a row.
        self._down_since = 0.0
        self._phase = phase % 1

    def failed(self, now: float) -> bool:
        """Return whether this failure has opened the circuit."""
        if not self.failures:
            self._down_since = now
        self.failures += 1
        self.is_open = self.failures >= _FAILURES_TO_OPEN
        return self.failures == _FAILURES_TO_OPEN

    def succeeded(self) -> bool:
        """Return whether this answer has closed the circuit."""
        was_open = self.is_open
        self.is_open = False
        self.failures = 0
        return was_open

    def probe_delay(self, now: float) -> float:
        """Return the seconds until the next probe: a third of the outage so far, half a second to thirty, up to a fifth less."""
        self._phase = (self._phase + _GOLDEN) % 1
        return min(max((now - self._down_since) / 3, _SHORTEST_PAUSE), _LONGEST_PAUSE) * (1 - 0.2 * self._phase)
