"""Limits of time: of a job, of its start, of its silence, and of the watch."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from scripted import Service, collect, down, elapse, job, words

from asyncflow.errors import JobExpiredError
from asyncflow.events import Abandoned, Changed, Ended
from asyncflow.pacing import Pacer
from asyncflow.polling import fixed_interval
from asyncflow.records import FlowJob
from asyncflow.testing import now
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from asyncflow.events import Event
    from asyncflow.records import Job

NEVER = [(0.0, "created"), (7.0, "started")]


@pytest.mark.virtual_time
async def test_last_poll_falls_on_the_deadline() -> None:
    service = Service(NEVER)
    events = await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5), job_timeout=23))
    assert words(events)[-1] == "abandoned a wait_timeout"
    assert service.times("a") == [0, 5, 10, 15, 20, 23]
    assert now() == 23


@pytest.mark.virtual_time
async def test_the_poll_made_at_the_deadline_may_still_win() -> None:
    service = Service([(0, "started"), (22, "completed")], latency=1)
    assert (
        words(await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5), job_timeout=22)))[-1] == "ended a completed"
    )


@pytest.mark.virtual_time
async def test_a_job_that_is_not_started_in_time_is_abandoned_and_a_started_one_is_not() -> None:
    service = Service({"a": [(0, "created")], "b": [(0, "created"), (10, "started"), (99, "completed")]})
    events = await collect(JobWatcher(service.read, ["a", "b"], policy=fixed_interval(5), start_timeout=30))
    assert words(event for event in events if isinstance(event, Ended | Abandoned)) == [
        "abandoned a start_timeout",
        "ended b completed",
    ]
    assert now() > 90


@pytest.mark.virtual_time
async def test_a_record_that_stands_still_is_abandoned_and_one_that_moves_is_not() -> None:
    start = datetime(2026, 11, 21, tzinfo=UTC)

    async def read(job_id: str) -> Job:
        moved_at = start + timedelta(seconds=now() if job_id == "moving" else 0)
        status = "completed" if now() > 100 else "started"
        return FlowJob(job_id, status, "video", updated_at=moved_at)

    events = await collect(JobWatcher(read, ["moving", "still"], policy=fixed_interval(5), stall_timeout=20))
    assert sorted(words(event for event in events if not isinstance(event, Changed))) == [
        "abandoned still stall_timeout",
        "ended moving completed",
    ]


@pytest.mark.virtual_time
async def test_the_earliest_of_several_limits_counts() -> None:
    service = Service([(0, "created")])
    limits = {"start_timeout": 30.0, "stall_timeout": 20.0, "job_timeout": 40.0}
    for name, kind in (("stall_timeout", "stall_timeout"), ("start_timeout", "start_timeout"), ("job_timeout", "wait_timeout")):
        events = await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5), **limits))  # type: ignore[arg-type]  # by name
        assert words(events)[-1] == f"abandoned a {kind}"
        del limits[name]


@pytest.mark.virtual_time
async def test_the_error_tells_how_long_it_took_and_what_was_last_known() -> None:
    service = Service(NEVER, trouble=down(12, 1e9))
    last = (await collect(JobWatcher(service.read, ["a", "b"], policy=fixed_interval(5), job_timeout=60)))[-1]
    assert isinstance(last, Abandoned)
    assert last.error.message == "not over after 60 s; its status was started"
    assert last.error.exception(last.job_id).job_id == last.job_id
    never = (await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5), job_timeout=10)))[-1]
    assert isinstance(never, Abandoned)
    assert never.error.message == "not over after 10 s; never read"
    assert never.job is None


@pytest.mark.virtual_time
async def test_a_job_given_up_at_its_deadline_comes_with_the_record_of_that_moment() -> None:
    last = (await collect(JobWatcher(Service(NEVER).read, ["a"], policy=fixed_interval(5), job_timeout=23)))[-1]
    assert isinstance(last, Abandoned)
    assert last.job == job("a", "started")


@pytest.mark.virtual_time
async def test_a_record_that_the_error_of_a_refusal_holds_is_handed_on() -> None:
    async def read(job_id: str) -> Job:
        raise JobExpiredError("gone", job_id=job_id, job=job(job_id, "started"))

    [last] = await collect(JobWatcher(read, ["a"]))
    assert isinstance(last, Abandoned)
    assert last.job == job("a", "started")


@pytest.mark.virtual_time
async def test_the_timeout_of_the_watch_gives_every_open_job_its_ending() -> None:
    service = Service({"a": [(0, "completed")], "b": NEVER, "c": NEVER})
    events = await collect(JobWatcher(service.read, ["a", "b", "c"], policy=fixed_interval(5), timeout=13, keep_open=True))
    assert sorted(words(event for event in events if isinstance(event, Ended | Abandoned))) == [
        "abandoned b wait_timeout",
        "abandoned c wait_timeout",
        "ended a completed",
    ]
    assert [event.job for event in events if isinstance(event, Abandoned)] == [job("b", "started"), job("c", "started")]
    assert now() == 13


@pytest.mark.virtual_time
async def test_a_job_that_became_unknown_comes_with_its_last_record_where_records_are_kept() -> None:
    for limits, record in (({"timeout": 60.0}, job("a", "created")), ({}, None)):
        since = now()

        def gone(job_id: str, at: float, since: float = since) -> JobExpiredError | None:
            return JobExpiredError("gone", job_id=job_id) if at > since + 7 else None

        last = (await collect(JobWatcher(Service(NEVER, trouble=gone).read, ["a"], policy=fixed_interval(5), **limits)))[-1]  # type: ignore[arg-type]  # by name
        assert isinstance(last, Abandoned)
        assert last.job == record


@pytest.mark.virtual_time
async def test_the_timeout_of_a_large_watch_does_not_hold_the_loop() -> None:
    longest = since = 0
    seen: list[Event] = []
    watcher = JobWatcher(Service(NEVER).read, [f"j{number}" for number in range(5000)], policy=fixed_interval(60), timeout=1)
    loop = asyncio.get_running_loop()

    def beat() -> None:
        nonlocal since, longest
        given_up = watcher.stats().abandoned
        longest, since = max(longest, given_up - since), given_up
        if given_up < 5000:
            loop.call_soon(beat)

    loop.call_later(1, beat)
    await collect(watcher, seen)
    assert sum(isinstance(event, Abandoned) for event in seen) == 5000
    assert longest <= 1000


@pytest.mark.virtual_time
async def test_a_poll_under_way_when_the_watch_times_out_may_still_win() -> None:
    service = Service([(0, "completed")], latency=10.5)
    assert words(await collect(JobWatcher(service.read, ["a"], timeout=10))) == ["ended a completed"]
    assert now() == 10.5


@pytest.mark.virtual_time
async def test_a_poll_that_hangs_does_not_hold_up_the_end_of_the_watch() -> None:
    async def read(_job_id: str) -> Job:
        await elapse(1e5)
        return job("a", "completed")

    assert words(await collect(JobWatcher(read, ["a"], timeout=10))) == ["abandoned a wait_timeout"]
    assert now() == 11


@pytest.mark.virtual_time
async def test_ids_that_were_not_even_admitted_when_the_watch_times_out_have_an_ending() -> None:
    async def read(_job_id: str) -> Job:
        return job(_job_id, "started")

    watcher = JobWatcher(read, [f"j{number}" for number in range(5000)], policy=fixed_interval(1000), timeout=1e-9)
    assert len([event for event in await collect(watcher) if isinstance(event, Abandoned)]) == 5000


@pytest.mark.virtual_time
async def test_a_job_whose_time_is_over_is_abandoned_during_a_pause_of_the_budget() -> None:
    pacer = Pacer()
    service = Service(NEVER)
    async with JobWatcher(service.read, ["a"], policy=fixed_interval(5), pacer=pacer, timeout=60) as watcher:
        assert isinstance(await anext(watcher), Changed)
        pacer.try_acquire(now(), 0)  # type: ignore[arg-type]  # the highest priority
        pacer.throttled(now(), 1800.0)
        assert words([event async for event in watcher]) == ["abandoned a wait_timeout"]
    assert now() == 60
    assert len(service.reads) == 1
