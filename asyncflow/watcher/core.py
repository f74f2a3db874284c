"""What a watch knows, and what it concludes from each answer."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint
from msgspec import Struct

from asyncflow.errors import AsyncflowError, AuthenticationError, DecodeError, UsageError
from asyncflow.events import Abandoned, Changed, Ended, Event, Problem, Unreachable
from asyncflow.polling import EXPECTED, REST, Key, Policy, Ranking, Schedule, failure_delay
from asyncflow.records import Job
from asyncflow.watcher.crew import Crew
from asyncflow.watcher.entry import Entry, Limits
from asyncflow.watcher.keeping import Keeping

if TYPE_CHECKING:
    from datetime import datetime

    from asyncflow.pacing import Pacer
    from asyncflow.stream import Sink
    from asyncflow.watcher.keeping import WatchJournal

__all__ = ["Core", "Fetch", "JobIds", "Settings", "WatchStats", "checked_id"]

JobIds = Iterable[str] | AsyncIterable[str]
Fetch = Callable[[str], Awaitable[Job]]

_SLICE = 2000
"""Ids added without giving way to the event loop: some milliseconds' worth."""

_GRACE = 1.0
"""Seconds that a poll under way may outlast the timeout of its watch: its answer may be the one that was waited for."""


class WatchStats(Struct, frozen=True):
    """How a watch is doing.

    Now: jobs *watched*, of them *in_flight* (being asked about), their *statuses*, events *undelivered*, and seconds until
    the *next_poll* (None: nothing is planned). Since the start: *polls*, of them *failed_polls*, outages reported
    (*unreachable*), jobs *ended* by outcome, and jobs *abandoned*.
    """

    watched: int
    in_flight: int
    statuses: dict[str, int]
    undelivered: int
    next_poll: float | None
    polls: int
    failed_polls: int
    unreachable: int
    ended: dict[str, int]
    abandoned: int


@dataclass(slots=True)
class Settings:
    """What `JobWatcher` was given."""

    fetch: Fetch
    policy: Policy
    pacer: Pacer | None
    concurrency: int
    limits: Limits
    timeout: float | None
    max_failures: int | None
    keep_open: bool
    wall_clock: Callable[[], datetime]
    journal: WatchJournal | None


