"""The streams that the tests of this folder look at, and how they wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from asyncflow.stream import Stream
from asyncflow.testing import call_later

if TYPE_CHECKING:
    from asyncflow.stream import Emitter


class MisuseError(Exception):
    """What the streams here raise for a wrong use."""


async def pause(seconds: float) -> None:
    waiter = asyncio.get_running_loop().create_future()
    handle = call_later(seconds, waiter.set_result, None)
    try:
        await waiter
    finally:
        handle.cancel()


class Ticks:
    """A core: puts 0, 1, 2, ..., one a *period* and the first at once, and has an end that can be looked at."""

    def __init__(self, amount: int = 1_000_000, error: BaseException | None = None, period: float = 1) -> None:
        self.amount = amount
        self.period = period
        self.error = error
        self.is_closed = False
        self.is_started = False
        self.sink: Emitter[int]

    async def run(self, sink: Emitter[int]) -> None:
        """Start the one worker; the body of the owner task."""
        self.sink = sink
        sink.start_soon(self.work, sink)

    async def work(self, sink: Emitter[int]) -> None:
        """Put the numbers."""
        self.is_started = True
        try:
            for number in range(self.amount):
                sink.put(number)
                await pause(self.period)
            if self.error is not None:
                raise self.error
        finally:
            self.is_closed = True


def stream_of(core: Ticks) -> Stream[int]:
    return Stream(core.run, name="ticks", usage_error=MisuseError)


async def rest_of(stream: Stream[int]) -> list[int]:
    return [item async for item in stream]


async def forever(*_: object) -> None:
    await asyncio.Event().wait()


async def settle() -> None:
    """Let everything that is ready run, which takes no virtual time."""
    for _ in range(20):
        await checkpoint()
