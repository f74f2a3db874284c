"""What lies ahead: expected ends, and what expires."""

from __future__ import annotations

import weakref
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from scripted import Service, collect, elapse, job, words

from asyncflow.errors import RateLimitedError
from asyncflow.events import Changed, Ended, Expiring
from asyncflow.polling import PollPolicy, fixed_interval
from asyncflow.records import FlowJob, Media
from asyncflow.testing import now
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from asyncflow.events import Event
    from asyncflow.records import Job

START = datetime(2026, 11, 21, tzinfo=UTC)
HOUR = 3600.0


def wall_clock() -> datetime:
    return START + timedelta(seconds=now())


def media(expires_in: float) -> Media:
    return Media("video", "ok", url="https://media.example/1", expires_at=START + timedelta(seconds=expires_in))


@pytest.mark.virtual_time
async def test_a_change_tells_when_the_job_will_probably_have_ended() -> None:
    policy = PollPolicy()
    for _ in range(50):
        policy.learn(("google-flow", "video", "veo"), 60.0)

    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed" if now() > 60 else "started", "video", model="veo", created_at=START)

    watcher = JobWatcher(read, ["a"], policy=policy, wall_clock=wall_clock)
    first = await anext(watcher)
    assert isinstance(first, Changed)
    assert first.expected_end_at is not None
    assert abs((first.expected_end_at - START).total_seconds() - 60) < 10
    expected = watcher.stats().expected_end_at
    assert expected is not None
    assert abs((expected - first.expected_end_at).total_seconds()) < 1
    assert isinstance((await collect(watcher))[-1], Ended)
    assert watcher.stats().expected_end_at is None


@pytest.mark.virtual_time
async def test_nothing_is_expected_by_a_policy_that_learns_nothing() -> None:
    watcher = JobWatcher(Service([(0, "started"), (9, "completed")]).read, ["a"], policy=fixed_interval(5))
    assert await anext(watcher) == Changed(job("a", "started"), None, None)
    assert watcher.stats().expected_end_at is None
    await watcher.aclose()


def expiries(events: list[Event]) -> list[tuple[str, float]]:
    return [(event.what, (event.at - START).total_seconds()) for event in events if isinstance(event, Expiring)]


@pytest.mark.virtual_time
async def test_links_that_are_about_to_expire_are_warned_of_before_the_ending() -> None:
    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed", "video", media=(media(9 * HOUR), media(HOUR / 2)))

    events = await collect(JobWatcher(read, ["a"], expiry_warning=HOUR, wall_clock=wall_clock))
    assert expiries(events) == [("links", HOUR / 2)]
    assert isinstance(events[-1], Ended)


@pytest.mark.virtual_time
async def test_links_that_last_longer_are_warned_of_in_time_if_the_watch_lasts_as_long() -> None:
    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed", "video", media=(media(6 * HOUR),))

    watcher = JobWatcher(read, ["a", "b"], expiry_warning=HOUR, keep_open=True, wall_clock=wall_clock)
    async with watcher:
        assert {type(await anext(watcher)), type(await anext(watcher))} == {Ended}
        assert expiries([await anext(watcher), await anext(watcher)]) == [("links", 6 * HOUR)] * 2
        assert now() == pytest.approx(5 * HOUR)
    assert expiries(await collect(JobWatcher(read, ["a"], expiry_warning=0.0, wall_clock=wall_clock))) == []


@pytest.mark.virtual_time
async def test_a_record_that_is_about_to_expire_is_warned_of_while_the_job_runs() -> None:
    async def read(job_id: str) -> Job:
        created_at = START - timedelta(days=7) + timedelta(hours=2)
        return FlowJob(job_id, "started" if now() < 2 * HOUR - 60 else "completed", "video", created_at=created_at)

    watcher = JobWatcher(read, ["a"], policy=fixed_interval(30), expiry_warning=HOUR, wall_clock=wall_clock)
    events = await collect(watcher)
    assert expiries(events) == [("record", 2 * HOUR)]
    assert [type(event) for event in events] == [Changed, Expiring, Ended]


@pytest.mark.virtual_time
async def test_a_record_from_the_end_of_time_is_not_warned_of() -> None:
    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed" if now() > 60 else "started", "video", created_at=datetime.max.replace(tzinfo=UTC))

    watcher = JobWatcher(read, ["a"], expiry_warning=HOUR, wall_clock=wall_clock)
    assert [type(event) for event in await collect(watcher)] == [Changed, Ended]


@pytest.mark.virtual_time
async def test_the_record_of_a_job_that_has_ended_meanwhile_is_not_warned_of() -> None:
    async def read(job_id: str) -> Job:
        created_at = START - timedelta(days=7) + timedelta(hours=2)
        return FlowJob(job_id, "started" if job_id == "b" or now() < 60 else "completed", "video", created_at=created_at)

    watcher = JobWatcher(
        read, ["a", "b"], policy=fixed_interval(30), expiry_warning=HOUR, job_timeout=1.5 * HOUR, wall_clock=wall_clock
    )
    warned = [event.job.job_id for event in await collect(watcher) if isinstance(event, Expiring)]
    assert warned == ["b"]


@pytest.mark.virtual_time
async def test_a_warning_that_was_given_is_not_kept() -> None:
    class WeakJob(FlowJob, frozen=True, weakref=True, gc=True):
        pass

    records: list[weakref.ref[Job]] = []

    async def read(job_id: str) -> Job:
        found = WeakJob(job_id, "completed", "video", media=(media(2 * HOUR),))
        records.append(weakref.ref(found))
        return found

    async with JobWatcher(read, ["a"], expiry_warning=HOUR, keep_open=True, wall_clock=wall_clock) as watcher:
        assert [type(await anext(watcher)), type(await anext(watcher))] == [Ended, Expiring]
        await elapse(1)
        assert [record() for record in records] == [None]


@pytest.mark.virtual_time
async def test_an_id_that_is_added_anew_is_warned_of_once() -> None:
    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed", "video", media=(media(2 * HOUR),))

    async with JobWatcher(read, ["a"], expiry_warning=HOUR, keep_open=True, wall_clock=wall_clock) as watcher:
        assert isinstance(await anext(watcher), Ended)
        watcher.add("a")
        assert [type(await anext(watcher)), type(await anext(watcher))] == [Ended, Expiring]
        await elapse(HOUR)
        assert watcher.stats().undelivered == 0


@pytest.mark.virtual_time
async def test_nothing_is_warned_of_unless_asked_for() -> None:
    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "completed", "video", media=(media(1.0),))

    assert [type(event) for event in await collect(JobWatcher(read, ["a"], wall_clock=wall_clock))] == [Ended]


@pytest.mark.virtual_time
async def test_a_warning_does_not_hide_an_undelivered_status() -> None:
    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "started" if now() < 50 else "completed", "video", media=(media(HOUR),))

    async with JobWatcher(
        read, ["a"], policy=fixed_interval(5), expiry_warning=9 * HOUR, buffer=0, wall_clock=wall_clock
    ) as watcher:
        await elapse(20)
        assert {type(await anext(watcher)), type(await anext(watcher))} == {Changed, Expiring}


@pytest.mark.virtual_time
async def test_a_pause_that_outlasts_the_watch_ends_it_at_once() -> None:
    error = RateLimitedError("slow down", transient=True, retry_after=1800.0)
    service = Service([(0, "started")], trouble=lambda _job_id, at: error if at >= 10 else None)
    events = await collect(JobWatcher(service.read, ["a"], policy=fixed_interval(5), timeout=900))
    assert words(events) == ["changed a started", "abandoned a rate_limited"]
    assert now() == 10
