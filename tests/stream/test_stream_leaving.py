"""Every way to leave a stream ends its run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from ticks import Ticks, forever, pause, rest_of, settle, stream_of

from asyncflow.stream import Emitter, Stream
from asyncflow.testing import VirtualTimeLoop, now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.virtual_time


async def test_break_ends_the_run_and_the_task_goes_on() -> None:
    core = Ticks()
    async with stream_of(core) as stream:
        async for item in stream:
            if item == 3:
                break
    assert core.is_closed
    await pause(10)
    assert now() == 13


async def test_a_bare_loop_left_by_break_leaks_nothing() -> None:
    core = Ticks()

    async def consume() -> None:
        async for _ in stream_of(core):
            break

    with pytest.warns(ResourceWarning, match="ticks was dropped without aclose"):
        await consume()
    await settle()
    assert core.is_closed
    await pause(10)
    assert [task.get_name() for task in asyncio.all_tasks() if "ticks" in task.get_name()] == []


async def test_a_bare_loop_that_runs_to_the_end_needs_no_closing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [item async for item in stream_of(Ticks(2))] == [0, 1]


def in_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


async def test_a_dropped_stream_cancels_its_run_even_if_warnings_are_errors() -> None:
    core = Ticks()
    stream = stream_of(core)
    await anext(stream)
    seen: list[object] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr("sys.unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))
        warnings.simplefilter("error")
        del stream
    assert seen == [ResourceWarning]
    await settle()
    assert core.is_closed


async def test_a_stream_dropped_in_another_thread_is_cancelled_in_its_own_loop() -> None:
    core = Ticks()
    holder = [stream_of(core)]
    await anext(holder[0])
    with pytest.warns(ResourceWarning):
        in_a_thread(holder.clear)
    await settle()
    assert core.is_closed


async def test_an_error_while_a_dropped_run_ends_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def run(sink: Emitter[int]) -> None:
        sink.put(1)
        try:
            await forever()
        finally:
            raise ValueError

    stream = Stream(run, name="ending badly")
    await anext(stream)
    with pytest.warns(ResourceWarning):
        del stream
    await settle()
    assert [record.message for record in caplog.records] == ["stream_error_unread"]


def test_a_stream_that_outlives_its_loop_can_still_be_dropped() -> None:
    loop = VirtualTimeLoop()
    stream = stream_of(Ticks())
    # The loop is closed before the owner's first step.
    loop.call_soon(start, stream)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del stream
    assert "ticks was dropped without aclose()" in [str(warning.message) for warning in caught]


def start(stream: Stream[int]) -> None:
    with pytest.raises(StopIteration):
        stream.__aenter__().send(None)


async def test_aclosing_around_it_raises_nothing() -> None:
    core = Ticks()
    async with contextlib.aclosing(stream_of(core)) as stream:
        assert await anext(stream) == 0
    assert core.is_closed


async def test_aclose_from_another_task_ends_a_waiting_consumer() -> None:
    core = Ticks()
    stream = stream_of(core)
    consumer = asyncio.create_task(rest_of(stream))
    await pause(2.5)
    await asyncio.create_task(stream.aclose())
    assert core.is_closed
    assert await consumer == [0, 1, 2]


async def test_what_was_gathered_before_the_close_can_still_be_read() -> None:
    stream = stream_of(Ticks())
    assert await anext(stream) == 0
    await pause(2.5)
    await stream.aclose()
    assert await rest_of(stream) == [1, 2]


async def test_closing_twice_and_at_once_is_closing_once() -> None:
    core = Ticks()
    stream = stream_of(core)
    await anext(stream)
    await asyncio.gather(stream.aclose(), stream.aclose())
    await stream.aclose()
    assert core.is_closed


async def test_closed_before_its_start_it_never_starts() -> None:
    core = Ticks()
    stream = stream_of(core)
    await stream.aclose()
    assert await rest_of(stream) == []
    async with stream:
        pass
    assert not core.is_started


async def test_closed_before_the_owners_first_step_it_never_starts() -> None:
    core = Ticks()
    async with stream_of(core) as stream:
        pass
    assert not core.is_started
    assert await rest_of(stream) == []


@pytest.mark.parametrize("place", ["runner", "worker", "child of a worker"])
async def test_closed_from_within_it_does_not_wait_for_itself(place: str) -> None:
    reached: list[int] = []

    async def close() -> None:
        await stream.aclose()
        reached.append(1)

    async def gather() -> None:
        await asyncio.gather(close())

    async def run(sink: Emitter[int]) -> None:
        if place == "runner":
            await close()
        sink.start_soon(close if place == "worker" else gather)
        await forever()

    stream = Stream(run, name="closing itself")
    assert await rest_of(stream) == []
    assert reached == [1]


async def test_a_stream_within_a_stream_is_waited_for() -> None:
    inner = Ticks()

    async def run(sink: Emitter[int]) -> None:
        async with stream_of(inner) as stream:
            sink.put(await anext(stream))
        assert inner.is_closed

    assert await rest_of(Stream(run, name="outer")) == [0]


@pytest_asyncio.fixture
async def entered() -> AsyncIterator[tuple[Ticks, Stream[int]]]:
    core = Ticks()
    async with stream_of(core) as stream:
        yield core, stream
    assert core.is_closed


async def test_a_fixture_may_enter_it_in_another_task(entered: tuple[Ticks, Stream[int]]) -> None:
    core, stream = entered
    async for item in stream:
        if item == 2:
            break
    assert not core.is_closed


async def test_it_may_be_entered_and_left_in_different_tasks() -> None:
    core = Ticks()
    stream = await asyncio.create_task(stream_of(core).__aenter__())
    assert await anext(stream) == 0
    await asyncio.create_task(stream.__aexit__(None, None, None))
    assert core.is_closed
