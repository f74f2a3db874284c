"""`StoreWatch`: a watch whose jobs some worker polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, TypedDict

from anyio.lowlevel import checkpoint

from asyncflow.cluster.codec import checked_id, place_of
from asyncflow.errors import UsageError, WaitTimeoutError
from asyncflow.events import Abandoned, Changed, Ended, ErrorInfo, Event
from asyncflow.stream import Stream
from asyncflow.watcher import JobIds, WatchStats
from asyncflow.watcher.job_watcher import merge
from asyncflow.watcher.stats import WatchCounters

if TYPE_CHECKING:
    from asyncflow.cluster.store import WatchStore
    from asyncflow.records import Job
    from asyncflow.stream import Emitter

__all__ = ["StoreWatch", "StoreWatchOptions"]

_SLICE = 1000
_WAIT = 5.0
_RENEWAL = 30.0
"""Seconds after which what has not ended is submitted again: an engine may have lost its last second, and our ids with it."""


class StoreWatchOptions(TypedDict, total=False):
    """The keyword arguments of `WatchStore.watch`."""

    timeout: float | None
    keep_open: bool
    buffer: int


class StoreWatch(Stream[Event]):
    """The events of some jobs of a store: an async context manager and an async iterator of `Event`, as `JobWatcher` is.

    Nothing is polled here: the ids are submitted, and some worker of the store polls them. For every id there is exactly one
    `Ended` or `Abandoned`. A job that others have had watched before is told of from its next change on; one that has ended
    already gets its ending at once. *timeout* ends the watch, in seconds: what has not ended is then `Abandoned` here, with the
    last record that was heard of, and still watched by the store. With *keep_open* the iteration goes on until `aclose`. Beyond
    *buffer* undelivered events, those of one job are merged, and no ending is dropped.
    """

    def __init__(
        self,
        store: WatchStore,
        job_ids: JobIds = (),
        *,
        timeout: float | None = None,
        keep_open: bool = False,
        buffer: int = 1000,
    ) -> None:
        if isinstance(job_ids, str):
            raise UsageError("job_ids is a single str: pass a list of ids")
        self._core = core = StoreWatchEngine(store, timeout, keep_open=keep_open)
        if isinstance(job_ids, AsyncIterable):
            core.sources.append(job_ids)
        else:
            core.add(job_ids)
        super().__init__(core.run, name="asyncflow store watch", buffer=buffer, merge=merge, usage_error=UsageError)

    def add(self, *job_ids: str) -> None:
        """Watch these too."""
        if self.is_ended:
            raise UsageError("this watch is over: make a new one")
        self._core.add(job_ids)

    def nudge(self, job_id: str) -> bool:
        """Have a worker ask about this job as soon as the budget allows; return whether it is watched here."""
        return self._core.nudge(job_id)

    def acknowledge(self, *events: Event) -> None:
        """Do nothing: this watch begins anew each time, and an ending that is asked for again is told again."""

    def stats(self) -> WatchStats:
        """Return how the watch is doing; polls are counted by the workers, not here."""
        return self._core.stats()

    async def __anext__(self) -> Event:
        """Return the next event; cancelling this loses none."""
        core = self._core
        core.asking += 1
        try:
            core.finish_if_done()
            return await super().__anext__()
        finally:
            core.asking -= 1

    def __len__(self) -> int:
        return len(self._core.open)

    def __repr__(self) -> str:
        return f"<StoreWatch of {len(self)} jobs>"


class StoreWatchEngine:
    """The runner of a `StoreWatch`; it does not know the iterator."""

    def __init__(self, store: WatchStore, timeout: float | None, *, keep_open: bool) -> None:
        self.asking = 0
        self.open: dict[str, str | None] = {}
        self.sources: list[AsyncIterable[str]] = []
        self._store = store
        self._timeout = timeout
        self._keep_open = keep_open
        self._places: set[str] = set()
        self._new: list[str] = []
        self._nudged: list[str] = []
        self._news = asyncio.Event()
        self._after: str | None = None
        self._is_told = asyncio.Event()
        self._tally = WatchCounters()
        self._sink: Emitter[Event] | None = None
        self._done = asyncio.Event()
        self._renew_at = 0.0
        # Whoever sets a limit of time wants to know how far a job had come; nobody else pays for it in memory.
        self._records: dict[str, Job] | None = None if timeout is None else {}

    def add(self, job_ids: Iterable[object]) -> None:
        for job_id in dict.fromkeys(job_ids):
            if not isinstance(job_id, str) or not job_id.strip():
                raise UsageError("a job id is a str that is not empty")
            if job_id not in self.open:
                # Before the store hears of it: its ending may be on the way already when the store's answer comes.
                self.open[job_id] = None
                self._places.add(place_of(job_id))
                self._new.append(job_id)
        self._news.set()

    def nudge(self, job_id: str) -> bool:
        if job_id not in self.open:
            return False
        self._nudged.append(job_id)
        self._news.set()
        return True

    async def run(self, sink: Emitter[Event]) -> None:
        self._sink, loop = sink, asyncio.get_running_loop()
        expiry = None if self._timeout is None else loop.call_later(self._timeout, self._expire)
        self._renew_at = loop.time() + _RENEWAL
        try:
            for source in self.sources:
                sink.start_soon(self._feed, source)
            sink.start_soon(self._submit_what_comes)
            sink.start_soon(self._read)
            await self._done.wait()
            sink.finish()
        finally:
            if expiry is not None:
                expiry.cancel()

    async def _feed(self, source: AsyncIterable[str]) -> None:
        taken = 0
        async for job_id in source:
            self.add((job_id,))
            taken += 1
            if not taken % _SLICE:
                # A source that never waits would keep everybody else from running.
                await checkpoint()
        self.sources.remove(source)
        self.finish_if_done()

    async def _submit_what_comes(self) -> None:
        while True:
            self._news.clear()
            while self._new:
                piece, self._new = self._new[:_SLICE], self._new[_SLICE:]
                await self._submit(piece)
            if self._nudged:
                nudged, self._nudged = self._nudged, []
                await self._store.nudge(nudged)
            self.finish_if_done()
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout_at(self._renew_at):
                    await self._news.wait()
            except TimeoutError:
                self._renew_at = loop.time() + _RENEWAL
                self._new = [*self._new, *self.open]

    async def _submit(self, job_ids: list[str]) -> None:
        submitted = await self._store.submit([job_id for job_id in job_ids if self._can_be_one(job_id)])
        if self._after is None:
            self._after = submitted.after
            self._is_told.set()
        over = [job_id for job_id, state in submitted.states.items() if state == "ended" and job_id in self.open]
        if over:
            endings = await self._store.endings(over)
            for ending in endings.values():
                self._take(ending.event)
            if forgotten := [job_id for job_id in over if job_id in self.open]:
                # It ended, and how is kept no longer: one more poll tells.
                await self._store.submit(forgotten, again=True)

    def _can_be_one(self, job_id: str) -> bool:
        """Give up an id that no store would take: that is no matter of the other jobs."""
        try:
            checked_id(job_id)
        except UsageError as error:
            if job_id in self.open:
                self._report(Abandoned(job_id, ErrorInfo.of(error)))
                self._drop(job_id)
            return False
        return True

    async def _read(self) -> None:
        await self._is_told.wait()
        after = self._after or ""
        while True:
            deliveries, after = await self._store.read(after, _WAIT, self._places)
            for delivery in deliveries:
                self._take(delivery.event)

    def _take(self, event: Event) -> None:
        job_id = event.key[0]
        if job_id not in self.open or self._sink is None:
            return
        if isinstance(event, Changed | Ended):
            self._tally.moved(self.open[job_id], event.job.status)
            self.open[job_id] = event.job.status
            if self._records is not None:
                self._records[job_id] = event.job
        self._report(event)
        if isinstance(event, Ended | Abandoned):
            self._drop(job_id)

    def _report(self, event: Event) -> None:
        if self._sink is not None:
            self._tally.reported(event)
            self._sink.put(event, event.key[0])

    def _drop(self, job_id: str) -> None:
        self._tally.moved(self.open.pop(job_id), None)
        self._places.discard(place_of(job_id))
        if self._records is not None:
            self._records.pop(job_id, None)
        self.finish_if_done()

    def _expire(self) -> None:
        self._keep_open = False
        self.sources.clear()
        for job_id, status in list(self.open.items()):
            known = f"its status was {status}" if status else "no news of it"
            error = WaitTimeoutError(f"not over after {self._timeout or 0.0:.0f} s; {known}", job_id=job_id)
            self._report(Abandoned(job_id, ErrorInfo.of(error), (self._records or {}).get(job_id)))
            self._drop(job_id)
        self.finish_if_done()

    def finish_if_done(self) -> None:
        """End the run if nothing is left to watch and somebody asks for more."""
        is_busy = self.open or self.sources or self._keep_open
        if self._sink is not None and self.asking and not is_busy and not self._sink.undelivered:
            self._done.set()

    def stats(self) -> WatchStats:
        tally = self._tally
        return WatchStats(
            watched=len(self.open),
            in_flight=0,
            statuses=dict(tally.statuses),
            undelivered=0 if self._sink is None else self._sink.undelivered,
            next_poll=None,
            expected_end_at=None,
            polls=0,
            failed_polls=0,
            unreachable=tally.unreachable,
            ended=dict(tally.outcomes),
            abandoned=tally.abandoned,
        )
