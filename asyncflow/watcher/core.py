"""What a watch knows, and what it concludes from each answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from math import inf
from random import Random
from typing import TYPE_CHECKING

from asyncflow.errors import AsyncflowError, AuthenticationError, DecodeError, UsageError
from asyncflow.events import Abandoned, Changed, Ended, Event, Expiring, Problem, Unreachable
from asyncflow.polling import EXPECTED, REST, Key, Policy, Ranking, Schedule, failure_delay
from asyncflow.records import Job
from asyncflow.watcher.books import Books
from asyncflow.watcher.crew import Crew
from asyncflow.watcher.entry import Entry, Limits
from asyncflow.watcher.intake import Intake
from asyncflow.watcher.keeping import Keeping
from asyncflow.watcher.outlook import Outlook
from asyncflow.watcher.tally import Tally, WatchStats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from asyncflow.pacing import Pacer
    from asyncflow.report import RunReport
    from asyncflow.stream import Sink
    from asyncflow.watcher.keeping import WatchJournal

__all__ = ["Core", "Fetch", "JobIds", "Settings"]

JobIds = Iterable[str] | AsyncIterable[str]
Fetch = Callable[[str], Awaitable[Job]]

_GRACE = 1.0
"""Seconds that a poll under way may outlast the timeout of its watch: its answer may be the one that was waited for."""


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
    warn_before: float | None


class Core:
    """The runner of a watch. It holds no reference to the `JobWatcher`, so that a dropped one can be noticed."""

    def __init__(self, settings: Settings) -> None:
        self.schedule: Schedule[Entry] = Schedule()
        self.is_over: bool = False
        self.asking = 0
        self.keeping: Keeping | None = (
            Keeping(settings.journal, settings.policy, settings.wall_clock) if settings.journal is not None else None
        )
        self.intake: Intake = Intake(self._schedule_first, self.schedule.missing, self.finish_if_done, self.keeping)
        self._settings = settings
        # Asked once: to look a protocol up in a class takes as long as the rest of a poll's bookkeeping.
        self._ranking = settings.policy if isinstance(settings.policy, Ranking) else None
        self._crew = Crew(self.schedule, settings.pacer, settings.concurrency, self._poll, self._give_up)
        self._outlook = Outlook(settings.policy, settings.wall_clock, settings.warn_before)
        self._tally = Tally()
        self._books = Books(settings.pacer, settings.wall_clock)
        self._is_running = False
        self._sink: Sink[Event]
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event
        self._expiry: asyncio.TimerHandle | None = None
        self._ends_at = inf
        self._reminders: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._added = 0
        self._keys: dict[Key, Key] = {}
        self._random = Random()

    async def run(self, sink: Sink[Event]) -> None:
        """Watch until every id has ended and no input is left. The body of the stream's owner task."""
        self._sink, self._loop, self._done = sink, asyncio.get_running_loop(), asyncio.Event()
        stop: Callable[[], None] | None = None
        try:
            if self.keeping is not None:
                # Take up what earlier watches left: the jobs that have not ended, and the endings that nobody has handled.
                self.intake.put_first(await self.keeping.open(sink.fail))
                await self.keeping.replay(self._deliver)
            self._is_running = True
            stop = self._crew.start(sink)
            if self._settings.timeout is not None:
                self._ends_at = self._loop.time() + self._settings.timeout
                self._expiry = self._loop.call_at(self._ends_at, self._expire)
            await self.intake.start(sink)
            await self._done.wait()
            sink.finish()
        finally:
            self.is_over, self._is_running = True, False
            self._books.close()
            self.intake.stop()
            if stop is not None:
                stop()
            if self.keeping is not None:
                self.keeping.save()
            for handle in (self._expiry, *self._reminders.values()):
                if handle is not None:
                    handle.cancel()

    def finish_if_done(self) -> None:
        """End the run if nothing is left to watch and somebody asks for more.

        Not before: whoever is handling the last ending may be about to add the next job.
        """
        is_busy = self.schedule or self.intake.is_open or self._settings.keep_open
        if self._is_running and self.asking and not is_busy and not self._sink.undelivered:
            self._done.set()

    def _schedule_first(self, job_ids: Iterable[str]) -> None:
        now, first_poll, add, first = self._loop.time(), self._settings.policy.first_poll, self.schedule.add, inf
        number = self._added
        for job_id in job_ids:
            at = now + first_poll(number)
            if add(Entry(job_id, now, now, now), at):
                number += 1
                if at < first:  # noqa: PLR1730 - min() would cost a tenth of the whole, and there may be a million ids
                    first = at
        self._added = number
        self._crew.expect(first)

    def discard(self, job_ids: Iterable[str]) -> None:
        """Forget these."""
        unwanted = set(job_ids)
        self.intake.discard(unwanted)
        for job_id in unwanted:
            if (entry := self.schedule.get(job_id)) is not None:
                self._drop(entry)

    def nudge(self, job_id: str) -> bool:
        """Plan a poll for now; return whether the job is watched."""
        if not self._is_running:
            return False
        if _running_loop() is not self._loop:
            raise UsageError("nudge a watch on its own event loop: from elsewhere by loop.call_soon_threadsafe")
        now = self._loop.time()
        if not self.schedule.hasten(job_id, now):
            return job_id in self.intake
        self._crew.expect(now)
        return True

    # -- one poll --------------------------------------------------------------------------------------------------------

    async def _poll(self, entry: Entry) -> None:
        answer = await self._crew.ask(self._settings.fetch, entry)
        if self.schedule.get(entry.job_id) is not entry:
            return
        self._tally.polls += 1
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
        self._warn(job)
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
            self._outlook.entered(entry)
            self._warn(job)
        previous, age = entry.status, now - entry.born_at
        entry.note_answer(job, now, moves=self._settings.limits.stall is not None)
        if job.status != previous:
            self._tally.moved(previous, job.status)
            self._report(Changed(job, previous, self._outlook.expected_end_at(entry.key, age)), entry.job_id)
        pause = policy.next_poll(entry.key, age, entry.polls)
        self._again(entry, now, pause, REST if self._ranking is None else self._ranking.priority(entry.key, age, pause), job)

    def _key(self, job: Job) -> Key:
        """Return what the durations of such jobs are learned under; one tuple serves all jobs of a key."""
        key = (job.service, job.kind, job.model or "")
        return self._keys.setdefault(key, key)

    def _failed(self, entry: Entry, error: AsyncflowError) -> None:
        if _concerns_all(error):
            # Asking on would only repeat the refusal.
            self._sink.fail(error)
            return
        self._tally.failed_polls += 1
        entry.failures += 1
        now = self._loop.time()
        is_too_late = error.retry_after is not None and now + error.retry_after >= self._ends_at
        if not error.transient or entry.failures == self._settings.max_failures or is_too_late:
            self._abandon(entry, error)
            return
        if not entry.is_unreachable:
            entry.is_unreachable = True
            self._report(Unreachable(entry.job_id, self._settings.wall_clock(), Problem.of(error)), entry.job_id)
        self._again(entry, now, failure_delay(entry.failures, error.retry_after, self._random))

    def _again(self, entry: Entry, now: float, pause: float, priority: int = REST, job: Job | None = None) -> None:
        """Plan the next poll, the last one for the moment at which a limit of time is reached; *job* is what was just read."""
        deadline, _ = self._settings.limits.deadline(entry)
        if now + pause < deadline:
            self.schedule.reschedule(entry, now + pause, priority)
        elif now < deadline:
            self.schedule.reschedule(entry, deadline, EXPECTED)
        else:
            self._give_up(entry, now, job)

    # -- limits of time --------------------------------------------------------------------------------------------------

    def _give_up(self, entry: Entry, now: float, job: Job | None = None) -> bool:
        """Abandon a job if its time is over; return whether it was."""
        deadline, error = self._settings.limits.deadline(entry)
        if now < deadline:
            return False
        waited = f"not over after {now - entry.added_at:.0f} s"
        known = f"its status was {entry.status}" if entry.status else "never read"
        self._abandon(entry, error(f"{waited}; {known}", job=job))
        return True

    def _expire(self) -> None:
        """End the watch: give up every job but those whose poll is under way, which have a moment more."""
        timeout = self._settings.timeout or 0.0
        self._settings.limits, self._settings.keep_open = Limits(job=0.0), False
        now = self._loop.time()
        self.intake.drain()
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
        self._tally.reported(event)
        self._sink.put(event, job_id)

    def _warn(self, job: Job) -> None:
        """Report what of *job* expires: now if it is soon, else when it will be, should the watch last as long."""
        for seconds, warning in self._outlook.warnings(job):
            if seconds:
                if (older := self._reminders.get(warning.key)) is not None:
                    older.cancel()  # the same id, added anew
                self._reminders[warning.key] = self._loop.call_later(seconds, self._remind, warning)
            else:
                self._sink.put(warning, warning.key)

    def _remind(self, warning: Expiring) -> None:
        del self._reminders[warning.key]
        if warning.what == "links" or warning.job.job_id in self.schedule:
            self._sink.put(warning, warning.key)

    def _abandon(self, entry: Entry, error: AsyncflowError) -> None:
        self._report(Abandoned(entry.job_id, Problem.of(error), error.job), entry.job_id)
        self._drop(entry)

    def _drop(self, entry: Entry) -> None:
        self.schedule.discard(entry.job_id)
        self._tally.moved(entry.status, None)
        self._outlook.left(entry)
        self.finish_if_done()

    def __len__(self) -> int:
        return len(self.schedule) + len(self.intake)

    def report(self, captcha_prices: Mapping[str, float]) -> RunReport:
        """Return what the watch has come to so far."""
        return self._books.report(self._tally, len(self), captcha_prices)

    def stats(self) -> WatchStats:
        """Return how the watch is doing."""
        wakeup, tally, is_running = self.schedule.next_wakeup(), self._tally, self._is_running
        return WatchStats(
            watched=len(self),
            in_flight=len(self._crew.out),
            statuses=dict(tally.statuses),
            undelivered=self._sink.undelivered if is_running or self.is_over else 0,
            next_poll=max(wakeup - self._loop.time(), 0.0) if wakeup is not None and is_running else None,
            expected_end_at=self._outlook.last_end_at(self._loop.time()) if is_running else None,
            polls=tally.polls,
            failed_polls=tally.failed_polls,
            unreachable=tally.unreachable,
            ended=dict(tally.outcomes),
            abandoned=tally.abandoned,
        )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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
