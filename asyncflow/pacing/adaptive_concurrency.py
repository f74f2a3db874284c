"""How many requests may be in flight."""

from math import inf, sqrt

_FLOOR = 4
_FEWEST_TO_JUDGE = 16
_NEARLY = 0.8
_SLACK = 0.05  # Seconds: what our own event loop adds when it is busy is no sign that the service is.
_FORGETTING = 300.0
_FIRST = 8
_IN_A_ROW = 3
_STUCK = 0.5


class AdaptiveConcurrency:
    """A learned limit under *hard*: narrowed while latency climbs, but not for good if narrowing does not help.

    It begins with eight, and doubles when it was full in three batches of answers in a row, or when no answer came for half a
    second, or twice as long as usual; once it was narrowed, it grows by its root. Judged is the median of as many answers as the
    limit allows in flight, against the least median known, which is forgotten over five minutes: a few slow answers move nothing.
    Narrowing stops at four.
    """

    def __init__(self, hard: int) -> None:
        self.limit: float = float(min(hard, _FIRST))
        self.is_climbing: bool = False
        self._hard = hard
        self._floor = min(_FLOOR, hard)
        self._base = inf
        self._latencies: list[float] = []
        self._peak = 0
        self._full = 0
        self._was_narrowed = False
        self._quiet_since: float | None = None
        self._typical = 0.0
        self._onset: tuple[float, float] | None = None
        self._judged_at = 0.0

    def succeeded(self, now: float, latency: float, in_flight: int) -> bool:
        """Return whether this answer, to one of *in_flight* requests, has moved the limit."""
        latencies = self._latencies
        latencies.append(latency if latency > 0 else 0.0)
        if in_flight > self._peak:  # noqa: PLR1730 - max() would cost a tenth of the whole answer
            self._peak = in_flight
        self._quiet_since = None
        # A whole limit's worth: only then do latencies tell of the limit that is, not of the one that was.
        if len(latencies) < self.limit or len(latencies) < _FEWEST_TO_JUDGE:
            return False
        before = self.limit
        self._evaluate(now, sorted(latencies)[len(latencies) // 2])
        latencies.clear()
        self._peak = 0
        self._judged_at = now
        return self.limit != before

    def _evaluate(self, now: float, typical: float) -> None:
        self._typical = typical
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
            self._full = self._full + 1 if self._peak >= self.limit * _NEARLY else 0
            if self._was_narrowed and self._full:
                self.limit = min(self._hard, self.limit + sqrt(self.limit))
            elif self._full >= _IN_A_ROW:
                # Once or twice may be a moment at which our own machine was slow, and all came together.
                self.limit = min(self._hard, self.limit * 2)
                self._full = 0

    def grow_if_stuck(self, now: float) -> bool:
        """Note that somebody waits for a place, and return whether that has moved the limit: requests that hang are no answer."""
        if self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= max(_STUCK, 2 * self._typical) and self.limit < self._hard:
            self._quiet_since = now
            self.limit = min(self._hard, self.limit * 2)
            return True
        return False

    def _narrow(self, typical: float) -> None:
        self._was_narrowed = True
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
