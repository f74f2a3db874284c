"""`JournalStore`: the watch list of one process, which outlives it in a journal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncflow.cluster.codec import checked_id
from asyncflow.cluster.stores.memory import MemoryStore
from asyncflow.events import Abandoned, Changed, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncflow.cluster.store import PollReport, StoreSubmitResult
    from asyncflow.events import Event
    from asyncflow.watcher import WatchJournal

__all__ = ["JournalStore"]


class JournalStore(MemoryStore):
    """A `WatchStore` kept in a `Journal`: for one process that wants the calls of a shared store, and to survive.

    Ids are on the disk before `submit` returns, and endings until every group that has been seen has acknowledged them; the next
    store on the same journal goes on with what has not ended, and delivers the rest again, with the same keys. Leases, due times
    and groups are not kept: nobody else could hold them. *journal* is any `WatchJournal`; it serves one store at a time.
    """

    def __init__(
        self,
        journal: WatchJournal,
        queue: str = "default",
        *,
        retention: float = 86_400.0,
        clock: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        super().__init__(queue, retention=retention, clock=clock)
        self._journal = journal
        self._is_open = False
        self._failure: Exception | None = None

    async def _ready(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_open:
            return
        self._is_open = True
        try:
            job_ids, _ = await self._journal.open(self._fail)
            await super().submit(job_ids)
            events, place = await self._journal.unacknowledged(0)
            while events:
                for event in events:
                    now = self._now()
                    self._over[event.key[0]] = (now, 0, self._append(event, 0, now))
                events, place = await self._journal.unacknowledged(place)
        except BaseException:
            self._is_open = False
            raise

    def _fail(self, error: Exception) -> None:
        self._failure = error

    async def submit(self, job_ids: Sequence[str], *, again: bool = False) -> StoreSubmitResult:
        """Have these watched; they are on the disk when this returns."""
        await self._ready()
        new = [job_id for job_id in map(checked_id, job_ids) if job_id not in self._jobs and job_id not in self._over]
        submitted = await super().submit(job_ids, again=again)
        if new:
            to_watch = set(await self._journal.add(new, self._wall_time()))
            for job_id in new:
                if job_id not in to_watch and not again:
                    # It ended in an earlier life, and was handled: how is not kept.
                    del self._jobs[job_id]
                    self._over[job_id] = (self._now(), 0, "")
                    submitted.states[job_id] = "ended"
        return submitted

    async def report(self, worker: str, reports: Sequence[PollReport], *, pause: float | None = None) -> list[bool]:
        """Take in what polls found."""
        counted = await super().report(worker, reports, pause=pause)
        for report, counts in zip(reports, counted, strict=True):
            if counts and isinstance(report.event, Changed | Ended | Abandoned):
                self._journal.report(report.event, self._wall_time())
        return counted

    def _append(self, event: Event, number: int, now: float) -> str:
        # A journal does not count: an ending has the same key in every life.
        return super()._append(event, 0 if isinstance(event, Ended | Abandoned) else number, now)

    async def acknowledge(self, group: str, places: Sequence[str]) -> None:
        """Note that these were handled; once that is so in every group, the journal hears of it."""
        await super().acknowledge(group, places)
        done = [place for place in places if all(self._is_done(place, name) for name in self._groups)]
        events = [self._events[place][1].event for place in done if place in self._events]
        self._journal.acknowledge([event.key[0] for event in events if isinstance(event, Ended | Abandoned)])

    async def discard(self, job_ids: Sequence[str]) -> int:
        """Forget these jobs."""
        found = await super().discard(job_ids)
        self._journal.discard(job_ids)
        return found

    async def purge(self) -> None:
        """Forget what has not ended; what has is the journal's, and can be pruned there."""
        await self.discard([*self._jobs])
        await super().purge()

    async def durability_warnings(self) -> list[str]:
        """Return nothing: a journal is as durable as the disk."""
        return []

    async def aclose(self) -> None:
        """Close the journal when all is on the disk."""
        if self._is_open:
            self._is_open = False
            await self._journal.aclose()

    def _wall_time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)
