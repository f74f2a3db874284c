"""A task-agnostic async iterator over structured tasks.

A `Stream` owns one task. That task opens a task group, runs the coroutine function it was given, and ends with it; what is put
into the `Emitter` on the way comes out of the iterator. Between the two lies a buffer and nothing else: the consumer never stands
inside a task group, a cancel scope or a timeout of ours, so that `break`, cancellation and errors stay on their own side of it.

To build on it, keep two objects apart. The *core* does the work: it has a method `run(sink)`, and whatever its workers need is
reached through it. The *public* object is a subclass of `Stream` (or holds one) and refers to the core, never the other way:

    class Ticker(Stream[int]):
        def __init__(self, period: float) -> None:
            super().__init__(_Ticks(period).run, name="ticker")

When the public object is dropped without `aclose()`, nothing else holds it, and so the owner is cancelled at once. For the same
reason the runner of a stream must not be one of its own methods, which is refused.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from asyncflow.stream.buffer import Buffer
from asyncflow.stream.task_owner import Emitter, StreamTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

__all__ = ["Emitter", "Stream"]

T = TypeVar("T")


class Stream(Generic[T]):
    """An async iterator over what *run* puts into its sink, and an async context manager that closes it.

    *run* gets the `Emitter`; the stream ends when it and the workers that it started have returned. It starts with `async with`
    or with the first item asked for, on the event loop and with the context of that moment; *name* is the name of its task.
    *buffer* is how many undelivered items are kept one by one. Beyond that, *merge* makes one item of an older and a newer one
    with the same key, or returns None to keep both; without it the newer one replaces the older. So memory is bounded by the
    buffer and the number of keys. *usage_error* makes the exception for a use that cannot work, as on another event loop.

    Iteration gives everything that was put, then raises the error that ended the run, once, and StopAsyncIteration from then on.
    Of a group of errors that comes down to one error, that one is raised. Several consumers share the items.
    """

    def __init__(
        self,
        run: Callable[[Emitter[T]], Awaitable[object]],
        *,
        name: str,
        buffer: int = 1000,
        merge: Callable[[T, T], T | None] | None = None,
        usage_error: Callable[[str], Exception] = RuntimeError,
    ) -> None:
        if getattr(run, "__self__", None) is self:
            raise TypeError("the runner of a stream must not refer to the stream: it could never be dropped")
        # Long names: a subclass has its own.
        self._stream_runner: Callable[[Emitter[T]], Awaitable[object]] | None = run
        self._stream_buffer: Buffer[T] = Buffer(buffer, merge or _newer)
        self._stream_run: StreamTask[T] = StreamTask(name, self._stream_buffer, usage_error)

    @property
    def is_ended(self) -> bool:
        """Whether the run is over; items gathered before may still be there to read."""
        return self._stream_buffer.is_ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._ensure_started()
        return await self._stream_buffer.take()

    async def __aenter__(self) -> Self:
        self._ensure_started()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the run and wait until it has ended; what was gathered before can still be read.

        Callable at any time, from any task, as often as you like. Called by one of the run's own tasks it does not wait, since
        that task is part of what it would wait for. Cancelled by anyio it waits all the same; cancelled natively it stops
        waiting, and the run still ends. Raises no error of the run: one that nobody reads is logged, by its type.
        """
        await self._stream_run.aclose()

    def _ensure_started(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._stream_run.is_over(loop) and self._stream_runner is not None:
            runner, self._stream_runner = self._stream_runner, None
            self._stream_run.start(runner, loop)
            weakref.finalize(self, self._stream_run.drop).atexit = False


def _newer(_older: T, newer: T) -> T:
    return newer
