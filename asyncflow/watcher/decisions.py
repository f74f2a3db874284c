"""What an answer means for the job that was asked about: what is told of it, and when it is asked about again.

Pure: no I/O, no asyncio; the clocks are given. Whoever polls, be it a watch of this process or a worker of a cluster, has it
decided here.
"""

from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING, Protocol

from asyncflow.errors import AsyncflowError, AuthenticationError, DecodeError, UsageError
from asyncflow.events import Abandoned, Changed, Ended, ErrorInfo, Unreachable
from asyncflow.polling import EXPECTED, REST, Key, Policy, PrioritizingPolicy, failure_delay
from asyncflow.records import Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asyncflow.events import Event
    from asyncflow.watcher.forecast import Forecast
    from asyncflow.watcher.stats import WatchCounters
    from asyncflow.watcher.watched_job import JobTimeouts, WatchedJob

__all__ = ["Desk", "Judge"]


class Desk(Protocol):
    """Where conclusions go. For each answer there is one call of `again` or of `over`, the last of all; or one of `refused`."""

    def tell(self, event: Event, entry: WatchedJob, /) -> None:
        """Tell the consumers."""
        ...

    def again(self, entry: WatchedJob, at: float, priority: int, /) -> None:
        """Ask about the job again at that time."""
        ...

    def over(self, entry: WatchedJob, /) -> None:
        """Ask no more: its `Ended` or `Abandoned` has been reported."""
        ...

    def refused(self, error: AsyncflowError, /) -> None:
        """Ask about no job any more: the refusal concerns all of them."""
        ...

    def met(self, entry: WatchedJob, job: Job, /) -> None:
        """Take note of the first record of a job that runs."""
        ...

    def ends(self, entry: WatchedJob, job: Job, /) -> None:
        """Take note of a last record, before it is reported."""
        ...

    def learned(self, key: Key, duration: float, /) -> None:
        """Take note of how long a job has taken; the policy knows it already."""
        ...


class Judge:
    """Decides for *desk*, counting in *tally*. `limits` and `ends_at`, the end of all on the loop's clock, may be changed.

    With *keep_records* each job's last record is kept, for the moment at which it is given up.
    """

    def __init__(
        self,
        desk: Desk,
        policy: Policy,
        *,
        limits: JobTimeouts,
        forecast: Forecast,
        tally: WatchCounters,
        wall_clock: Callable[[], datetime],
        max_failures: int | None = None,
        keep_records: bool = False,
    ) -> None:
        self.limits: JobTimeouts = limits
        self.ends_at: float = inf
        self._desk = desk
        self._policy = policy
        # Asked once: to look a protocol up in a class takes as long as the rest of a poll's bookkeeping.
        self._ranking = policy if isinstance(policy, PrioritizingPolicy) else None
        self._forecast = forecast
        self._tally = tally
        self._wall_clock = wall_clock
        self._max_failures = max_failures
        self._keep_records = keep_records
        self._keys: dict[Key, Key] = {}
        self._random = Random()

    def hear(self, entry: WatchedJob, answer: object, now: float) -> None:
        """Draw the conclusions from *answer*, a record or an `AsyncflowError`, at the loop's time *now*."""
        self._tally.polls += 1
        if isinstance(answer, Job) and answer.outcome is Outcome.PENDING and answer.job_id == entry.job_id:
            self._goes_on(entry, answer, now)  # nearly always
        elif isinstance(answer, AsyncflowError):
            self._failed(entry, answer, now)
        elif not isinstance(answer, Job):
            raise TypeError(f"the watcher's fetch returned {type(answer).__name__}, not a Job")
        elif answer.job_id != entry.job_id or (answer.is_terminal and _is_another(answer)):
            self._failed(entry, DecodeError("the answer is about another job", transient=True, job_id=entry.job_id), now)
        else:
            self._ended(entry, answer)

    def _ended(self, entry: WatchedJob, job: Job) -> None:
        desk = self._desk
        desk.ends(entry, job)
        desk.tell(Ended(job), entry)
        desk.over(entry)
        if job.duration is not None:
            key = self._key(job)
            self._policy.learn(key, job.duration)
            desk.learned(key, job.duration)

    def _goes_on(self, entry: WatchedJob, job: Job, now: float) -> None:
        key = entry.key
        if key is None:
            key = entry.key = self._key(job)
            entry.note_birth(job, now, self._wall_clock())
            self._desk.met(entry, job)
        previous, age = entry.status, now - entry.born_at
        entry.note_answer(job, now, moves=self.limits.stall is not None)
        if self._keep_records:
            entry.job = job
        if job.status != previous:
            self._tally.moved(previous, job.status)
            self._desk.tell(Changed(job, previous, self._forecast.expected_end_at(key, age)), entry)
        pause = self._policy.next_poll(key, age, entry.polls)
        if not -inf < pause < inf:
            # It would have no place in the schedule, and never be polled again.
            raise UsageError(f"the policy's next_poll gave {pause} instead of seconds")
        priority = REST if self._ranking is None else self._ranking.priority(key, age, pause)
        if self.limits.are_set:
            self._again(entry, now, pause, priority, job)
        else:
            self._desk.again(entry, now + pause, priority)

    def _key(self, job: Job) -> Key:
        """Return what the durations of such jobs are learned under; one tuple serves all jobs of a key."""
        key = (job.service, job.kind, job.model or "")
        return self._keys.setdefault(key, key)

    def _failed(self, entry: WatchedJob, error: AsyncflowError, now: float) -> None:
        if _concerns_all(error):
            # Asking on would only repeat the refusal.
            self._desk.refused(error)
            return
        self._tally.failed_polls += 1
        entry.failures += 1
        is_too_late = error.retry_after is not None and now + error.retry_after >= self.ends_at
        if not error.transient or entry.failures == self._max_failures or is_too_late:
            self._abandon(entry, error)
            return
        if not entry.is_unreachable:
            entry.is_unreachable = True
            self._desk.tell(Unreachable(entry.job_id, self._wall_clock(), ErrorInfo.of(error)), entry)
        self._again(entry, now, failure_delay(entry.failures, error.retry_after, self._random))

    def _again(self, entry: WatchedJob, now: float, pause: float, priority: int = REST, job: Job | None = None) -> None:
        """Plan the next poll, the last one for the moment at which a limit of time is reached; *job* is what was just read."""
        deadline, _ = self.limits.deadline(entry)
        if now + pause < deadline:
            self._desk.again(entry, now + pause, priority)
        elif now < deadline:
            self._desk.again(entry, deadline, EXPECTED)
        else:
            self.give_up(entry, now, job)

    def give_up(self, entry: WatchedJob, now: float, job: Job | None = None) -> bool:
        """Abandon a job if its time is over; return whether it was."""
        deadline, error = self.limits.deadline(entry)
        if now < deadline:
            return False
        waited = f"not over after {now - entry.added_at:.0f} s"
        known = f"its status was {entry.status}" if entry.status else "never read"
        self._abandon(entry, error(f"{waited}; {known}", job=job))
        return True

    def _abandon(self, entry: WatchedJob, error: AsyncflowError) -> None:
        self._desk.tell(Abandoned(entry.job_id, ErrorInfo.of(error), error.job or entry.job), entry)
        self._desk.over(entry)


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
