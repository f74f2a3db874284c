"""What a worker does: claims as many jobs as it can poll soon, and has them polled and judged."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isinf
from typing import TYPE_CHECKING

from asyncflow.cluster.lease import Lease, leased
from asyncflow.cluster.store import WorkerStats
from asyncflow.cluster.store_client import StoreClient
from asyncflow.errors import RateLimitedError
from asyncflow.events import Changed
from asyncflow.pacing import Priority
from asyncflow.polling import Schedule
from asyncflow.watcher.decisions import Decision, DecisionRules
from asyncflow.watcher.forecast import Forecast
from asyncflow.watcher.stats import WatchCounters
from asyncflow.watcher.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.cluster.store import ClaimBatch, StoreStatus, WatchStore
    from asyncflow.cluster.worker import JobReader
    from asyncflow.polling import Policy
    from asyncflow.records import Job
    from asyncflow.stream import Emitter
    from asyncflow.watcher.watched_job import JobTimeouts

__all__ = ["WorkerConfig", "WorkerEngine"]

_MARGIN = 0.1
"""The share of a lease that a poll does not use, at most a second of it: its report must arrive, and clocks drift."""

_AHEAD = 0.1
"""Seconds' worth of polls that are claimed ahead: they are what waits for the end of a lease should this worker die."""

_MOST_AHEAD = 400
_LONG_PAUSE = 0.5


@dataclass(slots=True)
class WorkerConfig:
    """What `Worker` was given."""

    client: JobReader
    store: WatchStore
    name: str
    concurrency: int
    lease: float
    policy: Policy
    limits: JobTimeouts
    max_failures: int | None
    on_status: Callable[[WorkerStats, StoreStatus | None], None] | None = None


