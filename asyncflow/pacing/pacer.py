"""The budget itself: five rules that must agree."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from asyncflow.pacing.adaptive_concurrency import AdaptiveConcurrency
from asyncflow.pacing.adaptive_rate import AdaptiveRate
from asyncflow.pacing.circuit_breaker import CircuitBreaker
from asyncflow.pacing.fair_queue import FairQueue, Priority
from asyncflow.pacing.throttle_classifier import ThrottleClassifier

_SHORTEST_LOOK, _LONGEST_LOOK = 0.001, 0.25
_DAY, _HOUR = 86_400.0, 3_600.0
_LONGEST_DEFAULT_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class PacerStats:
    """What a `Pacer` has learned and counted; fit for JSON.

    *rate* is in starts a second, *ceiling* the rate at which the service last said 429 (None: never), *limit* the learned bound
    on *in_flight*, *paused_until* an instant on the caller's clock (None: never paused), *pauses* how often the rate was halved,
    *throttled* the answers 429, *circuit* "closed" or "open", *lateness* the smoothed lateness of polls in seconds that the
    watch reported, *starts* the requests paid for, by priority.
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
    lateness: float
    starts: dict[str, int]


class Pacer:
    """The budget that all requests of one token share; *rate* (starts a second) and *concurrency* (in flight) are hard ceilings.

    In any closed window of one second at most `rate + 1` requests start; to keep that while making up for slots missed in the
    last 10 ms, the long-run rate stays one per cent below. *phase* (0 to 1) shifts the probes of clients that lose the service
    together.
    """

    def __init__(self, *, rate: float | None = None, concurrency: int = 100, phase: float = 0.0) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"rate must be more than 0 requests a second, not {rate!r}")
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency!r}")
        self._hard = concurrency
        self._reserve = min(2, concurrency // 4)
        self._spacing = AdaptiveRate(rate)
        self._room = AdaptiveConcurrency(concurrency)
        self._circuit = CircuitBreaker(phase)
        self._turns = FairQueue()
        self._refusals = ThrottleClassifier()
        self._gate_at = self._paused_until = self._first_at = -inf
        self._passed = 0  # Answers since the last 429.
        self._in_flight = 0
        self._stale = 0  # How many of those in flight went out before the rate was halved; answers come about in order.
        self._refused = False  # Someone sleeps who should hear of a change.
        self._limit = 0
        self._rooms = (0, 0, 0, 0)
        self._measure_rooms()
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._default_pauses = self._pauses = self._throttled = self._failures = 0
        self._slip = 0.0
        self._starts = [0, 0, 0, 0]

    def delay(self, now: float, priority: Priority, who: object = None) -> float:
        """Return 0.0 if a request of *priority* may go now, else the seconds after which to look again; inf: after a callback.

        *who* asks, a watch or a client, and is told apart by identity: of those announced with one priority each has its turn.
        Ask only when there is something to send: a refusal tells the pacer that its rate is the bottleneck.
        """
        spacing = self._spacing
        at = spacing.next_at
        if not priority and not self._turns.is_owing:
            # One slot on credit: who looks on does not wait for the gap after a poll.
            at -= spacing.gap
        if now < at:
            spacing.is_bottleneck = True
        if at < self._gate_at:  # noqa: PLR1730 - max() would cost a tenth of the whole answer
            at = self._gate_at
        if now < at:
            return at - now
        # Places kept for the interactive are not theirs while others are owed: those could never come in otherwise.
        if self._in_flight >= self._rooms[Priority.REST if self._turns.is_owing else priority]:
            return self._wait_for_room(now)
        if self._turns.mask and self._turns.stands_back(now, priority, who):
            return min(max(spacing.gap, _SHORTEST_LOOK), _LONGEST_LOOK)
        return 0.0

    def _wait_for_room(self, now: float) -> float:
        self._refused = True
        if self._limit >= self._hard - self._reserve:
            return inf
        if self._room.grow_if_stuck(now):
            self._measure_rooms()
            return _SHORTEST_LOOK
        return _LONGEST_LOOK

    def try_acquire(self, now: float, priority: Priority, who: object = None) -> float:
        """Grant a request and return 0.0, or return the seconds to wait as `delay` does.

        A granted request is in flight until one of `succeeded`, `throttled`, `failed` and `cancelled` ends it.
        """
        delay = self.delay(now, priority, who)
        if delay:
            return delay
        spacing = self._spacing
        spacing.started(now)
        if self._first_at == -inf:
            self._first_at = now
        if spacing.hard_gap and spacing.hard_at > self._gate_at:
            self._gate_at = spacing.hard_at
        if self._circuit.is_open:
            self._gate_at = max(self._gate_at, now + self._circuit.probe_delay(now))
        if self._turns.mask:
            self._turns.started(priority, who)
        self._in_flight += 1
        self._starts[priority] += 1
        return 0.0

    def enqueue(self, priority: Priority, who: object = None, since: float = inf) -> None:
        """Announce a request that waits for its turn, *since* when it was due: lower priorities stand back meanwhile.

        Only those in the queue have a share against higher priorities, so stay in it until `try_acquire` has returned 0.0.
        """
        self._turns.enqueue(priority, who, since)

    def dequeue(self, priority: Priority, who: object = None) -> None:
        """Take back one announcement: the request has started, or is no longer wanted."""
        self._turns.dequeue(priority, who)
        if self._refused:
            self._tell()

    def succeeded(self, now: float, latency: float) -> None:
        """End a request that the service answered, be it with an error about that one job; *latency* is in seconds."""
        in_flight = self._in_flight
        self._passed += 1
        if not self._end():
            self._default_pauses = 0
        if self._circuit.failures and self._circuit.succeeded():
            self._come_back()
        if self._spacing.busy:
            self._spacing.succeeded(may_grow=not self._room.is_climbing)
        if self._room.succeeded(now, latency, in_flight):
            self._measure_rooms()
        if self._refused:
            self._tell()

    def throttled(self, now: float, retry_after: float | None = None) -> None:
        """End a request that was answered 429, or 503 with a Retry-After: nobody asks for *retry_after* seconds.

        None, the past and NaN give a second, doubled each time up to 30; more than a day is taken for an error and gives an hour.
        The rate is halved, but not by answers to requests that were under way when it was halved before, and not by those that
        come at any rate.
        """
        was_under_way = self._end()
        self._throttled += 1
        if self._circuit.succeeded():
            self._come_back()
        if not was_under_way:
            self._default_pauses = min(self._default_pauses + 1, 6)
        pause, running_since = self._believe(retry_after), max(self._paused_until, self._first_at)
        # Clocks drift apart and headers are rounded: a thousandth more, so as never to be early.
        self._paused_until = max(self._paused_until, now + pause * 1.001 + 0.01)
        self._gate_at = max(self._gate_at, self._paused_until)
        if not was_under_way:
            self._slow_down(now, pause, now - running_since)
        if self._refused:
            self._tell()

    def _slow_down(self, now: float, pause: float, ran: float) -> None:
        """Halve the rate, unless this 429 is not about it."""
        spacing, refusals = self._spacing, self._refusals
        if refusals.is_for_rate(self._passed, ran, pause, spacing.soon):
            spacing.back_off(now, pause)
            self._pauses += 1
        else:
            spacing.forget_limit()
        self._passed = 0
        self._stale = self._in_flight

    def _believe(self, retry_after: float | None) -> float:
        if retry_after is None or not retry_after > 0:
            return min(2.0 ** max(0, self._default_pauses - 1), _LONGEST_DEFAULT_PAUSE)
        return retry_after if retry_after <= _DAY else _HOUR

    def failed(self, now: float) -> None:
        """End a request that got no usable answer: 5xx, a reset, a timeout, undecodable bytes."""
        self._end()
        self._failures += 1
        self._spacing.failed()
        if self._circuit.failed(now):
            self._gate_at = max(self._gate_at, now + self._circuit.probe_delay(now))
            self._measure_rooms()
        if self._refused:
            self._tell()

    def cancelled(self) -> None:
        """End a request of which nothing was learned: cancelled, or never sent."""
        self._end()
        if self._refused:
            self._tell()

    def _end(self) -> bool:
        """Return whether the request was under way already when the rate was halved last."""
        # An ending too many is a bug elsewhere, and no reason to let more than the limit out for ever after.
        if self._in_flight:
            self._in_flight -= 1
        if self._stale:
            self._stale -= 1
            return True
        return False

    def _come_back(self) -> None:
        self._gate_at = max(self._paused_until, self._spacing.hard_at)
        self._spacing.restart_slow()
        self._measure_rooms()
        self._refused = True

    def _measure_rooms(self) -> None:
        limit = int(self._room.limit)
        self._limit = rest = min(limit, self._hard - self._reserve)
        if self._circuit.is_open:
            # A probe may use any place: those under the learned limit may all be held by requests that hang.
            self._rooms = (self._hard,) * 4
        else:
            self._rooms = (min(self._hard, limit + self._reserve), rest, rest, rest)

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

    def note_lateness(self, seconds: float) -> None:
        """Note how late a poll of the watch went out, for `stats`."""
        self._slip += (max(0.0, seconds) - self._slip) / 32
        self._spacing.note_lateness(seconds)

    def stats(self) -> PacerStats:
        """Return what is known and counted so far."""
        return PacerStats(
            rate=self._spacing.rate,
            ceiling=self._spacing.ceiling,
            in_flight=self._in_flight,
            limit=self._limit,
            waiting=sum(self._turns.waiting),
            paused_until=None if self._paused_until == -inf else self._paused_until,
            pauses=self._pauses,
            throttled=self._throttled,
            failures=self._failures,
            circuit="open" if self._circuit.is_open else "closed",
            lateness=self._slip,
            starts={priority.name.lower(): self._starts[priority] for priority in Priority},
        )
