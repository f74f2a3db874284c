"""A fleet of jobs, a service with limits and a budget between them, in plain numbers: an hour passes in a second.

`Fleet` stands for the watcher (poll, wait, poll again) on an event loop with timers a millisecond coarse, `Service` for the other
side, which counts what it saw. `Fleet.rows` is a table over time, made for a picture.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple

from asyncflow.pacing import Pacer, Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GOLDEN = 0.618033988749895


class Row(NamedTuple):
    """What happened in one step of the table; instants and delays in seconds, *rate* the budget at the step's end."""

    at: float
    requests: int
    throttled: int
    failed: int
    rate: float
    limit: int
    in_flight: int
    circuit: str
    open_jobs: int
    seen: int
    mean_delay: float


@dataclass
class Service:
    """Answers by a token bucket (*rate* a second, *burst* deep, None: no limit), windows of outage and of refusal.

    A refusal is (start, end): the one answer 429 at its start asks to stay away until its end. *serves* is how many requests a
    second it can work on (None: any number); the others queue and wait longer.
    """

    rate: float | None = None
    burst: float = 20.0
    retry_after: float | None = 5.0
    outages: tuple[tuple[float, float], ...] = ()
    refusals: tuple[tuple[float, float], ...] = ()
    serves: float | None = None
    latency: Callable[[float], float] = lambda _: 0.05
    throttled: int = 0
    too_early: int = 0
    starts: list[float] = field(default_factory=list)
    _tokens: float = inf
    _seen_at: float = -inf
    _away: list[tuple[float, float]] = field(default_factory=list)
    _idle_at: float = -inf

    def answer(self, now: float) -> tuple[str, float, float | None]:
        """Return what a request that arrives *now* gets, after how many seconds, and the Retry-After."""
        self.starts.append(now)
        latency = self.latency(now)
        if any(start <= now < end for start, end in self.outages):
            return "failed", latency, None
        self.too_early += any(told_at < now < until for told_at, until in self._away)
        for start, end in self.refusals:
            if start <= now < end:
                return self._refuse(now, latency, end - now)
        if self.rate is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._seen_at) * self.rate)
            self._seen_at = now
            if self._tokens < 1:
                return self._refuse(now, latency, self.retry_after)
            self._tokens -= 1
        if self.serves is not None:
            self._idle_at = max(self._idle_at, now) + 1 / self.serves
            latency += self._idle_at - now
        return "answered", latency, None

    def _refuse(self, now: float, latency: float, retry_after: float | None) -> tuple[str, float, float | None]:
        self.throttled += 1
        # An answer that is still on its way binds nobody.
        self._away = [away for away in self._away if away[1] > now]
        self._away.append((now + latency, now + latency + (retry_after or 0.0)))
        return "throttled", latency, retry_after

    def peak(self, width: float = 1.0) -> int:
        """Return the most requests in any window of *width* seconds, its ends included."""
        most = first = 0
        for last, at in enumerate(self.starts):
            while self.starts[first] < at - width:
                first += 1
            most = max(most, last - first + 1)
        return most


