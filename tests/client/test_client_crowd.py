"""Many at once: ceilings, priorities, cancellations, and a thousand jobs on a bad day."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from service_kit import TOKEN, client_of, clock

from asyncflow import Abandoned, AsyncClient, AsyncflowError, Changed, Ended, Job, Pacer, Unreachable, fixed_interval
from asyncflow.simulator import Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

LONG = bool(os.environ.get("ASYNCFLOW_LONG"))


# -- ceilings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_no_more_requests_are_in_flight_than_allowed(concurrency: int) -> None:
    async with (
        Simulator(faults=Faults(latency=0.15)) as simulator,
        client_of(simulator, concurrency=concurrency, policy=fixed_interval(0.2)) as client,
    ):
        ids = simulator.seed_jobs(12 if concurrency > 1 else 3, duration=0.3)
        await asyncio.gather(client.wait_all(ids, timeout=4), *map(client.get_job, ids))
        stats = simulator.stats()
        assert min(concurrency, 3) <= stats.peak_in_flight <= concurrency
        assert stats.peak_open_connections <= concurrency


async def test_no_more_requests_start_in_a_second_than_allowed() -> None:
    async with Simulator() as simulator, client_of(simulator, rate=20) as client:
        start = clock()
        await asyncio.gather(*map(client.get_job, simulator.seed_jobs(30, age=600)))
        assert simulator.stats().peak_rate <= 21
        assert 1.2 < clock() - start < 2.5


async def test_two_clients_share_one_budget() -> None:
    pacer = Pacer(concurrency=4)
    async with (
        Simulator(faults=Faults(latency=0.15)) as simulator,
        client_of(simulator, pacer=pacer) as one,
        client_of(simulator, pacer=pacer) as other,
    ):
        ids = simulator.seed_jobs(8, age=600)
        await asyncio.gather(*map(one.get_job, ids), *map(other.get_job, ids))
        assert 3 <= simulator.stats().peak_in_flight <= 4


async def test_who_looks_on_is_served_while_thousands_are_watched() -> None:
    async with (
        Simulator(faults=Faults(latency=0.02)) as simulator,
        client_of(simulator, rate=200, concurrency=20, policy=fixed_interval(1)) as client,
    ):
        ids = simulator.seed_jobs(3000, fate="endless")
        waits: list[float] = []
        async with client.watch(ids) as watcher:
            while simulator.stats().requests < 100:
                await anext(watcher)
            for job_id in random.Random(1).sample(ids, 20):
                start = clock()
                await client.get_job(job_id)
                waits.append(clock() - start)
        assert sorted(waits)[10] < 0.15
        assert max(waits) < 0.6


async def test_callers_are_served_in_the_order_of_coming() -> None:
    served: list[str] = []
    async with Simulator() as simulator, client_of(simulator, rate=50) as client:
        ids = simulator.seed_jobs(20, age=600)

        async def read(job_id: str) -> None:
            await client.get_job(job_id)
            served.append(job_id)

        await asyncio.gather(*map(read, ids))
        assert served == ids


# -- a bad day -----------------------------------------------------------------------------------------------------------------


async def test_a_thousand_jobs_on_a_bad_day_have_a_thousand_outcomes() -> None:
    count = 10_000 if LONG else 1000
    faults = Faults(reset=0.02, server_error=0.02, garble=0.01, rate_limit=200, burst=50, retry_after=1)
    faults.failed = faults.partial = faults.no_media = faults.refused = 0.05
    async with Simulator(seed=11, faults=faults) as simulator, client_of(simulator, policy=fixed_interval(2)) as client:
        duration = (0.5, 20 if LONG else 2)
        ids = [*simulator.seed_jobs(count - 10, kind="mix", duration=duration), *simulator.seed_jobs(10, foreign=True)]
        told: Counter[str] = Counter()
        outcomes: dict[str, str] = {}
        outages: Counter[str] = Counter()
        async with client.watch(ids, timeout=500 if LONG else 60) as watcher:
            async for event in watcher:
                match event:
                    case Ended(job):
                        told[job.job_id] += 1
                        outcomes[job.job_id] = job.outcome.value
                    case Abandoned(job_id, problem):
                        told[job_id] += 1
                        outcomes[job_id] = problem.kind
                    case Changed(job):
                        assert job.job_id not in told
                    case Unreachable(job_id):
                        outages[job_id] += 1
        truth = {job.job_id: "forbidden" if job.foreign else job.expected for job in simulator.truth()}
        assert outcomes == truth
        assert told == dict.fromkeys(ids, 1)
        stats = simulator.stats()
        # A machine that never sends what the limit forbids in a second is too slow to meet it.
        assert stats.throttled > 0 or stats.peak_rate <= 250
        assert min(stats.faults[name] for name in ("reset", "server_error", "garble")) > 0
        # A budget that obeys finds the limit without being told so again and again.
        assert stats.throttled < stats.requests * 0.15
        assert client.pacer.stats().in_flight == 0


# -- cancellation --------------------------------------------------------------------------------------------------------------


def calls(client: AsyncClient, ids: list[str], dice: random.Random) -> list[Callable[[], Awaitable[object]]]:
    async def watch() -> None:
        async with client.watch(ids) as watcher:
            async for _ in watcher:
                pass

    async def watch_and_break() -> None:
        watcher = client.watch(ids)
        try:
            async for _ in watcher:
                break
        finally:
            await watcher.aclose()

    return [
        lambda: client.get_job(dice.choice(ids)),
        lambda: client.wait(dice.choice(ids), timeout=dice.choice([0.01, 5])),
        lambda: client.wait_all(ids, timeout=5),
        watch,
        watch_and_break,
        lambda: client.get_stats("google-flow"),
        lambda: client.submit("google-flow/videos", {"prompt": "a kite", "async": True}),
    ]


async def test_cancelled_calls_leave_nothing_behind() -> None:
    rounds = 5000 if LONG else 400
    dice = random.Random(5)
    before = asyncio.all_tasks()
    faults = Faults(latency=(0.0, 0.005), reset=0.1, garble=0.05, slow=0.05, slow_seconds=0.05)
    async with Simulator(faults=faults) as simulator:
        ids = simulator.seed_jobs(20, duration=(0, 100))
        for _ in range(rounds // 4):
            # A new budget for each few calls: it lets the first ones go at once, and so they are cut off at every stage.
            async with AsyncClient(TOKEN, base_url=simulator.url, concurrency=10, policy=fixed_interval(0.05)) as client:
                choices = calls(client, ids, dice)
                await asyncio.gather(*(cancelled(dice.choice(choices), dice) for _ in range(4)))
                stats = client.pacer.stats()
                assert (stats.in_flight, stats.waiting, client.pacer._callbacks) == (0, 0, {})
                if dice.random() < 0.05:
                    simulator.faults.reset = 0
                    assert isinstance(await client.get_job(ids[0], timeout=60), Job)
                    simulator.faults.reset = 0.1
            assert client.pacer.stats().in_flight == 0
        assert simulator.stats().by_status["disconnected"] > 20
        assert simulator.stats().by_status["200"] > 20
    assert asyncio.all_tasks() == before
    gc.collect()


async def cancelled(call: Callable[[], Awaitable[object]], dice: random.Random) -> None:
    """Make *call* and cancel it after some steps of the event loop, or some milliseconds."""
    task = asyncio.ensure_future(call())
    if dice.random() < 0.5:
        for _ in range(dice.randrange(40)):
            await asyncio.wait({task}, timeout=0)
            if task.done():
                break
    else:
        await asyncio.wait({task}, timeout=dice.uniform(0, 0.03))
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        error = task.exception()
        assert error is None or isinstance(error, AsyncflowError)


async def test_a_cancelled_caller_in_line_holds_up_nobody() -> None:
    async with Simulator(faults=Faults(latency=0.1)) as simulator, client_of(simulator, concurrency=1) as client:
        ids = simulator.seed_jobs(6, age=600)
        tasks = [asyncio.create_task(client.get_job(job_id)) for job_id in ids]
        await asyncio.wait(tasks, timeout=0.01)
        for task in tasks[1:4]:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [False, True, True, True, False, False]
        assert simulator.stats().requests == 3


async def test_a_fetch_that_makes_tasks_of_its_own_pays_once() -> None:
    async with Simulator(faults=Faults(latency=0.05)) as simulator, client_of(simulator, concurrency=5) as client:
        ids = simulator.seed_jobs(30, age=600)

        async def read(job_id: str) -> Job:
            return await asyncio.wait_for(asyncio.ensure_future(client.get_job(job_id)), 10)

        watcher = type(client.watch())(read, ids, pacer=client.pacer, policy=fixed_interval(0.1))
        async with watcher:
            assert len([event async for event in watcher]) == 30
        assert simulator.stats().peak_in_flight <= 5
        assert sum(client.pacer.stats().starts.values()) == simulator.stats().requests == 30


async def test_an_outage_is_survived() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=fixed_interval(0.2)) as client:
        ids = simulator.seed_jobs(20, duration=0.5)
        simulator.faults = Faults(reset=1)
        waiting = asyncio.create_task(client.wait_all(ids, timeout=30))
        await asyncio.wait({waiting}, timeout=1)
        simulator.faults = Faults()
        results = await waiting
        assert Counter(type(result).__name__ for result in results.values()) == {"FlowJob": 20}
