"""What a worker does: claims as many jobs as it can poll soon, has them polled and judged, and reports in batches."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import isinf
from random import Random
from typing import TYPE_CHECKING, TypeVar

import anyio
from msgspec import Struct
from msgspec.structs import replace

from asyncflow.cluster.lease import Lease, leased, state_of
from asyncflow.cluster.store import Report
from asyncflow.errors import AsyncflowError, RateLimitedError, StoreError
from asyncflow.pacing import Priority
from asyncflow.polling import Schedule
from asyncflow.watcher.crew import Crew
from asyncflow.watcher.outlook import Outlook
from asyncflow.watcher.tally import Tally
from asyncflow.watcher.verdict import Judge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncflow.cluster.store import Claims, StoreStatus, WatchStore
    from asyncflow.cluster.worker import Reader
    from asyncflow.events import Event
    from asyncflow.polling import Key, Policy
    from asyncflow.records import Job
    from asyncflow.stream import Sink
    from asyncflow.watcher.entry import Entry, Limits

__all__ = ["Settings", "WorkerCore", "WorkerStats"]

T = TypeVar("T")

_log = logging.getLogger("asyncflow.cluster")

_MARGIN = 0.1
"""The share of a lease that a poll does not use, at most a second of it: its report must arrive, and clocks drift."""

_AHEAD = 0.1
"""Seconds' worth of polls that are claimed ahead: they are what waits for the end of a lease should this worker die."""

_MOST_AHEAD = 400
_BATCH = 500
_LINGER = 0.03
"""Seconds for which the next reports gather: one call for twenty costs little more than one for one."""

_LONG_PAUSE = 0.5
_STORE_PAUSE = 0.5
_TIDYING = 20.0
_LESSONS = 10.0
_STATUS_INTERVAL = 5.0
_GOODBYE = 5.0
_SMOOTH = 0.1


class WorkerStats(Struct, frozen=True):
    """How a worker is doing.

    Now: jobs *in_hand*, of them *in_flight*, reports that the store has not yet taken (*unreported*), whether the store is
    *connected* and whether the worker *is_draining*; *is_healthy* is False when the store has not answered for the length of a
    lease. Since the start: *polls*, of them *failed_polls*; reports that *counted* and that were *stale*, their lease being lost;
    leases that ran out here before their poll (*lapsed*); jobs *ended* and *abandoned*; answers 429 (*throttled*). Smoothed
    seconds: *claim_time* and *report_time* of calls to the store.
    """

    name: str
    in_hand: int
    in_flight: int
    unreported: int
    connected: bool
    is_draining: bool
    is_healthy: bool
    polls: int
    failed_polls: int
    counted: int
    stale: int
    lapsed: int
    ended: int
    abandoned: int
    throttled: int
    claim_time: float
    report_time: float


@dataclass(slots=True)
class Settings:
    """What `Worker` was given."""

    client: Reader
    store: WatchStore
    name: str
    concurrency: int
    lease: float
    policy: Policy
    limits: Limits
    max_failures: int | None
    on_status: Callable[[WorkerStats, StoreStatus | None], None] | None = None