class Core:
    """The runner of a watch. It holds no reference to the `JobWatcher`, so that a dropped one can be noticed."""

    def __init__(self, settings: Settings) -> None:
        self.schedule: Schedule[Entry] = Schedule()
        self.waiting: deque[str] = deque()
        self.inputs: list[AsyncIterable[str]] = []
        self.is_over = False
        self.asking = 0
        self.entering: dict[str, None] = {}
        self.keeping = Keeping(settings.journal, settings.policy, settings.wall_clock) if settings.journal is not None else None
        self._settings = settings
        # Asked once: to look a protocol up in a class takes as long as the rest of a poll's bookkeeping.
        self._ranking = settings.policy if isinstance(settings.policy, Ranking) else None
        self._unwanted: set[str] = set()
        self._crew = Crew(self.schedule, settings.pacer, settings.concurrency, self._poll, self._give_up)
        self._is_running = False
        self._sink: Sink[Event]
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event
        self._expiry: asyncio.TimerHandle | None = None
        self._is_admitting = False
        self._added = 0
        self._keys: dict[Key, Key] = {}
        self._counts: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._random = Random()

    async def run(self, sink: Sink[Event]) -> None:
        """Watch until every id has ended and no input is left. The body of the stream's owner task."""
        self._sink, self._loop, self._done = sink, asyncio.get_running_loop(), asyncio.Event()
        stop: Callable[[], None] | None = None
        try:
            if self.keeping is not None:
                await self._resume(self.keeping)
            self._is_running = True
            stop = self._crew.start(sink)
            if self._settings.timeout is not None:
                self._expiry = self._loop.call_later(self._settings.timeout, self._expire)
            for source in self.inputs:
                sink.start_soon(self._feed, source)
            await self._admit()
            await self._done.wait()
            sink.finish()
        finally:
            self.is_over, self._is_running = True, False
            if stop is not None:
                stop()
            if self.keeping is not None:
                self.keeping.save()
            if self._expiry is not None:
                self._expiry.cancel()

    async def _resume(self, keeping: Keeping) -> None:
        """Take up what earlier watches left: first the endings that nobody has handled, then the jobs that have not ended."""
        job_ids = await keeping.open(self._sink.fail)
        ahead = [job_id for job_id in job_ids if job_id not in self._unwanted]
        self.waiting = deque(dict.fromkeys((*ahead, *self.waiting)))
        await keeping.replay(self._deliver)

    def finish_if_done(self) -> None:
        """End the run if nothing is left to watch and somebody asks for more.

        Not before: whoever is handling the last ending may be about to add the next job.
        """
        is_busy = self.schedule or self.waiting or self.inputs or self._is_admitting or self._settings.keep_open
        if self._is_running and self.asking and not is_busy and not self._sink.undelivered:
            self._done.set()

    # -- ids in and out --------------------------------------------------------------------------------------------------

    def admit_later(self, job_ids: Iterable[object]) -> None:
        """Take over ids that are not watched yet; they are scheduled as soon as the watch runs."""
        new = [job_id for job_id in dict.fromkeys(map(checked_id, job_ids)) if job_id not in self.schedule]
        self.waiting.extend(new)
        self._unwanted.difference_update(new)
        if self._is_running and not self._is_admitting:
            self._is_admitting = True
            self._sink.start_soon(self._admit)

    async def _admit(self) -> None:
        """Schedule the ids that wait for it, in slices, so that a hundred thousand of them do not stop the event loop."""
        self._is_admitting = True
        while self.waiting:
            self.entering = dict.fromkeys(self.waiting.popleft() for _ in range(min(_SLICE, len(self.waiting))))
            # An id that is polled before it is on the disk could end, be delivered, and be unknown after a crash.
            new = self.entering if self.keeping is None else await self.keeping.add(tuple(self.entering))
            now = self._loop.time()
            for job_id in new:
                if job_id in self.entering:
                    self._add(job_id, now)
            self.entering = {}
            self._crew.look()
            await checkpoint()
        self._is_admitting = False
        self.finish_if_done()

    async def _feed(self, source: AsyncIterable[str]) -> None:
        count = 0
        async for job_id in source:
            if self.keeping is not None:
                self.admit_later((job_id,))
            else:
                self._add(checked_id(job_id), self._loop.time())
                self._crew.look()
            count += 1
            if count % _SLICE == 0:
                # A source that never waits would keep everybody else from running.
                await checkpoint()
        if source in self.inputs:
            self.inputs.remove(source)
        self.finish_if_done()

    def _add(self, job_id: str, now: float) -> None:
        if job_id not in self.schedule:
            self.schedule.add(Entry(job_id, now), now + self._settings.policy.first_poll(self._added))
            self._added += 1

    def discard(self, job_ids: Iterable[str]) -> None:
        """Forget these."""
        unwanted = set(job_ids)
        self.waiting = deque(job_id for job_id in self.waiting if job_id not in unwanted)
        if self.keeping is not None:
            self.keeping.discard(tuple(unwanted))
            self._unwanted |= unwanted
        for job_id in unwanted:
            self.entering.pop(job_id, None)
            if (entry := self.schedule.get(job_id)) is not None:
                self._drop(entry)

    def nudge(self, job_id: str) -> bool:
        """Plan a poll for now; return whether the job is scheduled."""
        if not self._is_running or not self.schedule.hasten(job_id, self._loop.time()):
            return False
        self._crew.look()
        return True

    # -- one poll --------------------------------------------------------------------------------------------------------

    async def _poll(self, entry: Entry) -> None:
        answer = await self._crew.ask(self._settings.fetch, entry.job_id)
        if self.schedule.get(entry.job_id) is not entry:
            return
        self._counts["polls"] += 1
        if isinstance(answer, AsyncflowError):
            self._failed(entry, answer)
        elif not isinstance(answer, Job):
            raise TypeError(f"the watcher's fetch returned {type(answer).__name__}, not a Job")
        elif answer.job_id != entry.job_id or (answer.is_terminal and _is_another(answer)):
            self._failed(entry, DecodeError("the answer is about another job", transient=True, job_id=entry.job_id))
        elif answer.is_terminal:
            self._ended(entry, answer)
        else:
            self._goes_on(entry, answer)

    def _ended(self, entry: Entry, job: Job) -> None:
        self._report(Ended(job), entry.job_id)
        self._drop(entry)
        if job.duration is not None:
            self._settings.policy.learn(self._key(job), job.duration)
            if self.keeping is not None:
                self.keeping.learned()

    def _goes_on(self, entry: Entry, job: Job) -> None:
        now, policy = self._loop.time(), self._settings.policy
        if entry.key is None:
            entry.key = self._key(job)
            entry.note_birth(job, now, self._settings.wall_clock())
        previous = entry.status
        entry.note_answer(job, now)
        if job.status != previous:
            self._count_status(previous, job.status)
            self._report(Changed(job, previous), entry.job_id)
        age = now - entry.born_at
        pause = policy.next_poll(entry.key, age, entry.polls)
        self._again(entry, now, pause, REST if self._ranking is None else self._ranking.priority(entry.key, age, pause))

    def _key(self, job: Job) -> Key:
        """Return what the durations of such jobs are learned under; one tuple serves all jobs of a key."""
        key = (job.service, job.kind, job.model or "")
        return self._keys.setdefault(key, key)

    def _failed(self, entry: Entry, error: AsyncflowError) -> None:
        if _concerns_all(error):
            # Asking on would only repeat the refusal.
            self._sink.fail(error)
            return
        self._counts["failed_polls"] += 1
        entry.failures += 1
        if not error.transient or entry.failures == self._settings.max_failures:
            self._abandon(entry, error)
            return
        if not entry.is_unreachable:
            entry.is_unreachable = True
            self._counts["unreachable"] += 1
            self._report(Unreachable(entry.job_id, self._settings.wall_clock(), Problem.of(error)), entry.job_id)
        self._again(entry, self._loop.time(), failure_delay(entry.failures, error.retry_after, self._random))

    def _again(self, entry: Entry, now: float, pause: float, priority: int = REST) -> None:
        """Plan the next poll, the last one for the moment at which a limit of time is reached."""
        deadline, _ = self._settings.limits.deadline(entry)
        if now + pause < deadline:
            self.schedule.reschedule(entry, now + pause, priority)
        elif now < deadline:
            self.schedule.reschedule(entry, deadline, EXPECTED)
        else:
            self._give_up(entry, now)

    # -- limits of time --------------------------------------------------------------------------------------------------

    def _give_up(self, entry: Entry, now: float) -> bool:
        """Abandon a job if its time is over; return whether it was."""
        deadline, error = self._settings.limits.deadline(entry)
        if now < deadline:
            return False
        waited = f"not over after {now - entry.added_at:.0f} s"
        self._abandon(entry, error(f"{waited}; its status was {entry.status}" if entry.status else f"{waited}; never read"))
        return True

    def _expire(self) -> None:
        """End the watch: give up every job but those whose poll is under way, which have a moment more."""
        timeout = self._settings.timeout or 0.0
        self._settings.limits, self._settings.keep_open = Limits(job=0.0), False
        self.inputs.clear()
        now = self._loop.time()
        self.waiting.extendleft(self.entering)
        self.entering = {}
        while self.waiting:
            self._add(self.waiting.popleft(), now)
        for entry in list(self.schedule):
            if entry not in self._crew.out:
                self._give_up(entry, now)
        self._expiry = self._loop.call_later(min(_GRACE, timeout / 10), self._cut)
        self.finish_if_done()

    def _cut(self) -> None:
        """Give up the jobs whose last poll has not come back in time."""
        for entry in list(self.schedule):
            self._give_up(entry, self._loop.time())

    # -- events out ------------------------------------------------------------------------------------------------------

    def _report(self, event: Event, job_id: str) -> None:
        if self.keeping is not None:
            # Nothing waits for the disk here. Should we die before the event is on it, the next watch polls the job again and
            # reports the same: the ids are what cannot be had again, and those are durable before the first poll.
            self.keeping.report(event)
        self._deliver(event, job_id)

    def _deliver(self, event: Event, job_id: str | None = None) -> None:
        match event:
            case Ended(job):
                self._outcomes[job.outcome.value] += 1
            case Abandoned():
                self._counts["abandoned"] += 1
            case _:
                pass
        self._sink.put(event, job_id)

    def _abandon(self, entry: Entry, error: AsyncflowError) -> None:
        self._report(Abandoned(entry.job_id, Problem.of(error)), entry.job_id)
        self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        self.schedule.discard(entry.job_id)
        self._count_status(entry.status, None)
        self.finish_if_done()

    def _count_status(self, before: str | None, after: str | None) -> None:
        if before is not None:
            self._statuses[before] -= 1
        if after is not None:
            self._statuses[after] += 1

    def __len__(self) -> int:
        return len(self.schedule) + len(self.waiting) + len(self.entering)

    def stats(self) -> WatchStats:
        """Return how the watch is doing."""
        wakeup = self.schedule.next_wakeup()
        counts = self._counts
        return WatchStats(
            watched=len(self),
            in_flight=len(self._crew.out),
            statuses={status: count for status, count in self._statuses.items() if count},
            undelivered=self._sink.undelivered if self._is_running or self.is_over else 0,
            next_poll=max(wakeup - self._loop.time(), 0.0) if wakeup is not None and self._is_running else None,
            polls=counts["polls"],
            failed_polls=counts["failed_polls"],
            unreachable=counts["unreachable"],
            ended=dict(self._outcomes),
            abandoned=counts["abandoned"],
        )


def _concerns_all(error: AsyncflowError) -> bool:
    """Return whether *error* is no matter of one job: a refused token or payment, or a call that cannot work for any."""
    if isinstance(error, UsageError):
        return error.job_id is None
    return isinstance(error, AuthenticationError) or error.kind == "payment_required"


def _is_another(job: Job) -> bool:
    """Return whether the service answered about a job that is not only spelt otherwise.

    Its pages show ids with a masked address where real ones hold the whole of it; what stands before the first hyphen is the
    job's own.
    """
    return job.answered_id is not None and job.answered_id.partition("-")[0] != job.job_id.partition("-")[0]


def checked_id(job_id: object) -> str:
    """Return *job_id* if it can be one."""
    if not isinstance(job_id, str) or not job_id.strip():
        raise UsageError("a job id is a str that is not empty")
    return job_id
