"""What the tests of stores and workers share: jobs, reports, and waiting for what a store says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asyncflow import Abandoned, Changed, Ended, ErrorInfo, Event, FlowJob
from asyncflow.cluster import MemoryStore, RedisStore
from asyncflow.cluster.store import Claim, PollReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncflow.cluster.consumer import EventStream
    from asyncflow.cluster.store import Delivery

AnyStore = MemoryStore | RedisStore


def job_id(number: int) -> str:
    return f"j1104093012{448120573 + number:09d}v-u1234-email:jo-ann+flow@example.com-bot:google-flow"


def ids(count: int) -> list[str]:
    return [job_id(number) for number in range(count)]


def changed(job_id: str, status: str = "started", previous: str | None = None) -> Changed:
    return Changed(FlowJob(job_id, status=status, kind="video"), previous)


def ended(job_id: str, status: str = "completed") -> Ended:
    return Ended(FlowJob(job_id, status=status, kind="video"))


def abandoned(job_id: str) -> Abandoned:
    return Abandoned(job_id, ErrorInfo("not_found", "Job not found"))


def again(claim: Claim, pause: float = 0.0, event: Event | None = None, state: str = "a state") -> PollReport:
    return PollReport(claim.job_id, claim.fence, pause, state, event)


def over(claim: Claim, event: Event | None = None) -> PollReport:
    return PollReport(claim.job_id, claim.fence, None, "", event if event is not None else ended(claim.job_id))


async def claimed(store: AnyStore, count: int = 1, lease: float = 30.0, worker: str = "one") -> list[Claim]:
    return list((await store.claim(worker, count, lease)).jobs)


async def end_all(store: AnyStore, count: int) -> None:
    """Have *count* due jobs end."""
    jobs = await claimed(store, count)
    assert len(jobs) == count
    assert all(await store.report("one", [over(job) for job in jobs]))


async def some(stream: EventStream, count: int) -> list[Delivery]:
    async with asyncio.timeout(20):
        return [await anext(stream) for _ in range(count)]


async def told(store: AnyStore, count: int, group: str = "group") -> list[Delivery]:
    async with store.events(group, "one") as events:
        return await some(events, count)


async def until(look: Callable[[], Awaitable[object]], limit: float = 20.0) -> None:
    """Return when *look* finds something."""
    async with asyncio.timeout(limit):
        while not await look():
            await pause(0.01)


async def pause(seconds: float) -> None:
    """Wait for something that nobody tells of: a server's clock."""
    done = asyncio.Event()
    handle = asyncio.get_running_loop().call_later(seconds, done.set)
    try:
        await done.wait()
    finally:
        handle.cancel()
