"""A watch with a journal: over a plain function, with real files and threads; and with a stand-in, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from journal_kit import NOW, changed, ended, job, opened, states

from asyncflow.errors import AuthenticationError, JobNotFoundError, JournalError, UsageError
from asyncflow.events import Abandoned, Changed, Ended, ErrorInfo
from asyncflow.journal import Journal
from asyncflow.polling import PollPolicy, fixed_interval
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from asyncflow.events import Event
    from asyncflow.records import Job
    from asyncflow.watcher import WatchJournal

FAST = fixed_interval(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.db"


class Service:
    """Says "started" to the first reads of each job, "completed" from then on; *frozen* jobs never end."""

    def __init__(self, frozen: Iterable[str] = (), reads: int = 1) -> None:
        self.frozen = set(frozen)
        self.reads: Counter[str] = Counter()
        self._reads = reads

    async def read(self, job_id: str) -> Job:
        self.reads[job_id] += 1
        is_over = job_id not in self.frozen and self.reads[job_id] > self._reads
        return job(job_id, "completed" if is_over else "started")


def ids_of(events: Iterable[Event]) -> list[str]:
    return sorted(event.key[0] for event in events if isinstance(event, Ended | Abandoned))


async def collect(watcher: JobWatcher) -> list[Event]:
    async with watcher:
        return [event async for event in watcher]


async def gather(watcher: JobWatcher, seen: list[Event]) -> None:
    """Have everything in *seen*, even if the end is an error."""
    async for event in watcher:
        seen.append(event)  # noqa: PERF401 - what a comprehension has gathered is lost with the error


async def until_ended(watcher: JobWatcher) -> Event:
    """Return the first ending, leaving it unacknowledged for now."""
    async for event in watcher:
        if isinstance(event, Ended | Abandoned):
            return event
    raise AssertionError("the watch ended without an ending")


async def die_with_an_ending(watcher: JobWatcher, *, is_closed: bool = False) -> Event:
    """Return an ending whose consumer fails while it handles it."""
    seen: list[Event] = []

    async def consume() -> None:
        async with watcher:
            seen.append(await until_ended(watcher))
            if is_closed:
                await watcher.aclose()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await consume()
    return seen[0]


# -- across restarts -------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_watch_goes_on_with_what_had_not_ended(path: Path) -> None:
    service = Service(frozen=["b", "c"])
    async with JobWatcher(service.read, ["a", "b", "c"], policy=FAST, journal=Journal(path)) as watcher:
        assert ids_of([await until_ended(watcher)]) == ["a"]
    service.frozen.clear()
    events = await collect(JobWatcher(service.read, policy=FAST, journal=Journal(path)))
    assert ids_of(events) == ["b", "c"]
    assert await collect(JobWatcher(service.read, policy=FAST, journal=Journal(path))) == []


@pytest.mark.asyncio
async def test_running_again_with_the_same_ids_watches_none_that_has_ended(path: Path) -> None:
    service = Service()
    ids = [f"j{number}" for number in range(20)]
    assert ids_of(await collect(JobWatcher(service.read, ids, policy=FAST, journal=Journal(path)))) == sorted(ids)
    reads = service.reads.total()
    assert await collect(JobWatcher(service.read, ids, policy=FAST, journal=Journal(path))) == []
    assert service.reads.total() == reads
    Journal(path).prune()
    assert ids_of(await collect(JobWatcher(service.read, ids, policy=FAST, journal=Journal(path)))) == sorted(ids)


@pytest.mark.asyncio
async def test_an_ending_whose_consumer_died_is_delivered_first_and_without_a_poll(path: Path) -> None:
    service = Service()
    first = await die_with_an_ending(JobWatcher(service.read, ["a"], policy=FAST, journal=Journal(path)))
    reads = service.reads.total()
    watcher = JobWatcher(service.read, ["b"], policy=FAST, journal=Journal(path))
    async with watcher:
        again = await anext(watcher)
        assert (again, again.key) == (first, first.key)
        assert service.reads["a"] == reads
        assert ids_of([event async for event in watcher]) == ["b"]
        assert watcher.stats().ended == {"succeeded": 2}


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["next", "leave", "aclose", "raise"])
async def test_what_counts_as_handled(path: Path, way: str) -> None:
    service = Service(frozen=["b"])
    watcher = JobWatcher(service.read, ["a", "b"], policy=FAST, journal=Journal(path))
    if way in {"aclose", "raise"}:
        await die_with_an_ending(watcher, is_closed=way == "aclose")
    else:
        async with watcher:
            await until_ended(watcher)
            if way == "next":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await until_ended(watcher)
    assert states(Journal(path))["a"] == ("ended" if way in {"aclose", "raise"} else "handled")


@pytest.mark.asyncio
async def test_consumers_do_not_acknowledge_for_each_other(path: Path) -> None:
    got: dict[str, Event] = {}
    is_done = asyncio.Event()

    async def handle(name: str, watcher: JobWatcher) -> None:
        got[name] = await until_ended(watcher)
        if name == "slow":
            await is_done.wait()
        async for _ in watcher:
            pass

    service = Service(frozen=["c"])
    journal = Journal(path)
    watcher = JobWatcher(service.read, ["a", "b", "c"], policy=FAST, journal=journal)
    tasks: list[asyncio.Task[None]] = []
    for name in ("slow", "quick"):  # one after the other, so that each gets an ending
        tasks.append(asyncio.ensure_future(handle(name, watcher)))
        while name not in got:
            await asyncio.wait(tasks, timeout=0.01)
    await asyncio.wait(tasks, timeout=0.05)
    await journal.add([], NOW)
    assert states(journal) == {got["slow"].key[0]: "ended", got["quick"].key[0]: "handled", "c": "watched"}
    is_done.set()
    service.frozen.clear()
    await asyncio.gather(*tasks)
    assert set(states(journal).values()) == {"handled"}


@pytest.mark.asyncio
async def test_an_event_taken_by_a_task_of_its_own_is_handled_when_the_next_is_asked_for(path: Path) -> None:
    watcher = JobWatcher(Service().read, ["a", "b"], policy=FAST, journal=Journal(path))
    seen: list[Event] = []
    while True:
        try:
            seen.append(await asyncio.ensure_future(anext(watcher)))
        except StopAsyncIteration:
            break
    assert ids_of(seen) == ["a", "b"]
    assert states(Journal(path)) == {"a": "handled", "b": "handled"}


@pytest.mark.asyncio
async def test_whoever_acknowledges_by_hand_decides_alone(path: Path) -> None:
    async with JobWatcher(Service().read, ["a", "b"], policy=FAST, journal=Journal(path), auto_acknowledge=False) as watcher:
        events = [event async for event in watcher]
        watcher.acknowledge(*[event for event in events if event.key[0] == "a"])
    assert states(Journal(path)) == {"a": "handled", "b": "ended"}


@pytest.mark.asyncio
async def test_a_watch_whose_time_was_up_can_be_taken_up_again(path: Path) -> None:
    service = Service(frozen=["a"])
    events = await collect(JobWatcher(service.read, ["a"], policy=FAST, journal=Journal(path), timeout=0.1))
    assert [event.error.kind for event in events if isinstance(event, Abandoned)] == ["wait_timeout"]
    service.frozen.clear()
    assert ids_of(await collect(JobWatcher(service.read, policy=FAST, journal=Journal(path)))) == ["a"]
    assert states(Journal(path)) == {"a": "handled"}


@pytest.mark.asyncio
async def test_a_job_that_the_service_does_not_know_stays_given_up(path: Path) -> None:
    async def read(job_id: str) -> Job:
        raise JobNotFoundError("no such job", job_id=job_id)

    assert ids_of(await collect(JobWatcher(read, ["a"], policy=FAST, journal=Journal(path)))) == ["a"]
    assert await collect(JobWatcher(read, ["a"], policy=FAST, journal=Journal(path))) == []


@pytest.mark.asyncio
async def test_endings_gathered_before_a_refused_token_are_kept_and_acknowledged(path: Path) -> None:
    async def read(job_id: str) -> Job:
        if job_id == "c" and len(done) == 2:
            raise AuthenticationError("who are you?")
        done.update({job_id} - {"c"})
        return job(job_id, "started" if job_id == "c" else "completed")

    done: set[str] = set()
    watcher = JobWatcher(read, ["a", "b", "c"], policy=fixed_interval(0.05), journal=Journal(path))
    seen: list[Event] = []
    with pytest.raises(AuthenticationError):
        await gather(watcher, seen)
    assert ids_of(seen) == ["a", "b"]
    assert states(Journal(path)) == {"a": "handled", "b": "handled", "c": "watched"}
    assert [thread for thread in threading.enumerate() if thread.name.startswith("asyncflow-journal")] == []


@pytest.mark.asyncio
async def test_ids_of_an_async_source_are_kept_too(path: Path) -> None:
    async def source() -> AsyncIterator[str]:
        for number in range(30):
            yield f"j{number}"

    events = await collect(JobWatcher(Service().read, source(), policy=FAST, journal=Journal(path)))
    assert len(ids_of(events)) == 30
    assert set(states(Journal(path)).values()) == {"handled"}


@pytest.mark.asyncio
async def test_an_id_is_safe_when_flush_has_returned(path: Path) -> None:
    journal = Journal(path)
    async with JobWatcher(Service(frozen=["a", "b"]).read, ["a"], policy=FAST, journal=journal, keep_open=True) as watcher:
        await watcher.flush()
        assert states(journal) == {"a": "watched"}
        watcher.add("b")
        await watcher.flush()
        assert states(journal) == {"a": "watched", "b": "watched"}
        assert len(watcher) == 2
    with pytest.raises(UsageError, match="its journal is closed"):
        await watcher.flush()
    async with JobWatcher(Service().read, ["a"], policy=FAST) as watcher:
        await watcher.flush()
        watcher.acknowledge(ended("a"))


@pytest.mark.asyncio
async def test_a_discarded_job_does_not_come_back(path: Path) -> None:
    service = Service(frozen=["a", "b", "c", "d"])
    async with JobWatcher(service.read, ["a", "b", "c", "d"], policy=FAST, journal=Journal(path)) as watcher:
        await anext(watcher)
        watcher.discard("a")
    watcher = JobWatcher(service.read, policy=FAST, journal=Journal(path))
    watcher.discard("b", "c")
    watcher.add("c")
    service.frozen.clear()
    assert ids_of(await collect(watcher)) == ["c", "d"]


@pytest.mark.asyncio
async def test_what_was_learned_outlives_the_watch(path: Path) -> None:
    async def read(job_id: str) -> Job:
        record = job(job_id, "completed")
        return type(record)(job_id, "completed", "video", created_at=NOW, updated_at=NOW + timedelta(seconds=77))

    await collect(JobWatcher(read, ["a"], policy=PollPolicy(), journal=Journal(path)))
    policy = PollPolicy()
    await collect(JobWatcher(read, policy=policy, journal=Journal(path)))
    assert policy.save()["kinds"] == [["google-flow", "video", "", [77.0]]]
    async with opened(path) as journal:
        journal.save_policy({"format": policy.save()["format"], "kinds": "nonsense"})
    await collect(JobWatcher(read, policy=PollPolicy(), journal=Journal(path)))


# -- when the journal fails ------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_second_watch_is_refused_and_the_first_goes_on(path: Path) -> None:
    service = Service(frozen=["a"])
    journal = Journal(path)
    async with JobWatcher(service.read, ["a"], policy=FAST, journal=journal) as watcher:
        await watcher.flush()
        with pytest.raises(JournalError, match="is locked"):
            await collect(JobWatcher(service.read, ["b"], policy=FAST, journal=Journal(path)))
        with pytest.raises(UsageError, match="another watch"):
            await collect(JobWatcher(service.read, ["b"], policy=FAST, journal=journal))
        service.frozen.clear()
        assert ids_of([event async for event in watcher]) == ["a"]
    assert states(journal) == {"a": "handled"}


@pytest.mark.asyncio
async def test_a_full_disk_stops_the_watch_after_the_events_already_gathered(path: Path) -> None:
    ids = [f"{number:0200}" for number in range(3000)]
    watcher = JobWatcher(Service().read, ids, policy=FAST, journal=Journal(path, max_bytes=200_000))
    with pytest.raises(JournalError, match="full"):
        await collect(watcher)


@pytest.mark.asyncio
async def test_a_full_disk_does_not_stop_a_watch_that_is_to_go_on(path: Path) -> None:
    ids = [f"{number:0200}" for number in range(1000)]
    journal = Journal(path, max_bytes=200_000, on_error="continue")
    events = await collect(JobWatcher(Service().read, ids, policy=FAST, journal=journal))
    assert ids_of(events) == sorted(ids)
    assert journal.failure is not None
    assert journal.failure.reason == "full"


@pytest.mark.asyncio
async def test_whoever_waits_to_flush_is_told(tmp_path: Path) -> None:
    async with JobWatcher(Service().read, ["a"], policy=FAST, journal=Journal(tmp_path / "nowhere" / "run.db")) as watcher:
        with pytest.raises(JournalError, match="missing"):
            await watcher.flush()


# -- the end ---------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("reads", [1, 10_000])
async def test_a_dropped_watch_lets_go_of_its_journal(path: Path, reads: int) -> None:
    journal = Journal(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        watcher = JobWatcher(Service(reads=reads).read, ["a"], policy=FAST, journal=journal)
        await anext(watcher)
        del watcher
        gc.collect()
    assert ids_of(await collect(JobWatcher(Service().read, policy=FAST, journal=journal))) == ["a"]
    never_started = JobWatcher(Service().read, policy=FAST, journal=journal)
    del never_started


@pytest.mark.asyncio
async def test_a_watch_cancelled_at_any_moment_loses_nothing(path: Path) -> None:
    ids = [f"j{number}" for number in range(60)]
    service = Service(reads=3)
    seen: list[Event] = []

    async def watch() -> None:
        async with JobWatcher(service.read, ids, policy=FAST, journal=Journal(path)) as watcher:
            await gather(watcher, seen)

    for number in range(40):
        task = asyncio.ensure_future(watch())
        await asyncio.wait({task}, timeout=number / 2000)
        task.cancel()
        await asyncio.wait({task})
    await watch()
    assert set(ids_of(seen)) == set(ids)
    assert len({event.key for event in seen if isinstance(event, Ended)}) == len(ids)
    assert set(states(Journal(path)).values()) == {"handled"}
    assert [thread for thread in threading.enumerate() if thread.name.startswith("asyncflow-journal")] == []


# -- the order of things, in virtual time ----------------------------------------------------------------------------------


class Memory:
    """A journal in memory, which takes *delay* seconds for what must be durable."""

    def __init__(self, delay: float = 0.0) -> None:
        self.log: list[str] = []
        self.watched: dict[str, None] = {}
        self.endings: list[Event] = []
        self._delay = delay

    async def open(self, fail: Callable[[Exception], None]) -> tuple[list[str], dict[str, Any] | None]:
        del fail
        await self._wait("open")
        return list(self.watched), None

    async def unacknowledged(self, after: int) -> tuple[Sequence[Event], int]:
        await self._wait("read")
        return self.endings[after:], len(self.endings)

    async def add(self, job_ids: Sequence[str], at: datetime) -> Collection[str]:
        del at
        await self._wait(f"add {len(job_ids)}")
        self.watched |= dict.fromkeys(job_ids)
        return [job_id for job_id in job_ids if job_id in self.watched]

    def report(self, event: Event, at: datetime) -> None:
        del at
        self.log.append(f"{type(event).__name__.lower()} {event.key[0]}")

    def acknowledge(self, job_ids: Sequence[str]) -> None:
        self.log.append(f"handled {' '.join(job_ids)}")

    def discard(self, job_ids: Sequence[str]) -> None:
        self.log.append(f"discarded {' '.join(job_ids)}")

    def save_policy(self, state: dict[str, Any]) -> None:
        self.log.append(f"learned {len(state)}")

    def close_soon(self) -> None:
        self.log.append("dropped")

    async def aclose(self) -> None:
        self.log.append("closed")

    async def _wait(self, word: str) -> None:
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(self._delay, done.set)
        await done.wait()
        self.log.append(word)


@pytest.mark.virtual_time
async def test_no_id_is_polled_before_it_is_durable() -> None:
    memory = Memory(delay=5.0)

    async def read(job_id: str) -> Job:
        memory.log.append(f"poll {job_id}")
        return job(job_id, "completed")

    journal: WatchJournal = memory
    async with JobWatcher(read, ["a"], policy=fixed_interval(1), journal=journal) as watcher:
        assert len(watcher) == 1
        events = [event async for event in watcher]
    assert ids_of(events) == ["a"]
    assert memory.log == ["open", "read", "add 1", "poll a", "ended a", "handled a", "closed"]


@pytest.mark.virtual_time
async def test_workers_do_not_wait_for_the_journal() -> None:
    memory = Memory()
    async with JobWatcher(
        Service(reads=3).read, [f"j{number}" for number in range(5000)], journal=memory, policy=fixed_interval(5)
    ) as watcher:
        events = [event async for event in watcher]
    assert len(ids_of(events)) == 5000
    assert [word for word in memory.log if word.startswith("add")] == ["add 2000", "add 2000", "add 1000"]
    assert sum(word.startswith("changed") for word in memory.log) == 5000


@pytest.mark.virtual_time
async def test_what_changes_while_the_journal_opens_or_adds_is_heeded() -> None:
    memory = Memory(delay=5.0)
    memory.watched = {"old": None, "older": None}
    service = Service()
    watcher = JobWatcher(service.read, ["a", "b"], policy=fixed_interval(1), journal=memory)
    async with watcher:
        for seconds, change in [(2, "old"), (12, "a")]:
            asyncio.get_running_loop().call_later(seconds, watcher.discard, change)
        asyncio.get_running_loop().call_later(11, watcher.add, "late")
        events = [event async for event in watcher]
    assert ids_of(events) == ["b", "late", "older"]


@pytest.mark.virtual_time
async def test_a_timeout_reaches_ids_that_are_just_being_noted() -> None:
    memory = Memory(delay=5.0)
    events = await collect(JobWatcher(Service().read, ["a", "b"], journal=memory, timeout=2.0))
    assert ids_of(events) == ["a", "b"]


@pytest.mark.virtual_time
async def test_a_status_is_reported_anew_by_each_watch() -> None:
    memory = Memory()
    memory.watched = {"a": None}
    memory.endings = [changed("unlikely"), ended("z"), Abandoned("y", ErrorInfo("forbidden"))]
    async with JobWatcher(Service().read, policy=fixed_interval(1), journal=memory) as watcher:
        first = [await anext(watcher) for _ in range(4)]
    assert [type(event) for event in first] == [Changed, Ended, Abandoned, Changed]
    assert watcher.stats().abandoned == 1
