"""What ends a stream, and how the consumer learns of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from typing import TYPE_CHECKING

import pytest
from ticks import MisuseError, Ticks, forever, pause, rest_of, stream_of

from asyncflow.stream import Emitter, Stream
from asyncflow.testing import now

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


async def failing_with(error: BaseException) -> None:
    raise error


async def test_an_error_comes_after_what_was_gathered_and_only_once() -> None:
    error = ValueError("refused")
    stream = stream_of(Ticks(3, error))
    await anext(stream)
    await pause(10)
    assert [await anext(stream), await anext(stream)] == [1, 2]
    with pytest.raises(ValueError, match="refused") as caught:
        await anext(stream)
    assert caught.value is error
    assert await rest_of(stream) == []


async def test_an_error_in_a_worker_leaves_the_consumers_own_waiting_alone() -> None:
    async with stream_of(Ticks(1, ValueError())) as stream:
        await anext(stream)
        await pause(100)
        assert now() == 100


async def test_an_error_of_the_consumer_is_raised_as_it_is() -> None:
    core = Ticks()
    error = KeyError("mine")

    async def consume() -> None:
        async with stream_of(core) as stream:
            async for item in stream:
                if item == 2:
                    raise error

    with pytest.raises(KeyError) as caught:
        await consume()
    assert caught.value is error
    assert core.is_closed


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (ExceptionGroup("", [ExceptionGroup("", [KeyError("a")])]), KeyError),
        (ExceptionGroup("", [KeyError("a"), ExceptionGroup("", [KeyError("a")])]), KeyError),
        (ExceptionGroup("", [KeyError("a"), KeyError("b")]), ExceptionGroup),
        (ExceptionGroup("", [KeyError("a"), IndexError("a")]), ExceptionGroup),
        (StopAsyncIteration(), RuntimeError),
        (ExceptionGroup("", [StopAsyncIteration()]), RuntimeError),
    ],
)
async def test_a_group_comes_down_to_its_one_error_and_no_error_looks_like_the_end(
    raised: Exception, shown: type[Exception]
) -> None:
    with pytest.raises(shown) as caught:
        await rest_of(stream_of(Ticks(0, raised)))
    assert caught.type is shown


async def test_workers_that_fail_together_give_the_first_error_alone() -> None:
    async def run(sink: Emitter[int]) -> None:
        sink.put(1)
        for number in range(3):
            sink.start_soon(work, sink, number)

    async def work(sink: Emitter[int], number: int) -> None:
        sink.fail(ValueError(number))

    stream = Stream(run, name="failing")
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match=r"^0$"):
        await anext(stream)


async def test_a_runner_may_finish_before_its_workers_have() -> None:
    async def run(sink: Emitter[int]) -> None:
        sink.start_soon(forever)
        sink.put(1)
        await pause(5)
        sink.finish()

    assert await rest_of(Stream(run, name="finishing")) == [1]
    assert now() == 5


async def test_a_stray_cancellation_in_a_worker_is_not_taken_for_the_end() -> None:
    async def run(sink: Emitter[int]) -> None:
        sink.start_soon(failing_with, asyncio.CancelledError())
        await forever()

    with pytest.raises(MisuseError, match="cancelled from outside"):
        await rest_of(Stream(run, name="cut", usage_error=MisuseError))


async def test_an_owner_that_is_cancelled_from_outside_says_so_to_the_consumer() -> None:
    stream = Stream(silent(1, 2), name="cut", usage_error=MisuseError)
    assert await anext(stream) == 1
    (owner,) = (task for task in asyncio.all_tasks() if task.get_name() == "cut")
    owner.cancel()
    assert await anext(stream) == 2
    with pytest.raises(MisuseError, match="cancelled from outside"):
        await anext(stream)


async def test_a_raised_error_leaves_no_cycle_behind() -> None:
    async def run(sink: Emitter[int]) -> None:
        sink.fail(ValueError())

    stream = Stream(run, name="failing")
    watched = weakref.ref(stream)
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            await rest_of(stream)
        del stream
        assert watched() is None
    finally:
        gc.enable()


async def test_no_consumer_is_left_waiting_when_an_error_cannot_be_compared() -> None:
    class OddError(Exception):
        def __eq__(self, other: object) -> bool:
            raise ArithmeticError

        __hash__ = None  # type: ignore[assignment] # as for every class with such an __eq__

    odd = ExceptionGroup("", [KeyError(OddError()), KeyError(OddError())])
    with pytest.raises(ArithmeticError):
        await rest_of(stream_of(Ticks(0, odd)))


async def test_an_error_nobody_reads_is_logged_by_its_type_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with stream_of(Ticks(1, ValueError("user:1-secret"))) as stream:
        await pause(10)
    with caplog.at_level(logging.WARNING):
        del stream
    (record,) = caplog.records
    assert (record.name, record.message) == ("asyncflow.stream", "stream_error_unread")
    assert (vars(record)["stream"], vars(record)["error"]) == ("ticks", "ValueError")
    assert "secret" not in caplog.text
