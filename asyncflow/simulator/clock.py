"""The simulator's time: the running loop's clock, or one that a test moves by hand."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Protocol

__all__ = ["Clock", "LoopClock", "ManualClock", "wait_until"]


class Timer(Protocol):
    """Something that will be called, unless it is cancelled before."""

    def cancel(self) -> None:
        """Never call it."""


class Clock(Protocol):
    """Where the simulator reads the time and has itself woken; seconds from any start."""

    def now(self) -> float:
        """Return the time."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* once the time is *when*."""
        ...


class LoopClock:
    """The clock of the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* when the loop's time is *when*."""
        return self._loop.call_at(when, callback)


class _ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until `advance` is called, in the thread of the simulator's loop."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._timers: list[tuple[float, int, _ManualTimer]] = []
        self._count = count()

    def now(self) -> float:
        """Return the time that has been reached."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* from the `advance` that reaches *when*."""
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move the time on by *seconds* and call what came due, in order, each at its own time."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            if timer.callback is not None:
                timer.callback()
        self._now = end


async def wait_until(clock: Clock, when: float) -> None:
    """Return when *clock* shows *when* or later."""
    if when <= clock.now():
        return
    reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def arrive() -> None:
        if not reached.done():
            reached.set_result(None)

    timer = clock.call_at(when, arrive)
    try:
        await reached
    finally:
        timer.cancel()
