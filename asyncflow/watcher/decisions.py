"""Decisions: what an answer means for the job that was polled, as a value that an engine carries out.

Pure: no I/O, no asyncio; the clocks are given. The watch engine of a process and the worker engine of a cluster follow the same
rules.
"""

from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from asyncflow.errors import AsyncflowError, AuthenticationError, DecodeError, UsageError
from asyncflow.events import Abandoned, Changed, Ended, ErrorInfo, Unreachable
from asyncflow.polling import EXPECTED, REST, Key, Policy, PrioritizingPolicy, failure_delay
from asyncflow.records import Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asyncflow.events import Event
    from asyncflow.watcher.forecast import Forecast
    from asyncflow.watcher.watched_job import JobTimeouts, WatchedJob

__all__ = ["Decision", "DecisionRules"]


class Decision(NamedTuple):
    """What follows from an answer. Without *next_poll_at* the job is done, unless *fatal* ends the whole watch.

    *events* are to be emitted in their order, at most one of them terminal. *next_poll_at* is on the loop's clock. *first_seen*
    is the first record of a running job, *last_seen* the record of one that has ended. *duration* is what the policy is to learn.
    """

    events: tuple[Event, ...] = ()
    next_poll_at: float | None = None
    priority: int = REST
    fatal: AsyncflowError | None = None
    is_failed_poll: bool = False
    first_seen: Job | None = None
    last_seen: Job | None = None
    duration: tuple[Key, float] | None = None


class DecisionRules:
    """The rules of one watch: its policy, its timeouts, and how many failed polls in a row abandon a job.

    `limits` and `ends_at`, the end of the whole watch on the loop's clock, may be changed. With *keep_records* each job keeps its
    last record, for the moment at which it times out.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        limits: JobTimeouts,
        forecast: Forecast,
        wall_clock: Callable[[], datetime],
        max_failures: int | None = None,
        keep_records: bool = False,
    ) -> None:
        self.limits: JobTimeouts = limits
        self.ends_at: float = inf
        self._policy = policy
        # Asked once: to look a protocol up in a class takes as long as the rest of a poll's bookkeeping.
        self._ranking = policy if isinstance(policy, PrioritizingPolicy) else None
        self._forecast = forecast
        self._wall_clock = wall_clock
        self._max_failures = max_failures
        self._keep_records = keep_records
        self._keys: dict[Key, Key] = {}
        self._random = Random()

    def decide(self, entry: WatchedJob, answer: object, now: float) -> Decision:
        """Return what follows from *answer*, a record or an `AsyncflowError`, at the loop's time *now*; *entry* notes it."""
        if isinstance(answer, Job) and answer.outcome is Outcome.PENDING and answer.job_id == entry.job_id:
            return self._running(entry, answer, now)  # nearly always
        if isinstance(answer, AsyncflowError):
            return self._failed(entry, answer, now)
        if not isinstance(answer, Job):
            raise TypeError(f"the watcher's fetch returned {type(answer).__name__}, not a Job")
        if answer.job_id != entry.job_id or (answer.is_terminal and _is_another(answer)):
            return self._failed(entry, DecodeError("the answer is about another job", transient=True, job_id=entry.job_id), now)
        duration = None if answer.duration is None else (self._key(answer), answer.duration)
        return Decision((Ended(answer),), last_seen=answer, duration=duration)

    def expire(self, entry: WatchedJob, now: float, job: Job | None = None) -> Decision | None:
        """Return the end of a job that has timed out, None for one that has time left; *job* is what was just read."""
        deadline, error = self.limits.deadline(entry)
        if now < deadline:
            return None
        waited = f"not over after {now - entry.added_at:.0f} s"
        known = f"its status was {entry.status}" if entry.status else "never read"
        return _abandoned(entry, error(f"{waited}; {known}", job=job))

    def _running(self, entry: WatchedJob, job: Job, now: float) -> Decision:
        key, first_seen = entry.key, None
        if key is None:
            key, first_seen = self._key(job), job
            entry.key = key
            entry.note_birth(job, now, self._wall_clock())
        previous, age = entry.status, now - entry.born_at
        entry.note_answer(job, now, moves=self.limits.stall is not None)
        if self._keep_records:
            entry.job = job
        events: tuple[Event, ...] = ()
        if job.status != previous:
            events = (Changed(job, previous, self._forecast.expected_end_at(key, age)),)
        pause = self._policy.next_poll(key, age, entry.polls)
        if not -inf < pause < inf:
            # It would have no place in the schedule, and never be polled again.
            raise UsageError(f"the policy's next_poll gave {pause} instead of seconds")
        priority = REST if self._ranking is None else self._ranking.priority(key, age, pause)
        if not self.limits.are_set:
            return Decision(events, now + pause, priority, first_seen=first_seen)
        following = self._again(entry, now, pause, priority, job)
        return following._replace(events=events + following.events, first_seen=first_seen)

    def _key(self, job: Job) -> Key:
        """Return what the durations of such jobs are learned under; one tuple serves all jobs of a key."""
        key = (job.service, job.kind, job.model or "")
        return self._keys.setdefault(key, key)

    def _failed(self, entry: WatchedJob, error: AsyncflowError, now: float) -> Decision:
        if _concerns_all(error):
            # Another request would only repeat the refusal.
            return Decision(fatal=error)
        entry.failures += 1
        is_too_late = error.retry_after is not None and now + error.retry_after >= self.ends_at
        if not error.transient or entry.failures == self._max_failures or is_too_late:
            return _abandoned(entry, error)._replace(is_failed_poll=True)
        events: tuple[Event, ...] = ()
        if not entry.is_unreachable:
            entry.is_unreachable = True
            events = (Unreachable(entry.job_id, self._wall_clock(), ErrorInfo.of(error)),)
        following = self._again(entry, now, failure_delay(entry.failures, error.retry_after, self._random))
        return following._replace(events=events + following.events, is_failed_poll=True)

    def _again(self, entry: WatchedJob, now: float, pause: float, priority: int = REST, job: Job | None = None) -> Decision:
        """Return the next poll, the last one at the moment of a timeout, or the end of a job that has timed out."""
        deadline, _ = self.limits.deadline(entry)
        if now + pause < deadline:
            return Decision(next_poll_at=now + pause, priority=priority)
        if now < deadline:
            return Decision(next_poll_at=deadline, priority=EXPECTED)
        return self.expire(entry, now, job) or Decision(next_poll_at=now, priority=EXPECTED)


def _abandoned(entry: WatchedJob, error: AsyncflowError) -> Decision:
    return Decision((Abandoned(entry.job_id, ErrorInfo.of(error), error.job or entry.job),))


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
