"""How many requests may be in flight."""

from math import inf, sqrt

_FLOOR = 4
_FEWEST_TO_JUDGE = 16
_SLACK = 0.05  # Seconds: what our own event loop adds when it is busy is no sign that the service is.
_FORGETTING = 300.0


class Room:
    """A learned limit under *hard*: narrowed while latency climbs, but not for good if narrowing does not help.

    Judged is the median of as many answers as the limit allows in flight, against the least median known, which is forgotten over
    five minutes: a few slow answers move nothing. Narrowing stops at four.
    """

    def __init__(self, hard: int) -> None:
        self.limit: float = float(hard)
        self.is_climbing: bool = False
        self._hard = hard
        self._floor = min(_FLOOR, hard)
        self._base = inf
        self._latencies: list[float] = []
        self._peak = 0
        self._onset: tuple[float, float] | None = None
        self._judged_at = 0.0

    def answered(self, now: float, latency: float, in_flight: int) -> bool:
        """Return whether this answer, to one of *in_flight* requests, has moved the limit."""
        latencies = self._latencies
        latencies.append(latency if latency > 0 else 0.0)
        if in_flight > self._peak:  # noqa: PLR1730 - max() would cost a tenth of the whole answer
            self._peak = in_flight
        # A whole limit's worth: only then do latencies tell of the limit that is, not of the one that was.
        if len(latencies) < self.limit or len(latencies) < _FEWEST_TO_JUDGE:
            return False
        before = self.limit
        self._judge(now, sorted(latencies)[len(latencies) // 2])
        latencies.clear()
        self._peak = 0
        self._judged_at = now
        return self.limit != before

    def _judge(self, now: float, typical: float) -> None:
        if typical < self._base:
            self._base = typical
        else:
            self._base += (typical - self._base) * min(1.0, (now - self._judged_at) / _FORGETTING)
        # With the limit half empty, the queue is not of our making and narrowing could only starve us.
        self.is_climbing = typical > 2 * self._base + _SLACK and self._peak * 2 >= self.limit
        if self.is_climbing:
            self._narrow(typical)
        else:
            self._onset = None
            if self._peak >= self.limit * 0.8:
                self.limit = min(self._hard, self.limit + sqrt(self.limit))

    def _narrow(self, typical: float) -> None:
        # What waited at the widest may have gone on climbing after the first narrowing: the longest is the measure.
        limit, longest = self._onset or (self.limit, 0.0)
        if self.limit <= max(self._floor, limit / 2):
            if typical > longest * 0.75:
                # Half as many wait about as long as all did: this is the service's new pace.
                self._base = typical
                self._onset = None
                self.is_climbing = False
                return
            limit, longest = self.limit, 0.0
        self._onset = (limit, max(longest, typical))
        self.limit = max(self._floor, self.limit * 0.8)
