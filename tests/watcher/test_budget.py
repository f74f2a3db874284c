"""How a watch draws on the budget, and on its workers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from scripted import Service, collect, down, elapse, job, words

from asyncflow.errors import RateLimitedError, ServiceError
from asyncflow.events import Changed
from asyncflow.pacing import Pacer, Priority, prepaid
from asyncflow.polling import EXPECTED, REST, fixed_interval
from asyncflow.records import FlowJob
from asyncflow.testing import call_later, now
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from asyncflow.polling import Key
    from asyncflow.records import Job

LIFE = [(0.0, "created"), (7.0, "started"), (23.0, "completed")]
IDS = [f"j{number}" for number in range(200)]


@pytest.mark.virtual_time
@pytest.mark.parametrize("concurrency", [1, 7])
async def test_no_more_polls_are_in_flight_than_allowed(concurrency: int) -> None:
    service = Service(LIFE, latency=2)
    watcher = JobWatcher(service.read, IDS, policy=fixed_interval(5), concurrency=concurrency)
    call_later(20, lambda: peaks.append(watcher.stats().in_flight))
    peaks: list[int] = []
    await collect(watcher)
    assert service.peak == concurrency
    assert peaks == [concurrency]


@pytest.mark.virtual_time
async def test_no_job_is_asked_about_twice_at_once() -> None:
    asked: set[str] = set()

    async def read(job_id: str) -> Job:
        assert job_id not in asked
        asked.add(job_id)
        await elapse(3)
        asked.discard(job_id)
        return job(job_id, "completed" if now() > 30 else "started")

    watcher = JobWatcher(read, IDS, policy=fixed_interval(1))
    for number in range(200):
        call_later(number / 10, watcher.nudge, IDS[number % 20])
    await collect(watcher)


@pytest.mark.virtual_time
async def test_the_budget_spaces_the_polls() -> None:
    service = Service([(0, "completed")])
    await collect(JobWatcher(service.read, IDS, policy=fixed_interval(1), pacer=Pacer(rate=10)))
    times = [at for at, _ in service.reads]
    assert now() == pytest.approx(20, abs=1)
    assert min(later - earlier for earlier, later in zip(times, times[10:], strict=False)) >= 0.9


@pytest.mark.virtual_time
async def test_a_pause_that_the_service_asked_for_holds_everybody() -> None:
    limited = RateLimitedError("slow down", transient=True, retry_after=100.0)
    service = Service(LIFE, trouble=lambda job_id, at: limited if job_id == "j3" and at < 10 else None)
    pacer = Pacer()
    await collect(JobWatcher(service.read, IDS[:20], policy=fixed_interval(5), pacer=pacer))
    at = next(at for at, job_id in service.reads if job_id == "j3")
    assert not [later for later, _ in service.reads if at < later < at + 100]
    assert pacer.stats().throttled == 1


@pytest.mark.virtual_time
async def test_every_paid_poll_is_accounted_for() -> None:
    pacer = Pacer(concurrency=8)
    service = Service(LIFE, latency=0.5, trouble=down(10, 15))
    await collect(JobWatcher(service.read, IDS, policy=fixed_interval(5), pacer=pacer))
    assert pacer.stats().in_flight == 0
    assert pacer.stats().failures > 0
    assert service.peak <= 8


@pytest.mark.virtual_time
async def test_polls_that_are_cancelled_are_accounted_for() -> None:
    pacer = Pacer()
    service = Service(LIFE, latency=10)
    async with JobWatcher(service.read, IDS, policy=fixed_interval(1), pacer=pacer) as watcher:
        await elapse(5)
        assert pacer.stats().in_flight == watcher.stats().in_flight > 1
    assert pacer.stats().in_flight == 0


@pytest.mark.virtual_time
async def test_a_fetch_with_the_same_budget_takes_the_payment_over() -> None:
    pacer = Pacer()

    async def read(job_id: str) -> Job:
        payment = prepaid.get()
        assert payment is not None
        assert payment.redeem(pacer)
        pacer.succeeded(now(), 0.1)
        return job(job_id, "completed")

    await collect(JobWatcher(read, IDS, policy=fixed_interval(1), pacer=pacer))
    assert pacer.stats().in_flight == 0
    assert sum(pacer.stats().starts.values()) == 200


@pytest.mark.virtual_time
async def test_what_the_policy_calls_expected_goes_first() -> None:
    class Ranked:
        learned: list[tuple[Key, float]]

        def __init__(self) -> None:
            self.learned = []
            self.ages: list[float] = []

        def first_poll(self, _number: int) -> float:
            return 0.0

        def next_poll(self, key: Key, age: float, polls: int) -> float:
            assert key == ("google-flow", "video", "veo")
            self.ages.append(age)
            return 10.0 * polls

        def priority(self, _key: Key, age: float, wait: float) -> int:
            return EXPECTED if age + wait > 25 else REST

        def learn(self, key: Key, duration: float) -> None:
            self.learned.append((key, duration))

        def expected_duration(self, _key: Key, _age: float) -> float | None:
            return None

    start = datetime(2026, 11, 21, tzinfo=UTC)

    async def read(job_id: str) -> Job:
        wall = start + timedelta(seconds=now())
        status = "completed" if now() > 20 else "started"
        return FlowJob(job_id, status, "video", model="veo", created_at=start - timedelta(seconds=100), updated_at=wall)

    policy, pacer = Ranked(), Pacer()
    await collect(JobWatcher(read, ["a"], policy=policy, pacer=pacer, wall_clock=lambda: start + timedelta(seconds=now())))
    assert policy.ages == [100, 110]
    assert policy.learned == [(("google-flow", "video", "veo"), 130.0)]
    assert pacer.stats().starts == {"interactive": 0, "nudged": 0, "expected": 2, "rest": 1}


@pytest.mark.virtual_time
async def test_an_age_that_cannot_be_is_a_wrong_clock() -> None:
    ages: list[float] = []

    class Noting:
        def first_poll(self, _number: int) -> float:
            return 0.0

        def next_poll(self, _key: Key, age: float, _polls: int) -> float:
            ages.append(age)
            return 10.0

        def learn(self, _key: Key, duration: float) -> None:
            raise AssertionError(duration)

        def expected_duration(self, _key: Key, _age: float) -> float | None:
            return None

    start = datetime(2026, 11, 21, tzinfo=UTC)
    born = {"past": start - timedelta(days=30), "future": start + timedelta(hours=1), "unknown": None}

    async def read(job_id: str) -> Job:
        return FlowJob(job_id, "started" if now() < 10 else "completed", "video", created_at=born[job_id])

    await collect(JobWatcher(read, born, policy=Noting(), wall_clock=lambda: start))
    assert ages == [0, 0, 0]


@pytest.mark.virtual_time
async def test_a_nudged_job_goes_before_the_others() -> None:
    pacer = Pacer(rate=1)
    service = Service([(0, "started"), (60, "completed")])
    watcher = JobWatcher(service.read, IDS[:30], policy=fixed_interval(5), pacer=pacer)
    call_later(10.5, watcher.nudge, "j29")
    await collect(watcher)
    assert service.times("j29")[0] < 13
    assert pacer.stats().starts["nudged"] == 1


@pytest.mark.virtual_time
async def test_stats_add_up() -> None:
    slow = RateLimitedError("slow", transient=True)
    service = Service(LIFE, trouble=lambda job_id, at: slow if job_id == "j3" and at < 6 else None)
    watcher = JobWatcher(service.read, IDS[:10], policy=fixed_interval(5))
    assert watcher.stats().watched == 10
    assert watcher.stats().next_poll is None
    assert isinstance(await anext(watcher), Changed)
    await elapse(18)
    stats = watcher.stats()
    assert stats.watched == 10
    assert stats.statuses == {"started": 10}
    assert stats.unreachable == 1
    assert stats.failed_polls >= 1
    assert stats.next_poll is not None
    assert 0 <= stats.next_poll <= 5
    assert len([event async for event in watcher]) == stats.undelivered + 10
    assert watcher.stats().ended == {"succeeded": 10}
    assert watcher.stats().polls == len(service.reads)
    assert watcher.stats().statuses == {}
    assert repr(watcher) == "<JobWatcher of 0 jobs>"


@pytest.mark.virtual_time
async def test_a_watch_that_is_dropped_stops_polling() -> None:
    service = Service(LIFE)
    watcher = JobWatcher(service.read, IDS[:3], policy=fixed_interval(5))
    assert words([await anext(watcher)]) == ["changed j0 created"]
    with pytest.warns(ResourceWarning, match="without aclose"):
        del watcher
    count = len(service.reads)
    await elapse(60)
    assert len(service.reads) == count
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.virtual_time
async def test_ended_jobs_leave_memory() -> None:
    watcher = JobWatcher(Service([(0, "completed")]).read, IDS, policy=fixed_interval(1))
    async with watcher:
        assert len([await anext(watcher) for _ in IDS]) == 200
        assert len(watcher) == 0


@pytest.mark.virtual_time
async def test_callers_who_never_stop_leave_the_watch_its_share() -> None:
    pacer = Pacer(rate=10)
    service = Service([(0, "started"), (60, "completed")])

    async def call_on_and_on() -> None:
        pacer.enqueue(Priority.INTERACTIVE)
        while True:
            delay = pacer.try_acquire(now(), Priority.INTERACTIVE)
            if not delay:
                pacer.succeeded(now(), 0.0)
            await elapse(max(delay, 1e-3))

    caller = asyncio.create_task(call_on_and_on())
    await collect(JobWatcher(service.read, IDS[:20], policy=fixed_interval(5), pacer=pacer))
    caller.cancel()
    starts = pacer.stats().starts
    assert starts["interactive"] > 5 * starts["rest"] > 100
    assert pacer.stats().waiting == 1
    assert now() < 120


@pytest.mark.virtual_time
async def test_a_503_with_a_pause_holds_every_read_of_the_pacer_back() -> None:
    """The caller's own fetch has the same effect as a client."""
    reads: list[float] = []

    async def read(job_id: str) -> Job:
        reads.append(now())
        if len(reads) == 1:
            raise ServiceError("busy", status=503, transient=True, retry_after=60.0)
        return job(job_id, "completed")

    pacer = Pacer()
    watcher = JobWatcher(read, ["one", "two"], policy=fixed_interval(1), pacer=pacer, concurrency=1)
    await collect(watcher)
    assert reads[0] < 1
    assert min(reads[1:]) >= 60
    assert pacer.stats().throttled == 1
