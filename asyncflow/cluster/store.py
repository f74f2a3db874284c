"""What a shared watch list is: the calls that workers, web processes and consumers make, whatever it is kept in.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

from msgspec import Struct

from asyncflow.events import Event  # noqa: TC001 - msgspec reads it
from asyncflow.redaction import digest, one_line
from asyncflow.services.job import RedactedStruct

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from typing import Unpack

    from asyncflow.cluster.consumer import EventStream
    from asyncflow.cluster.store_watch import StoreWatch, StoreWatchOptions
    from asyncflow.watcher import JobIds

__all__ = [
    "Claim",
    "ClaimBatch",
    "Delivery",
    "EventOptions",
    "GroupStatus",
    "PollReport",
    "StoreStatus",
    "StoreSubmitResult",
    "WatchStore",
    "WorkerInfo",
    "WorkerStats",
]

BEGINNING = "0-0"
"""The place before the first event."""

State = Literal["new", "watched", "ended"]


class Delivery(RedactedStruct, frozen=True, gc=False):
    """An event out of a store: `event` as a watch reports it, and what tells a repeat of it from another one.

    *number* counts the events of its job, from 1; *place* is where it stands in the store's stream. Delivered again, after a
    consumer died before it acknowledged, it has the same `key`.
    """

    event: Event
    number: int
    place: str

    @property
    def key(self) -> tuple[str, int, str]:
        """The id, the number and the status: two deliveries with the same key are the same event."""
        job_id, status = self.event.key
        return job_id, self.number, status

    def __repr__(self) -> str:
        return f"<Delivery {self.place} {self.number} {self.event!r}>"


@dataclass(frozen=True, slots=True)
class StoreSubmitResult:
    """What a store knew of the ids that were submitted, in their order; *after* is the last event's place at that moment.

    "ended" jobs ended within the store's retention and are not watched again; `endings` returns their last events.
    """

    states: dict[str, State]
    after: str

    def __repr__(self) -> str:
        return f"<StoreSubmitResult {len(self.states)} jobs>"


class Claim(RedactedStruct, frozen=True, gc=False, array_like=True):
    """A due job, leased to one worker. *fence* stamps the lease; *state* is what the last report of the job left.

    *added_at* is when it was submitted, *due_at* since when it may be polled, in seconds since 1970 by the store's clock.
    """

    job_id: str
    fence: int
    added_at: float
    due_at: float
    state: str

    def __repr__(self) -> str:
        return f"<Claim {digest(self.job_id)} {self.fence}>"


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """The jobs, the store's time, and seconds: until it is worth asking again, and that are left of a pause after 429."""

    jobs: Sequence[Claim] = ()
    now: float = 0.0
    wait: float = 0.0
    pause: float = 0.0
    is_draining: bool = False


