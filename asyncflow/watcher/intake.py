"""How ids get into a watch: from lists and async iterables, in slices, and through the journal if there is one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from anyio.lowlevel import checkpoint

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable

    from asyncflow.stream import Emitter
    from asyncflow.watcher.persistence import JournalWriter

__all__ = ["IdIntake"]

_SLICE = 2000
"""Ids taken in without giving way to the event loop: some milliseconds' worth."""


class IdIntake:
    """Ids on their way into the schedule; *schedule* plans the first polls of a slice, *missing* tells which are not there yet.

    *on_idle* is called whenever an input has come to its end.
    """

    def __init__(
        self,
        schedule: Callable[[Iterable[str]], None],
        missing: Callable[[Iterable[str]], list[str]],
        on_idle: Callable[[], None],
        writer: JournalWriter | None,
    ) -> None:
        self._schedule = schedule
        self._missing = missing
        self._on_idle = on_idle
        self._writer = writer
        self._sink: Emitter[Any] | None = None
        self._inputs: list[AsyncIterable[str]] = []
        self._waiting: deque[str] = deque()
        self._entering: dict[str, None] = {}
        self._unwanted: set[str] = set()
        self._is_admitting = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._entering)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._entering or job_id in self._waiting

    @property
    def on_the_way(self) -> tuple[str, ...]:
        """The ids that are not scheduled yet."""
        return (*self._entering, *self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether more ids are to come, as far as is known."""
        return bool(self._inputs or self._waiting or self._is_admitting)

    def attach(self, source: AsyncIterable[str]) -> None:
        """Take in what *source* yields, from the start of the watch on."""
        self._inputs.append(source)

    def put(self, job_ids: Iterable[object]) -> None:
        """Take in ids that are not watched yet; they are scheduled as soon as the watch runs."""
        new = self._missing(_checked(tuple(job_ids)))
        self._waiting.extend(new)
        self._unwanted.difference_update(new)
        if self._sink is not None and not self._is_admitting:
            self._is_admitting = True
            self._sink.start_soon(self._admit)

    def put_first(self, job_ids: Iterable[str]) -> None:
        """Take in the ids of an earlier watch, ahead of those that were given for this one."""
        ahead = [job_id for job_id in job_ids if job_id not in self._unwanted]
        self._waiting = deque(dict.fromkeys((*ahead, *self._waiting)))

    async def start(self, sink: Emitter[Any]) -> None:
        """Begin, with the inputs as workers of *sink*; returns when the ids that are there have been scheduled."""
        self._sink = sink
        for source in self._inputs:
            sink.start_soon(self._feed, source)
        await self._admit()

    def stop(self) -> None:
        """Take in nothing more."""
        self._sink = None

    def drain(self) -> None:
        """Schedule at once whatever is on its way, and expect no more."""
        self._inputs.clear()
        left = [*self._entering, *self._waiting]
        self._entering, self._waiting = {}, deque()
        self._schedule(left)

    def discard(self, unwanted: set[str]) -> None:
        """Forget these."""
        self._waiting = deque(job_id for job_id in self._waiting if job_id not in unwanted)
        for job_id in unwanted:
            self._entering.pop(job_id, None)
        if self._writer is not None:
            self._writer.discard(tuple(unwanted))
            self._unwanted |= unwanted

    async def _admit(self) -> None:
        """Schedule the ids that wait for it, in slices, so that a hundred thousand of them do not stop the event loop."""
        self._is_admitting = True
        while self._waiting:
            self._entering = dict.fromkeys(self._waiting.popleft() for _ in range(min(_SLICE, len(self._waiting))))
            # An id that is polled before it is on the disk could end, be delivered, and be unknown after a crash.
            new = self._entering if self._writer is None else await self._writer.add(tuple(self._entering))
            self._schedule([job_id for job_id in new if job_id in self._entering])
            self._entering = {}
            await checkpoint()
        self._is_admitting = False
        self._on_idle()

    async def _feed(self, source: AsyncIterable[str]) -> None:
        call_soon = asyncio.get_running_loop().call_soon
        batch: list[str] = []

        def hand_on() -> None:
            # In one go, with what the source had ready: to take in each id by itself would cost several times as much.
            job_ids = tuple(batch)
            batch.clear()
            if job_ids and self._sink is not None:
                try:
                    self._take_in(_checked(job_ids))
                except Exception as error:  # noqa: BLE001 - a user's own policy may raise anything, and the event loop would swallow it
                    self._sink.fail(error)

        async for job_id in source:
            if not batch:
                # For a source that waits before it goes on.
                call_soon(hand_on)
            batch.append(job_id)
            if len(batch) == _SLICE:
                hand_on()
                # A source that never waits would keep everybody else from running.
                await checkpoint()
        hand_on()
        if source in self._inputs:
            self._inputs.remove(source)
        self._on_idle()

    def _take_in(self, job_ids: tuple[str, ...]) -> None:
        if self._writer is not None:
            self.put(job_ids)
        else:
            self._schedule(job_ids)


def _checked(job_ids: tuple[object, ...]) -> tuple[str, ...]:
    # By functions that are not Python's own: a hundred thousand ids may come in one call.
    if not {*map(type, job_ids)} <= {str} and not all(isinstance(job_id, str) for job_id in job_ids):
        raise UsageError("a job id is a str that is not empty")
    checked = cast("tuple[str, ...]", job_ids)
    if not all(map(str.strip, checked)):
        raise UsageError("a job id is a str that is not empty")
    return checked