class Fleet:
    """Jobs (start, duration), each polled *interval* seconds after its last answer, the first polls spread over one interval."""

    def __init__(
        self, pacer: Pacer, service: Service, jobs: Iterable[tuple[float, float]], *, interval: float = 5.0, step: float = 10.0
    ) -> None:
        self.pacer, self.service = pacer, service
        self.delays: list[float] = []
        self.seen_at: list[float] = []
        self.rows: list[Row] = []
        self.open_jobs = 0
        self._interval, self._step = interval, step
        self._answers: list[tuple[float, int, int, float, str, float | None]] = []
        self._due: list[tuple[float, int]] = []
        self._failures: dict[int, int] = {}
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._counts = {"requests": 0, "throttled": 0, "failed": 0}
        self._counted_seen = 0
        self._number = 0
        self._woken = self._refused = False
        self._look_at = 0.0
        for number, (start, duration) in enumerate(jobs):
            self._ends.append(start + duration)
            heapq.heappush(self._due, (start + (number * GOLDEN) % 1 * min(interval, duration), number))
            self._starts.append(start)
        pacer.subscribe(self._wake)

    def _wake(self) -> None:
        self._woken = True

    def run(self, until: float) -> None:
        """Let time pass until then, or until every job has been seen to end."""
        now, next_row = 0.0, self._step
        while now < until and (self._due or self._answers):
            if self._look_at <= now:
                self._send(now)
            answer_at = self._answers[0][0] if self._answers else inf
            now = min(self._look_at, answer_at)
            assert now < inf, "polls wait for a callback that nobody will send"
            while next_row <= min(now, until):
                self._add_row(next_row)
                next_row += self._step
            while self._answers and self._answers[0][0] <= now:
                self._end(now, *heapq.heappop(self._answers)[2:])
            if self._woken or (not self._refused and self._due and self._due[0][0] < self._look_at):
                self._look_at = max(now, self._due[0][0]) if self._due and not self._woken else now
                self._woken = False

    def _send(self, now: float) -> None:
        """Send what is due and may go, and note when to look again."""
        delay = 0.0
        while self._due and self._due[0][0] <= now:
            delay = self.pacer.try_acquire(now, Priority.REST)
            if delay:
                break
            due, job = heapq.heappop(self._due)
            self.pacer.note_lateness(now - due)
            word, latency, retry_after = self.service.answer(now)
            self._counts["requests"] += 1
            self._number += 1
            heapq.heappush(self._answers, (now + latency, self._number, job, latency, word, retry_after))
        self._refused = delay > 0
        if not self._refused:
            delay = self._due[0][0] - now if self._due else inf
        # The timers of an event loop are a millisecond coarse.
        self._look_at = max(now + 0.0005, ceil((now + delay) * 1000) / 1000) if delay < inf else inf

    def _end(self, now: float, job: int, latency: float, word: str, retry_after: float | None) -> None:
        if word == "answered":
            self.pacer.succeeded(now, latency)
            self._failures.pop(job, None)
            if now - latency >= self._ends[job]:
                self.delays.append(now - self._ends[job])
                self.seen_at.append(now)
                return
            pause = self._interval
        elif word == "throttled":
            self._counts["throttled"] += 1
            self.pacer.throttled(now, retry_after)
            pause = 0.1
        else:
            self._counts["failed"] += 1
            self.pacer.failed(now)
            self._failures[job] = failures = self._failures.get(job, 0) + 1
            pause = min(2.0 ** (failures - 1), 60.0)
        heapq.heappush(self._due, (now + pause, job))

    def _add_row(self, at: float) -> None:
        stats = self.pacer.stats()
        seen = self.delays[self._counted_seen :]
        self._counted_seen = len(self.delays)
        begun = sum(start <= at for start in self._starts)
        self.rows.append(
            Row(
                at,
                self._counts["requests"],
                self._counts["throttled"],
                self._counts["failed"],
                stats.rate,
                stats.limit,
                stats.in_flight,
                stats.circuit,
                begun - len(self.delays),
                len(seen),
                sum(seen) / len(seen) if seen else 0.0,
            )
        )
        self._counts = dict.fromkeys(self._counts, 0)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def hour(step: float = 20.0) -> tuple[list[Row], Service, Fleet]:
    """Play an hour: an outage in minutes 5 to 15, all three times as slow in 15 to 25, a pause of 30 minutes from 26:40 on.

    Two jobs a second begin, of about 100 seconds each; the service takes 100 requests a second. The rows are fit for a picture.
    """

    def pace(now: float) -> float:
        return 3.0 if 900 <= now < 1500 else 1.0

    dice = random.Random(1)
    jobs = [(at, dice.lognormvariate(4.6, 0.25) * pace(at)) for at in (number / 2 for number in range(7200))]
    service = Service(rate=100, outages=((300, 900),), refusals=((1600, 3400),), latency=lambda now: 0.05 * pace(now))
    fleet = Fleet(Pacer(), service, jobs, step=step)
    fleet.run(3600)
    return fleet.rows, service, fleet
