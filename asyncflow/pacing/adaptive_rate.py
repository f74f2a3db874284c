"""How far apart requests start: the learned rate."""

from collections import deque
from math import inf, log

# Timers of an event loop are a millisecond coarse and its steps longer: slots missed by less than this are made up for. Under a
# hard ceiling it is less, since the ceiling pays for it.
_CATCH_UP = 0.02
_HARD_CATCH_UP = 0.01
FIRST_RATE = 40.0
_PATIENCE, _RAMP = 1.0, 3.0
_TOLERATED = 0.5
_LOWEST_RATE, _HIGHEST_RATE = 0.1, 50_000.0
_DOUBLING = log(2)
_QUICKEST_CAUTION, _SLOWEST_CAUTION = 20.0, 600.0
_FASTEST_CREEP = 0.1


class AdaptiveRate:
    """Slots a learned gap apart, with *hard* (starts a second, None: no limit) as the ceiling that no luck lifts.

    Up to `fast_below` the rate doubles each second. After a 429 it comes back to nine tenths of the ceiling in half a *caution*,
    and above that it creeps: twice as fast every *caution* seconds without another 429. Caution is four pauses long, at least 20
    and at most 600 seconds, so that however long the pauses are, most of the time is spent between them.
    """

    def __init__(self, hard: float | None) -> None:
        # One per cent longer than asked, so that the slots made up for fit under the ceiling too.
        self.hard_gap: float = 0.0 if hard is None else (1 + _HARD_CATCH_UP) / hard
        self._highest = min(_HIGHEST_RATE, 1 / self.hard_gap) if self.hard_gap else _HIGHEST_RATE
        self.rate: float = 0.0
        self.gap: float = 0.0
        self._set(FIRST_RATE)
        self.next_at: float = -inf
        self.hard_at: float = -inf
        self.ceiling: float | None = None
        self.is_bottleneck: bool = False  # Someone was refused a slot since the last start.
        self._queueing_since: float | None = None
        self._claim = 0.0
        self._fast_below = inf
        self._careful_above = inf
        self._caution = _QUICKEST_CAUTION
        self._creep = 0.0
        self._known_good = 0.0
        self.busy: float = 0.0  # For how long the rate has been the bottleneck since the last answer, seconds.
        self._started_at = -inf
        self._recent: deque[float] = deque(maxlen=256)

    def started(self, now: float) -> None:
        """Use up a slot, and note for how long the rate has been the bottleneck."""
        late = now - self.next_at
        self._claim = 0.0
        # Slots that were used, or nearly so: later than this a start came for lack of demand, whoever asked in between.
        if late > _CATCH_UP + 0.7 * self.gap:
            self._queueing_since = None
        elif self.is_bottleneck:
            if self._queueing_since is None:
                self._queueing_since = now
            # A queue that empties within a second is no reason to go faster, unless we did go faster before.
            queueing = now - self._queueing_since - _PATIENCE
            impatience = 1.0 if self.rate < self._known_good else min(max(queueing / _RAMP, 0.0), 1.0)
            self._claim = (now - self._started_at) * impatience
            self.busy += self._claim
        self.is_bottleneck = False
        self.next_at = (self.next_at if late < _CATCH_UP else now - _CATCH_UP) + self.gap
        if self.hard_gap:
            self.hard_at = max(self.hard_at, now - _HARD_CATCH_UP) + self.hard_gap
        self._started_at = now
        self._recent.append(now)

    def note_lateness(self, seconds: float) -> None:
        """Take back what the last start was worth if it was hardly late."""
        if seconds < _TOLERATED:
            self.busy = max(0.0, self.busy - self._claim)
            self._claim = 0.0
            self._queueing_since = None

    def succeeded(self, *, may_grow: bool) -> None:
        """Grow by what a good answer is worth; need not be called while `busy` is 0."""
        if not may_grow:
            self.busy = 0.0
            return
        slope = self._slope()
        # One start a second more for each answer doubles the rate in a second, and no late answer makes it leap. What is left
        # over is for the answers that came in the same step of the loop.
        seconds = min(self.busy, 1 / slope)
        self.busy = min(self.busy - seconds, 1.0)
        self._set(self.rate + slope * seconds)
        if self.rate > self._careful_above:
            self._creep = min(self._creep * (1 + _DOUBLING * seconds / self._caution), _FASTEST_CREEP)

    def _slope(self) -> float:
        """Return by how much the rate grows in a second."""
        if self.rate < self._fast_below:
            return self.rate * _DOUBLING
        if self.rate < self._careful_above:
            return self._careful_above / self._caution
        return self.rate * self._creep

    @property
    def soon(self) -> float:
        """Seconds after a 429 before which another one is not to be expected, if the rate was what the first was about."""
        return self._caution

    def back_off(self, now: float, pause: float) -> None:
        """Go half as fast as we went when the service said 429, and remember how fast that was."""
        used = min(self.rate, max(self._used(now), FIRST_RATE))
        # Found by doubling, the truth is anywhere between half and whole; found by creeping, it is near.
        self._careful_above = used / 2 if self.rate < self._fast_below else used * 0.9
        self._fast_below = 0.0
        self._caution = min(max(_QUICKEST_CAUTION, pause * 4), _SLOWEST_CAUTION)
        self._creep = 0.02 / self._caution
        self._known_good = 0.0
        self.busy = 0.0
        self.ceiling = used
        self._set(used / 2)

    def forget_limit(self) -> None:
        """Forget that a 429 was about the rate."""
        self._fast_below = self._careful_above = inf

    def _used(self, now: float) -> float:
        recent = [at for at in self._recent if at > now - 1]
        if len(recent) < 2 or recent[0] >= now:
            return float(len(recent))
        return (len(recent) - 1) / (now - recent[0])

    def failed(self) -> None:
        """Forget what the starts since the last answer were worth: they found no limit, and no freedom either."""
        self.busy = 0.0

    def restart_slow(self) -> None:
        """Start over after an outage with an eighth of the rate, and be quick up to three quarters of it."""
        self._known_good = self.rate * 0.75
        if self.ceiling is not None:
            self._fast_below = max(self._fast_below, self._known_good)
        self._set(max(self.rate / 8, min(self.rate, FIRST_RATE / 2)))

    def _set(self, rate: float) -> None:
        self.rate = min(max(rate, _LOWEST_RATE), self._highest)
        self.gap = 1 / self.rate
