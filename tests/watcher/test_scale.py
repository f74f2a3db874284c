"""What keeps a watch of a hundred thousand jobs small and the event loop free; benchmarks/scale.py has the figures."""

from __future__ import annotations

import asyncio
import gc
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from scripted import FILE, Service, collect, elapse

from asyncflow.errors import UsageError
from asyncflow.events import Ended
from asyncflow.polling import fixed_interval
from asyncflow.records import FlowJob
from asyncflow.testing import now
from asyncflow.watcher import JobWatcher
from asyncflow.watcher.watched_job import WatchedJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncflow.records import Job

pytestmark = pytest.mark.slow

IDS = [f"j{number}" for number in range(1000)]
UPDATED = datetime(2026, 1, 1, tzinfo=UTC)


def an_entry(job_id: str) -> WatchedJob:
    return WatchedJob(job_id, 0.0, 0.0, 0.0)


@pytest.mark.asyncio
async def test_a_fetch_that_never_waits_does_not_hold_the_loop() -> None:
    longest = since = 0
    loop = asyncio.get_running_loop()

    async def read(job_id: str) -> Job:
        nonlocal since, longest
        since += 1
        longest = max(longest, since)
        return FlowJob(job_id, "completed", "video", media=(FILE,))

    def beat() -> None:
        nonlocal since
        since = 0
        if watcher:
            loop.call_soon(beat)

    watcher = JobWatcher(read, IDS, policy=fixed_interval(1e-9), concurrency=10)
    beat()
    assert len(await collect(watcher)) == len(IDS)
    assert longest <= 100


@pytest.mark.asyncio
async def test_the_garbage_collector_passes_over_the_watched_jobs() -> None:
    release = asyncio.Event()

    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed" if release.is_set() else "started", "video", media=(FILE,))

    gc.collect()
    before = len(gc.get_objects())
    async with JobWatcher(read, IDS, policy=fixed_interval(0.05), concurrency=4) as watcher:
        seen = 0
        async for event in watcher:
            seen += 1
            if seen == len(IDS):
                gc.collect()
                assert len(watcher) == len(IDS)
                assert len(gc.get_objects()) < before + len(IDS) / 2
                release.set()
            elif seen == 2 * len(IDS):
                assert isinstance(event, Ended)


def test_an_entry_shows_no_id() -> None:
    assert "j1-" not in repr(an_entry("j1-email:somebody@example.com"))


def test_a_job_keeps_no_status_of_its_own() -> None:
    one, other = an_entry("1"), an_entry("2")
    for entry in (one, other):
        entry.note_answer(FlowJob(entry.job_id, f"{'start'}{entry.job_id[:0]}ed", "video"), 1.0)
    assert one.status == "started"
    assert one.status is other.status


def test_an_unusual_status_is_kept_as_it_is() -> None:
    entry = an_entry("1")
    entry.note_answer(FlowJob("1", "dreaming", "video"), 1.0)
    assert entry.status == "dreaming"


@pytest.mark.parametrize("moves", [True, False])
def test_when_a_job_moved_is_kept_only_where_it_is_asked_for(*, moves: bool) -> None:
    entry = an_entry("1")
    entry.note_answer(FlowJob("1", "started", "video", updated_at=UPDATED), 7.0, moves=moves)
    assert (entry.moved_at, entry.updated_at) == ((7.0, UPDATED) if moves else (0.0, None))


@pytest.mark.virtual_time
async def test_a_job_that_ends_in_a_second_is_seen_a_second_later_by_default() -> None:
    service = Service([(0.0, "started"), (0.6, "completed")])
    await collect(JobWatcher(service.read, ["a"]))
    assert now() <= 1.5


@pytest.mark.virtual_time
async def test_ids_of_a_source_that_waits_are_watched_as_they_come() -> None:
    async def source() -> AsyncIterator[str]:
        for number in range(3):
            yield f"a{number}"
            yield f"b{number}"
            yield "a0"
            await elapse(100)

    service = Service([(0.0, "completed")])
    async with JobWatcher(service.read, source(), policy=fixed_interval(1)) as watcher:
        ended = [(now(), event.job.job_id) async for event in watcher if isinstance(event, Ended)]
    assert {job_id for _, job_id in ended} == {f"{letter}{number}" for letter in "ab" for number in range(3)}
    assert [round(at, -2) for at, _ in ended if _ != "a0"] == [0, 100, 100, 200, 200]


@pytest.mark.virtual_time
@pytest.mark.parametrize("wrong", ["", " ", 7, None])
async def test_a_source_that_yields_no_id_ends_the_watch(wrong: object) -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        yield wrong  # type: ignore[misc]  # what the test is about

    with pytest.raises(UsageError, match="a job id is a str"):
        await collect(JobWatcher(Service([(0.0, "completed")]).read, source(), policy=fixed_interval(1)))


@pytest.mark.virtual_time
async def test_a_source_that_never_waits_leaves_the_others_their_turns() -> None:
    turns: list[int] = []

    async def source() -> AsyncIterator[str]:
        for number in range(20_000):
            yield f"a{number}"

    async def blocked(_job_id: str) -> Job:
        await asyncio.Event().wait()
        raise AssertionError

    def beat() -> None:
        turns.append(len(watcher))
        if len(watcher) < 20_000:
            loop.call_soon(beat)

    loop = asyncio.get_running_loop()
    async with JobWatcher(blocked, source(), concurrency=1) as watcher:
        loop.call_soon(beat)
        while not turns or turns[-1] < 20_000:
            await elapse(0.0)
    assert max(later - earlier for earlier, later in itertools.pairwise(turns)) <= 2000
