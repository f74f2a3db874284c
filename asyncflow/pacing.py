"""How fast to ask at all: one budget for every request of a client, learned from what the service answers.

Pure: no clock, no I/O, no asyncio. *now* is any float that does not run backwards; whoever asks does the waiting.

Every request is paid for by `take` and ended by exactly one of `answered`, `throttled`, `failed`, `released`. Five rules decide
when the next one may go, and all of them must agree:

- *Spacing*: starts are a learned gap apart. The rate doubles each second as long as it is the bottleneck and answers are good; a
  429 halves it, and from then on it creeps up, the more slowly the longer the pause was that the service asked for.
- *Pauses*: after a 429 nobody starts anything until the service's time has come.
- *Room*: only so many are in flight, fewer while latency climbs, and two places more for the interactive.
- *Circuit*: after eight failures in a row single probes go out, at pauses of a third of the outage so far, until one is answered.
- *Turns*: the higher priority goes first, but every class that waits gets at least one start in nine.
"""

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from math import inf, log, sqrt

__all__ = ["Pacer", "PacerStats", "Priority", "prepaid"]

_FIRST_RATE = 20.0
_LOWEST_RATE = 0.1
_HIGHEST_RATE = 50_000.0
# Timers of an event loop are a millisecond coarse and its steps longer: slots missed by less than this are made up for.
_CATCH_UP = 0.01
_DOUBLING = log(2)
_LOITER = 0.05  # A start this late still counts as having waited for its slot, not for demand.
_SHARE = 6
_PATIENCE = 0.25
_TICK = 1e-6  # Shorter delays would not move a clock that counts seconds since long ago.

_DAY = 86_400.0
_HOUR = 3_600.0
_LONGEST_DEFAULT_PAUSE = 30.0

_FAILURES_TO_OPEN = 8
_SHORTEST_PROBE, _LONGEST_PROBE = 0.5, 30.0
_GOLDEN = 0.618033988749895


class Priority(IntEnum):
    """Whose turn it is when several wait: a caller who looks on, a hinted job, one expected to end about now, the rest."""

    INTERACTIVE = 0
    NUDGED = 1
    EXPECTED = 2
    REST = 3


_BITS = tuple(1 << priority for priority in Priority)


@dataclass(frozen=True, slots=True)
class PacerStats:
    """What a `Pacer` has learned and counted; fit for JSON.

    *rate* is in starts a second, *ceiling* the rate at which the service last said 429 (None: never), *limit* the learned bound
    on *in_flight*, *paused_until* an instant on the caller's clock (None: never paused), *circuit* "closed" or "open", *slip* the
    smoothed lateness in seconds that the watch reported, *starts* the requests paid for, by priority.
    """

    rate: float
    ceiling: float | None
    in_flight: int
    limit: int
    waiting: int
    paused_until: float | None
    pauses: int
    throttled: int
    failures: int
    circuit: str
    slip: float
    starts: dict[str, int]


