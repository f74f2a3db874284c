"""What a watch keeps where it outlives the process, and which endings count as handled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import anyio

from asyncflow.errors import UsageError
from asyncflow.events import Abandoned, Changed, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from asyncflow.events import Event
    from asyncflow.polling import Policy

__all__ = ["AckTracker", "JournalWriter", "WatchJournal"]

_LESSONS = 100
"""Endings after which what the policy has learned is kept anew; what is learned twice does no harm."""


class WatchJournal(Protocol):
    """What a watch asks of a journal: `asyncflow.Journal` is one.

    What returns nothing must neither wait nor raise; all of it is called on the event loop of the watch.
    """

    async def open(self, fail: Callable[[Exception], None]) -> tuple[list[str], dict[str, Any] | None]:
        """Begin; return the ids that have not ended, and the policy's state that was kept.

        *fail* is called if the journal fails later and the watch is to end with that. `UsageError` if another watch has it.
        """
        ...

    async def unacknowledged(self, after: int) -> tuple[Sequence[Event], int]:
        """Return endings that were not acknowledged, beyond the place *after*, and the place of the last; none at the end."""
        ...

    async def add(self, job_ids: Sequence[str], at: datetime) -> Collection[str]:
        """Note ids; return, once that and all before is durable, those that have not ended."""
        ...

    def report(self, event: Event, at: datetime) -> None:
        """Note a change or an ending."""
        ...

    def acknowledge(self, job_ids: Sequence[str]) -> None:
        """Note that the endings of these jobs were handled."""
        ...

    def discard(self, job_ids: Sequence[str]) -> None:
        """Forget these jobs, unless they have ended."""
        ...

    def save_policy(self, state: dict[str, Any]) -> None:
        """Keep the policy's state."""
        ...

    def close_soon(self) -> None:
        """Close without being waited for."""
        ...

    async def aclose(self) -> None:
        """Close when all is durable. Closing twice is closing once."""
        ...


@runtime_checkable
class _Learner(Protocol):
    """A policy whose knowledge can be kept."""

    def save(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> None: ...


class JournalWriter:
    """A watch's side of its journal: *wall_clock* dates what is noted, *policy* is told what was learned, and asked for it."""

    def __init__(self, journal: WatchJournal, policy: Policy, wall_clock: Callable[[], datetime]) -> None:
        self._journal = journal
        self._policy = policy
        self._wall_clock = wall_clock
        self._is_open = False
        self._lessons = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, fail: Callable[[Exception], None]) -> list[str]:
        """Open the journal and return the ids to go on with."""
        self._loop, self._is_open = asyncio.get_running_loop(), True
        try:
            job_ids, learned = await self._journal.open(fail)
        except UsageError:
            self._is_open = False  # it is somebody else's to close
            raise
        if learned is not None and isinstance(self._policy, _Learner):
            # Another version's, or a damaged one: all of it can be learned again.
            with suppress(LookupError, TypeError, ValueError):
                self._policy.load(learned)
        return job_ids

    async def replay(self, put: Callable[[Event], None]) -> None:
        """Hand on the endings of earlier watches that nobody has acknowledged."""
        events, place = await self._journal.unacknowledged(0)
        while events:
            for event in events:
                put(event)
            events, place = await self._journal.unacknowledged(place)

    async def add(self, job_ids: Sequence[str]) -> Collection[str]:
        """Note ids before their first poll; return, once that is durable, those that are to be polled."""
        return await self._journal.add(job_ids, self._wall_clock())

    def record(self, event: Event) -> None:
        """Note what is reported to the consumer."""
        if isinstance(event, Changed | Ended | Abandoned):
            self._journal.report(event, self._wall_clock())

    def discard(self, job_ids: Sequence[str]) -> None:
        """Forget jobs that are not to be watched any more."""
        self._journal.discard(job_ids)

    def acknowledge(self, events: Iterable[Event]) -> None:
        """Note that the endings among *events* were handled."""
        job_ids = [event.key[0] for event in events if isinstance(event, Ended | Abandoned)]
        if job_ids:
            self._journal.acknowledge(job_ids)

    def policy_changed(self) -> None:
        """Note that the policy has learned from one more job."""
        self._lessons += 1
        if self._lessons % _LESSONS == 1:
            self.save()

    def save(self) -> None:
        """Keep what the policy knows, if it can tell."""
        if self._lessons and isinstance(self._policy, _Learner):
            self._journal.save_policy(self._policy.save())

    async def aclose(self) -> None:
        """Close the journal, and wait for its last commit."""
        if self._is_open:
            with anyio.CancelScope(shield=True):
                await self._journal.aclose()
            self._is_open = False

    def close_from_finalizer(self) -> None:
        """Close the journal of a watch that nobody holds any more; comes from a garbage collection, in any thread."""
        if self._is_open and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and the journal's thread ends with the journal
                self._loop.call_soon_threadsafe(self._journal.close_soon)


class AckTracker:
    """Which events were handed out, and which of them count as handled: those whose consumer asks for the next one.

    A consumer is a task, so that several of them do not acknowledge for each other. One that has ended no longer asks, and so
    each ask is for it too: `asyncio.wait_for` makes a task for every event (Python 3.11).
    """

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._given: dict[asyncio.Task[Any] | None, Event] = {}

    def delivered(self, event: Event) -> None:
        """Note that the current task gets *event*."""
        if isinstance(event, Ended | Abandoned):
            self._given[asyncio.current_task()] = event

    def acknowledge_previous(self) -> None:
        """Acknowledge what the current task, and those that have ended, were given."""
        if self._given:
            me = asyncio.current_task()
            done = [task for task in self._given if task is me or (task is not None and task.done())]
            self._writer.acknowledge([self._given.pop(task) for task in done])
