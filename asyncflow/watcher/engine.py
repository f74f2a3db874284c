"""What a watch knows, and what becomes of its jobs: the schedule, the events, the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from asyncflow.errors import UsageError
from asyncflow.events import Changed
from asyncflow.polling import Schedule
from asyncflow.records import Job
from asyncflow.watcher.decisions import Decision, DecisionRules
from asyncflow.watcher.forecast import Forecast
from asyncflow.watcher.instrumentation import WatchInstrumentation
from asyncflow.watcher.intake import IdIntake
from asyncflow.watcher.persistence import JournalWriter
from asyncflow.watcher.stats import RunWindow, WatchCounters, WatchStats
from asyncflow.watcher.watched_job import JobTimeouts, WatchedJob
from asyncflow.watcher.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from datetime import datetime

    from asyncflow.errors import AsyncflowError
    from asyncflow.events import Event, Expiring
    from asyncflow.pacing import Pacer
    from asyncflow.polling import Key, Policy
    from asyncflow.report import RunReport
    from asyncflow.stream import Emitter
    from asyncflow.telemetry import Hooks
    from asyncflow.watcher.persistence import WatchJournal

__all__ = ["Fetch", "JobIds", "WatchConfig", "WatchEngine"]

JobIds = Iterable[str] | AsyncIterable[str]

Fetch = Callable[[str], Awaitable[Job]]


@dataclass(slots=True)
class WatchConfig:
    """What `JobWatcher` was given."""

    fetch: Fetch
    policy: Policy
    pacer: Pacer | None
    concurrency: int
    limits: JobTimeouts
    timeout: float | None
    max_failures: int | None
    keep_open: bool
    wall_clock: Callable[[], datetime]
    journal: WatchJournal | None
    expiry_warning: float | None
    hooks: Hooks | None = None


_log = logging.getLogger("asyncflow.watcher")

_GRACE = 1.0
"""Seconds that a poll under way may outlast the timeout of its watch: its answer may be the one that was waited for."""

_SLICE = 500
"""Jobs given up without giving way to the event loop."""


class WatchEngine:
    """The runner of a watch. It holds no reference to the `JobWatcher`, so that a dropped one can be noticed."""

    def __init__(self, settings: WatchConfig) -> None:
        self.schedule: Schedule[WatchedJob] = Schedule()
        self.is_over: bool = False
        self.asking = 0
        self.writer: JournalWriter | None = (
            JournalWriter(settings.journal, settings.policy, settings.wall_clock) if settings.journal is not None else None
        )
        self.intake: IdIntake = IdIntake(self._admit, self.schedule.not_watched, self.finish_if_done, self.writer)
        self._settings = settings
        self._forecast = Forecast(settings.policy, settings.wall_clock, settings.expiry_warning)
        self._tally = WatchCounters()
        self._rules = DecisionRules(
            settings.policy,
            limits=settings.limits,
            forecast=self._forecast,
            wall_clock=settings.wall_clock,
            max_failures=settings.max_failures,
            # Whoever sets a limit of time wants to know how far a job had come; nobody else pays for it in memory.
            keep_records=settings.timeout is not None or settings.limits != JobTimeouts(),
        )
        self._pool = WorkerPool(
            self.schedule,
            settings.pacer,
            settings.concurrency,
            fetch=self._fetch,
            on_answer=self._on_answer,
            expire=self._expire_job,
        )
        self._window = RunWindow(settings.pacer, settings.wall_clock)
        self._is_running = False
        self._sink: Emitter[Event]
        self._loop: asyncio.AbstractEventLoop
        self._done: asyncio.Event
        self._expiry: asyncio.TimerHandle | None = None
        self._reminders: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._added = 0
        self.listeners: dict[object, Callable[[Event], None]] = {}
        self._instrumentation = WatchInstrumentation(settings.hooks, settings.pacer) if settings.hooks is not None else None
        self._refusal: AsyncflowError | None = None
        if self._instrumentation is not None:
            self.listeners[self._instrumentation] = self._instrumentation.event_emitted

    async def run(self, sink: Emitter[Event]) -> None:
        """Watch until every id has ended and no input is left. The body of the stream's owner task."""
        self._sink, self._loop, self._done = sink, asyncio.get_running_loop(), asyncio.Event()
        stop: Callable[[], None] | None = None
        if self._instrumentation is not None:
            self._instrumentation.watch_started(len(self), self._loop.time())
        try:
            if self.writer is not None:
                # Take up what earlier watches left: the jobs that have not ended, and the endings that nobody has handled.
                self.intake.put_first(await self.writer.open(sink.fail))
                await self.writer.replay(self._deliver)
            self._is_running = True
            stop = self._pool.start(sink)
            if self._settings.timeout is not None:
                self._rules.ends_at = self._loop.time() + self._settings.timeout
                self._expiry = self._loop.call_at(self._rules.ends_at, self._expire)
            await self.intake.start(sink)
            await self._done.wait()
            sink.finish()
        finally:
            self.is_over, self._is_running = True, False
            self._window.close()
            self.intake.stop()
            if stop is not None:
                stop()
            if self.writer is not None:
                self.writer.save()
            for handle in (self._expiry, *self._reminders.values()):
                if handle is not None:
                    handle.cancel()
            if self._instrumentation is not None:
                error = self._refusal.kind if self._refusal is not None else None if self._done.is_set() else "closed"
                self._instrumentation.watch_ended(self._tally, len(self), error, self._loop.time())

    def finish_if_done(self) -> None:
        """End the run if nothing is left to watch and somebody asks for more.

        Not before: whoever is handling the last ending may be about to add the next job.
        """
        is_busy = self.schedule or self.intake.is_open or self._settings.keep_open
        if self._is_running and self.asking and not is_busy and not self._sink.undelivered:
            self._done.set()

    def _admit(self, job_ids: Iterable[str]) -> None:
        now, first_poll, add, first = self._loop.time(), self._settings.policy.first_poll, self.schedule.add, inf
        number = self._added
        for job_id in job_ids:
            at = now + first_poll(number)
            if not -inf < at < inf:
                raise UsageError(f"the policy's first_poll gave {at - now} instead of seconds")
            if add(WatchedJob(job_id, now, now, now), at):
                number += 1
                if at < first:  # noqa: PLR1730 - min() would cost a tenth of the whole, and there may be a million ids
                    first = at
        self._added = number
        self._pool.wake_at(first)

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
        if not self.schedule.poll_now(job_id, now):
            return job_id in self.intake
        self._pool.wake_at(now)
        return True

    # -- one poll --------------------------------------------------------------------------------------------------------

    def _fetch(self, entry: WatchedJob) -> Awaitable[object]:
        return self._settings.fetch(entry.job_id)

    def _on_answer(self, entry: WatchedJob, answer: object, start: float) -> None:
        now = self._loop.time()
        if self._instrumentation is not None:
            self._instrumentation.poll_finished(entry, answer, entry.due, start, now)
        self._tally.polls += 1
        self._carry_out(entry, self._rules.decide(entry, answer, now))

    def _carry_out(self, entry: WatchedJob, decision: Decision) -> None:
        if decision.fatal is not None:
            self._refusal = decision.fatal
            self._sink.fail(decision.fatal)
            return
        if decision.is_failed_poll:
            self._tally.failed_polls += 1
        if decision.first_seen is not None:
            self._forecast.entered(entry)
            self._warn(decision.first_seen)
        elif decision.last_seen is not None:
            self._warn(decision.last_seen)
        for event in decision.events:
            self._emit(event, entry)
        if decision.next_poll_at is not None:
            self.schedule.reschedule(entry, decision.next_poll_at, decision.priority)
            return
        self._drop(entry)
        if decision.duration is not None:
            self._settings.policy.learn(*decision.duration)
            if self.writer is not None:
                self.writer.policy_changed()

    def _emit(self, event: Event, entry: WatchedJob) -> None:
        if type(event) is Changed:
            self._tally.moved(event.previous, event.job.status)
        if self.writer is not None:
            # Nothing waits for the disk here. If the process dies before the event is on it, the next watch polls the job again
            # and reports the same: only the ids cannot be read again, and those are durable before the first poll.
            self.writer.record(event)
        self._deliver(event, entry.job_id, entry.key)

    def _expire_job(self, entry: WatchedJob, now: float) -> bool:
        """Abandon a job that has timed out; return whether it had."""
        decision = self._rules.expire(entry, now)
        if decision is not None:
            self._carry_out(entry, decision)
        return decision is not None

    # -- limits of time --------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        """End the watch: give up every job but those whose poll is under way, which have a moment more."""
        self._rules.limits, self._settings.keep_open = JobTimeouts(job=0.0), False
        self.intake.drain()
        self._sink.start_soon(self._give_up_all, self._pool.out)
        self._expiry = self._loop.call_later(min(_GRACE, (self._settings.timeout or 0.0) / 10), self._expire_stragglers)

    def _expire_stragglers(self) -> None:
        """Give up the jobs whose last poll has not come back in time."""
        self._sink.start_soon(self._give_up_all, ())

    async def _give_up_all(self, but: Container[WatchedJob]) -> None:
        for number, entry in enumerate(self.schedule, 1):
            if self.schedule.get(entry.job_id) is entry and entry not in but:
                self._expire_job(entry, self._loop.time())
            if number % _SLICE == 0:
                await checkpoint()
        self.finish_if_done()

    # -- events out ------------------------------------------------------------------------------------------------------

    def _deliver(self, event: Event, job_id: str | None = None, key: Key | None = None) -> None:
        self._tally.reported(event, key)
        self._put(event, job_id)

    def _put(self, event: Event, key: str | tuple[str, str] | None) -> None:
        self._sink.put(event, key)
        if self.listeners:
            self._notify_listeners(event)

    def _notify_listeners(self, event: Event) -> None:
        for key, listener in tuple(self.listeners.items()):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whoever looks on must not end the watch
                self.listeners.pop(key, None)
                _log.warning("listener_failed", extra={"error": type(error).__name__})

    def _warn(self, job: Job) -> None:
        """Report what of *job* expires: now if it is soon, else when it will be, should the watch last as long."""
        for seconds, warning in self._forecast.warnings(job):
            if seconds:
                if (older := self._reminders.get(warning.key)) is not None:
                    older.cancel()  # the same id, added anew
                self._reminders[warning.key] = self._loop.call_later(seconds, self._remind, warning)
            else:
                self._put(warning, warning.key)

    def _remind(self, warning: Expiring) -> None:
        del self._reminders[warning.key]
        if warning.what == "links" or warning.job.job_id in self.schedule:
            self._put(warning, warning.key)

    def _drop(self, entry: WatchedJob) -> None:
        self.schedule.discard(entry.job_id)
        self._tally.moved(entry.status, None)
        self._forecast.left(entry)
        self.finish_if_done()

    def is_unreachable(self, job_id: str) -> bool:
        """Return whether the last reads of a watched job have failed."""
        entry = self.schedule.get(job_id)
        return entry is not None and entry.is_unreachable

    def __len__(self) -> int:
        return len(self.schedule) + len(self.intake)

    def report(self, captcha_prices: Mapping[str, float]) -> RunReport:
        """Return what the watch has come to so far."""
        return self._window.report(self._tally, len(self), captcha_prices)

    def stats(self) -> WatchStats:
        """Return how the watch is doing."""
        wakeup, tally, is_running = self.schedule.next_wakeup(), self._tally, self._is_running
        return WatchStats(
            watched=len(self),
            in_flight=len(self._pool.out),
            statuses=dict(tally.statuses),
            undelivered=self._sink.undelivered if is_running or self.is_over else 0,
            next_poll=max(wakeup - self._loop.time(), 0.0) if wakeup is not None and is_running else None,
            expected_end_at=self._forecast.last_end_at(self._loop.time()) if is_running else None,
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