class WorkerEngine:
    """The runner of a worker: it claims jobs, polls them and reports what was decided."""

    def __init__(self, settings: WorkerConfig) -> None:
        self._settings = settings
        self._pacer = settings.client.pacer
        self._margin = min(settings.lease * _MARGIN, 1.0)
        self._schedule: Schedule[Lease] = Schedule()
        self._tally = WatchCounters()
        self._rules = DecisionRules(
            settings.policy,
            limits=settings.limits,
            forecast=Forecast(settings.policy, self._wall_clock, None),
            wall_clock=self._wall_clock,
            max_failures=settings.max_failures,
        )
        self._pool = WorkerPool(
            self._schedule, self._pacer, settings.concurrency, fetch=self._ask, on_answer=self._hear, expire=self._lapse
        )
        self._low = 0
        self._was_short = False
        self._is_draining = self._is_drained = False
        self._offset = 0.0
        self._lapsed = self._throttled = 0
        self._loop: asyncio.AbstractEventLoop
        self._sink: Emitter[None]
        self._space = asyncio.Event()
        self._stopping = asyncio.Event()
        self._store = StoreClient(
            settings.store,
            settings.name,
            settings.lease,
            moves=settings.limits.stall is not None,
            learn=settings.policy.learn,
            taken=self._space.set,
        )

    def _wall_clock(self) -> datetime:
        """Return the store's time: that of this machine may be an hour off."""
        return datetime.fromtimestamp(self._loop.time() + self._offset, UTC)

    # -- life ------------------------------------------------------------------------------------------------------------

    async def run(self, sink: Emitter[None]) -> None:
        """Work until drained. The body of the stream's owner task."""
        self._sink, self._loop = sink, asyncio.get_running_loop()
        try:
            await self._store.begin()
            stop = self._pool.start(sink)
            try:
                self._store.start(sink)
                if self._settings.on_status is not None:
                    sink.start_soon(self._store.show, self._settings.on_status, self.stats)
                await self._claim_all()
                self._give_back()
                while len(self._schedule) or self._store.reports:
                    self._space.clear()
                    await self._space.wait()
                self._is_drained = True
                sink.finish()
            finally:
                stop()
        finally:
            if not self._is_drained:
                # A poll that was just cut short may not be over at the other end.
                held = {lease: 1.0 if lease in self._pool.out else 0.0 for lease in self._schedule}
                await self._store.release_all(held)

    def drain(self) -> None:
        """Claim no more."""
        self._is_draining = True
        self._stopping.set()
        self._space.set()

    # -- claims ----------------------------------------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        while not self._is_draining:
            if (pause := self._held_back()) > _LONG_PAUSE:
                # Somebody with another network, or another budget, may be luckier.
                self._give_back()
                # No more than a sign of life, for whoever asks which workers there are.
                if await self._store.claim(0, self._words()) is not None:
                    await self._rest(min(pause, 1.0))
                continue
            count = self._wanted()
            if not count:
                self._space.clear()
                await self._space.wait()
                continue
            asked_at = self._loop.time()
            claims = await self._store.claim(count, self._words())
            if claims is None:
                continue
            # From when it was asked for: the store cannot have begun to count before.
            self._take(claims, asked_at + self._settings.lease - self._margin)
            self._was_short = len(claims.jobs) < count
            if claims.pause > _LONG_PAUSE:
                self._give_back()
            if claims.wait > 0:
                await self._rest(claims.wait)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _held_back(self) -> float:
        """Return for how many seconds the client's own budget lets nothing go."""
        stats, now = self._pacer.stats(), self._loop.time()
        if stats.circuit == "open":
            # A job that was claimed too early lapses when the probe's turn comes, and takes the turn with it.
            delay = self._pacer.delay(now, Priority.NUDGED)
            return 0.0 if isinf(delay) else delay
        return 0.0 if stats.paused_until is None else stats.paused_until - now

    def _wanted(self) -> int:
        """Return how many jobs to claim: as many as go out within the next moment, and none for less than half of those."""
        stats = self._pacer.stats()
        ahead = max(1, min(int(stats.rate * _AHEAD), self._settings.concurrency * 3, _MOST_AHEAD))
        if stats.circuit == "open":
            ahead = 1
        # Where the store has less than was asked for, as it does where the workers' common rate is spent, nothing is to pile up
        # here: it would go out in one go, and in a second that has its full number already.
        self._low = 0 if self._was_short else ahead // 2
        waiting = len(self._schedule) - len(self._pool.out)
        # What the store does not hear of cannot be claimed anew either: without it, nothing more is begun.
        if waiting > self._low or self._store.is_behind:
            return 0
        return ahead - waiting

    def _take(self, claims: ClaimBatch, ends_at: float) -> None:
        now = self._loop.time()
        self._offset = claims.now - now
        for claim in claims.jobs:
            lease = leased(claim, ends_at, self._offset)
            older = self._schedule.get(claim.job_id)
            if older is not None and older not in self._pool.out:
                self._schedule.discard(claim.job_id)
            # Late as it is: a budget grows where polls have to wait.
            self._schedule.add(lease, min(claim.due_at - self._offset, now))
        if claims.jobs:
            self._pool.wake_at(now)

    def _give_back(self) -> None:
        """Let others have what is not being polled."""
        for lease in list(self._schedule):
            if lease not in self._pool.out:
                self._schedule.discard(lease.job_id)
                self._store.report(lease, 0.0)

    def _lapse(self, lease: Lease, now: float) -> bool:
        """Drop a job that the budget has held back until its lease was over; return whether it was."""
        if now < lease.ends_at:
            return False
        self._schedule.discard(lease.job_id)
        self._lapsed += 1
        self._space.set()
        return True

    # -- polls -----------------------------------------------------------------------------------------------------------

    async def _ask(self, lease: Lease) -> Job | None:
        if len(self._schedule) - len(self._pool.out) <= self._low:
            self._space.set()
        try:
            now = self._loop.time()
            # A process that was stopped for a while wakes up here, and its jobs are others' by now.
            if self._lapse(lease, now):
                return None
            return await self._settings.client.get_job(lease.job_id, timeout=max(lease.ends_at - now, 0.001))
        finally:
            if self._is_draining:
                self._space.set()

    def _hear(self, lease: Lease, answer: object, _start: float) -> None:
        if isinstance(answer, RateLimitedError) and answer.status is not None:
            self._throttled += 1
            self._store.pause_all(answer.retry_after or 1.0)
        self._tally.polls += 1
        self._carry_out(lease, self._rules.decide(lease, answer, self._loop.time()))

    def _carry_out(self, lease: Lease, decision: Decision) -> None:
        if decision.fatal is not None:
            self._sink.fail(decision.fatal)
            return
        if decision.is_failed_poll:
            self._tally.failed_polls += 1
        for event in decision.events:
            if type(event) is Changed:
                self._tally.moved(event.previous, event.job.status)
            self._tally.reported(event, lease.key)
        self._schedule.discard(lease.job_id)
        pause = None if decision.next_poll_at is None else max(decision.next_poll_at - self._loop.time(), 0.0)
        # A report carries one event. Where a job has changed and timed out at once, that is its end.
        self._store.report(lease, pause, decision.events[-1] if decision.events else None)
        if decision.duration is not None:
            self._settings.policy.learn(*decision.duration)
            # The other workers learn it too; the last report is that of this very job.
            self._store.report_duration(*decision.duration)

    # -- how it goes -----------------------------------------------------------------------------------------------------

    def _words(self) -> str:
        return f"{self._tally.polls} polls, {len(self._schedule)} in hand"

    def stats(self) -> WorkerStats:
        """Return how the worker is doing."""
        tally, store = self._tally, self._store
        return WorkerStats(
            name=self._settings.name,
            in_hand=len(self._schedule),
            in_flight=len(self._pool.out),
            unreported=len(store.reports),
            connected=store.is_connected,
            is_draining=self._is_draining,
            is_healthy=store.is_healthy,
            polls=tally.polls,
            failed_polls=tally.failed_polls,
            counted=store.counted,
            stale=store.stale,
            lapsed=self._lapsed,
            ended=sum(tally.outcomes.values()),
            abandoned=tally.abandoned,
            throttled=self._throttled,
            claim_time=store.claim_time,
            report_time=store.report_time,
        )
