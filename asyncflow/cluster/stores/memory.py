"""`MemoryStore`: the watch list of one process, with everything that a shared one does."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Unpack

import anyio

from asyncflow.cluster.codec import checked_id, place_of
from asyncflow.cluster.consumer import EventStream
from asyncflow.cluster.store import (
    BEGINNING,
    Claim,
    ClaimBatch,
    Delivery,
    EventOptions,
    GroupStatus,
    State,
    StoreStatus,
    StoreSubmitResult,
    WorkerInfo,
)
from asyncflow.cluster.store_watch import StoreWatch, StoreWatchOptions
from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from asyncflow.cluster.store import PollReport
    from asyncflow.events import Event
    from asyncflow.watcher import JobIds

__all__ = ["MemoryStore"]

_LONGEST_WAIT = 0.25
_SCHEMA = 1


@dataclass(slots=True)
class _StoredJob:
    added_at: float
    due: float
    fence: int = 0
    number: int = 0
    state: str = ""
    is_leased: bool = False
    is_nudged: bool = False


@dataclass(slots=True)
class _ConsumerGroup:
    given_to: str = BEGINNING
    pending: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    """Place -> who was given it, and when."""


class MemoryStore:
    """A `WatchStore` in memory: for tests, and for one process that wants the same calls as several.

    *clock* returns seconds; by default it is the time of day.
    """

    def __init__(
        self,
        queue: str = "default",
        *,
        retention: float = 86_400.0,
        clock: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        self.queue: str = queue
        self._retention = retention
        self._now = clock
        self._jobs: dict[str, _StoredJob] = {}
        self._due: list[tuple[float, str]] = []
        self._over: dict[str, tuple[float, int, str]] = {}
        self._events: dict[str, tuple[float, Delivery]] = {}
        self._order: list[int] = []
        self._groups: dict[str, _ConsumerGroup] = {}
        self._lessons: list[tuple[str, tuple[str, str, str, float]]] = []
        self._workers: dict[str, tuple[float, str]] = {}
        self._rate: float | None = None
        self._tokens = 0.0
        self._counted_at = 0.0
        self._paused_until = 0.0
        self._fence = 0
        self._is_draining = False
        self._counts: dict[str, int] = dict.fromkeys(
            ("submitted", "claimed", "taken_over", "reports", "stale", "ended", "throttled"), 0
        )
        self._arrival = asyncio.Event()

    async def _ready(self) -> None:
        """Open what the store is kept in, where it is."""

    # -- jobs ------------------------------------------------------------------------------------------------------------

    async def submit(self, job_ids: Sequence[str], *, again: bool = False) -> StoreSubmitResult:
        """Have these watched."""
        await self._ready()
        now, states = self._now(), dict[str, State]()
        for job_id in job_ids:
            if checked_id(job_id) in self._jobs:
                states.setdefault(job_id, "watched")
            elif job_id in self._over and not again:
                states[job_id] = "ended"
            else:
                _, number, _ = self._over.pop(job_id, (0.0, 0, ""))
                self._jobs[job_id] = _StoredJob(now, now, number=number)
                heappush(self._due, (now, job_id))
                self._counts["submitted"] += 1
                states[job_id] = "new"
        return StoreSubmitResult(states, _place(self._order[-1]) if self._order else BEGINNING)

    async def claim(self, worker: str, count: int, lease: float, words: str = "") -> ClaimBatch:
        """Lease due jobs and pay for them."""
        await self._ready()
        now = self._now()
        self._workers[worker] = (now, words)
        if self._is_draining:
            return ClaimBatch(now=now, wait=_LONGEST_WAIT, is_draining=True)
        if self._paused_until > now:
            pause = self._paused_until - now
            return ClaimBatch(now=now, wait=min(pause, _LONGEST_WAIT), pause=pause)
        allowed, wait = count, _LONGEST_WAIT
        if self._rate is not None:
            burst = max(1.0, self._rate / 50)
            self._tokens = min(burst, self._tokens + (now - self._counted_at) * self._rate)
            self._counted_at = now
            allowed = min(count, int(self._tokens + 1e-6))
        jobs: list[Claim] = []
        while len(jobs) < allowed and (job_id := self._next_due(now)) is not None:
            job = self._jobs[job_id]
            self._counts["taken_over"] += job.is_leased
            self._fence += 1
            jobs.append(Claim(job_id, self._fence, job.added_at, job.due, job.state))
            job.fence, job.is_leased, job.due = self._fence, True, now + lease
            heappush(self._due, (job.due, job_id))
        self._counts["claimed"] += len(jobs)
        self._tokens -= len(jobs)
        if len(jobs) == count:
            wait = 0.0
        elif self._rate is not None and len(jobs) == allowed:
            wait = min(wait, max(1.0 - self._tokens, 0.0) / self._rate)
        elif self._due:
            wait = min(wait, max(self._due[0][0] - now, 0.0))
        return ClaimBatch(jobs, now, wait)

    def _next_due(self, now: float) -> str | None:
        while self._due and self._due[0][0] <= now:
            at, job_id = heappop(self._due)
            job = self._jobs.get(job_id)
            if job is not None and job.due == at:
                return job_id
        return None

    async def report(self, worker: str, reports: Sequence[PollReport], *, pause: float | None = None) -> list[bool]:
        """Take in what polls found."""
        now = self._now()
        if pause is not None:
            self._paused_until = max(self._paused_until, now + pause)
            self._counts["throttled"] += 1
        self._counts["reports"] += len(reports)
        return [self._take_report(worker, report, now) for report in reports]

    def _take_report(self, worker: str, report: PollReport, now: float) -> bool:
        job = self._jobs.get(report.job_id)
        if job is None or not job.is_leased or job.fence != report.fence:
            self._counts["stale"] += 1
            return False
        place = ""
        if report.event is not None:
            job.number += 1
            place = self._append(report.event, job.number, now)
        if report.lesson is not None:
            self._lessons.append((worker, report.lesson))
        if report.pause is None:
            del self._jobs[report.job_id]
            self._over[report.job_id] = (now, job.number, place)
            self._counts["ended"] += 1
            return True
        job.due = now if job.is_nudged else now + report.pause
        job.is_leased, job.is_nudged, job.state, job.fence = False, False, report.state, 0
        heappush(self._due, (job.due, report.job_id))
        return True

    def _append(self, event: Event, number: int, now: float) -> str:
        last = (self._order[-1] if self._order else 0) + 1
        self._order.append(last)
        place = _place(last)
        self._events[place] = (now, Delivery(event, number, place))
        self._arrival.set()
        self._arrival = asyncio.Event()
        return place

    async def nudge(self, job_ids: Sequence[str], *, break_leases: bool = False) -> int:
        """Have these polled as soon as possible."""
        await self._ready()
        now, found = self._now(), 0
        for job_id in job_ids:
            job = self._jobs.get(job_id)
            if job is None:
                continue
            found += 1
            if break_leases:
                job.is_leased, job.fence = False, 0
            if job.is_leased:
                job.is_nudged = True
            else:
                job.due = now
                heappush(self._due, (now, job_id))
        return found

    async def nudge_all(self, *, break_leases: bool = False) -> int:
        """Have every watched job polled as soon as possible."""
        return await self.nudge(list(self._jobs), break_leases=break_leases)

    async def discard(self, job_ids: Sequence[str]) -> int:
        """Forget these jobs."""
        await self._ready()
        return sum((self._jobs.pop(job_id, None) or self._over.pop(job_id, None)) is not None for job_id in job_ids)

    # -- events ----------------------------------------------------------------------------------------------------------

    def events(self, group: str, consumer: str, **options: Unpack[EventOptions]) -> EventStream:
        """Return the events of all jobs for one consumer of a group."""
        return EventStream(self, group, consumer, **options)

    def watch(self, job_ids: JobIds = (), **options: Unpack[StoreWatchOptions]) -> StoreWatch:
        """Return a watch of these jobs."""
        return StoreWatch(self, job_ids, **options)

    def _beyond(self, after: str) -> list[str]:
        return [_place(number) for number in self._order[bisect_right(self._order, _number(after)) :]]

    async def read(self, after: str, wait: float, wanted: Container[str] | None = None) -> tuple[list[Delivery], str]:
        """Return events beyond a place, and the place of the last."""
        await self._ready()
        places = await self._wait_for(lambda: self._beyond(after), wait)
        found = [self._events[place][1] for place in places]
        some = [delivery for delivery in found if wanted is None or place_of(delivery.event.key[0]) in wanted]
        return some, places[-1] if places else after

    async def _wait_for(self, look: Callable[[], list[str]], wait: float) -> list[str]:
        found = look()
        with anyio.move_on_after(wait):
            while not found:
                await self._arrival.wait()
                found = look()
        return found

    async def read_new(self, group: str, consumer: str, count: int, wait: float) -> list[Delivery]:
        """Return events that nobody of the group was given."""
        await self._ready()
        mine = self._groups.setdefault(group, _ConsumerGroup())
        places = (await self._wait_for(lambda: self._beyond(mine.given_to), wait))[:count]
        if places:
            mine.given_to = places[-1]
        return self._give(mine, consumer, places)

    def _give(self, group: _ConsumerGroup, consumer: str, places: Iterable[str]) -> list[Delivery]:
        now, given = self._now(), list[Delivery]()
        for place in places:
            if place in self._events:
                group.pending[place] = (consumer, now)
                given.append(self._events[place][1])
        return given

    async def read_pending(self, group: str, consumer: str, after: str, count: int) -> list[Delivery]:
        """Return what this consumer was given and has not acknowledged."""
        await self._ready()
        pending = self._groups.setdefault(group, _ConsumerGroup()).pending
        mine = sorted((place for place, (who, _) in pending.items() if who == consumer), key=_number)
        return [self._events[place][1] for place in mine if _number(place) > _number(after) and place in self._events][:count]

    async def autoclaim(self, group: str, consumer: str, silence: float, count: int) -> list[Delivery]:
        """Return what another consumer was given long ago."""
        await self._ready()
        mine, now = self._groups.setdefault(group, _ConsumerGroup()), self._now()
        old = sorted((place for place, (_, at) in mine.pending.items() if now - at >= silence), key=_number)
        return self._give(mine, consumer, old[:count])

    async def extend(self, group: str, consumer: str, places: Sequence[str]) -> None:
        """Say that this consumer is still at work."""
        mine = self._groups.setdefault(group, _ConsumerGroup())
        self._give(mine, consumer, [place for place in places if place in mine.pending])

    async def acknowledge(self, group: str, places: Sequence[str]) -> None:
        """Note that these were handled."""
        for place in places:
            self._groups.setdefault(group, _ConsumerGroup()).pending.pop(place, None)

    def _is_done(self, place: str, group: str) -> bool:
        """Return whether a group has handled the event at *place*."""
        known = self._groups[group]
        return place not in known.pending and _number(place) <= _number(known.given_to)

    async def endings(self, job_ids: Sequence[str]) -> dict[str, Delivery]:
        """Return the endings that are kept."""
        await self._ready()
        places = {job_id: self._over[job_id][2] for job_id in job_ids if job_id in self._over}
        return {job_id: self._events[place][1] for job_id, place in places.items() if place in self._events}

    # -- the rest --------------------------------------------------------------------------------------------------------

    async def durations(self, after: str, but: str) -> tuple[list[tuple[str, str, str, float]], str]:
        """Return how long jobs took."""
        found = [lesson for worker, lesson in self._lessons[int(after or 0) :] if worker != but]
        return found, str(len(self._lessons))

    async def set_rate(self, rate: float | None) -> None:
        """Limit the polls of all workers together."""
        if rate is not None and not rate > 0:
            raise UsageError("a rate is more than 0 polls a second")
        self._rate, self._counted_at = rate, self._now()

    async def prune(self) -> None:
        """Forget what is past its retention."""
        limit = self._now() - self._retention
        self._over = {job_id: known for job_id, known in self._over.items() if known[0] > limit}
        self._events = {place: known for place, known in self._events.items() if known[0] > limit}
        self._order = [number for number in self._order if _place(number) in self._events]

    async def durability_warnings(self) -> list[str]:
        """Return that this store lasts no longer than its process."""
        return ["it is in memory: what was submitted is lost when the process ends"]

    async def drain(self, *, draining: bool = True) -> None:
        """Hand out no more claims, or again."""
        self._is_draining = draining

    async def status(self) -> StoreStatus:
        """Return how the queue is doing."""
        await self._ready()
        now = self._now()
        due = [job.due for job in self._jobs.values() if job.due <= now]
        return StoreStatus(
            queue=self.queue,
            schema=_SCHEMA,
            watched=len(self._jobs),
            leased=sum(job.is_leased for job in self._jobs.values()),
            due=len(due),
            lag=now - min(due, default=now),
            kept=len(self._over),
            events=len(self._events),
            rate=self._rate,
            pause=max(self._paused_until - now, 0.0),
            is_draining=self._is_draining,
            counts=dict(self._counts),
            workers=tuple(WorkerInfo(name, now - at, _SCHEMA, words) for name, (at, words) in sorted(self._workers.items())),
            groups=tuple(
                GroupStatus(
                    name,
                    len({who for who, _ in group.pending.values()}),
                    len(group.pending),
                    len(self._beyond(group.given_to)),
                )
                for name, group in sorted(self._groups.items())
            ),
        )

    async def purge(self) -> None:
        """Forget everything."""
        self._jobs.clear()
        self._due.clear()
        self._over.clear()
        self._events.clear()
        self._order.clear()
        self._groups.clear()
        self._lessons.clear()
        self._rate, self._paused_until = None, 0.0

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def __repr__(self) -> str:
        return f"<MemoryStore {self.queue} of {len(self._jobs)} jobs>"


def _place(number: int) -> str:
    return f"{number}-0"


def _number(place: str) -> int:
    return int(place.partition("-")[0])
