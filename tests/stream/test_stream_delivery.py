"""What is put comes out: in order, shared, and bounded in memory."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest
from anyio.lowlevel import checkpoint
from ticks import Ticks, forever, pause, rest_of, stream_of

from asyncflow.stream import Emitter, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.virtual_time


def silent(*numbers: int) -> Callable[[Emitter[int]], Coroutine[None, None, None]]:
    """Return a runner that puts *numbers* and then waits."""

    async def run(sink: Emitter[int]) -> None:
        for number in numbers:
            sink.put(number)
        await forever()

    return run


async def test_everything_put_comes_out_in_order_and_the_end_stays_the_end() -> None:
    stream = stream_of(Ticks(3))
    assert [item async for item in stream] == [0, 1, 2]
    assert stream.is_ended
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_nothing_starts_before_it_is_asked_for() -> None:
    core = Ticks()
    stream = stream_of(core)
    await pause(10)
    assert not core.is_started
    assert await anext(stream) == 0
    await stream.aclose()


async def test_entering_starts_the_run() -> None:
    core = Ticks()
    async with stream_of(core):
        await pause(9.5)
        assert core.is_started
        assert core.sink.undelivered == 10
    assert core.is_closed


async def test_what_is_put_after_the_end_is_dropped() -> None:
    core = Ticks(1)
    stream = stream_of(core)
    assert await rest_of(stream) == [0]
    core.sink.put(7)
    assert await rest_of(stream) == []


async def test_a_burst_reaches_a_busy_consumer_while_others_keep_running() -> None:
    turns = count()

    async def others() -> None:
        while True:
            next(turns)
            await checkpoint()

    task = asyncio.create_task(others())
    async with Stream(silent(*range(10_000)), name="burst", buffer=10_000) as stream:
        assert [await anext(stream) for _ in range(10_000)] == list(range(10_000))
    task.cancel()
    assert next(turns) >= 100


async def test_several_consumers_share_the_items_and_all_see_the_end() -> None:
    stream = stream_of(Ticks(9))
    shares = await asyncio.gather(*(rest_of(stream) for _ in range(3)))
    assert sorted(item for share in shares for item in share) == list(range(9))
    assert all(shares)


Step = tuple[str, str | None, str]  # key, status before, status


def merge(older: Step, newer: Step) -> Step | None:
    """Join two changes, let an ending absorb a change, and keep an ending apart from what follows."""
    return None if older[2] == "ended" else (newer[0], older[1], newer[2])


async def drained(steps: list[Step], buffer: int) -> list[Step]:
    async def run(sink: Emitter[Step]) -> None:
        for step in steps:
            sink.put(step, step[0])

    async with Stream(run, name="steps", buffer=buffer, merge=merge) as stream:
        await pause(1)
        return [step async for step in stream]


async def test_up_to_the_buffer_every_item_is_kept() -> None:
    steps: list[Step] = [("a", None, "x"), ("a", "x", "y"), ("a", "y", "ended")]
    assert await drained(steps, 3) == steps


async def test_beyond_the_buffer_a_sleeper_gets_the_latest_of_each_key_in_its_first_place() -> None:
    steps: list[Step] = [("a", None, "x"), ("b", None, "x"), ("a", "x", "y"), ("b", "x", "y"), ("a", "y", "z"), ("c", None, "x")]
    assert await drained(steps, 2) == [("a", None, "z"), ("b", None, "y"), ("c", None, "x")]


async def test_beyond_the_buffer_an_ending_absorbs_a_change_and_is_never_dropped() -> None:
    steps: list[Step] = [("a", None, "x"), ("a", "x", "ended"), ("a", None, "x"), ("a", "x", "y")]
    assert await drained(steps, 0) == [("a", None, "ended"), ("a", None, "y")]


async def test_a_delivered_item_takes_nothing_in() -> None:
    async def run(sink: Emitter[str]) -> None:
        sink.put("first", "key")
        await pause(1)
        sink.put("second", "key")

    async with Stream(run, name="steps", buffer=0) as stream:
        assert [await anext(stream), await anext(stream)] == ["first", "second"]


async def test_without_a_merge_the_newest_wins_and_keyless_items_all_stay() -> None:
    async def run(sink: Emitter[int]) -> None:
        for number in range(4):
            sink.put(number, "key")
            sink.put(-number)

    async with Stream(run, name="steps", buffer=0) as stream:
        await pause(1)
        assert await rest_of(stream) == [3, 0, -1, -2, -3]


async def test_a_sleeping_consumer_costs_memory_by_the_number_of_keys_only() -> None:
    async def run(sink: Emitter[int]) -> None:
        for number in range(50_000):
            sink.put(number, number % 100)
        assert sink.undelivered == 110

    async with Stream(run, name="steps", buffer=110) as stream:
        await pause(1)
        assert len(await rest_of(stream)) == 110
