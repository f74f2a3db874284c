"""The verbs of `AsyncClient` that make jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncflow import protocol
from asyncflow.client.options import at_least, check_timeout
from asyncflow.client.submit_batch import BatchConfig, SubmitBatch
from asyncflow.client.submitter import new_ref
from asyncflow.client.waiting import well_ended
from asyncflow.errors import OutcomeUnknownError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncflow.client.options import RequestOptions
    from asyncflow.client.submit_batch import Lines, SubmitJournal
    from asyncflow.client.submitter import Submitter
    from asyncflow.client.transport import Transport
    from asyncflow.records import Job

__all__ = ["SubmitSide"]


class SubmitSide:
    """What `AsyncClient` does about new jobs: one, one to its end, many."""

    if TYPE_CHECKING:  # the client's own
        _connection: Transport
        _options: RequestOptions
        _submits: Submitter

        async def wait(self, job_id: str, *, timeout: float | None, raise_on_failure: bool) -> Job:
            """Wait until a job has ended."""
            ...

    async def submit(
        self, path: str, body: Mapping[str, Any], *, wait_for_capacity: float | None = None, timeout: float | None = None
    ) -> Job:
        """Create a job and return its first record; *path* is that of the API page, such as "google-flow/videos".

        *body* is sent as it is, with two additions where the endpoint takes them and the body does not have them: the
        asynchronous mode, and a replyRef that no other job has. An answer that brings the work itself is a job all the same,
        one that has ended; a few of them have no id. *timeout* bounds the answer, in seconds; by default it is that of the
        service, eleven minutes.

        A submit is never repeated, since it costs credits: where the answer is lost, `OutcomeUnknownError` is raised with what
        is known, and the job may exist. Only "too many requests" means for certain that there is none: with *wait_for_capacity*
        it is tried again for that many seconds, as the service asks, otherwise `RateLimitedError` is raised at once.
        """
        order = protocol.order_of(path, body, new_ref())
        return await self._submits.submit(order, self._options, wait_for_capacity=wait_for_capacity, timeout=timeout)

    async def run(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        timeout: float | None = 900.0,
        wait_for_capacity: float | None = None,
        raise_on_failure: bool = True,
    ) -> Job:
        """Create a job as `submit` does, wait until it has ended as `wait` does, and return its last record.

        *timeout* bounds both together, but for the search after a lost answer, which takes ten seconds at most. What there is to
        say of the errors of `submit` and `wait` holds here too. A job whose id came with an error, or was found after one, is
        waited for.
        """
        check_timeout(timeout)
        start = self._connection.now()
        try:
            job = await self.submit(path, body, wait_for_capacity=wait_for_capacity, timeout=timeout)
        except (OutcomeUnknownError, ServiceError) as error:
            if error.job_id is None:
                raise
            job_id = error.job_id
        else:
            if job.is_terminal:
                return well_ended(job) if raise_on_failure else job
            job_id = job.job_id
        left = None if timeout is None else max(timeout - (self._connection.now() - start), 0.0)
        return await self.wait(job_id, timeout=left, raise_on_failure=raise_on_failure)

    def submit_many(
        self,
        lines: Lines,
        *,
        concurrency: int = 8,
        journal: SubmitJournal | None = None,
        wait_for_capacity: float | None = None,
        timeout: float | None = None,
        resubmit_unknown: bool = False,
    ) -> SubmitBatch:
        """Return a batch that submits *lines*, `SubmitLine`s or mappings like them, *concurrency* at a time; see `SubmitBatch`.

        Nothing is raised for a single line: each has a `Submission`. A refused token or payment ends the batch, as does a service
        that cannot be reached to begin with, after the results already there. *wait_for_capacity* and *timeout* are those of
        `submit`, for each line.

        With a *journal*, each line is noted before it goes out, and again when its answer is there; its job is then in the list
        of a watch on the same journal. A batch on the same journal goes on where an earlier one stopped: what was submitted is
        told again and not sent again, what was refused for a reason that may have passed is sent again, and a line that went
        out without an answer is looked for, and "unknown" if it is not found. Only *resubmit_unknown* sends such lines again.
        """
        self._connection.ensure_open()
        at_least("concurrency", concurrency, 1)
        settings = BatchConfig(concurrency, journal, wait_for_capacity, timeout, resubmit_unknown)
        return SubmitBatch(self._submits, self._options, lines, settings)
