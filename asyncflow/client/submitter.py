"""Submits, one by one: each goes out once, whatever becomes of its answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import uuid4

import anyio

from asyncflow import protocol
from asyncflow.client.options import check_timeout
from asyncflow.client.submit_recovery import SubmitRecovery
from asyncflow.errors import AsyncflowError, DecodeError, OutcomeUnknownError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from asyncflow.client.options import RequestOptions
    from asyncflow.client.retry import RetryingSender
    from asyncflow.client.transport import Transport
    from asyncflow.protocol import PreparedSubmit
    from asyncflow.records import Job

__all__ = ["OUR_REFS", "SubmitCallbacks", "Submitter", "new_ref"]

OUR_REFS = "asyncflow-"

_LONGEST = 660.0
"""Seconds that an answer may take: the service holds synchronous submits for up to ten minutes before it answers 408."""

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
"""Seconds between two tries where a refusal for want of capacity names no pause; each is twice the one before."""

_REMEMBERED = 100_000


def new_ref() -> str:
    """Return a replyRef that no other submit has."""
    return f"{OUR_REFS}{uuid4().hex}"


class SubmitCallbacks(NamedTuple):
    """What is awaited around each try: *begin* at the last moment before it, with the time; *refuse* before the next one."""

    begin: Callable[[datetime], Awaitable[None]]
    refuse: Callable[[AsyncflowError], Awaitable[None]]


class Submitter:
    """Submits through *calls* with the client's *options*, and what they have learned: full endpoints, and ids that are taken."""

    def __init__(self, calls: RetryingSender, connection: Transport) -> None:
        self._calls = calls
        self._now = connection.now
        self._full_until: dict[str, float] = {}
        self.known: dict[str, None] = {}

    def remember(self, job_ids: Iterable[str]) -> None:
        """Note ids whose submits are known, so that they are not taken for those of others."""
        self.known |= dict.fromkeys(job_ids)
        if len(self.known) > _REMEMBERED:
            self.known = dict.fromkeys(list(self.known)[-_REMEMBERED // 2 :])

    def search(self, options: RequestOptions) -> SubmitRecovery:
        """Return a search through the same calls."""
        return SubmitRecovery(self._calls, options)

    async def submit(
        self,
        order: PreparedSubmit,
        options: RequestOptions,
        *,
        wait_for_capacity: float | None = None,
        timeout: float | None = None,
        hooks: SubmitCallbacks | None = None,
        search: SubmitRecovery | None = None,
    ) -> Job:
        """Send *order* and return its job; see `AsyncClient.submit`. *search* is the one to use if the answer is lost."""
        check_timeout(timeout)
        check_timeout(wait_for_capacity)
        target, deadline = order.request.target, self._now() + (wait_for_capacity or 0.0)
        tries = 0
        while True:
            if wait_for_capacity is not None:
                await self._capacity(target, deadline)
            try:
                return await self._send(
                    order,
                    options,
                    patience=max(options.timeout, deadline - self._now()),
                    longest=_LONGEST if timeout is None else timeout,
                    hooks=hooks,
                    search=search or self.search(options),
                )
            except RateLimitedError as error:
                pause = error.retry_after
                if pause is None:
                    pause = min(_FIRST_PAUSE * 2**tries, _LONGEST_PAUSE)
                tries += 1
                # Whoever else waits for this endpoint need not find out for himself.
                self._full_until[target] = max(self._full_until.get(target, 0.0), self._now() + pause)
                if self._now() + pause > deadline:
                    raise
                if hooks is not None:
                    await hooks.refuse(error)

    async def _capacity(self, target: str, deadline: float) -> None:
        """Wait while the endpoint is known to be full; not at all if that takes longer than there is time."""
        pause = self._full_until.get(target, 0.0) - self._now()
        if 0 < pause <= deadline - self._now():
            await anyio.sleep(pause)

    async def _send(
        self,
        order: PreparedSubmit,
        options: RequestOptions,
        *,
        patience: float,
        longest: float,
        hooks: SubmitCallbacks | None,
        search: SubmitRecovery,
    ) -> Job:
        requested_at = datetime.now(UTC)

        async def depart() -> None:
            nonlocal requested_at
            requested_at = datetime.now(UTC)
            if hooks is not None:
                await hooks.begin(requested_at)

        try:
            job = cast(
                "Job",
                await self._calls.send_once(order.request, options, patience=patience, longest=longest, begin=depart),
            )
            if not (job.job_id or job.is_terminal):
                raise DecodeError("the answer names no job")
        except AsyncflowError as error:
            if not protocol.is_ambiguous(error):
                raise
            raise await self._unknown(order, error, requested_at, search) from error
        if job.job_id:
            self.remember([job.job_id])
        return job

    async def _unknown(
        self, order: PreparedSubmit, error: AsyncflowError, requested_at: datetime, search: SubmitRecovery
    ) -> OutcomeUnknownError:
        service = order.request.service
        found = await search.find(service, order.reply_ref, requested_at, self.known, is_unique=not order.is_own_ref)
        job_id = found.job.job_id if found.job is not None else error.job_id
        unknown = OutcomeUnknownError(_words(service, error, is_found=found.job is not None), status=error.status, job_id=job_id)
        unknown.job = found.job
        unknown.requested_at, unknown.reply_ref = requested_at, order.reply_ref
        unknown.statistics, unknown.candidates = found.statistics, found.candidates
        return unknown


def _words(service: str, error: AsyncflowError, *, is_found: bool) -> str:
    if is_found:
        return f"the answer to a submit was lost ({error}), but its job is there: wait for it, and do not submit it again"
    detail = '"google-flow", "executing" or "history"' if service == "google-flow" else f'"{service}"'
    return (
        f"the answer to a submit was lost ({error}): the job may exist, and be paid for; see get_stats({detail}) before"
        " submitting it again"
    )
