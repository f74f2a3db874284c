"""Cancelling a consumer loses nothing, and closing waits for the run's cleanup."""

from __future__ import annotations

import asyncio
import contextlib
import random
from itertools import count

import anyio
import pytest
from ticks import Ticks, forever, pause, rest_of, stream_of

from asyncflow.stream import Emitter, Stream
from asyncflow.testing import call_later, now

pytestmark = pytest.mark.virtual_time


async def test_a_consumer_cancelled_while_waiting_loses_nothing() -> None:
    stream = stream_of(Ticks(3))
    for expected in range(3):
        consumer = asyncio.create_task(anext(stream))
        await pause(0)
        if expected:
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            consumer = asyncio.create_task(anext(stream))
        assert await consumer == expected
    assert await rest_of(stream) == []


async def test_a_consumer_cancelled_between_wake_up_and_delivery_loses_nothing() -> None:
    sinks: list[Emitter[int]] = []

    async def run(sink: Emitter[int]) -> None:
        sinks.append(sink)
        await forever()

    async with Stream(run, name="quiet") as stream:
        consumer, other = (asyncio.create_task(anext(stream)) for _ in range(2))
        await pause(0)
        sinks[0].put(1)
        consumer.cancel()
        # The second one gets what the first one was woken for.
        assert await other == 1
        assert consumer.cancelled()

        consumer = asyncio.create_task(anext(stream))
        await pause(0)
        sinks[0].put(2)
        consumer.cancel()
        assert await anext(stream) == 2

        # A waiter that is cancelled already is passed over.
        consumer, other = (asyncio.create_task(anext(stream)) for _ in range(2))
        await pause(0)
        consumer.cancel()
        sinks[0].put(3)
        assert await other == 3


async def test_a_consumer_that_is_closed_in_mid_wait_leaves_no_trace() -> None:
    core = Ticks()
    async with stream_of(core) as stream:
        assert await anext(stream) == 0
        waiting = stream.__anext__()
        waiting.send(None)
        waiting.close()
        assert await anext(stream) == 1


async def test_a_timeout_around_anext_loses_nothing() -> None:
    stream = stream_of(Ticks(3))
    seen: list[int] = []
    for turn in range(20):
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            if turn % 3 == 0:
                async with asyncio.timeout(0.25):
                    seen.append(await anext(stream))
            elif turn % 3 == 1:
                with anyio.move_on_after(0.25):
                    seen.append(await anext(stream))
            else:
                seen.append(await asyncio.wait_for(stream.__anext__(), 0.25))
    assert seen == [0, 1, 2]
    assert stream.is_ended


async def by_scope(stream: Stream[int], patience: float) -> int:
    with anyio.move_on_after(patience):
        return await anext(stream)
    raise TimeoutError


async def by_timeout(stream: Stream[int], patience: float) -> int:
    async with asyncio.timeout(patience):
        return await anext(stream)


async def by_wait_for(stream: Stream[int], patience: float) -> int:
    return await asyncio.wait_for(stream.__anext__(), patience)


async def by_cancel(stream: Stream[int], patience: float) -> int:
    asking = asyncio.create_task(stream.__anext__())
    call_later(patience, asking.cancel)
    return await asking


@pytest.mark.parametrize("seed", range(4))
async def test_random_cancellations_lose_nothing_and_double_nothing(seed: int) -> None:
    dice = random.Random(seed)
    numbers = range(400)

    async def run(sink: Emitter[int]) -> None:
        for number in numbers:
            # Whole seconds on both sides, so that items and cancellations meet in the same turn of the loop.
            await pause(dice.choice((0, 0, 1, 2)))
            sink.put(number, number)

    stream = Stream(run, name="random", buffer=dice.choice((0, 10)))
    seen: list[int] = []
    cancelled = count()

    async def consume() -> None:
        while True:
            way = dice.choice((by_scope, by_timeout, by_wait_for, by_cancel))
            try:
                seen.append(await way(stream, dice.choice((0, 1, 1, 2))))
            except (TimeoutError, asyncio.CancelledError):
                next(cancelled)
            except StopAsyncIteration:
                return

    await asyncio.gather(consume(), consume(), consume())
    assert sorted(seen) == list(numbers)
    assert next(cancelled) >= 250


async def test_a_cancelled_consumer_closes_what_it_entered() -> None:
    core = Ticks()

    async def consume() -> None:
        async with stream_of(core) as stream:
            await rest_of(stream)

    consumer = asyncio.create_task(consume())
    await pause(3.5)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert core.is_closed


class Lingering(Ticks):
    """Takes five shielded seconds to end."""

    async def run(self, sink: Emitter[int]) -> None:
        sink.put(0)
        try:
            await forever()
        finally:
            with anyio.CancelScope(shield=True):
                await pause(5)
            self.is_closed = True


async def test_close_waits_for_cleanup_even_when_a_framework_cancels_again_and_again() -> None:
    core = Lingering()
    with anyio.move_on_after(2) as scope:
        async with stream_of(core) as stream:
            await rest_of(stream)
    assert scope.cancelled_caught
    assert core.is_closed
    assert now() == 7


async def test_a_natively_cancelled_close_stops_waiting_but_the_run_still_ends() -> None:
    core = Lingering()
    stream = stream_of(core)
    await anext(stream)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await stream.aclose()
    assert not core.is_closed
    await stream.aclose()
    assert core.is_closed
    assert now() == 5
