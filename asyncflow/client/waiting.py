"""Waiting for jobs: a watch to its end, and what became of each job."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, Unpack

from asyncflow.errors import AsyncflowError, JobFailedError
from asyncflow.events import Abandoned, Changed, Ended
from asyncflow.records import Failure, Outcome
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from asyncflow.events import Event
    from asyncflow.records import Job
    from asyncflow.watcher import JobIds, WatchOptions

__all__ = ["Events", "SharedStore", "wait_for", "wait_in", "well_ended", "worth_asking"]


class Events(Protocol):
    """The events of some jobs, closed on leaving: a `JobWatcher` is one."""

    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


W_co = TypeVar("W_co", bound=Events, covariant=True)


class SharedStore(Protocol[W_co]):
    """A watch list whose jobs some worker polls: those of `asyncflow.cluster` are such."""

    def watch(self, job_ids: JobIds = (), *, timeout: float | None = None) -> W_co:
        """Return a watch of these jobs."""
        ...


async def wait_for(
    read: Callable[[str], Awaitable[Job]], job_ids: JobIds, **options: Unpack[WatchOptions]
) -> dict[str, Job | AsyncflowError]:
    """Watch until each job has ended; return its last record, or the error that ended the watch for it."""
    records: dict[str, Job] = {}
    errors: dict[str, AsyncflowError] = {}

    async def fetch(job_id: str) -> Job:
        try:
            records[job_id] = await read(job_id)
        except AsyncflowError as error:
            error.job = records.get(job_id)
            errors[job_id] = error
            raise
        return records[job_id]

    return await _to_the_end(JobWatcher(fetch, job_ids, **options), records, errors)


async def wait_in(store: SharedStore[Events], job_ids: JobIds, timeout: float | None) -> dict[str, Job | AsyncflowError]:
    """Do the same where the workers of *store* poll."""
    return await _to_the_end(store.watch(job_ids, timeout=timeout), {}, {})


async def _to_the_end(
    events: Events, records: dict[str, Job], errors: dict[str, AsyncflowError]
) -> dict[str, Job | AsyncflowError]:
    results: dict[str, Job | AsyncflowError] = {}
    async with events as watcher:
        async for event in watcher:
            match event:
                case Changed(job):
                    records[job.job_id] = job
                case Ended(job):
                    results[job.job_id] = job
                case Abandoned(job_id, problem, job):
                    seen = errors.get(job_id)
                    error = seen if seen is not None and seen.kind == problem.kind else problem.exception(job_id)
                    error.job = job or records.get(job_id)
                    results[job_id] = error
                case _:
                    pass
    return results


def well_ended(job: Job) -> Job:
    """Return *job* unless it has failed: then `JobFailedError`."""
    if job.outcome is Outcome.FAILED:
        failure = job.failure or Failure()
        raise JobFailedError(
            failure.message or "the job failed", code=failure.code, reason=failure.reason, job_id=job.job_id, job=job
        )
    return job


def worth_asking(job_ids: JobIds, asked: dict[str, None]) -> JobIds:
    """Return the ids that are not empty, and note all of them in *asked*: a watcher refuses a list for one empty id in it."""
    if isinstance(job_ids, str):
        return job_ids
    if isinstance(job_ids, AsyncIterable):
        return _worth_asking_later(job_ids, asked)
    asked.update(dict.fromkeys(job_ids))
    return [job_id for job_id in asked if not _is_empty(job_id)]


async def _worth_asking_later(job_ids: AsyncIterable[str], asked: dict[str, None]) -> AsyncIterator[str]:
    async for job_id in job_ids:
        asked[job_id] = None
        if not _is_empty(job_id):
            yield job_id


def _is_empty(job_id: object) -> bool:
    return isinstance(job_id, str) and not job_id.strip()