class PollReport(RedactedStruct, frozen=True):
    """What a poll of a claimed job has found, or that it was not made.

    *pause* is the seconds until the next poll, None if the job is over. *state* replaces that of the claim. *event* goes to all
    consumers. *lesson* is how long a job of a kind has taken: (service, kind, model, seconds).
    """

    job_id: str
    fence: int
    pause: float | None
    state: str
    event: Event | None = None
    lesson: tuple[str, str, str, float] | None = None

    def __repr__(self) -> str:
        return f"<PollReport {digest(self.job_id)} {self.fence}>"


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as it was last heard of: how many seconds ago, the *schema* that it knows, and what it says of itself."""

    name: str
    silent: float
    schema: int
    words: str


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A group of consumers: deliveries not acknowledged, events not delivered yet (None where the store cannot tell)."""

    name: str
    consumers: int
    pending: int
    lag: int | None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How a queue is doing.

    Now: jobs *watched*, of them *leased* to workers and *due*, the first of these for *lag* seconds; jobs *kept* after their end;
    *events* in the stream. The budget: *rate* in polls a second (None: no limit), seconds of *pause* left after a 429. Since the
    queue was made: *counts* of submitted, claimed, taken_over, reports, stale, ended, throttled.
    """

    queue: str
    schema: int
    watched: int
    leased: int
    due: int
    lag: float
    kept: int
    events: int
    rate: float | None
    pause: float
    is_draining: bool
    counts: dict[str, int] = field(default_factory=dict[str, int])
    workers: tuple[WorkerInfo, ...] = ()
    groups: tuple[GroupStatus, ...] = ()

    def __repr__(self) -> str:
        return one_line(f"<StoreStatus {self.queue} {self.watched} watched>")


class EventOptions(TypedDict, total=False):
    """The keyword arguments of `WatchStore.events`."""

    batch: int
    take_over_after: float
    auto_acknowledge: bool


class WatchStore(Protocol):
    """A watch list that several processes share: `RedisStore`, and `MemoryStore` for one process.

    A worker claims due jobs and reports on them, whoever wants to know submits ids and reads events. Every call may be repeated
    after an error: what counted once does not count again. `StoreError` for what the store refuses or cannot do.
    """

    async def submit(self, job_ids: Sequence[str], *, again: bool = False) -> StoreSubmitResult:
        """Have these watched; ids that are watched stay as they are, ids that have ended too, unless *again* says so."""
        ...

    async def claim(self, worker: str, count: int, lease: float, words: str = "") -> ClaimBatch:
        """Lease up to *count* due jobs to *worker* for *lease* seconds and pay for one poll each; *words* are for `status`."""
        ...

    async def report(self, worker: str, reports: Sequence[PollReport], *, pause: float | None = None) -> list[bool]:
        """Take in what polls found; return of each whether it counted, which it does as long as its lease is the job's last.

        *pause* is for how many seconds nobody shall poll, since the service said 429.
        """
        ...

    def events(self, group: str, consumer: str, **options: Unpack[EventOptions]) -> EventStream:
        """Return the events of all jobs for one *consumer* of a *group*; each group sees every event at least once."""
        ...

    def watch(self, job_ids: JobIds = (), **options: Unpack[StoreWatchOptions]) -> StoreWatch:
        """Return a watch of these jobs that polls nothing: some worker does."""
        ...

    # -- what `events` and `watch` are made of ---------------------------------------------------------------------------

    async def read(self, after: str, wait: float, wanted: Container[str] | None = None) -> tuple[list[Delivery], str]:
        """Return events beyond the place *after*, none if there are none within *wait* seconds, and the place of the last.

        *wanted* are the short names (`place_of`) of the jobs in question, None for all.
        """
        ...

    async def read_new(self, group: str, consumer: str, count: int, wait: float) -> list[Delivery]:
        """Return events that no consumer of the group has been given yet."""
        ...

    async def read_pending(self, group: str, consumer: str, after: str, count: int) -> list[Delivery]:
        """Return those that this very consumer was given, beyond *after*, and has not acknowledged."""
        ...

    async def autoclaim(self, group: str, consumer: str, silence: float, count: int) -> list[Delivery]:
        """Return those that another consumer was given *silence* seconds ago or before, and has not acknowledged."""
        ...

    async def extend(self, group: str, consumer: str, places: Sequence[str]) -> None:
        """Say that this consumer is still at work on these."""
        ...

    async def acknowledge(self, group: str, places: Sequence[str]) -> None:
        """Note that these were handled: nobody of the group is given them again."""
        ...

    async def endings(self, job_ids: Sequence[str]) -> dict[str, Delivery]:
        """Return the endings of these jobs, as far as they are kept."""
        ...

    async def durations(self, after: str, but: str) -> tuple[list[tuple[str, str, str, float]], str]:
        """Return what jobs took, beyond the place *after*, unless the worker *but* reported it, and the new place."""
        ...

    async def nudge(self, job_ids: Sequence[str], *, break_leases: bool = False) -> int:
        """Have these polled as soon as possible; return how many are watched."""
        ...

    async def discard(self, job_ids: Sequence[str]) -> int:
        """Forget these jobs without an event; return how many there were."""
        ...

    async def prune(self) -> None:
        """Forget what is past the store's retention. Workers see to it."""
        ...

    async def durability_warnings(self) -> list[str]:
        """Return, in sentences, what keeps the store from being as durable as it should be."""
        ...

    async def set_rate(self, rate: float | None) -> None:
        """Have all workers together make no more than *rate* polls a second; None lifts the limit."""
        ...

    async def drain(self, *, draining: bool = True) -> None:
        """Hand out no more claims, or again."""
        ...

    async def status(self) -> StoreStatus:
        """Return how the queue is doing."""
        ...

    async def purge(self) -> None:
        """Forget everything."""
        ...

    async def aclose(self) -> None:
        """Close the connections. Closing twice is closing once."""
        ...


class WorkerStats(Struct, frozen=True):
    """How a worker is doing.

    Now: jobs *in_hand*, of them *in_flight*, reports that the store has not yet taken (*unreported*), whether the store is
    *connected* and whether the worker *is_draining*; *is_healthy* is False when the store has not answered for the length of a
    lease. Since the start: *polls*, of them *failed_polls*; reports that *counted* and that were *stale*, their lease being lost;
    leases that ran out here before their poll (*lapsed*); jobs *ended* and *abandoned*; answers 429 (*throttled*). Smoothed
    seconds: *claim_time* and *report_time* of calls to the store.
    """

    name: str
    in_hand: int
    in_flight: int
    unreported: int
    connected: bool
    is_draining: bool
    is_healthy: bool
    polls: int
    failed_polls: int
    counted: int
    stale: int
    lapsed: int
    ended: int
    abandoned: int
    throttled: int
    claim_time: float
    report_time: float
