"""What a worker does with what it claims, in virtual time against a store in memory, and over sockets."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cluster_kit import ids, job_id, pause, until

from asyncflow import (
    AuthenticationError,
    Changed,
    Ended,
    FlowJob,
    Job,
    JobNotFoundError,
    Pacer,
    RateLimitedError,
    ServiceError,
    StoreError,
    TransportError,
    Unreachable,
    fixed_interval,
)
from asyncflow.cluster import MemoryStore, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncflow import Event
    from asyncflow.cluster import StoreWatch
    from asyncflow.cluster.store import ClaimBatch, PollReport

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]


class Service:
    """Jobs that end at an age; *answer* may say otherwise."""

    def __init__(self, answer: Callable[[str, float], Job] | None = None, latency: float = 0.1) -> None:
        self.pacer = Pacer()
        self.reads: list[tuple[float, str]] = []
        self.under_way: Counter[str] = Counter()
        self.most_at_once = 0
        self._answer = answer or aged(20.0)
        self._latency = latency

    async def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        loop = asyncio.get_running_loop()
        self.reads.append((loop.time(), job_id))
        self.under_way[job_id] += 1
        self.most_at_once = max(self.most_at_once, self.under_way[job_id])
        try:
            async with asyncio.timeout(timeout):
                await pause(self._latency)
        except TimeoutError as error:
            raise TransportError("no answer in time", transient=True, job_id=job_id) from error
        finally:
            self.under_way[job_id] -= 1
        return self._answer(job_id, loop.time())


def aged(end: float) -> Callable[[str, float], Job]:
    return lambda job_id, now: FlowJob(job_id, status="completed" if now >= end else "started", kind="video")


def virtual_store() -> MemoryStore:
    loop = asyncio.get_running_loop()
    return MemoryStore(clock=lambda: 1_790_000_000.0 + loop.time())


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Workers at work, drained in the end."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield tasks
    finally:
        for worker in workers:
            worker.drain()
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()


async def events_of(watcher: StoreWatch) -> list[Event]:
    async with watcher:
        return [event async for event in watcher]


async def test_jobs_are_polled_to_their_ends() -> None:
    store, service = virtual_store(), Service()
    async with working(Worker(service, store, policy=fixed_interval(5))):
        events = await events_of(store.watch(ids(50)))
    assert Counter(type(event) for event in events) == {Changed: 50, Ended: 50}
    assert service.most_at_once == 1
    status = await store.status()
    assert (status.watched, status.leased, status.counts["stale"]) == (0, 0, 0)


async def test_two_workers_share_the_jobs_and_read_none_twice_at_once() -> None:
    store, service, other = virtual_store(), Service(), Service()
    other.under_way = service.under_way
    async with working(Worker(service, store, policy=fixed_interval(5)), Worker(other, store, policy=fixed_interval(5))):
        events = await events_of(store.watch(ids(60)))
    assert sum(isinstance(event, Ended) for event in events) == 60
    assert len(service.reads) > 30
    assert len(other.reads) > 30
    assert max(service.most_at_once, other.most_at_once) == 1


async def test_a_worker_goes_on_where_another_has_left_off() -> None:
    """Status, polls and failures are in the store: a change is told once, an outage too."""

    def answer(job_id: str, now: float) -> Job:
        if 8 < now < 30:
            raise ServiceError("not now", transient=True)
        return FlowJob(job_id, status="completed" if now >= 40 else "started", kind="video")

    store = virtual_store()
    watching = asyncio.create_task(events_of(store.watch(ids(1))))
    for _ in range(4):
        worker = Worker(Service(answer), store, policy=fixed_interval(5))
        async with working(worker):
            await pause(7)
    async with working(Worker(Service(answer), store, policy=fixed_interval(5))):
        events = await watching
    assert [type(event) for event in events] == [Changed, Unreachable, Ended]


async def test_what_a_dead_worker_held_is_polled_when_its_lease_is_over() -> None:
    store, service = virtual_store(), Service(aged(0.0))
    await store.submit(ids(1))
    await store.claim("dead", 1, 10.0)
    async with working(Worker(service, store)):
        [event] = await events_of(store.watch(ids(1)))
    assert isinstance(event, Ended)
    [(at, _)] = service.reads
    assert 10.0 <= at < 10.6


async def test_a_poll_ends_before_its_lease() -> None:
    store, service = virtual_store(), Service(latency=500.0)
    await store.submit(ids(1))
    async with working(Worker(service, store, lease=10.0)):
        await pause(9.5)
        assert service.under_way[job_id(0)] == 0
        assert service.reads[0][1] == job_id(0)


async def test_what_is_asked_in_vain_is_told_once_and_asked_again() -> None:
    def answer(job_id: str, now: float) -> Job:
        if now < 30:
            raise ServiceError("not now", transient=True)
        return FlowJob(job_id, status="completed", kind="video")

    store = virtual_store()
    async with working(Worker(Service(answer), store)):
        events = await events_of(store.watch(ids(3)))
    assert Counter(type(event) for event in events) == {Unreachable: 3, Ended: 3}


async def test_a_job_that_the_service_does_not_know_is_abandoned() -> None:
    def answer(job_id: str, _: float) -> Job:
        raise JobNotFoundError("Job not found", job_id=job_id)

    store = virtual_store()
    async with working(Worker(Service(answer), store)):
        [event] = await events_of(store.watch(ids(1)))
    assert event.key == (job_id(0), "abandoned")


async def test_a_refused_token_ends_the_worker_and_leaves_the_jobs_to_others() -> None:
    def answer(_job_id: str, _now: float) -> Job:
        raise AuthenticationError("Unauthorized")

    store = virtual_store()
    await store.submit(ids(5))
    with pytest.raises(AuthenticationError):
        await Worker(Service(answer), store).run()
    status = await store.status()
    assert (status.watched, status.leased) == (5, 0)


async def test_a_429_pauses_all_workers() -> None:
    def answer(job_id: str, now: float) -> Job:
        if now < 1:
            raise RateLimitedError("slow down", transient=True, retry_after=30.0, status=429)
        return FlowJob(job_id, status="completed", kind="video")

    store, service, other = virtual_store(), Service(answer), Service(answer)
    async with working(Worker(service, store)):
        await store.submit(ids(1))
        await pause(2)
        async with working(Worker(other, store)):
            await events_of(store.watch(ids(20)))
    reads = sorted(at for at, _ in (*service.reads, *other.reads))
    assert reads[0] < 1
    assert all(at >= 30 for at in reads[1:])


@pytest.mark.parametrize("rate", [20.0, 75.0, 200.0])
async def test_no_second_sees_more_than_the_common_rate_when_one_worker_has_to_do_it_all(rate: float) -> None:
    """What he cannot send at once, having had half of it before, is not to go out later on top of the rate."""
    loop, store = asyncio.get_running_loop(), virtual_store()
    one, two = Service(aged(60.0), latency=0.3), Service(aged(60.0), latency=0.3)
    await store.set_rate(rate)
    other = Worker(two, store, policy=fixed_interval(1))
    async with working(Worker(one, store, policy=fixed_interval(1)), other):
        watching = asyncio.create_task(events_of(store.watch(ids(1000))))
        await pause(20)
        other.drain()
        await watching
    reads = sorted(at for at, _ in (*one.reads, *two.reads))
    most = max(bisect_left(reads, at + 1.0) - number for number, at in enumerate(reads))
    assert 0.8 * rate < len(reads) / loop.time()
    assert most <= 1.05 * rate + 1


async def test_a_worker_in_a_long_pause_is_still_heard_of() -> None:
    def answer(job_id: str, now: float) -> Job:
        if now < 1:
            raise RateLimitedError("slow down", transient=True, retry_after=1800.0, status=429)
        return FlowJob(job_id, status="completed", kind="video")

    store, service = virtual_store(), Service(answer)
    worker = Worker(service, store, lease=5.0)
    async with working(worker):
        watching = asyncio.create_task(events_of(store.watch(ids(3))))
        for _ in range(25):
            await pause(70.7)
            assert worker.stats().is_healthy
            [heard_of] = (await store.status()).workers
            assert heard_of.silent < 5
        [*_, event] = await watching
    assert isinstance(event, Ended)
    assert not [at for at, _ in service.reads if 2 < at < 1800]


async def test_a_worker_is_back_soon_after_an_outage_that_was_longer_than_its_leases() -> None:
    """The probes of a long outage are further apart than a lease is long: a job claimed between them would lapse in hand."""

    def answer(job_id: str, now: float) -> Job:
        if now < 1200:
            raise TransportError("refused", transient=True)
        return FlowJob(job_id, status="completed", kind="video")

    store, service = virtual_store(), Service(answer)
    worker = Worker(service, store, lease=5.0)
    async with working(worker):
        events = await events_of(store.watch(ids(20)))
        assert asyncio.get_running_loop().time() < 1200 + 120
    assert sum(isinstance(event, Ended) for event in events) == 20
    assert len(service.reads) < 150
    assert worker.stats().lapsed == 0


async def test_a_drained_worker_reports_what_is_under_way_and_gives_the_rest_back() -> None:
    store, service = virtual_store(), Service(latency=3.0)
    await store.submit(ids(200))
    worker = Worker(service, store, concurrency=5)
    task = asyncio.create_task(worker.run())
    await pause(4)
    worker.drain()
    await task
    status, stats = await store.status(), worker.stats()
    assert status.leased == 0
    assert (stats.in_hand, stats.unreported, stats.stale) == (0, 0, 0)
    assert stats.polls == len(service.reads) >= 5
    assert service.under_way.total() == 0


async def test_a_cancelled_worker_gives_back_what_it_holds() -> None:
    store, service = virtual_store(), Service(latency=3.0)
    await store.submit(ids(50))
    task = asyncio.create_task(Worker(service, store, concurrency=5).run())
    await pause(1)
    assert (await store.status()).leased
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.status()).leased == 0


async def test_workers_learn_from_each_other() -> None:
    born = datetime(2026, 1, 1, tzinfo=UTC)

    def answer(job_id: str, _: float) -> Job:
        return FlowJob(job_id, status="completed", kind="video", created_at=born, updated_at=born + timedelta(seconds=61))

    class Pupil:
        def __init__(self) -> None:
            self.lessons: list[float] = []

        def first_poll(self, _number: int) -> float:
            return 0.0

        def next_poll(self, _key: object, _age: float, _polls: int) -> float:
            return 5.0

        def learn(self, _key: object, duration: float) -> None:
            self.lessons.append(duration)

        def expected_duration(self, _key: object, _age: float) -> float | None:
            return None

    store, pupil = virtual_store(), Pupil()
    async with working(Worker(Service(answer), store)):
        await events_of(store.watch(ids(3)))
    async with working(Worker(Service(answer), store, policy=pupil)):
        await pause(1)
        assert pupil.lessons == [61.0] * 3


class Shaky(MemoryStore):
    """A store that cannot be reached for a while."""

    until = 0.0

    async def _answer(self) -> None:
        if asyncio.get_running_loop().time() < self.until:
            raise StoreError("no answer", reason="unreachable", transient=True)

    async def claim(self, worker: str, count: int, lease: float, words: str = "") -> ClaimBatch:
        await self._answer()
        return await super().claim(worker, count, lease, words)

    async def report(self, worker: str, reports: Sequence[PollReport], *, pause: float | None = None) -> list[bool]:
        await self._answer()
        return await super().report(worker, reports, pause=pause)

    async def durations(self, after: str, but: str) -> tuple[list[tuple[str, str, str, float]], str]:
        await self._answer()
        return await super().durations(after, but)

    async def prune(self) -> None:
        await self._answer()
        await super().prune()


async def test_a_store_that_is_gone_for_a_minute_costs_time_and_no_ending() -> None:
    loop = asyncio.get_running_loop()
    store, service = Shaky(clock=lambda: 1_790_000_000.0 + loop.time()), Service(aged(30.0))
    worker = Worker(service, store, policy=fixed_interval(2))

    async def check() -> bool:
        return worker.stats().polls > 10

    async with working(worker):
        watching = asyncio.create_task(events_of(store.watch(ids(40))))
        await until(check)
        store.until = loop.time() + 60
        await pause(59)
        assert not worker.stats().connected
        assert not worker.stats().is_healthy
        events = await watching
        assert worker.stats().connected
    assert sum(isinstance(event, Ended) for event in events) == 40
    assert service.most_at_once == 1
