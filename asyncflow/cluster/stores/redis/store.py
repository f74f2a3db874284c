"""`RedisStore`: the watch list in a Redis (6.2 or newer) or Valkey server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import msgspec

from asyncflow.cluster.codec import checked_id, pack_event, place_of, unpack_event
from asyncflow.cluster.consumer import EventStream
from asyncflow.cluster.store import BEGINNING, Claim, ClaimBatch, Delivery, EventOptions, State, StoreSubmitResult
from asyncflow.cluster.store_watch import StoreWatch, StoreWatchOptions
from asyncflow.cluster.stores.redis.connection import RedisConnection
from asyncflow.cluster.stores.redis.shared_tail import SharedTail
from asyncflow.cluster.stores.redis.status import read_status, worries
from asyncflow.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from asyncflow.cluster.store import PollReport, StoreStatus
    from asyncflow.watcher import JobIds

__all__ = ["RedisStore"]

SCHEMA = 1
"""The form of the keys. A script refuses to touch those of a newer one, see `RedisStore.upgrade`."""

T = TypeVar("T")

_SLICE = 1000
"""Jobs in one call: a few milliseconds in which the server does nothing else."""

_LONGEST_WAIT = 0.25
"""Seconds that a worker sleeps at most before it asks for new work: ids are submitted while it sleeps."""

_SILENCE = 600.0
"""Seconds after which a worker that is not heard of is forgotten, and does not stand in the way of an upgrade."""

_HEADER_BYTES, _ENDED = 17, 9
"""Of a job as the scripts keep it, see `lua/common.lua`: what stands before its place, and the flag of one that has ended."""

_QUEUE = re.compile(r"[\w.:-]{1,100}")

_decode = msgspec.msgpack.decode
_decode_claims = msgspec.msgpack.Decoder(tuple[float, float, float, int, list[Claim]]).decode
_encode = msgspec.msgpack.Encoder().encode


class RedisStore:
    """The watch list of one *queue* in the Redis or Valkey server at *url*: `redis://`, `rediss://` (TLS) or `unix://`.

    A queue is one API token's list, with its own budget. Its keys share a hash slot, so that queues spread over a Redis Cluster.
    *retention* is for how many seconds endings and events are kept, *most_events* how many of them (what a group of consumers has
    not handled stays until *retention* is over), *most_bytes* how large one may be, compressed: beyond it its record is kept
    without raw bytes and inline files. *patience* is for how many seconds a call is repeated while the server does not answer.

    Nothing is opened before the first call. `StoreError` tells what the server cannot do.
    """

    def __init__(
        self,
        url: str,
        queue: str = "default",
        *,
        retention: float = 86_400.0,
        most_events: int = 1_000_000,
        most_bytes: int = 65_536,
        patience: float = 30.0,
        schema: int = SCHEMA,
    ) -> None:
        if not _QUEUE.fullmatch(queue):
            raise UsageError("a queue's name is made of letters, digits and _ . : -, up to a hundred of them")
        if not retention > 0 or most_events < 1 or most_bytes < 1:
            raise UsageError("retention, most_events and most_bytes must be more than 0")
        self.queue: str = queue
        self._link = RedisConnection(url, patience)
        self._schema = schema
        self._retention = retention
        self._most_events = most_events
        self._most_bytes = most_bytes
        names = ("meta", "jobs", "due", "over", "events", "budget", "lessons", "workers")
        self._keys = tuple(f"{{af:{queue}}}:{name}" for name in names)
        self._events = self._keys[4]
        self._groups: set[str] = set()
        self._tail = SharedTail(self._read_on)

    @property
    def place(self) -> str:
        """Where the server is, without user and password."""
        return self._link.place

    async def _run(self, name: str, *arguments: str | int | bytes, patience: float | None = None) -> Any:  # noqa: ANN401 - see Link
        return await self._link.run(name, self._keys, self._schema, *arguments, patience=patience)

    # -- jobs ------------------------------------------------------------------------------------------------------------

    async def submit(self, job_ids: Sequence[str], *, again: bool = False) -> StoreSubmitResult:
        """Have these watched. What has returned survives as much as the server does: see `check`."""
        if isinstance(job_ids, str):
            raise UsageError("job_ids is a single str: pass a list of ids")
        states: dict[str, State] = {}
        after = ""
        for piece in _slices(list(dict.fromkeys(map(checked_id, job_ids)))):
            pairs = [word for job_id in piece for word in (place_of(job_id), job_id)]
            last, found = _decode(await self._run("submit", _encode(pairs), int(again)))
            after = after or last
            for job_id, state in zip(piece, found, strict=True):
                if state == 0:
                    raise StoreError("two ids have the same digest: one of them cannot be watched here (failed)", reason="failed")
                states[job_id] = "new" if state == 1 else "watched" if state == 2 else "ended"
        return StoreSubmitResult(states, after or await self._last_place())

    async def _last_place(self) -> str:
        last = await self._link.call("XREVRANGE", self._events, "+", "-", "COUNT", 1)
        return last[0][0].decode() if last else BEGINNING

    async def claim(self, worker: str, count: int, lease: float, words: str = "") -> ClaimBatch:
        """Lease due jobs. Jobs of a call whose answer is lost are nobody's until the lease is over."""
        answer = await self._run("claim", worker, min(count, _SLICE), repr(lease), repr(_LONGEST_WAIT), words)
        now, wait, pause, is_draining, jobs = _decode_claims(answer)
        return ClaimBatch(jobs, now, wait, pause, bool(is_draining))

    async def report(self, worker: str, reports: Sequence[PollReport], *, pause: float | None = None) -> list[bool]:
        """Take in what polls found."""
        counted: list[bool] = []
        for piece in _slices(reports) if reports else [reports]:
            blobs: list[bytes] = []
            rows: list[list[Any]] = []
            for report in piece:
                status = ""
                if report.event is not None:
                    status = report.event.key[1]
                    blobs.append(pack_event(report.event, self._most_bytes))
                lesson = _encode_lesson(report.lesson) if report.lesson is not None else ""
                place = 4 + len(blobs) if report.event is not None else 0
                delay = -1 if report.pause is None else report.pause
                # What the scripts call ARGV[1] is the schema.
                rows.append([place_of(report.job_id), report.fence, delay, report.state, status, place, lesson])
            answer, _ = _decode(await self._run("report", "" if pause is None else repr(pause), worker, _encode(rows), *blobs))
            counted += [bool(one) for one in answer]
            pause = None
        return counted

    async def nudge(self, job_ids: Sequence[str], *, break_leases: bool = False) -> int:
        """Have these polled as soon as possible."""
        found = 0
        for piece in _slices(job_ids):
            found += await self._run("nudge", _encode([place_of(job_id) for job_id in piece]), int(break_leases))
        return found

    async def nudge_all(self, *, break_leases: bool = False) -> int:
        """Have every watched job polled as soon as possible; return how many there are."""
        await self._run("agree")
        found, cursor = 0, b"0"
        while True:
            cursor, pairs = await self._link.call("ZSCAN", self._keys[2], cursor, "COUNT", _SLICE)
            for piece in _slices([place.decode() for place in pairs[::2]]):
                found += await self._run("nudge", _encode(piece), int(break_leases))
            if cursor == b"0":
                return found

    async def discard(self, job_ids: Sequence[str]) -> int:
        """Forget these jobs without an event."""
        found = 0
        for piece in _slices(job_ids):
            found += await self._run("discard", _encode([place_of(job_id) for job_id in piece]))
        return found

    # -- events ----------------------------------------------------------------------------------------------------------

    def events(self, group: str, consumer: str, **options: Unpack[EventOptions]) -> EventStream:
        """Return the events of all jobs for one *consumer* of a *group*; see `EventStream`."""
        return EventStream(self, group, consumer, **options)

    def watch(self, job_ids: JobIds = (), **options: Unpack[StoreWatchOptions]) -> StoreWatch:
        """Return a watch of these jobs that polls nothing: some worker does."""
        return StoreWatch(self, job_ids, **options)

    async def read(self, after: str, wait: float, wanted: Container[str] | None = None) -> tuple[list[Delivery], str]:
        """Return events beyond the place *after*, and the place of the last."""
        entries = await self._tail.beyond(after, wait)
        # Unpacked is only what somebody waits for: a store has the events of everybody's jobs.
        some = [_delivery(entry) for _, entry in entries if wanted is None or entry[1][1].decode() in wanted]
        return some, entries[-1][0] if entries else after

    async def _read_on(self, after: str, wait: float) -> list[tuple[str, Any]]:
        found = await self._link.call("XREAD", "COUNT", 500, *_block(wait), "STREAMS", self._events, after)
        return [(entry[0].decode(), entry) for entry in found[0][1]] if found else []

    async def read_new(self, group: str, consumer: str, count: int, wait: float) -> list[Delivery]:
        """Return events that no consumer of the group has been given yet."""
        return await self._read_group(group, consumer, ">", count, wait)

    async def read_pending(self, group: str, consumer: str, after: str, count: int) -> list[Delivery]:
        """Return those that this very consumer was given and has not acknowledged."""
        return await self._read_group(group, consumer, after, count, 0.0)

    async def _read_group(self, group: str, consumer: str, after: str, count: int, wait: float) -> list[Delivery]:
        found = await self._in_group(
            group, "XREADGROUP", "GROUP", group, consumer, "COUNT", count, *_block(wait), "STREAMS", self._events, after
        )
        # Of an entry that was trimmed since it was given only the place is left.
        return [_delivery(entry) for entry in found[0][1] if entry[1]] if found else []

    async def autoclaim(self, group: str, consumer: str, silence: float, count: int) -> list[Delivery]:
        """Return those that another consumer was given long ago and has not acknowledged."""
        await self._run("agree")  # again and again: an upgrade may come while this consumer runs
        found = await self._in_group(
            group, "XAUTOCLAIM", self._events, group, consumer, int(silence * 1000), "0-0", "COUNT", count
        )
        return [_delivery(entry) for entry in found[1] if entry is not None and entry[1]] if found else []

    async def _in_group(self, group: str, *command: str | int) -> Any:  # noqa: ANN401 - any command
        """Return what the server answers; None if the group was gone, with an engine's last second or by a purge: it is back."""
        await self._make_group(group)
        try:
            return await self._link.call(*command)
        except StoreError as error:
            if error.reason != "failed":
                raise
        self._groups.discard(group)
        await self._make_group(group)
        return None

    async def _make_group(self, group: str) -> None:
        if group not in self._groups:
            await self._run("agree")
            try:
                await self._link.call("XGROUP", "CREATE", self._events, group, "0", "MKSTREAM")
            except StoreError as error:
                if error.reason != "failed":  # BUSYGROUP: it is there
                    raise
            self._groups.add(group)

    async def extend(self, group: str, consumer: str, places: Sequence[str]) -> None:
        """Say that this consumer is still at work on these."""
        for piece in _slices(places):
            await self._in_group(group, "XCLAIM", self._events, group, consumer, 0, *piece, "JUSTID")

    async def acknowledge(self, group: str, places: Sequence[str]) -> None:
        """Note that these were handled."""
        for piece in _slices(places):
            await self._link.call("XACK", self._events, group, *piece)

    async def endings(self, job_ids: Sequence[str]) -> dict[str, Delivery]:
        """Return the endings of these jobs, as far as they are kept."""
        found: dict[str, Delivery] = {}
        for piece in _slices(job_ids):
            values = await self._link.call("HMGET", self._keys[1], *(place_of(job_id) for job_id in piece))
            for job_id, value in zip(piece, values, strict=True):
                if value is not None and value[0] == _ENDED:
                    place = value[_HEADER_BYTES:]
                    entries = await self._link.call("XRANGE", self._events, place, place)
                    if entries:
                        found[job_id] = _delivery(entries[0])
        return found

    # -- what workers tell each other ------------------------------------------------------------------------------------

    async def durations(self, after: str, but: str) -> tuple[list[tuple[str, str, str, float]], str]:
        """Return how long jobs took."""
        entries = await self._link.call("XRANGE", self._keys[6], f"({after}" if after else "-", "+")
        found: list[tuple[str, str, str, float]] = []
        for place, fields in entries:
            after = place.decode()
            if fields[1].decode() != but:
                found.append(msgspec.json.decode(fields[3], type=tuple[str, str, str, float]))
        return found, after

    async def set_rate(self, rate: float | None) -> None:
        """Limit the polls of all workers together."""
        await self._run("agree")
        if rate is None:
            await self._link.call("HDEL", self._keys[5], "rate", "tokens", "at")
        elif rate > 0:
            await self._link.call("HSET", self._keys[5], "rate", repr(float(rate)))
        else:
            raise UsageError("a rate is more than 0 polls a second")

    # -- operations ------------------------------------------------------------------------------------------------------

    async def prune(self) -> None:
        """Forget what is past the store's retention."""
        await self._run("tidy", repr(self._retention), self._most_events, repr(_SILENCE))

    async def drain(self, *, draining: bool = True) -> None:
        """Hand out no more claims, or again."""
        await self._run("agree")
        if draining:
            await self._link.call("HSET", self._keys[0], "draining", 1)
        else:
            await self._link.call("HDEL", self._keys[0], "draining")

    async def status(self) -> StoreStatus:
        """Return how the queue is doing."""
        return read_status(self.queue, await self._run("status"))

    async def durability_warnings(self) -> list[str]:
        """Return, in sentences, what keeps the server from being as durable as it should be."""
        return worries(await self._link.call("INFO"))

    async def upgrade(self) -> list[str]:
        """Move the keys to this version's schema, unless there are workers that would not understand it: return their names."""
        return [name.decode() for name in await self._run("upgrade", repr(_SILENCE))]

    async def purge(self) -> None:
        """Forget everything: jobs, events, groups, budget."""
        await self._run("agree")
        await self._link.call("UNLINK", *self._keys)
        self._groups.clear()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._link.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<RedisStore {self.queue} at {self.place}>"


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _SLICE):
        yield items[start : start + _SLICE]


def _block(wait: float) -> tuple[str | int, ...]:
    # Without BLOCK the server answers at once, and BLOCK 0 is for ever.
    return ("BLOCK", max(int(wait * 1000), 1)) if wait > 0 else ()


def _delivery(entry: Any) -> Delivery:  # noqa: ANN401 - as it comes from the server
    place, fields = entry
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    return Delivery(unpack_event(named[b"e"]), int(named[b"n"]), place.decode())


def _encode_lesson(lesson: tuple[str, str, str, float]) -> str:
    return msgspec.json.encode(lesson).decode()
