"""Many wait at the end of one stream, and one of them reads."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from cluster_engines import Engine  # noqa: TC002 - a fixture's type
from cluster_kit import claimed, end_all, ids, pause, until

from asyncflow import Ended
from asyncflow.cluster import RedisStore
from asyncflow.cluster.stores.redis.shared_tail import SharedTail, as_place


class Stream:
    """A stream that grows; *reads* are how often it was asked, *most* how many at once."""

    def __init__(self) -> None:
        self.length = 0
        self.reads = self.most = self.reading = 0
        self._grown = asyncio.Event()

    def grow(self, count: int = 1) -> None:
        self.length += count
        self._grown.set()
        self._grown = asyncio.Event()

    async def fetch(self, after: str, wait: float) -> list[tuple[str, Any]]:
        self.reads += 1
        self.reading += 1
        self.most = max(self.most, self.reading)
        first = as_place(after)[0]
        try:
            async with asyncio.timeout(wait or None):
                while self.length <= first and wait:
                    await self._grown.wait()
        except TimeoutError:
            pass
        finally:
            self.reading -= 1
        return [(f"{number}-0", number) for number in range(first + 1, min(self.length, first + 50) + 1)]


async def follow(tail: SharedTail, after: int, until: int) -> list[int]:
    found: list[int] = []
    while after < until:
        for text, entry in await tail.beyond(f"{after}-0", 5.0):
            found.append(entry)
            after = as_place(text)[0]
    return found


@pytest.mark.virtual_time
async def test_all_see_all_and_one_reads() -> None:
    stream = Stream()
    tail = SharedTail(stream.fetch)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(tail, start, 120)) for start in (0, 0, 0, 7)]
        for _ in range(120):
            await pause(0.1)
            stream.grow()
    assert [task.result() for task in tasks] == [list(range(1, 121))] * 3 + [list(range(8, 121))]
    assert stream.most == 1
    assert stream.reads < 140


@pytest.mark.virtual_time
async def test_when_the_one_who_reads_is_cancelled_another_goes_on() -> None:
    stream = Stream()
    tail = SharedTail(stream.fetch)
    tasks = [asyncio.create_task(follow(tail, 0, 10)) for _ in range(5)]
    for task in tasks[:4]:
        await pause(0.1)
        task.cancel()
        await pause(0.1)
        stream.grow(2)
    stream.grow(2)
    assert await tasks[4] == list(range(1, 11))
    assert stream.most == 1
    await asyncio.wait(tasks)


@pytest.mark.virtual_time
async def test_whoever_is_behind_catches_up() -> None:
    stream = Stream()
    tail = SharedTail(stream.fetch)
    stream.grow(1000)
    assert await tail.beyond("990-0", 1.0) == [(f"{number}-0", number) for number in range(991, 1001)]
    assert await follow(tail, 0, 1000) == list(range(1, 1001))
    assert await tail.beyond("1000-0", 1.0) == []
    stream.grow(1000)
    assert await follow(tail, 1500, 2000) == list(range(1501, 2001))


@pytest.mark.virtual_time
async def test_nobody_misses_anything_whatever_the_order() -> None:
    dice = Random(7)
    stream = Stream()
    tail = SharedTail(stream.fetch)

    async def come_and_go() -> None:
        for _ in range(20):
            await pause(dice.uniform(0, 3))
            start = max(stream.length - dice.choice([0, 3, 400]), 0)
            found = await follow(tail, start, stream.length + dice.randrange(1, 5))
            assert found[0] == start + 1
            assert all(newer == older + 1 for older, newer in pairwise(found))

    async def grow() -> None:
        while True:
            await pause(dice.uniform(0, 0.5))
            stream.grow(dice.randrange(1, 20))

    growing = asyncio.create_task(grow())
    await asyncio.gather(*(come_and_go() for _ in range(10)))
    growing.cancel()


@pytest.mark.asyncio
async def test_two_hundred_waits_take_a_handful_of_connections(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as store, RedisStore(engine.url, queue) as other:

        async def wait(job_id: str) -> object:
            async with store.watch([job_id]) as watcher:
                return [event async for event in watcher][-1]

        waits = [asyncio.create_task(wait(job_id)) for job_id in ids(200)]

        async def are_there() -> bool:
            return (await other.status()).watched == 200

        await until(are_there)
        before = len(await claimed(other, 0))
        assert before == 0
        await end_all(other, 200)
        async with asyncio.timeout(20):
            assert all(isinstance(event, Ended) for event in await asyncio.gather(*waits))
        clients = (await other._link.call("CLIENT", "LIST")).decode()
        assert clients.count("\n") <= 40
