"""One watched job: what its next answer is compared with, and the limits of time it may reach.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from msgspec import Struct

from asyncflow.errors import StallTimeoutError, StartTimeoutError, WaitTimeoutError
from asyncflow.polling import REST, Key
from asyncflow.records import Job
from asyncflow.redaction import digest

__all__ = ["JobTimeouts", "WatchedJob"]

_NOT_STARTED = frozenset({"created", "pending"})

_USUAL = {status: status for status in ("created", "started", "pending")}
"""One string for each of the usual statuses: that of a record is a new one every time, and would be kept with each job."""

_RETENTION = 7 * 86400.0
"""Seconds for which Google Flow keeps a record: https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs-jobid"""


class WatchedJob(Struct, eq=False, gc=False):
    """A watched job, of a kind that the garbage collector passes over; nothing that is tracked may be kept in it.

    Instants are on the loop's clock: *added_at* to the watch, *born_at* by the record's creation time, *moved_at* when status
    or update time last changed, if that is noted. *status* is None before the first answer, *failures* counts failed polls in a
    row. *due*, *priority* and *place* are the schedule's. *job* is the last record, where it is kept.
    """

    job_id: str
    added_at: float
    born_at: float
    moved_at: float
    due: float = inf
    priority: int = REST
    place: float | tuple[float, ...] | None = None
    updated_at: datetime | None = None
    status: str | None = None
    key: Key | None = None
    polls: int = 0
    failures: int = 0
    is_unreachable: bool = False
    job: Job | None = None

    def __repr__(self) -> str:
        return f"<WatchedJob {digest(self.job_id)}>"

    def note_birth(self, job: Job, now: float, wall_time: datetime) -> None:
        """Take over when the job was created, unless that cannot be: the clocks of two machines differ."""
        if job.created_at is not None:
            age = (wall_time - job.created_at).total_seconds()
            if 0 < age < _RETENTION:
                self.born_at = now - age

    def note_answer(self, job: Job, now: float, *, moves: bool = True) -> None:
        """Take over where the job stands; without *moves*, which take memory, not when it got there."""
        self.polls += 1
        self.failures, self.is_unreachable = 0, False
        if moves and (job.status != self.status or job.updated_at != self.updated_at):
            self.moved_at, self.updated_at = now, job.updated_at
        self.status = _USUAL.get(job.status, job.status)


@dataclass(frozen=True, slots=True)
class JobTimeouts:
    """How long a job may take to leave created or pending, to move on, and in all; seconds, or None for ever."""

    start: float | None = None
    stall: float | None = None
    job: float | None = None
    are_set: bool = field(init=False)

    def __post_init__(self) -> None:
        # Said once, as most watches have none and each of their polls asks.
        object.__setattr__(self, "are_set", (self.start, self.stall, self.job) != (None, None, None))

    def deadline(self, entry: WatchedJob) -> tuple[float, type[WaitTimeoutError]]:
        """Return when to give the job up, on the loop's clock, and what that is called."""
        deadline, error = inf, WaitTimeoutError
        if self.job is not None:
            deadline = entry.added_at + self.job
        if self.stall is not None and (at := entry.moved_at + self.stall) < deadline:
            deadline, error = at, StallTimeoutError
        is_waiting = entry.status is None or entry.status.lower() in _NOT_STARTED
        if self.start is not None and is_waiting and (at := entry.added_at + self.start) < deadline:
            deadline, error = at, StartTimeoutError
        return deadline, error
