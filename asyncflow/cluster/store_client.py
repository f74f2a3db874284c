"""A worker's side towards its store: reports go out in batches, what concerns all workers comes in, outages are sat out."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeVar

import anyio
from msgspec.structs import replace

from asyncflow.cluster.lease import state_of
from asyncflow.cluster.store import PollReport
from asyncflow.errors import AsyncflowError, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asyncflow.cluster.lease import Lease
    from asyncflow.cluster.store import ClaimBatch, StoreStatus, WatchStore, WorkerStats
    from asyncflow.events import Event
    from asyncflow.polling import Key
    from asyncflow.stream import Emitter

__all__ = ["StoreClient"]

T = TypeVar("T")

_log = logging.getLogger("asyncflow.cluster")

_BATCH = 500
_MOST_UNREPORTED = _BATCH * 4
_LINGER = 0.03
"""Seconds for which the next reports gather: one call for twenty costs little more than one for one."""

_STORE_PAUSE = 0.5
_TIDYING = 20.0
_LESSONS = 10.0
_STATUS_INTERVAL = 5.0
_GOODBYE = 5.0
_SMOOTH = 0.1


class StoreClient:
    """Speaks to *store* for the worker called *name*, which leases jobs for *lease* seconds.

    *learn* hears how long the jobs of the other workers took, *taken* is called when the store has taken reports or failed to.
    With *moves* a report says when its job last moved.

    Whatever calls the store waits for one that does not answer, and raises the `StoreError` of one that says no.
    """

    def __init__(
        self,
        store: WatchStore,
        name: str,
        lease: float,
        *,
        moves: bool,
        learn: Callable[[Key, float], object],
        taken: Callable[[], object],
    ) -> None:
        self.reports: list[PollReport] = []
        self.is_connected: bool = True
        self.counted: int = 0
        self.stale: int = 0
        self.claim_time: float = 0.0
        self.report_time: float = 0.0
        self._store, self._name, self._lease = store, name, lease
        self._moves, self._hear_of, self._taken = moves, learn, taken
        self._pause: float | None = None
        self._heard_at = 0.0
        self._random = Random()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    @property
    def is_healthy(self) -> bool:
        """Whether the store has answered within the length of a lease; False before `begin`."""
        return hasattr(self, "_loop") and self._loop.time() - self._heard_at < self._lease

    @property
    def is_behind(self) -> bool:
        """Whether so much is unreported that nothing more is to be begun."""
        return len(self.reports) > _MOST_UNREPORTED

    # -- life ------------------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Return when the store has answered for the first time."""
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        for worry in await self._retry_forever(self._store.durability_warnings):
            _log.warning("store_not_durable", extra={"worker": self._name, "reason": worry})

    def start(self, sink: Emitter[None]) -> None:
        """Report, tidy up and learn from now on, in tasks of *sink*."""
        sink.start_soon(self._flush_loop)
        sink.start_soon(self._tidy)
        sink.start_soon(self._learn)

    async def release_all(self, held: Mapping[Lease, float]) -> None:
        """Report what is unreported and give back what is *held*, each job with its pause, unless that takes long."""
        with anyio.move_on_after(_GOODBYE, shield=True), suppress(AsyncflowError):
            reports = [*self.reports, *(self._report_of(lease, pause, None) for lease, pause in held.items())]
            for start in range(0, len(reports), _BATCH):
                await self._store.report(self._name, reports[start : start + _BATCH])

    # -- claims ----------------------------------------------------------------------------------------------------------

    async def claim(self, count: int, words: str) -> ClaimBatch | None:
        """Lease up to *count* jobs; return None, after a pause, if the store does not answer."""
        asked_at = self._loop.time()
        try:
            claims = await self._store.claim(self._name, count, self._lease, words)
        except StoreError as error:
            await self._back_off(error)
            return None
        self.claim_time += (self._heard() - asked_at - self.claim_time) * _SMOOTH
        return claims

    # -- reports ---------------------------------------------------------------------------------------------------------

    def report(self, lease: Lease, pause: float | None, event: Event | None = None) -> None:
        """Have it reported that the job is to be polled in *pause* seconds, or is over if that is None."""
        self.reports.append(self._report_of(lease, pause, event))
        self._news.set()

    def report_duration(self, key: Key, duration: float) -> None:
        """Tell the other workers with the last report how long its job took."""
        self.reports[-1] = replace(self.reports[-1], lesson=(*key, duration))

    def pause_all(self, seconds: float) -> None:
        """Have nobody poll for so long, from the next report on."""
        self._pause = max(self._pause or 0.0, seconds)

    def _report_of(self, lease: Lease, pause: float | None, event: Event | None) -> PollReport:
        state = "" if pause is None else state_of(lease, moves=self._moves)
        return PollReport(lease.job_id, lease.fence, pause, state, event)

    async def _flush_loop(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(_LINGER)
            while self.reports:
                await self._send(self.reports[:_BATCH])
                self._taken()

    async def _send(self, batch: list[PollReport]) -> None:
        asked_at, pause = self._loop.time(), self._pause
        try:
            counted = await self._store.report(self._name, batch, pause=pause)
        except StoreError as error:
            await self._back_off(error)
            return
        if pause == self._pause:
            self._pause = None
        del self.reports[: len(batch)]
        self.report_time += (self._heard() - asked_at - self.report_time) * _SMOOTH
        self.counted += sum(counted)
        self.stale += len(counted) - sum(counted)

    # -- what concerns all workers ---------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDYING * self._random.uniform(0.5, 1.5))
            await self._retry_forever(self._store.prune)

    async def _learn(self) -> None:
        """Learn from the jobs of the other workers, those before our time first."""
        place = ""
        while True:
            lessons, place = await self._retry_forever(partial(self._store.durations, place, self._name))
            for service, kind, model, duration in lessons:
                self._hear_of((service, kind, model), duration)
            await asyncio.sleep(_LESSONS)

    async def show(self, show: Callable[[WorkerStats, StoreStatus | None], None], stats: Callable[[], WorkerStats]) -> None:
        """Call *show* every few seconds with what *stats* returns and the status of the queue, None if there is no answer."""
        while True:
            await asyncio.sleep(_STATUS_INTERVAL)
            status: StoreStatus | None = None
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_STATUS_INTERVAL / 2):
                    status = await self._store.status()
            show(stats(), status)

    # -- outages ---------------------------------------------------------------------------------------------------------

    def _heard(self) -> float:
        """Note that the store has answered; return the time."""
        self._heard_at = self._loop.time()
        if not self.is_connected:
            self.is_connected = True
            _log.info("store_back", extra={"worker": self._name})
        return self._heard_at

    async def _back_off(self, error: StoreError) -> None:
        """Wait a little for a store that does not answer, raise what will not pass."""
        if not error.transient:
            raise error
        if self.is_connected:
            self.is_connected = False
            _log.warning("store_lost", extra={"worker": self._name, "reason": error.reason})
        await asyncio.sleep(_STORE_PAUSE * self._random.uniform(0.5, 1.0))

    async def _retry_forever(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what *call* says once the store answers."""
        while True:
            try:
                answer = await call()
            except StoreError as error:
                await self._back_off(error)
            else:
                self._heard()
                return answer