class _Room:
    """How many requests may be in flight: fewer while latency climbs, though not for good if narrowing does not help."""

    __slots__ = ("_base", "_floor", "_hard", "_latencies", "_onset", "_peak", "_weighed_at", "climbing", "limit")

    def __init__(self, hard: int) -> None:
        self._hard = hard
        self._floor = min(4, hard)
        self._base = inf
        self._latencies: list[float] = []
        self._peak = 0
        self._onset: tuple[float, float] | None = None
        self._weighed_at = 0.0
        self.limit = float(hard)
        self.climbing = False

    def heed(self, now: float, latency: float, in_flight: int) -> bool:
        """Return whether this answer, one of *in_flight*, has moved the limit."""
        self._latencies.append(latency if latency > 0 else 0.0)
        self._peak = max(self._peak, in_flight)
        # A whole limit's worth of answers: only then do latencies tell of the limit that is, not of the one that was.
        if len(self._latencies) < self.limit or len(self._latencies) < 16:
            return False
        typical = sorted(self._latencies)[len(self._latencies) // 2]
        before = self.limit
        self._weigh(now, typical)
        self._latencies.clear()
        self._peak = 0
        self._weighed_at = now
        return self.limit != before

    def _weigh(self, now: float, typical: float) -> None:
        if typical < self._base:
            self._base = typical
        else:
            self._base += (typical - self._base) * min(1.0, (now - self._weighed_at) / 300)
        self.climbing = typical > 2 * self._base + 0.05 and self._peak * 2 >= self.limit
        if self.climbing:
            self._narrow(typical)
        else:
            self._onset = None
            if self._peak >= self.limit * 0.8:
                self.limit = min(self._hard, self.limit + sqrt(self.limit))

    def _narrow(self, typical: float) -> None:
        if self._onset is None:
            self._onset = (self.limit, typical)
        elif self.limit <= max(self._floor, self._onset[0] / 2):
            if typical > self._onset[1] * 0.75:
                # Half as many in flight wait as long as before: the queue is not ours, this is the service's new pace.
                self._base = typical
                self._onset = None
                self.climbing = False
                return
            self._onset = (self.limit, typical)
        self.limit = max(self._floor, self.limit * 0.8)


class Pacer:
    """The budget that all requests of one token share; *rate* (starts a second) and *concurrency* (in flight) are hard ceilings.

    In any closed window of one second at most `rate + 1` requests start; to keep that while making up for slots missed in the
    last 10 ms, the long-run rate stays one per cent below. *phase* (0 to 1) shifts the probes of clients that lose the service
    together.
    """

    def __init__(self, *, rate: float | None = None, concurrency: int = 100, phase: float = 0.0) -> None:
        if rate is not None and not rate > 0:
            message = f"rate must be more than 0 requests a second, not {rate!r}"
            raise ValueError(message)
        if concurrency < 1:
            message = f"concurrency must be at least 1, not {concurrency!r}"
            raise ValueError(message)
        self._hard_gap = 0.0 if rate is None else (1 + _CATCH_UP) / rate
        self._highest = min(_HIGHEST_RATE, 1 / self._hard_gap) if self._hard_gap else _HIGHEST_RATE
        self._hard = concurrency
        self._reserve = min(2, concurrency // 4)
        self._phase = phase % 1

        self._rate = min(_FIRST_RATE, self._highest)
        self._gap = 1 / self._rate
        self._fast_below = inf
        self._ceiling: float | None = None
        self._careful_above = inf
        self._caution = 20.0
        self._speed = 0.0
        self._busy = 0.0
        self._hungry = False

        self._next_at = self._hard_at = self._gate_at = self._paused_until = self._started_at = -inf
        self._recent: deque[float] = deque(maxlen=256)

        self._in_flight = 0
        self._stale = 0
        self._room = _Room(concurrency)
        self._rooms = (0, 0, 0, 0)
        self._refused = False
        self._open = False
        self._down_since = -inf
        self._failures_running = self._throttled_running = 0
        self._measure_rooms()

        self._waiting = [0, 0, 0, 0]
        self._passed = [0, 0, 0, 0]
        self._mask = 0
        self._owing = False
        self._stood_back_at = inf

        self._callbacks: dict[object, Callable[[], None]] = {}
        self._pauses = self._throttled = self._failures = 0
        self._slip = 0.0
        self._starts = [0, 0, 0, 0]

    # When may it go?

    def peek(self, now: float, priority: Priority) -> float:
        """Return 0.0 if a request of *priority* may go now, else the seconds after which to look again; inf: after a callback.

        Ask only when there is something to send: a refusal tells the pacer that its rate is the bottleneck.
        """
        at = self._next_at
        if not priority and not self._owing:
            # One slot on credit: whoever looks on does not wait for the gap after a poll.
            at -= self._gap
        if now < at:
            self._hungry = True
        at = max(at, self._gate_at)
        if now < at:
            return max(at - now, _TICK)
        if self._in_flight >= self._rooms[priority]:
            self._refused = True
            return inf
        if self._mask & ~_BITS[priority] and self._stands_back(now, priority):
            return min(max(self._gap, 0.001), _PATIENCE)
        return 0.0

    def take(self, now: float, priority: Priority) -> float:
        """Do as `peek` does, and if it is 0.0 the request is paid for and in flight until one of the four endings is told."""
        delay = self.peek(now, priority)
        if delay:
            return delay
        gap = self._gap
        late = now - self._next_at
        if self._hungry:
            self._hungry = False
            if late <= _LOITER + 0.7 * gap:
                self._busy += now - self._started_at
        self._next_at = (self._next_at if late < _CATCH_UP else now - _CATCH_UP) + gap
        if self._hard_gap:
            self._hard_at = max(self._hard_at, now - _CATCH_UP) + self._hard_gap
            self._gate_at = max(self._gate_at, self._hard_at)
        if self._open:
            self._gate_at = max(self._gate_at, now + self._probe_pause(now))
        self._started_at = now
        self._recent.append(now)
        self._in_flight += 1
        self._starts[priority] += 1
        if self._mask & ~_BITS[priority]:
            self._pass_over(priority)
        else:
            self._passed[priority] = 0
        return 0.0

    # Whose turn is it?

    def enter(self, priority: Priority) -> None:
        """Announce a request that waits for its turn; it keeps its claim as long as it has not left."""
        self._waiting[priority] += 1
        self._note_waiting()

    def leave(self, priority: Priority) -> None:
        """Take back one announcement: the request has started, or is no longer wanted."""
        self._waiting[priority] = max(0, self._waiting[priority] - 1)
        self._note_waiting()

    def _note_waiting(self) -> None:
        self._mask = sum(bit for bit, waiting in zip(_BITS, self._waiting, strict=True) if waiting)
        self._owing = any(w and p >= _SHARE for w, p in zip(self._waiting, self._passed, strict=True))

    def _pass_over(self, priority: Priority) -> None:
        self._passed[priority] = 0
        for lower in range(priority + 1, 4):
            if self._waiting[lower]:
                self._passed[lower] += 1
        self._stood_back_at = inf
        self._owing = any(w and p >= _SHARE for w, p in zip(self._waiting, self._passed, strict=True))

    def _stands_back(self, now: float, priority: Priority) -> bool:
        able = [p for p in Priority if (self._waiting[p] or p == priority) and self._in_flight < self._rooms[p]]
        longest = max(able, key=lambda p: self._passed[p])
        if priority == (longest if self._passed[longest] >= _SHARE else able[0]):
            return False
        # Whoever was let go first and does not come must not hold up the others.
        self._stood_back_at = min(self._stood_back_at, now)
        return now - self._stood_back_at < _PATIENCE

    # How did it end?

    def answered(self, now: float, latency: float) -> None:
        """End a request that the service answered, well or with an error about that one job; *latency* in seconds."""
        in_flight = self._in_flight
        self._end()
        self._failures_running = 0
        if not self._stale:
            self._throttled_running = 0
        if self._open:
            self._close()
        if self._busy and not self._room.climbing:
            self._grow(self._busy)
        self._busy = 0.0
        if self._room.heed(now, latency, in_flight):
            self._measure_rooms()
        if self._refused:
            self._tell()

    def throttled(self, now: float, retry_after: float | None = None) -> None:
        """End a request that was answered 429: nobody asks for *retry_after* seconds.

        None, the past and NaN give a second, doubled each time up to 30; more than a day is taken for an error and gives an hour.
        The rate is halved, but not by answers to requests that were under way when it was halved before.
        """
        self._end()
        self._throttled += 1
        self._failures_running = 0
        if self._open:
            self._close()
        if retry_after is None or not retry_after > 0:
            pause = min(2.0**self._throttled_running, _LONGEST_DEFAULT_PAUSE)
        else:
            pause = retry_after if retry_after <= _DAY else _HOUR
        if not self._stale:
            self._halve(now, pause)
            self._stale = self._in_flight
            self._throttled_running = min(self._throttled_running + 1, 10)
        # Two clocks drift apart and headers are rounded: a thousandth more, so as never to be early.
        self._paused_until = max(self._paused_until, now + pause * 1.001 + 0.01)
        self._gate_at = max(self._gate_at, self._paused_until)
        if self._refused:
            self._tell()

    def failed(self, now: float) -> None:
        """End a request that got no usable answer: 5xx, a reset, a timeout, undecodable bytes."""
        self._end()
        self._failures += 1
        self._busy = 0.0
        if not self._failures_running:
            self._down_since = now
        self._failures_running += 1
        if self._failures_running == _FAILURES_TO_OPEN:
            self._open = True
            if self._ceiling is not None:
                self._fast_below = max(self._fast_below, self._rate * 0.75)
            self._gate_at = max(self._gate_at, now + self._probe_pause(now))
            self._measure_rooms()
        if self._refused:
            self._tell()

    def released(self) -> None:
        """End a request of which nothing was learned: cancelled, or never sent."""
        self._end()
        if self._refused:
            self._tell()

    def slipped(self, seconds: float) -> None:
        """Note how late a poll went out, for `stats`."""
        self._slip += (max(0.0, seconds) - self._slip) / 32

    def _end(self) -> None:
        # An ending too many is a bug elsewhere, and no reason to let more than the limit out for ever after.
        if self._in_flight:
            self._in_flight -= 1
        if self._stale:
            self._stale -= 1

    # What was learned?

    def _grow(self, seconds: float) -> None:
        rate = self._rate
        if rate < self._fast_below:
            more = rate * _DOUBLING * seconds
        elif rate < self._careful_above:
            more = self._careful_above * seconds / self._caution
        else:
            more = rate * self._speed * seconds
            self._speed = min(self._speed * (1 + _DOUBLING * seconds / self._caution), 0.1)
        # One more a second for each answer doubles the rate in a second, and a late answer does not make it leap.
        self._set_rate(rate + min(more, 1.0))

    def _halve(self, now: float, pause: float) -> None:
        second = sum(1 for at in self._recent if at > now - 1)
        oldest = self._recent[-second] if second else now
        used = max(float(second), (second - 1) / (now - oldest) if now > oldest else 0.0)
        used = min(self._rate, max(used, _FIRST_RATE))
        # Found by doubling, the truth is anywhere between half and whole; found by creeping, it is near.
        self._careful_above = used / 2 if self._rate < self._fast_below else used * 0.9
        self._fast_below = 0.0
        self._ceiling = used
        self._caution = min(max(20.0, pause * 4), 600.0)
        self._speed = 0.02 / self._caution
        self._busy = 0.0
        self._pauses += 1
        self._set_rate(used / 2)

    def _set_rate(self, rate: float) -> None:
        self._rate = min(max(rate, _LOWEST_RATE), self._highest)
        self._gap = 1 / self._rate

    def _probe_pause(self, now: float) -> float:
        self._phase = (self._phase + _GOLDEN) % 1
        pause = min(max((now - self._down_since) / 3, _SHORTEST_PROBE), _LONGEST_PROBE)
        return pause * (1 - 0.2 * self._phase)

    def _close(self) -> None:
        self._open = False
        self._gate_at = max(self._paused_until, self._hard_at)
        self._set_rate(max(self._rate / 8, min(self._rate, _FIRST_RATE / 2)))
        self._refused = True
        self._measure_rooms()

    def _measure_rooms(self) -> None:
        limit = int(self._room.limit)
        # A probe may use any place: those under the learned limit may all be held by requests that hang.
        rest = self._hard if self._open else min(limit, self._hard - self._reserve)
        self._rooms = (self._hard if self._open else min(self._hard, limit + self._reserve), rest, rest, rest)

    # Who wants to know?

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have *callback* called whenever something may go earlier than was said; the function returned ends that."""
        key = object()
        self._callbacks[key] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)

        return unsubscribe

    def _tell(self) -> None:
        self._refused = False
        for callback in tuple(self._callbacks.values()):
            callback()

    def stats(self) -> PacerStats:
        """Return what is known and counted so far."""
        return PacerStats(
            rate=self._rate,
            ceiling=self._ceiling,
            in_flight=self._in_flight,
            limit=int(self._room.limit),
            waiting=sum(self._waiting),
            paused_until=None if self._paused_until == -inf else self._paused_until,
            pauses=self._pauses,
            throttled=self._throttled,
            failures=self._failures,
            circuit="open" if self._open else "closed",
            slip=self._slip,
            starts={priority.name.lower(): self._starts[priority] for priority in Priority},
        )


prepaid: ContextVar[Pacer | None] = ContextVar("prepaid", default=None)
"""Set around a fetch by a watcher that has paid for it: the client ends that request, and does not pay again."""
