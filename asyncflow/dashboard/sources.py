"""Where the news come from: a watch in this process, or a journal, which another process may be writing."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
from anyio import to_thread
from msgspec.structs import replace

from asyncflow import Abandoned, Ended
from asyncflow.dashboard.formatting import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from asyncflow import Event, Job, Journal, JournalEntry, WatchStats
    from asyncflow.dashboard.state import DashboardState

Mark = tuple[str | None, float, bool]
"""What of an entry changes when its job does."""

__all__ = ["JournalSource", "Source", "WatchLike", "WatchSource"]

_OFTEN = 1.0
_SHARE = 10.0
"""How many times as long as it took to read a journal the pause before the next reading is at least."""

_SOON, _LATE = 0.5, 30.0
"""Seconds after which a journal that has not changed is read once more, at first and in the end."""

_MOST_INLINE = 100_000


@runtime_checkable
class Source(Protocol):
    """What a dashboard asks of whoever has the jobs."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        ...

    def begin(self, take: Callable[[Event], None]) -> None:
        """Have *take* called with every event from now on; called once."""

    def numbers(self) -> dict[str, Any]:
        """Return what is known beyond the events: how many jobs are *watched*, and their *expected_end*."""
        ...

    def is_silent(self, job_id: str) -> bool:
        """Return whether reads of a job that gave no answer still fail."""
        ...

    async def refresh(self, model: DashboardState) -> None:
        """Tell *model* what does not come by itself."""

    async def find(self, job_id: str) -> Job | None:
        """Return the last record of a job, None if it cannot be had here."""
        ...


class WatchLike(Protocol):
    """What is asked of a `JobWatcher`, or of one that is like it; `subscribe` and `is_unreachable` are welcome."""

    @property
    def is_ended(self) -> bool:
        """Whether it is over."""
        ...

    def stats(self) -> WatchStats:
        """Return how it is doing."""
        ...


class WatchSource:
    """A watch in this process."""

    def __init__(self, watcher: WatchLike) -> None:
        self._watcher = watcher

    @property
    def is_over(self) -> bool:
        """Whether the watch has ended."""
        return self._watcher.is_ended

    def begin(self, take: Callable[[Event], None]) -> None:
        """Listen to the watch, as long as both last, if it can be listened to: the store of a cluster cannot."""
        subscribe = getattr(self._watcher, "subscribe", None)
        if subscribe is None:
            return
        # The watch must not keep the dashboard alive, which holds the watcher: neither could ever be dropped then.
        method = weakref.WeakMethod(take)

        def hear(event: Event) -> None:
            if (alive := method()) is not None:
                alive(event)

        subscribe(hear)

    def numbers(self) -> dict[str, Any]:
        """Return what the watch counts."""
        stats = self._watcher.stats()
        end = stats.expected_end_at
        return {"watched": stats.watched, "expected_end": None if end is None else round(end.timestamp())}

    def is_silent(self, job_id: str) -> bool:
        """Return whether reads of a job still fail."""
        ask = getattr(self._watcher, "is_unreachable", None)
        return ask is None or bool(ask(job_id))

    async def refresh(self, model: DashboardState) -> None:
        """Do nothing: a watch tells by itself."""

    async def find(self, job_id: str) -> Job | None:
        """Return None: a watch keeps no records."""
        del job_id
        return None


class JournalSource:
    """A journal, which is read whenever it has changed and somebody looks."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[str, Mark] = {}
        self._stamp: object = None
        self._next = self._again_at = 0.0
        self._calm = _SOON
        self._is_reading = False

    is_over: bool = False

    def begin(self, take: Callable[[Event], None]) -> None:
        """Do nothing: a journal is asked."""

    def numbers(self) -> dict[str, Any]:
        """Return nothing: all that is known of a journal are its jobs."""
        return {}

    def is_silent(self, job_id: str) -> bool:
        """Return True: of jobs that give no answer a journal knows nothing, and so it never said that they do."""
        del job_id
        return True

    async def refresh(self, model: DashboardState) -> None:
        """Read what has changed, unless that was done a moment ago. `JournalError` if the file cannot be read."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        if self._is_reading or start < self._next:
            return
        self._is_reading = True
        try:
            stamp = await to_thread.run_sync(_stamp_of, self._journal.path)
            # What has just been written to the log can be read when it is on the disk, which takes a moment and shows nowhere.
            if stamp != self._stamp or start >= self._again_at:
                self._calm = _SOON if stamp != self._stamp else min(2 * self._calm, _LATE)
                await self._read(model)
                self._stamp, self._again_at = stamp, loop.time() + self._calm
        finally:
            self._is_reading = False
            self._next = loop.time() + max(_OFTEN, _SHARE * (loop.time() - start))

    async def _read(self, model: DashboardState) -> None:
        # Known is what was told: whoever is cancelled here, or meets a damaged entry, has told nothing.
        known, news = await to_thread.run_sync(self._news, self._known)
        gone = self._known.keys() - known.keys()
        self._known = known
        for entry in news:
            _tell(model, entry)
        for job_id in gone:
            model.forget(job_id)

    def _news(self, before: Mapping[str, Mark]) -> tuple[dict[str, Mark], list[JournalEntry]]:
        """Return the mark of each entry, and the entries whose mark is new, as lean as they are needed; runs in a thread."""
        known: dict[str, Mark] = {}
        news: list[JournalEntry] = []
        for entry in self._journal.entries():
            known[entry.job_id] = mark = (entry.status, (entry.changed_at or entry.added_at).timestamp(), entry.event is not None)
            if before.get(entry.job_id) != mark:
                news.append(_lean(entry))
        return known, news

    async def find(self, job_id: str) -> Job | None:
        """Return the record of a job as the journal has it."""
        return await to_thread.run_sync(self._find, job_id)

    def _find(self, job_id: str) -> Job | None:
        entries: Iterator[JournalEntry] = self._journal.entries()
        event = next((entry.event for entry in entries if entry.job_id == job_id), None)
        return event.job if isinstance(event, Ended) else None


def _tell(model: DashboardState, entry: JournalEntry) -> None:
    at = (entry.changed_at or entry.added_at).timestamp()
    if entry.event is not None:
        model.apply(entry.event, at)
    else:
        model.note(entry.job_id, entry.status or "", entry.added_at.timestamp(), at)


def _lean(entry: JournalEntry) -> JournalEntry:
    """Return *entry* without the answer's bytes, but for the prompt: of thousands of jobs those are most of it."""
    event = entry.event
    if not isinstance(event, Ended | Abandoned) or event.job is None:
        return entry
    job = event.job
    record = msgspec.Raw(msgspec.json.encode({"request": {"prompt": plain(job.prompt)}}))
    media = tuple(replace(item, encoded=None) if len(item.encoded or "") > _MOST_INLINE else item for item in job.media)
    return replace(entry, event=replace(event, job=replace(job, record=record, media=media)))


def _stamp_of(path: Path) -> object:
    """Return what changes when the journal does: what is new is in its log first, and moves into the file later."""
    stamps: list[tuple[int, int] | None] = []
    for name in (path.name, f"{path.name}-wal"):
        try:
            status = path.with_name(name).stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_size))
    return tuple(stamps)
