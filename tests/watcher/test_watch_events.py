"""What a watch reports, and that it reports each ending once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Service, collect, down, elapse, job, words

from asyncflow import testing
from asyncflow.errors import (
    AccountError,
    AsyncflowError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    EdgeBlockedError,
    JobExpiredError,
    JobNotFoundError,
    PaymentError,
    PermissionDeniedError,
    RateLimitedError,
    RedirectError,
    ServiceError,
    TransportError,
    UsageError,
)
from asyncflow.events import Abandoned, Changed, Ended, Event, Unreachable
from asyncflow.polling import fixed_interval
from asyncflow.records import Job
from asyncflow.testing import call_later, now
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIFE = [(0.0, "created"), (7.0, "started"), (23.0, "completed")]


@pytest.mark.virtual_time
async def test_every_change_and_the_ending_are_reported_with_what_was_before() -> None:
    service = Service(LIFE)
    events = await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5)))
    assert events == [
        Changed(job("a", "created"), None),
        Changed(job("a", "started"), "created"),
        Ended(job("a", "completed")),
    ]
    assert service.times("a") == [0, 5, 10, 15, 20, 25]
    assert now() == 25


@pytest.mark.virtual_time
async def test_an_unknown_status_is_reported_and_ends_nothing() -> None:
    service = Service([(0, "created"), (5, "queued"), (10, "moderated"), (15, "completed")])
    assert words(await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5)))) == [
        "changed a created",
        "changed a queued",
        "changed a moderated",
        "ended a completed",
    ]


@pytest.mark.virtual_time
async def test_a_failed_job_is_an_ending_and_no_exception() -> None:
    service = Service([(0, "failed")])
    assert words(await collect(JobWatcher(service.read, ["a"]))) == ["ended a failed"]


@pytest.mark.virtual_time
async def test_a_job_of_no_service_is_watched_like_any_other() -> None:
    async def read(job_id: str) -> Job:
        return Job(job_id, "completed" if now() >= 5 else "started")

    assert words(await collect(JobWatcher(read, ["a"], policy=fixed_interval(5)))) == ["changed a started", "ended a completed"]


@pytest.mark.virtual_time
async def test_the_same_id_twice_is_watched_once() -> None:
    service = Service(LIFE)
    watcher = JobWatcher(service.read, ["a", "b", "a"], policy=fixed_interval(5))
    assert len(watcher) == 2
    async with watcher:
        assert isinstance(await anext(watcher), Changed)
        watcher.add("a", "b", "b")
        assert len(watcher) == 2
        ended = [event.job.job_id async for event in watcher if isinstance(event, Ended)]
    assert sorted(ended) == ["a", "b"]


@pytest.mark.virtual_time
async def test_the_first_polls_of_many_are_spread_over_one_interval() -> None:
    service = Service([(0, "started"), (12, "completed")])
    ids = [f"j{number}" for number in range(100)]
    await collect(JobWatcher(service.read, ids, policy=fixed_interval(5)))
    first = sorted(service.times(job_id)[0] for job_id in ids)
    assert first[0] == 0
    assert first[-1] < 5
    assert max(later - earlier for earlier, later in pairwise(first)) < 0.2


@pytest.mark.virtual_time
async def test_no_ids_are_over_at_once() -> None:
    assert await collect(JobWatcher(Service(LIFE).read)) == []
    assert now() == 0


@pytest.mark.virtual_time
async def test_it_works_without_async_with() -> None:
    assert words([event async for event in JobWatcher(Service(LIFE).read, ["a"], policy=fixed_interval(30))]) == [
        "changed a created",
        "ended a completed",
    ]


# -- trouble ---------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_an_outage_is_reported_once_and_ends_nothing() -> None:
    service = Service(LIFE, trouble=down(4, 90))
    events = await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5)))
    assert words(events) == ["changed a created", "unreachable a server", "ended a completed"]


@pytest.mark.virtual_time
async def test_each_outage_is_reported_with_its_beginning() -> None:
    start = datetime(2026, 11, 21, tzinfo=UTC)
    service = Service(
        [(0, "created"), (200, "completed")],
        trouble=lambda job_id, at: down(10, 30)(job_id, at) or down(100, 110)(job_id, at),
    )
    watcher = JobWatcher(
        service.read, ["a"], policy=fixed_interval(5), wall_clock=lambda: datetime.fromtimestamp(start.timestamp() + now(), UTC)
    )
    outages = [event for event in await collect(watcher) if isinstance(event, Unreachable)]
    first, second = ((event.since - start).total_seconds() for event in outages)
    assert first == 10
    assert 100 <= second < 105
    assert all(event.error.transient for event in outages)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "error",
    [
        ServiceError("down", transient=True, status=503),
        ServiceError("late", kind="timeout", transient=True, status=408),
        RateLimitedError("slow down", transient=True, retry_after=3.0),
        TransportError("reset", transient=True),
        DecodeError("no JSON", transient=True),
    ],
)
async def test_a_passing_fault_never_ends_a_job(error: AsyncflowError) -> None:
    service = Service(LIFE, trouble=lambda _job_id, at: error if 4 < at < 40 else None)
    assert words(await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5))))[-1] == "ended a completed"


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "error",
    [
        BadRequestError("no id"),
        PermissionDeniedError("not yours"),
        EdgeBlockedError("1010"),
        JobNotFoundError("no such job"),
        JobExpiredError("gone"),
        AccountError("connect it again"),
        RedirectError("elsewhere"),
        PaymentError("no credits", kind="insufficient_credits"),
        UsageError("no such service", job_id="b"),
    ],
)
async def test_a_lasting_fault_ends_its_own_job_only(error: AsyncflowError) -> None:
    service = Service(LIFE, trouble=lambda job_id, _at: error if job_id == "b" else None)
    events = await collect(JobWatcher(service.read, ["a", "b", "c"], policy=fixed_interval(5)))
    assert sorted(words(event for event in events if isinstance(event, Ended | Abandoned))) == [
        f"abandoned b {error.kind}",
        "ended a completed",
        "ended c completed",
    ]


@pytest.mark.virtual_time
@pytest.mark.parametrize("error", [AuthenticationError("no"), PaymentError("no")])
async def test_a_refused_token_or_payment_ends_the_watch_after_the_events_gathered(error: AsyncflowError) -> None:
    service = Service(LIFE, trouble=lambda _job_id, at: error if at >= 5 else None)
    watcher = JobWatcher(service.read, ["a", "b"], policy=fixed_interval(5))
    seen: list[Event] = []
    with pytest.raises(type(error)) as caught:
        await collect(watcher, seen)
    assert caught.value is error
    assert words(seen) == ["changed a created", "changed b created"]
    assert len(service.reads) == 3
    await watcher.aclose()


@pytest.mark.virtual_time
async def test_a_bug_in_fetch_is_raised_as_it_is() -> None:
    async def fetch(_job_id: str) -> Job:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await collect(JobWatcher(fetch, ["a", "b"]))


@pytest.mark.virtual_time
async def test_a_fetch_that_returns_something_else_is_told_so() -> None:
    async def fetch(_job_id: str) -> Job:
        return {"status": "completed"}  # type: ignore[return-value]  # what is tested

    with pytest.raises(TypeError, match="dict"):
        await collect(JobWatcher(fetch, ["a"]))


@pytest.mark.virtual_time
async def test_the_record_of_another_job_is_never_reported() -> None:
    async def fetch(job_id: str) -> Job:
        return job("other" if now() < 10 else job_id, "completed")

    assert words(await collect(JobWatcher(fetch, ["a"], policy=fixed_interval(5)))) == [
        "unreachable a decode_error",
        "ended a completed",
    ]


@pytest.mark.virtual_time
async def test_after_max_failures_in_a_row_a_job_is_abandoned() -> None:
    service = Service(LIFE, trouble=down(4, 1e9))
    events = await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5), max_failures=3))
    assert words(events) == ["changed a created", "unreachable a server", "abandoned a server"]
    assert len(service.reads) == 4


# -- input -----------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_ids_may_come_from_an_async_iterable_while_others_run() -> None:
    async def ids() -> AsyncIterator[str]:
        yield "a"
        await elapse(60)
        yield "b"

    service = Service([(0, "created"), (10, "completed")])
    assert words(await collect(JobWatcher(service.read, ids(), policy=fixed_interval(5)))) == [
        "changed a created",
        "ended a completed",
        "ended b completed",
    ]
    assert now() > 60


@pytest.mark.virtual_time
async def test_an_input_that_never_waits_does_not_keep_others_from_running() -> None:
    turns = 0

    async def ids() -> AsyncIterator[str]:
        for number in range(10_000):
            yield f"j{number}"
        assert turns >= 3

    async def count() -> None:
        nonlocal turns
        for turns in range(50):  # noqa: B007 - seen by the input
            await elapse(0)

    counter = asyncio.create_task(count())
    events = await collect(JobWatcher(Service([(0, "completed")]).read, ids(), policy=fixed_interval(5)))
    await counter
    assert len(events) == 10_000


@pytest.mark.virtual_time
async def test_an_error_in_the_input_is_raised_after_the_events_gathered() -> None:
    async def ids() -> AsyncIterator[str]:
        yield "a"
        await elapse(1)
        raise OSError("no more ids")

    watcher = JobWatcher(Service(LIFE).read, ids(), policy=fixed_interval(5))
    assert isinstance(await anext(watcher), Changed)
    with pytest.raises(OSError, match="no more ids"):
        await anext(watcher)


@pytest.mark.virtual_time
async def test_an_id_added_on_the_way_is_watched_too() -> None:
    service = Service([(0, "created"), (10, "completed")])
    ended: list[str] = []
    watcher = JobWatcher(service.read, ["a"], policy=fixed_interval(5))
    async for event in watcher:
        if isinstance(event, Ended):
            ended.append(event.job.job_id)
            if len(ended) < 3:
                watcher.add(f"{event.job.job_id}+")
    assert ended == ["a", "a+", "a++"]


@pytest.mark.virtual_time
async def test_a_discarded_job_is_heard_of_no_more_even_if_its_poll_is_under_way() -> None:
    service = Service(LIFE, latency=2)
    watcher = JobWatcher(service.read, ["a", "b"], policy=fixed_interval(5))
    call_later(1, watcher.discard, "a", "unknown")
    assert words(await collect(watcher)) == ["changed b created", "changed b started", "ended b completed"]


@pytest.mark.virtual_time
async def test_discarding_the_last_job_ends_the_watch() -> None:
    watcher = JobWatcher(Service(LIFE).read, ["a"], policy=fixed_interval(5))
    call_later(1, watcher.discard, "a")
    assert words(await collect(watcher)) == ["changed a created"]
    assert now() == 1


@pytest.mark.virtual_time
async def test_what_is_discarded_before_the_start_is_never_read() -> None:
    service = Service(LIFE)
    watcher = JobWatcher(service.read, ["a"])
    watcher.discard("a")
    assert len(watcher) == 0
    assert await collect(watcher) == []
    assert service.reads == []


@pytest.mark.virtual_time
async def test_keep_open_waits_for_more_until_it_is_closed() -> None:
    watcher = JobWatcher(Service([(0, "completed")]).read, keep_open=True)
    call_later(100, watcher.add, "a")
    assert words([await anext(watcher)]) == ["ended a completed"]
    call_later(100, lambda: asyncio.ensure_future(watcher.aclose()))
    with pytest.raises(StopAsyncIteration):
        await anext(watcher)
    assert now() == 200
    with pytest.raises(UsageError, match="over"):
        watcher.add("b")


def test_ids_that_cannot_be_any_are_refused_at_once() -> None:
    fetch = Service(LIFE).read
    for bad in ("j1", [""], [" "], [None], [7]):
        with pytest.raises(UsageError):
            JobWatcher(fetch, bad)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(UsageError, match="concurrency"):
        JobWatcher(fetch, concurrency=0)


# -- nudges ----------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_a_nudge_beats_the_interval() -> None:
    service = Service([(0, "started"), (1, "completed")])
    async with JobWatcher(service.read, ["a"], policy=fixed_interval(10)) as watcher:
        assert not watcher.nudge("unknown")
        assert words([await anext(watcher)]) == ["changed a started"]
        call_later(2, watcher.nudge, "a")
        assert words([await anext(watcher)]) == ["ended a completed"]
    assert now() == 2
    assert not watcher.nudge("a")


@pytest.mark.virtual_time
async def test_a_nudge_during_a_poll_is_followed_by_another_poll() -> None:
    service = Service([(0, "started"), (3.5, "completed")], latency=2)
    async with JobWatcher(service.read, ["a"], policy=fixed_interval(10)) as watcher:
        call_later(1, watcher.nudge, "a")
        assert words([await anext(watcher), await anext(watcher)]) == ["changed a started", "ended a completed"]
    assert service.times("a") == [0, 2]


@pytest.mark.virtual_time
async def test_a_nudge_before_the_start_finds_nothing() -> None:
    assert not JobWatcher(Service(LIFE).read, ["a"]).nudge("a")


@pytest.mark.virtual_time
async def test_a_nudge_for_an_id_on_its_way_in_finds_it() -> None:
    service = Service([(0, "completed")])
    async with JobWatcher(service.read, keep_open=True) as watcher:
        await elapse(1)
        watcher.add("a")
        assert watcher.nudge("a")
        assert words([await anext(watcher)]) == ["ended a completed"]


@pytest.mark.asyncio
async def test_a_nudge_from_another_thread_is_refused() -> None:
    async def read(job_id: str) -> Job:
        return job(job_id, "started")

    async with JobWatcher(read, ["a"]) as watcher:
        assert isinstance(await anext(watcher), Changed)
        with pytest.raises(UsageError, match="call_soon_threadsafe"):
            await asyncio.to_thread(watcher.nudge, "a")


# -- a consumer that sleeps ------------------------------------------------------------------------------------------------


@pytest.mark.virtual_time
async def test_a_slow_consumer_gets_the_latest_status_and_every_ending() -> None:
    service = Service([(0, "created"), (5, "queued"), (10, "started"), (100, "completed")])
    ids = [f"j{number}" for number in range(20)]
    async with JobWatcher(service.read, ids, policy=fixed_interval(2), buffer=1) as watcher:
        await elapse(50)
        assert watcher.stats().undelivered <= 21
        changed = [await anext(watcher) for _ in range(watcher.stats().undelivered)]
        assert {event.job.status for event in changed if isinstance(event, Changed)} >= {"started"}
        assert {event.previous for event in changed if isinstance(event, Changed) and event.job.status == "started"} <= {
            None,
            "created",
        }
        await elapse(100)
        ended = [event.job.job_id async for event in watcher if isinstance(event, Ended)]
    assert sorted(ended) == sorted(ids)


@pytest.mark.virtual_time
async def test_an_undelivered_ending_outlasts_that_its_id_is_added_anew() -> None:
    service = Service(LIFE)
    async with JobWatcher(service.read, ["a"], policy=fixed_interval(5), buffer=1) as watcher:
        await elapse(30)
        watcher.add("a")
        await elapse(30)
        events = [event async for event in watcher]
    assert words(event for event in events if not isinstance(event, Changed)) == ["ended a completed"] * 2


@pytest.mark.virtual_time
async def test_an_outage_does_not_hide_an_undelivered_status() -> None:
    service = Service(LIFE, trouble=down(12, 22))
    async with JobWatcher(service.read, ["a"], policy=fixed_interval(5), buffer=0) as watcher:
        await elapse(20)
        assert words([await anext(watcher)]) == ["changed a started"]
        assert words([await anext(watcher)]) == ["ended a completed"]


# -- and all of it at random -----------------------------------------------------------------------------------------------

_ERRORS = st.sampled_from(
    [
        None,
        None,
        None,
        TransportError("reset", transient=True),
        ServiceError("down", transient=True, status=500),
        RateLimitedError("slow", transient=True, retry_after=7.0),
        DecodeError("garbled", transient=True),
        JobNotFoundError("gone"),
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(st.tuples(st.floats(0, 200), st.sampled_from(["completed", "failed"])), min_size=1, max_size=30),
    faults=st.lists(_ERRORS, min_size=1, max_size=50),
    latency=st.sampled_from([0.0, 0.3, 4.0]),
    concurrency=st.integers(1, 5),
    buffer=st.integers(0, 3),
)
def test_whatever_happens_each_id_ends_exactly_once(
    lives: list[tuple[float, str]], faults: list[AsyncflowError | None], latency: float, concurrency: int, buffer: int
) -> None:
    async def watch() -> tuple[list[Event], int]:
        number = 0

        def trouble(_job_id: str, _at: float) -> AsyncflowError | None:
            nonlocal number
            number += 1
            return faults[number % len(faults)] if number < 500 else None

        script = {f"j{index}": [(-1.0, "created"), (at, status)] for index, (at, status) in enumerate(lives)}
        service = Service(script, latency, trouble)
        watcher = JobWatcher(service.read, script, policy=fixed_interval(3), concurrency=concurrency, buffer=buffer)
        events = await collect(watcher)
        assert watcher.stats().watched == watcher.stats().in_flight == 0
        return events, service.peak

    events, peak = testing.run(watch())
    ends = [
        event.job.job_id if isinstance(event, Ended) else event.job_id for event in events if isinstance(event, Ended | Abandoned)
    ]
    assert sorted(ends) == sorted(f"j{index}" for index in range(len(lives)))
    assert peak <= concurrency
    for event in events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