class WorkerCore:
    """The runner of a worker, and the desk of its judge."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store, self._name = settings.store, settings.name
        self._pacer = settings.client.pacer
        self._margin = min(settings.lease * _MARGIN, 1.0)
        self._schedule: Schedule[Lease] = Schedule()
        self._tally = Tally()
        self._judge = Judge(
            self,
            settings.policy,
            limits=settings.limits,
            outlook=Outlook(settings.policy, self._wall_clock, None),
            tally=self._tally,
            wall_clock=self._wall_clock,
            max_failures=settings.max_failures,
        )
        self._crew = Crew(self._schedule, self._pacer, settings.concurrency, ask=self._ask, hear=self._hear, give_up=self._lapse)
        self._reports: list[Report] = []
        self._event: Event | None = None
        self._pause: float | None = None
        self._low = 0
        self._is_draining = False
        self._is_drained = False
        self._is_connected = True
        self._heard_at = 0.0
        self._offset = 0.0
        self._counted = self._stale = self._lapsed = self._throttled = 0
        self._claim_time = self._report_time = 0.0
        self._random = Random()
        self._loop: asyncio.AbstractEventLoop
        self._sink: Sink[None]
        self._news = asyncio.Event()
        self._space = asyncio.Event()
        self._stopping = asyncio.Event()

    def _wall_clock(self) -> datetime:
        """Return the store's time: that of this machine may be an hour off."""
        return datetime.fromtimestamp(self._loop.time() + self._offset, UTC)

    # -- life ------------------------------------------------------------------------------------------------------------

    async def run(self, sink: Sink[None]) -> None:
        """Work until drained. The body of the stream's owner task."""
        self._sink, self._loop = sink, asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        try:
            for worry in await self._insist(self._store.check):
                _log.warning("store_not_durable", extra={"worker": self._name, "reason": worry})
            stop = self._crew.start(sink)
            try:
                sink.start_soon(self._tell_store)
                sink.start_soon(self._tidy)
                sink.start_soon(self._learn)
                if self._settings.on_status is not None:
                    sink.start_soon(self._show, self._settings.on_status)
                await self._claim_all()
                self._give_back()
                while len(self._schedule) or self._reports:
                    self._space.clear()
                    await self._space.wait()
                self._is_drained = True
                sink.finish()
            finally:
                stop()
        finally:
            if not self._is_drained:
                await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        """Cut short: give back what is in hand, unless that takes long."""
        with anyio.move_on_after(_GOODBYE, shield=True), suppress(AsyncflowError):
            held = [self._release(lease) for lease in self._schedule]
            reports = [*self._reports, *held]
            for start in range(0, len(reports), _BATCH):
                await self._store.report(self._name, reports[start : start + _BATCH])

    def drain(self) -> None:
        """Claim no more."""
        self._is_draining = True
        self._stopping.set()
        self._space.set()

    # -- claims ----------------------------------------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        settings = self._settings
        while not self._is_draining:
            if (pause := self._held_back()) > _LONG_PAUSE:
                # Somebody with another network, or another budget, may be luckier.
                self._give_back()
                await self._rest(min(pause, 1.0))
                continue
            count = self._wanted()
            if not count:
                self._space.clear()
                await self._space.wait()
                continue
            asked_at = self._loop.time()
            try:
                claims = await self._store.claim(self._name, count, settings.lease, self._words())
            except StoreError as error:
                await self._bear(error)
                continue
            self._claim_time += (self._heard() - asked_at - self._claim_time) * _SMOOTH
            # From when it was asked for: the store cannot have begun to count before.
            self._take(claims, asked_at + settings.lease - self._margin)
            if claims.pause > _LONG_PAUSE:
                self._give_back()
            if claims.wait > 0:
                await self._rest(claims.wait)

    def _held_back(self) -> float:
        """Return for how many seconds the client's own budget lets nothing go."""
        stats, now = self._pacer.stats(), self._loop.time()
        if stats.circuit == "open":
            # A job that was claimed too early lapses when the probe's turn comes, and takes the turn with it.
            delay = self._pacer.peek(now, Priority.NUDGED)
            return 0.0 if isinf(delay) else delay
        return 0.0 if stats.paused_until is None else stats.paused_until - now

    def _wanted(self) -> int:
        """Return how many jobs to claim: as many as go out within the next moment, and none for less than half of those."""
        stats = self._pacer.stats()
        ahead = max(1, min(int(stats.rate * _AHEAD), self._settings.concurrency * 3, _MOST_AHEAD))
        if stats.circuit == "open":
            ahead = 1
        self._low = ahead // 2
        waiting = len(self._schedule) - len(self._crew.out)
        # What the store does not hear of cannot be claimed anew either: without it, nothing more is begun.
        if waiting > self._low or len(self._reports) > _BATCH * 4:
            return 0
        return ahead - waiting

    def _take(self, claims: Claims, ends_at: float) -> None:
        now = self._loop.time()
        self._offset = claims.now - now
        for claim in claims.jobs:
            lease = leased(claim, ends_at, self._offset)
            older = self._schedule.get(claim.job_id)
            if older is not None and older not in self._crew.out:
                self._schedule.discard(claim.job_id)
            # Late as it is: a budget grows where polls have to wait.
            self._schedule.add(lease, min(claim.due_at - self._offset, now))
        if claims.jobs:
            self._crew.expect(now)

    def _give_back(self) -> None:
        """Let others have what is not being polled."""
        for lease in list(self._schedule):
            if lease not in self._crew.out:
                self._schedule.discard(lease.job_id)
                self._put(self._release(lease))

    def _release(self, lease: Lease) -> Report:
        # A poll that was just cut short may not be over at the other end.
        pause = 1.0 if lease in self._crew.out else 0.0
        return Report(lease.job_id, lease.fence, pause, self._state(lease))

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
        if len(self._schedule) - len(self._crew.out) <= self._low:
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
            self._pause = max(self._pause or 0.0, answer.retry_after or 1.0)
        self._judge.hear(lease, answer, self._loop.time())

    # -- what the judge concludes ----------------------------------------------------------------------------------------

    def tell(self, event: Event, entry: Entry) -> None:
        """Keep an event for the report: an answer has one at most."""
        self._tally.reported(event, entry.key)
        self._event = event

    def again(self, entry: Entry, at: float, priority: int) -> None:  # noqa: ARG002 - the store goes by due times
        """Report a job that goes on."""
        self._conclude(entry, max(at - self._loop.time(), 0.0))

    def over(self, entry: Entry) -> None:
        """Report a job that is over."""
        self._conclude(entry, None)

    def _conclude(self, entry: Entry, pause: float | None) -> None:
        if isinstance(entry, Lease):
            self._schedule.discard(entry.job_id)
            event, self._event = self._event, None
            self._put(Report(entry.job_id, entry.fence, pause, "" if pause is None else self._state(entry), event))

    def _state(self, lease: Lease) -> str:
        return state_of(lease, moves=self._settings.limits.stall is not None)

    def refused(self, error: AsyncflowError) -> None:
        """End with an error that concerns all jobs."""
        self._sink.fail(error)

    def met(self, entry: Entry, job: Job) -> None:
        """Nothing is estimated here."""

    def ends(self, entry: Entry, job: Job) -> None:
        """Nothing is warned of here."""

    def learned(self, key: Key, duration: float) -> None:
        """Tell the other workers, with the report of this very job."""
        self._reports[-1] = replace(self._reports[-1], lesson=(*key, duration))

    # -- the store -------------------------------------------------------------------------------------------------------

    def _put(self, report: Report) -> None:
        self._reports.append(report)
        self._news.set()

    async def _tell_store(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(_LINGER)
            while self._reports:
                await self._report(self._reports[:_BATCH])
                self._space.set()

    async def _report(self, batch: list[Report]) -> None:
        asked_at, pause = self._loop.time(), self._pause
        try:
            counted = await self._store.report(self._name, batch, pause=pause)
        except StoreError as error:
            await self._bear(error)
            return
        if pause == self._pause:
            self._pause = None
        del self._reports[: len(batch)]
        self._report_time += (self._heard() - asked_at - self._report_time) * _SMOOTH
        self._counted += sum(counted)
        self._stale += len(counted) - sum(counted)

    def _heard(self) -> float:
        """Note that the store has answered; return the time."""
        self._heard_at = self._loop.time()
        if not self._is_connected:
            self._is_connected = True
            _log.info("store_back", extra={"worker": self._name})
        return self._heard_at

    async def _bear(self, error: StoreError) -> None:
        """Wait a little for a store that does not answer, raise what will not pass."""
        if not error.transient:
            raise error
        if self._is_connected:
            self._is_connected = False
            _log.warning("store_lost", extra={"worker": self._name, "reason": error.reason})
        await asyncio.sleep(_STORE_PAUSE * self._random.uniform(0.5, 1.0))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what *call* says once the store answers."""
        while True:
            try:
                answer = await call()
            except StoreError as error:
                await self._bear(error)
            else:
                self._heard()
                return answer

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDYING * self._random.uniform(0.5, 1.5))
            await self._insist(self._store.tidy)

    async def _learn(self) -> None:
        """Learn from the jobs of the other workers, those before our time first."""
        place = ""
        while True:
            lessons, place = await self._insist(partial(self._store.lessons, place, self._name))
            for service, kind, model, duration in lessons:
                self._settings.policy.learn((service, kind, model), duration)
            await asyncio.sleep(_LESSONS)

    async def _show(self, show: Callable[[WorkerStats, StoreStatus | None], None]) -> None:
        while True:
            await asyncio.sleep(_STATUS_INTERVAL)
            status: StoreStatus | None = None
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_STATUS_INTERVAL / 2):
                    status = await self._store.status()
            show(self.stats(), status)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # -- how it goes -----------------------------------------------------------------------------------------------------

    def _words(self) -> str:
        return f"{self._tally.polls} polls, {len(self._schedule)} in hand"

    def stats(self) -> WorkerStats:
        """Return how the worker is doing."""
        tally, limit = self._tally, self._settings.lease
        is_running = hasattr(self, "_loop")
        return WorkerStats(
            name=self._name,
            in_hand=len(self._schedule),
            in_flight=len(self._crew.out),
            unreported=len(self._reports),
            connected=self._is_connected,
            is_draining=self._is_draining,
            is_healthy=is_running and self._loop.time() - self._heard_at < limit,
            polls=tally.polls,
            failed_polls=tally.failed_polls,
            counted=self._counted,
            stale=self._stale,
            lapsed=self._lapsed,
            ended=sum(tally.outcomes.values()),
            abandoned=tally.abandoned,
            throttled=self._throttled,
            claim_time=self._claim_time,
            report_time=self._report_time,
        )
