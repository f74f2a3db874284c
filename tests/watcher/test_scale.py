"""What keeps a watch of a hundred thousand jobs small and the event loop free; benchmarks/scale.py has the figures."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from scripted import FILE, collect

from asyncflow.events import Ended
from asyncflow.polling import every
from asyncflow.records import FlowJob
from asyncflow.watcher import JobWatcher
from asyncflow.watcher.entry import Entry

if TYPE_CHECKING:
    from asyncflow.records import Job

IDS = [f"j{number}" for number in range(1000)]
UPDATED = datetime(2026, 1, 1, tzinfo=UTC)


def an_entry(job_id: str) -> Entry:
    return Entry(job_id, 0.0, 0.0, 0.0)


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

    watcher = JobWatcher(read, IDS, policy=every(1e-9), concurrency=10)
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
    async with JobWatcher(read, IDS, policy=every(0.05), concurrency=4) as watcher:
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
