"""What the tests of the client found: errors that concern all jobs, answers about others, payments taken over elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from msgspec.structs import replace
from scripted import collect, elapse, job, words

from asyncflow.errors import ServiceError, UsageError
from asyncflow.pacing import Pacer, Priority, prepaid
from asyncflow.polling import Schedule, fixed_interval
from asyncflow.testing import now
from asyncflow.watcher import JobWatcher
from asyncflow.watcher.watched_job import WatchedJob
from asyncflow.watcher.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncflow.events import Event
    from asyncflow.records import Job
    from asyncflow.stream import Emitter

IDS = ["j1-a", "j2-a", "j3-a"]


@pytest.mark.virtual_time
async def test_a_use_that_cannot_work_for_any_job_ends_the_watch() -> None:
    async def read(job_id: str) -> Job:
        if now() > 5:
            raise UsageError("this client is closed")
        return job(job_id, "started")

    seen: list[Event] = []
    with pytest.raises(UsageError, match="closed"):
        await collect(JobWatcher(read, IDS, policy=fixed_interval(3)), seen)
    assert sorted(words(seen)) == [f"changed {job_id} started" for job_id in IDS]


@pytest.mark.virtual_time
async def test_a_use_that_cannot_work_for_one_job_abandons_that_one() -> None:
    async def read(job_id: str) -> Job:
        if job_id == "j2-a":
            raise UsageError("of no service", job_id=job_id)
        return job(job_id, "completed")

    events = await collect(JobWatcher(read, IDS, policy=fixed_interval(3)))
    assert sorted(words(events)) == ["abandoned j2-a usage", "ended j1-a completed", "ended j3-a completed"]


@pytest.mark.virtual_time
async def test_the_end_of_another_job_is_not_believed() -> None:
    async def read(job_id: str) -> Job:
        if now() > 20:
            return job(job_id, "completed")
        return replace(job(job_id, "completed" if now() > 10 else "started"), answered_id="j9-a")

    events = await collect(JobWatcher(read, ["j1-a"], policy=fixed_interval(3)))
    assert words(events) == ["changed j1-a started", "unreachable j1-a decode_error", "ended j1-a completed"]
    assert now() > 20


@pytest.mark.virtual_time
async def test_the_end_of_a_job_whose_id_is_spelt_otherwise_is_believed() -> None:
    async def read(job_id: str) -> Job:
        return replace(job(job_id, "completed"), answered_id="j1-masked")

    assert words(await collect(JobWatcher(read, ["j1-a"], policy=fixed_interval(3)))) == ["ended j1-a completed"]


@pytest.mark.virtual_time
async def test_a_use_that_made_no_request_teaches_the_budget_nothing() -> None:
    async def read(job_id: str) -> Job:
        if job_id in IDS:
            raise ServiceError("down", transient=True)
        raise UsageError("of no service", job_id=job_id)

    pacer = Pacer()
    async with JobWatcher(read, IDS, policy=fixed_interval(1), pacer=pacer) as watcher:
        await elapse(50)
        assert pacer.stats().circuit == "open"
        watcher.add("bad")
        await elapse(60)
        assert (pacer.stats().circuit, watcher.stats().abandoned) == ("open", 1)


@pytest.mark.virtual_time
async def test_a_payment_is_taken_over_once_in_whatever_task() -> None:
    pacer, payments = Pacer(), []

    async def request(job_id: str) -> Job:
        payment = prepaid.get()
        assert payment is not None
        payments.append(payment)
        assert payment.redeem(pacer)
        assert not payment.redeem(pacer)
        await elapse(2)
        pacer.succeeded(now(), 2.0)
        return job(job_id, "completed")

    async def read(job_id: str) -> Job:
        # Python 3.11 makes a task of it, which has a context of its own.
        return await asyncio.create_task(request(job_id))

    running = pacer.try_acquire(now(), Priority.REST), pacer.try_acquire(now() + 1, Priority.REST)
    assert running == (0, 0)
    await collect(JobWatcher(read, IDS, policy=fixed_interval(1), pacer=pacer))
    assert pacer.stats().in_flight == 2


@pytest.mark.virtual_time
async def test_a_payment_that_was_used_up_is_gone_for_those_who_come_later() -> None:
    pacer, left = Pacer(), []

    async def late() -> None:
        await elapse(5)
        payment = prepaid.get()
        assert payment is None or not payment.redeem(pacer)

    async def read(job_id: str) -> Job:
        left.append(asyncio.create_task(late()))
        return job(job_id, "completed")

    await collect(JobWatcher(read, IDS, policy=fixed_interval(1), pacer=pacer))
    await asyncio.gather(*left)
    assert pacer.stats().in_flight == 0


@pytest.mark.virtual_time
@pytest.mark.parametrize("is_paused", [True, False])
async def test_a_worker_that_wakes_after_the_end_takes_nothing(is_paused: bool) -> None:  # noqa: FBT001 - a parameter
    workers: list[Callable[[], Awaitable[object]]] = []

    class Group:
        def start_soon(self, work: Callable[[], Awaitable[object]]) -> None:
            workers.append(work)

    async def poll(entry: WatchedJob) -> None:
        raise AssertionError(entry)

    pacer, schedule = Pacer(), Schedule[WatchedJob]()
    schedule.add(WatchedJob("j1-a", now(), now(), now()), now())
    pool = WorkerPool(schedule, pacer, 1, fetch=poll, on_answer=lambda *_heard: None, expire=lambda _entry, _now: False)
    stop = pool.start(cast("Emitter[object]", Group()))
    if is_paused:
        assert pacer.try_acquire(now(), Priority.INTERACTIVE) == 0
        pacer.throttled(now(), 60.0)
    stop()
    woken = asyncio.ensure_future(workers[0]())
    await elapse(1)
    assert (pacer.stats().waiting, pacer.stats().in_flight) == (0, 0)
    woken.cancel()
