"""Waiting for jobs: a watch to its end, and what became of each job."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Unpack

from asyncflow.errors import AsyncflowError, JobFailedError
from asyncflow.events import Abandoned, Ended
from asyncflow.records import Failure, Outcome
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asyncflow.records import Job
    from asyncflow.watcher import JobIds, WatchOptions

__all__ = ["wait_for", "well_ended", "worth_asking"]


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

    results: dict[str, Job | AsyncflowError] = {}
    async with JobWatcher(fetch, job_ids, **options) as watcher:
        async for event in watcher:
            match event:
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
