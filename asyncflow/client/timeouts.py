"""Limits of time for many requests at once, kept by a single timer."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["TimeoutGroup"]


class Expirable(Protocol):
    """What is to be over *at* a time, on the loop's clock."""

    at: float
    is_over: bool

    def check(self, now: float) -> bool:
        """End it if its time is over, and return whether it is."""
        ...


class TimeoutGroup:
    """What `asyncio.timeout_at` does, at a tenth of its price where hundreds of limits overlap and hardly one is reached.

    Limits come and go without the event loop hearing of them; one timer stands at the earliest of those that were there when it
    was set, and what it finds over when it rings is cancelled. Whoever enters himself into *running* without a limit notes his
    time if it is before *ring_at*.
    """

    def __init__(self) -> None:
        self.running: dict[Expirable, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.ring_at: float = inf

    def limit(self, at: float) -> Timeout:
        """Return a context manager that at *at*, on the loop's clock, cancels what is within it and makes that a TimeoutError."""
        return Timeout(self, at)

    def note(self, at: float) -> None:
        """Ring no later than *at*."""
        if at < self.ring_at:
            if self._timer is not None:
                self._timer.cancel()
            self.ring_at = at
            self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def stop(self) -> None:
        """Let the timer go, once nothing is running."""
        if self._timer is not None and not self.running:
            self._timer.cancel()
            self._timer, self.ring_at = None, inf

    def _ring(self) -> None:
        self._timer, self.ring_at = None, inf
        now = asyncio.get_running_loop().time()
        later = [limit.at for limit in list(self.running) if not limit.is_over and not limit.check(now)]
        if later:
            self.note(min(later))


class Timeout:
    """One request's limit; see `TimeoutGroup.limit`."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "at", "is_over")

    def __init__(self, deadlines: TimeoutGroup, at: float) -> None:
        self.at: float = at
        self.is_over: bool = False
        self._deadlines = deadlines
        self._task: asyncio.Task[object]
        self._cancelling = 0

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a limit of time needs a task that it can cancel")
        self._task, self._cancelling = task, task.cancelling()
        self._deadlines.running[self] = None
        self._deadlines.note(self.at)
        return self

    def check(self, now: float) -> bool:
        """Cancel what is within if its time is over, and return whether it is."""
        if self.at <= now:
            self.is_over = True
            self._task.cancel()
        return self.is_over

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        del self._deadlines.running[self]
        # As asyncio.timeout does: a cancellation from elsewhere at the same moment goes on as what it is.
        if self.is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
