"""The turns of callers who look on, and what a request's end tells the pacer."""

from __future__ import annotations

import asyncio
from math import isinf
from typing import TYPE_CHECKING

import anyio

from asyncflow.errors import RateLimitedError
from asyncflow.pacing import Pacer, Priority, prepaid
from asyncflow.protocol.rate_signals import record_outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.protocol import Request

__all__ = ["PermitGate"]


class PermitGate:
    """What a client and those made from it draw on: of each priority one caller at a time talks to the pacer, in their order."""

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self._lines = tuple(asyncio.Lock() for _ in Priority)
        self._news: set[asyncio.Event] = set()

    def adopt(self) -> Priority | None:
        """Return the priority with which a watch has paid for the request about to be made, None if none has.

        From then on the request is ours to end.
        """
        payment = prepaid.get()
        return payment.priority if payment is not None and payment.redeem(self.pacer) else None

    async def acquire(
        self,
        now: Callable[[], float],
        deadline: float,
        job_id: str | None = None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> None:
        """Wait for the turn of one request; `RateLimitedError` at once for a turn that cannot come before *deadline*.

        *now* tells the time, and raises when it is no use to wait on.
        """
        pacer, line = self.pacer, self._lines[priority]
        if not line.locked() and pacer.try_acquire(now(), priority, self) == 0:
            return
        _refuse_beyond(deadline, now(), pacer.delay(now(), priority, self), job_id)
        pacer.enqueue(priority, self, now())
        try:
            async with asyncio.timeout_at(deadline), line:
                while (delay := pacer.try_acquire(now(), priority, self)) > 0:
                    _refuse_beyond(deadline, now(), delay, job_id)
                    await self._change(delay)
        except TimeoutError as error:
            raise RateLimitedError("no turn came in time", transient=True, job_id=job_id) from error
        finally:
            pacer.dequeue(priority, self)

    async def _change(self, seconds: float) -> None:
        """Wait until the pacer has news, *seconds* at the longest."""
        news = asyncio.Event()
        self._news.add(news)
        unsubscribe = self.pacer.subscribe(news.set)
        try:
            with anyio.move_on_after(seconds):
                await news.wait()
        finally:
            unsubscribe()
            self._news.discard(news)

    def wake_all(self) -> None:
        """Have those who wait look at the time now."""
        for news in self._news:
            news.set()

    def record(self, request: Request, outcome: object, start: float, now: float) -> None:
        """End a request that was paid for; *outcome* is its answer or its error, None if it was cancelled."""
        record_outcome(self.pacer, outcome, start, now, request)


def _refuse_beyond(deadline: float, now: float, delay: float, job_id: str | None) -> None:
    if now + delay > deadline and not isinf(delay):
        raise RateLimitedError("the request budget is spent for longer", transient=True, retry_after=delay, job_id=job_id)
