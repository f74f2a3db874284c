"""Which loop, context and task a run belongs to."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import pytest
import sniffio
from ticks import MisuseError, Ticks, forever, pause, rest_of, stream_of

from asyncflow.stream import Emitter, Stream
from asyncflow.testing import VirtualTimeLoop, call_later

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.virtual_time


# A factory that starts tasks at once came with Python 3.12.
TASK_FACTORIES = dict.fromkeys([None, getattr(asyncio, "eager_task_factory", None)])


def test_another_event_loop_is_refused_at_once() -> None:
    stream = stream_of(Ticks())
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as first, asyncio.Runner(loop_factory=VirtualTimeLoop) as second:
        first.run(stream.__aenter__())
        for use in (stream.__anext__, stream.__aenter__, stream.aclose):
            with pytest.raises(MisuseError, match="another event loop"):
                second.run(use())
        first.run(stream.aclose())
        second.run(stream.aclose())


async def test_the_run_has_the_context_of_its_start_whoever_starts_its_workers() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []
    sinks: list[Emitter[int]] = []

    async def look() -> None:
        seen.append(who.get())

    async def run(sink: Emitter[int]) -> None:
        sinks.append(sink)
        await look()
        await pause(1)

    stream = Stream(run, name="in context")
    who.set("the one who starts it")
    async with stream:
        who.set("somebody else")
        await pause(0.1)
        sinks[0].start_soon(look)
        await pause(0.5)
    assert seen == ["the one who starts it"] * 2


async def test_a_worker_may_be_started_where_there_is_no_task() -> None:
    started: list[str] = []
    sinks: list[Emitter[int]] = []

    async def work() -> None:
        await pause(0.1)
        started.append(sniffio.current_async_library())

    async def run(sink: Emitter[int]) -> None:
        sinks.append(sink)
        await pause(1)

    async with Stream(run, name="started by a timer"):
        await pause(0.1)
        call_later(0.1, lambda: sinks[0].start_soon(work))
        # As in a thread of one's own, where nothing of the run's context is known.
        contextvars.Context().run(lambda: call_later(0.1, lambda: sinks[0].start_soon(work)))
        await pause(0.5)
    assert started == ["asyncio"] * 2


async def test_a_worker_started_from_outside_can_close_the_stream_it_belongs_to() -> None:
    core = Ticks()
    stream = stream_of(core)
    assert await anext(stream) == 0
    core.sink.start_soon(stream.aclose)
    assert await rest_of(stream) == []
    with pytest.raises(MisuseError, match="is over"):
        core.sink.start_soon(forever)


async def test_no_worker_is_left_behind_by_a_group_that_waits_for_nobody() -> None:
    core = Ticks(1)
    stream = stream_of(core)
    assert await anext(stream) == 0
    await pause(1)
    assert core.is_closed
    with pytest.raises(MisuseError, match="is over"):
        core.sink.start_soon(forever)
    assert await rest_of(stream) == []


async def test_its_tasks_have_names() -> None:
    async def run(sink: Emitter[int]) -> None:
        sink.start_soon(forever)
        sink.start_soon(forever, name="poller 7")
        sink.put(0)
        await forever()

    async with Stream(run, name="watch") as stream:
        await anext(stream)
        assert {"watch", "watch worker", "poller 7"} <= {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize("factory", TASK_FACTORIES)
async def test_a_task_factory_that_starts_tasks_at_once_changes_nothing(factory: Callable[..., Any] | None) -> None:
    asyncio.get_running_loop().set_task_factory(factory)
    core = Ticks(3)
    async with stream_of(core) as stream:
        assert not core.is_started
        assert await rest_of(stream) == [0, 1, 2]
    core = Ticks()
    async with stream_of(core) as stream:
        pass
    assert not core.is_started

    async def run(sink: Emitter[int]) -> None:
        sink.start_soon(start_another, sink)
        await forever()

    async def start_another(sink: Emitter[int]) -> None:
        sink.start_soon(closing.aclose)

    closing = Stream(run, name="closing itself")
    assert await rest_of(closing) == []


def test_a_runner_that_holds_its_own_stream_is_refused() -> None:
    class Selfish(Stream[int]):
        def __init__(self) -> None:
            super().__init__(self.run, name="selfish")

        async def run(self, sink: Emitter[int]) -> None:
            sink.put(1)

    with pytest.raises(TypeError, match="could never be dropped"):
        Selfish()
