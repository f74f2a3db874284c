"""One call to the service: paid for, sent, and sent again if that may help and is allowed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import anyio

from asyncflow import protocol
from asyncflow.client.wire import NO_HEADERS, StaleConnection, plain_reply
from asyncflow.errors import AsyncflowError, RateLimitedError
from asyncflow.pacing import Priority
from asyncflow.polling import failure_delay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncflow.client.fast_transport import FastConnection
    from asyncflow.client.instrumentation import RequestInstrumentation
    from asyncflow.client.options import RequestOptions
    from asyncflow.client.rate_limit import PermitGate
    from asyncflow.client.transport import Transport
    from asyncflow.client.wire import WireReply
    from asyncflow.protocol import Answer, Request

__all__ = ["RetryingSender"]

_PATIENCE = 0.5
"""Seconds that a retry may wait for its turn in a watch: beyond that the watch plans the next poll itself."""


class RetryingSender:
    """Calls over one connection and out of one budget; *instrumentation* hears of each attempt."""

    def __init__(self, connection: Transport, budget: PermitGate, instrumentation: RequestInstrumentation | None = None) -> None:
        self._connection = connection
        self._budget = budget
        self._instrumentation = instrumentation
        self._random = Random()

    async def send_retrying(self, request: Request, options: RequestOptions, timeout: float | None = None) -> Answer:
        """Send a request that may be repeated, until it is answered or the time is up."""
        now = self._connection.now
        deadline = now() + (timeout if timeout is not None else options.timeout * (options.max_retries + 1))
        watch = self._budget.adopt()
        if watch is None:
            await self._budget.acquire(now, deadline, request.job_id)
        failures, is_fresh = 0, False
        while True:
            try:
                return await self._try(request, options, deadline, is_fresh=is_fresh, resends=failures + is_fresh)
            except StaleConnection:
                # It was no failure of the service, and is no retry; yet a request it was.
                is_fresh = True
                await self._budget.acquire(now, deadline, request.job_id, Priority.INTERACTIVE if watch is None else watch)
            except AsyncflowError as error:
                failures += 1
                if not error.transient or failures > options.max_retries:
                    raise
                pause, until = failure_delay(failures, error.retry_after, self._random), deadline
                if watch is not None:
                    # A watch plans its own polls, and a worker that waited here would be missing there: one more try, at once.
                    if failures > 1 or error.retry_after is not None or isinstance(error, RateLimitedError):
                        raise
                    pause, until = 0.0, min(deadline, now() + _PATIENCE)
                if now() + pause >= until:
                    raise
                await anyio.sleep(pause)
                try:
                    await self._budget.acquire(now, until, request.job_id, Priority.INTERACTIVE if watch is None else watch)
                except RateLimitedError:
                    raise error from None

    async def send_once(
        self,
        request: Request,
        options: RequestOptions,
        *,
        patience: float,
        longest: float,
        begin: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Send a request that must not be repeated: its turn comes within *patience* seconds, its answer within *longest*.

        *begin* is awaited between the two, at the last moment before anything is sent; what it raises keeps the request back.
        """
        now = self._connection.now
        await self._budget.acquire(now, now() + patience)
        if begin is not None:
            try:
                await begin()
            except BaseException:
                self._budget.record(request, None, now(), now())
                raise
        return await self._try(request, options, now() + longest, is_fresh=True, longest=longest)

    async def _try(
        self,
        request: Request,
        options: RequestOptions,
        deadline: float,
        *,
        is_fresh: bool,
        longest: float | None = None,
        resends: int = 0,
    ) -> Answer:
        """Send a request that has been paid for once, and tell the pacer how it went; *longest* replaces the client's timeout.

        `StaleConnection` if it should be sent again, and is not *is_fresh* yet.
        """
        connection, loop = self._connection, asyncio.get_running_loop()
        start = loop.time()
        outcome: Answer | AsyncflowError | None = None
        deadline = min(start + (longest or options.timeout), deadline)
        link: FastConnection | None = None
        reply: WireReply | None = None
        waiter: asyncio.Future[bytes | None] | None = None
        try:
            if not is_fresh and (link := connection.start(request, options, start, deadline)) is not None:
                waiter = link.waiter
            if waiter is None or (body := await waiter) is None:
                reply = await connection.exchange(request, options, deadline, link, is_fresh=is_fresh)
                # What an instant counts from is asked of refusals only.
                now = None if reply.status < 300 else datetime.now(UTC)
                outcome = answer = protocol.decode_answer(request, reply.status, reply.headers, reply.body, now=now)
            else:
                if self._instrumentation is not None:
                    reply = plain_reply(body)
                outcome = answer = protocol.decode_answer(request, 200, NO_HEADERS, body)
        except AsyncflowError as error:
            outcome = error
            raise
        else:
            return answer
        finally:
            if link is not None:
                link.abandon(waiter)
            end = loop.time()
            self._budget.record(request, outcome, start, end)
            if self._instrumentation is not None:
                self._instrumentation.made(request, reply, outcome, resends=resends, start=start, now=end)
