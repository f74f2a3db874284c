"""One watched job: what its next answer is compared with, and the limits of time it may reach.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from asyncflow.errors import StallTimeoutError, StartTimeoutError, WaitTimeoutError
from asyncflow.polling import Watched

if TYPE_CHECKING:
    from datetime import datetime

    from asyncflow.polling import Key
    from asyncflow.records import Job

__all__ = ["Entry", "Limits"]

_NOT_STARTED = frozenset({"created", "pending"})

_USUAL = {status: status for status in ("created", "started", "pending")}
"""One string for each of the usual statuses: that of a record is a new one every time, and would be kept with each job."""

_RETENTION = 7 * 86400.0
"""Seconds for which Google Flow keeps a record: https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs-jobid"""


class Entry(Watched):
    """A watched job. The record itself is not kept: a hundred thousand of them would be.

    Instants are on the loop's clock: *added_at* to the watch, *born_at* by the record's creation time, *moved_at* when status
    or update time last changed, if that is noted. *status* is None before the first answer, *failures* counts failed polls in a
    row.
    """

    __slots__ = ("added_at", "born_at", "failures", "is_unreachable", "key", "moved_at", "polls", "status", "updated_at")

    def __init__(self, job_id: str, now: float) -> None:
        super().__init__(job_id)
        self.added_at: float = now
        self.born_at: float = now
        self.moved_at: float = now
        self.updated_at: datetime | None = None
        self.status: str | None = None
        self.key: Key | None = None
        self.polls: int = 0
        self.failures: int = 0
        self.is_unreachable: bool = False

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
class Limits:
    """How long a job may take to leave created or pending, to move on, and in all; seconds, or None for ever."""

    start: float | None = None
    stall: float | None = None
    job: float | None = None

    def deadline(self, entry: Entry) -> tuple[float, type[WaitTimeoutError]]:
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
