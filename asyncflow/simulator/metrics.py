"""What the simulator saw; counting costs a request a microsecond or two.

Pure: no clock, no I/O, no asyncio; times are seconds since the simulator's start.
"""

from collections import Counter, deque

from msgspec import Struct

__all__ = ["Counters", "SimulatorStats"]

# A request that crossed a 429 on the wire could not yet know of it.
_CROSSING = 0.05


class SimulatorStats(Struct, frozen=True, kw_only=True):
    """The simulator's counts. *requests* are those to the service: media and control are not among them.

    *by_kind*: read, submit, stats, cancel, asset, other, media; *by_status*: keys are three digits, or the name of a fault that
    left no whole answer, or "disconnected"; *by_kind_and_status*: keys such as "read 200". *peak_rate*: most requests in any one
    second. *polls_inside_retry_after*: reads that arrived while a Retry-After was still running. *tokens_at_media*: requests for
    media that carried a credential. *lag_mean* and *lag_max*: seconds between a job's end and the first whole answer that showed
    it, None before there is one.
    """

    uptime: float
    requests: int
    by_kind: dict[str, int]
    by_status: dict[str, int]
    by_kind_and_status: dict[str, int]
    in_flight: int
    peak_in_flight: int
    peak_rate: int
    throttled: int
    polls_inside_retry_after: int
    faults: dict[str, int]
    tokens_at_media: int
    connections: int
    open_connections: int
    peak_open_connections: int
    callbacks: dict[str, int]
    jobs: int
    jobs_ended: int
    jobs_read: int
    ends_shown: int
    lag_mean: float | None
    lag_max: float | None


class Counters:
    """Counts as requests come and go."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.callbacks: Counter[str] = Counter()
        self.in_flight: int = 0
        self.peak_in_flight: int = 0
        self.peak_rate: int = 0
        self.inside_retry_after: int = 0
        self.tokens_at_media = 0
        self.connections: int = 0
        self.open_connections: int = 0
        self.peak_open_connections: int = 0
        self._last_second: deque[float] = deque()
        self._throttled_from = 0.0
        self._throttled_until = 0.0

    def begin(self, kind: str, now: float) -> None:
        """Count a request of *kind* that has arrived."""
        if kind == "media":
            return
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        recent = self._last_second
        recent.append(now)
        while recent[0] <= now - 1.0:
            recent.popleft()
        self.peak_rate = max(self.peak_rate, len(recent))
        if kind == "read" and self._throttled_from < now < self._throttled_until:
            self.inside_retry_after += 1

    def end(self, kind: str, status: str) -> None:
        """Count its answer: a *status*, or the name of the fault that ended it."""
        self.answers[kind, status] += 1
        if kind != "media":
            self.in_flight -= 1

    def throttle(self, now: float, retry_after: float) -> None:
        """Note that a 429 leaves which asks for silence during *retry_after* seconds."""
        if now >= self._throttled_until:
            self._throttled_from = now + _CROSSING
        self._throttled_until = max(self._throttled_until, now + retry_after)

    def connected(self) -> None:
        """Count a connection that was opened."""
        self.connections += 1
        self.open_connections += 1
        self.peak_open_connections = max(self.peak_open_connections, self.open_connections)

    def disconnected(self) -> None:
        """Count a connection that is gone."""
        self.open_connections -= 1

    def by(self, place: int) -> dict[str, int]:
        """Return the answers counted by kind (place 0) or by status (place 1)."""
        sums: Counter[str] = Counter()
        for key, number in self.answers.items():
            sums[key[place]] += number
        return dict(sums)
