"""What a watch tells its hooks."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from asyncflow.errors import AsyncflowError
from asyncflow.events import Abandoned, Unreachable
from asyncflow.records import Job
from asyncflow.telemetry import EventEmitted, PollAnswered, WatchEnded, WatchStarted, digest, kind_of, word

if TYPE_CHECKING:
    from asyncflow.events import Event
    from asyncflow.pacing import Pacer
    from asyncflow.telemetry import Hooks
    from asyncflow.watcher.stats import WatchCounters
    from asyncflow.watcher.watched_job import WatchedJob

__all__ = ["WatchInstrumentation"]

_numbers = count(1)


class WatchInstrumentation:
    """Tells *hooks* of one watch, and of the budget that its polls are paid from."""

    def __init__(self, hooks: Hooks, pacer: Pacer | None) -> None:
        self._hooks = hooks
        self._pacer = pacer
        self._number = 0
        self._started = 0.0

    def watch_started(self, jobs: int, now: float) -> None:
        """Tell that the watch begins."""
        self._number, self._started = next(_numbers), now
        self._hooks.emit(WatchStarted(self._number, jobs))

    def poll_finished(self, entry: WatchedJob, answer: object, due: float, start: float, now: float) -> None:
        """Tell what the poll has brought that was *due* then and went out at *start*, before anything is concluded from it."""
        job = answer if isinstance(answer, Job) else None
        self._hooks.emit(
            PollAnswered(
                watch=self._number,
                job=digest(entry.job_id),
                service="" if job is None else job.service,
                kind="" if job is None else word(job.kind),
                status=None if job is None else word(job.status),
                error=kind_of(answer) if isinstance(answer, AsyncflowError) else None,
                polls=entry.polls + (job is not None),
                late=max(start - due, 0.0),
                seconds=now - start,
            )
        )
        if self._pacer is not None:
            self._hooks.check_budget(self._pacer, now)

    def event_emitted(self, event: Event) -> None:
        """Tell of an event."""
        if isinstance(event, Abandoned | Unreachable):
            job_id, error, job = event.job_id, event.error.kind, event.job if isinstance(event, Abandoned) else None
        else:
            job_id, error, job = event.job.job_id, None, event.job
        self._hooks.emit(
            EventEmitted(
                watch=self._number,
                event=event.type,
                job=digest(job_id),
                service="" if job is None else job.service,
                kind="" if job is None else word(job.kind),
                status="" if job is None else word(job.status),
                # What an abandoned job was worth when it was last seen is not how it ended.
                outcome="" if job is None or error is not None else job.outcome.value,
                error=error,
            )
        )

    def watch_ended(self, tally: WatchCounters, left: int, error: str | None, now: float) -> None:
        """Tell that the watch is over."""
        self._hooks.emit(
            WatchEnded(
                watch=self._number,
                polls=tally.polls,
                ended=sum(tally.outcomes.values()),
                abandoned=tally.abandoned,
                left=left,
                error=error,
                seconds=now - self._started,
            )
        )
