"""The client's verbs over a store: real workers, a real engine, the simulated service."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from asyncflow import AsyncClient, Ended, JobFailedError, UsageError, WaitTimeoutError, fixed_interval
from asyncflow.cluster import RedisStore, Worker
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster_engines import Engine

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def workers(simulator: Simulator, engine: Engine, queue: str, count: int = 2) -> AsyncIterator[list[Worker]]:
    """Workers as they are in processes of their own: each with a client and a store of its own."""

    async def work(made: list[Worker]) -> None:
        async with AsyncClient(simulator.token, base_url=simulator.url) as client, RedisStore(engine.url, queue) as store:
            worker = Worker(client, store, policy=fixed_interval(0.2))
            made.append(worker)
            await worker.run()

    made: list[Worker] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(work(made))
        try:
            yield made
        finally:
            for worker in made:
                worker.drain()


@asynccontextmanager
async def web(simulator: Simulator, engine: Engine, queue: str) -> AsyncIterator[tuple[AsyncClient, RedisStore]]:
    """A process that polls nothing."""
    async with AsyncClient(simulator.token, base_url=simulator.url) as client, RedisStore(engine.url, queue) as store:
        yield client, store
        assert client.pacer.stats().starts == dict.fromkeys(client.pacer.stats().starts, 0)


async def test_a_wait_in_any_process_ends_when_any_worker_sees_the_end(engine: Engine, queue: str) -> None:
    async with Simulator() as simulator, workers(simulator, engine, queue), web(simulator, engine, queue) as (client, store):
        [job_id] = simulator.seed_jobs(kind="image", duration=0.5, fate="success")
        one, two = await asyncio.gather(client.wait(job_id, store=store), client.wait(job_id, store=store))
        assert one == two
        assert one.urls
        assert one.raw == (await client.wait(job_id, store=store)).raw  # kept, and read no more
        reads = simulator.stats().by_kind["read"]
        assert reads <= 6


async def test_waits_raise_what_became_of_the_job(engine: Engine, queue: str) -> None:
    async with Simulator() as simulator, workers(simulator, engine, queue), web(simulator, engine, queue) as (client, store):
        [failed] = simulator.seed_jobs(kind="video", age=600, fate="failed")
        [endless] = simulator.seed_jobs(kind="video", duration=1000)
        with pytest.raises(JobFailedError) as failure:
            await client.wait(failed, store=store)
        assert failure.value.job is not None
        with pytest.raises(WaitTimeoutError):
            await client.wait(endless, store=store, timeout=0.5)
        results = await client.wait_all([failed, endless, ""], store=store, timeout=1.5)
        assert [type(result).__name__ for result in results.values()] == ["FlowJob", "WaitTimeoutError", "UsageError"]


async def test_a_watch_over_a_store_is_a_watch(engine: Engine, queue: str) -> None:
    async with Simulator() as simulator, workers(simulator, engine, queue), web(simulator, engine, queue) as (client, store):
        job_ids = simulator.seed_jobs(30, kind="mix", duration=(0.2, 1.0))
        async with client.watch(job_ids, store=store) as watcher:
            events = [event async for event in watcher]
        assert sorted(event.job.job_id for event in events if isinstance(event, Ended)) == sorted(job_ids)
        with pytest.raises(UsageError, match="business of its workers"):
            client.watch(job_ids, store=store, concurrency=5)  # type: ignore[call-overload]  # which is the point


async def test_a_job_that_ends_goes_to_every_group_with_its_record(engine: Engine, queue: str) -> None:
    async with Simulator() as simulator, workers(simulator, engine, queue), web(simulator, engine, queue) as (_, store):
        job_ids = simulator.seed_jobs(10, kind="video", age=600)
        await store.submit(job_ids)
        for group in ("bills", "mails"):
            async with store.events(group, "one") as events, asyncio.timeout(20):
                found = [await anext(events) for _ in job_ids]
            records = [delivery.event.job for delivery in found if isinstance(delivery.event, Ended)]
            assert sorted(job.job_id for job in records) == sorted(job_ids)
            assert all(job.raw for job in records)
