"""A task-agnostic async iterator over structured tasks.

A `Stream` owns one task. That task opens a task group, runs the coroutine function it was given, and ends with it; what is put
into the `Sink` on the way comes out of the iterator. Between the two lies a buffer and nothing else: the consumer never stands
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
import logging
import warnings
import weakref
from collections import OrderedDict, deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, NoReturn, Protocol, Self, TypeVar, TypeVarTuple, Unpack, cast

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from types import TracebackType

    from anyio.abc import TaskGroup

__all__ = ["Sink", "Stream"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Args = TypeVarTuple("Args")

_log = logging.getLogger(__name__)

# The owners whose trees the current task belongs to: waiting for one of them from in there would wait for ever.
_inside: ContextVar[frozenset[object]] = ContextVar("asyncflow_stream_inside", default=frozenset())

# The event loop refers to its tasks weakly only.
_owners: set[asyncio.Task[None]] = set()

# So many items in a row are delivered without letting the event loop turn.
_BURST = 100


class _Cell(Generic[T]):
    """An undelivered item, in a place that a later item with the same key may take."""

    __slots__ = ("item", "key")

    def __init__(self, item: T, key: Hashable) -> None:
        self.item = item
        self.key = key


class _Buffer(Generic[T]):
    """What was put and not yet taken, and who waits for it.

    An item leaves in the same step that returns it to its consumer: there is no moment at which a cancellation could lose it.
    """

    def __init__(self, limit: int, merge: Callable[[T, T], T | None]) -> None:
        self.is_ended = False
        self.error: BaseException | None = None
        self._limit = limit
        self._merge = merge
        self._cells: deque[_Cell[T]] = deque()
        self._newest: dict[Hashable, _Cell[T]] = {}
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._cells)

    def put(self, item: T, key: Hashable = None) -> None:
        """Add *item*, or merge it into the newest one with its *key* when the buffer is full."""
        if self.is_ended:
            return
        if key is not None and len(self._cells) >= self._limit and (older := self._newest.get(key)) is not None:
            merged = self._merge(older.item, item)
            if merged is not None:
                older.item = merged
                return
        cell = _Cell(item, key)
        if key is not None:
            self._newest[key] = cell
        self._cells.append(cell)
        if self._waiters:
            self._wake_one()

    def end(self, error: BaseException | None) -> None:
        """Let the consumers go once everything is taken, one of them with *error*."""
        self.is_ended = True
        self.error = error
        while self._waiters:
            self._wake_one()

    async def take(self) -> T:
        """Wait for an item and remove it; after the last one raise what ended the run."""
        if self._in_a_row >= _BURST:
            self._in_a_row = 0
            await checkpoint()
        while not self._cells:
            self._in_a_row = 0
            if self.is_ended:
                self._stop()
            await self._arrival()
        self._in_a_row += 1
        cell = self._cells.popleft()
        if cell.key is not None and self._newest[cell.key] is cell:
            del self._newest[cell.key]
        return cell.item

    def _stop(self) -> NoReturn:
        error, self.error = self.error, None
        try:
            raise StopAsyncIteration if error is None else error
        finally:
            del error  # its traceback holds this frame

    async def _arrival(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        except BaseException:
            # Cancelled after the wake-up: what it was for is still here, and somebody else may be waiting for it.
            if self._waiters.pop(waiter, waiter) is waiter and self._cells:
                self._wake_one()
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return


class Sink(Protocol[T_contra]):
    """What a runner sees of its stream. It belongs to the stream's event loop: no other thread may call it."""

    @property
    def undelivered(self) -> int:
        """How many items wait for the consumer."""
        ...

    def put(self, item: T_contra, key: Hashable = None) -> None:
        """Hand *item* to the consumer, without waiting for anything.

        While fewer items than the buffer's size are undelivered, each is kept. Beyond that, an item whose *key* equals that of an
        undelivered one is merged into the newest of those, which keeps its place; without a key, or where the stream's *merge*
        returns None, it is kept all the same. After the end of the run it is dropped.
        """
        ...

    def start_soon(self, function: Callable[[Unpack[Args]], Awaitable[object]], *args: *Args, name: str | None = None) -> None:
        """Start a worker in the task group of the run, which does not end before its workers have.

        An error in any of them cancels the others and ends the stream. Raises the stream's *usage_error* once the run is over.
        """
        ...

    def finish(self) -> None:
        """End the run without an error: cancel the runner and its workers. Callable from anywhere on the loop."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the run with *error*. The first call wins: workers who hit the same wall together give one error, not a group."""
        ...


class _Run(Generic[T]):
    """The owner's side of a stream, and the sink of its runner. It does not know the iterator."""

    def __init__(self, name: str, buffer: _Buffer[T], usage_error: Callable[[str], Exception]) -> None:
        self._name = name
        self._buffer = buffer
        self._usage_error = usage_error
        self._owner: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: TaskGroup | None = None
        self._failure: BaseException | None = None
        self._is_ending = False
        self._is_cut = False
        self._is_dropped = False

    @property
    def undelivered(self) -> int:
        return len(self._buffer)

    def put(self, item: T, key: Hashable = None) -> None:
        self._buffer.put(item, key)

    def start_soon(self, function: Callable[[Unpack[Args]], Awaitable[object]], *args: *Args, name: str | None = None) -> None:
        if self._group is None:
            raise self._usage_error(f"{self._name}: the run is over, no worker can be started")
        self._group.start_soon(self._guard, function, *args, name=name or f"{self._name} worker")

    def finish(self) -> None:
        self._is_ending = True
        if self._group is not None:
            self._group.cancel_scope.cancel()
        elif self._owner is not None:
            self._owner.cancel()

    def fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self.finish()

    def start(self, runner: Callable[[Sink[T]], Awaitable[object]], loop: asyncio.AbstractEventLoop) -> None:
        """Make the owner: from here on the run belongs to *loop*."""
        self._loop = loop
        self._owner = loop.create_task(self._own(runner), name=self._name)
        _owners.add(self._owner)
        self._owner.add_done_callback(self._conclude)

    def is_over(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether the run has ended; refuse any loop but its own as long as it has not."""
        if self._loop is not None and self._loop is not loop and not self._buffer.is_ended:
            raise self._usage_error(f"{self._name}: belongs to another event loop; make one in the loop where it is used")
        return self._buffer.is_ended

    async def aclose(self) -> None:
        """Cancel the owner and wait for it, unless that would be to wait for oneself."""
        owner = self._owner
        if owner is None:
            self._buffer.end(None)
        elif not self.is_over(asyncio.get_running_loop()):
            self.finish()
            if self in _inside.get():
                return
            with anyio.CancelScope(shield=True):
                await asyncio.wait({owner})
            self._conclude(owner)

    def drop(self) -> None:
        """Cancel the owner of an iterator that nobody holds any more; comes from a garbage collection, in any thread."""
        self._is_dropped = True
        if self._buffer.is_ended:
            self._report_unread()
        elif self._owner is not None and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self.finish)
            except RuntimeError:  # the loop is closed
                _owners.discard(self._owner)
            warnings.warn(f"{self._name} was dropped without aclose()", ResourceWarning, stacklevel=2)

    async def _own(self, runner: Callable[[Sink[T]], Awaitable[object]]) -> None:
        # An eager task factory starts us inside create_task(), before anybody knows our task.
        await checkpoint()
        _inside.set(_inside.get() | {self})
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                await self._guard(runner, self)
        finally:
            self._group = None

    async def _guard(self, function: Callable[[Unpack[Args]], Awaitable[object]], *args: *Args) -> None:
        try:
            await function(*args)
        except asyncio.CancelledError:
            # A task group takes a stray cancellation for its own and ends in silence, as if all were done.
            self._is_cut = self._is_cut or not self._is_ending
            raise

    def _conclude(self, owner: asyncio.Task[None]) -> None:
        _owners.discard(owner)
        if not self._buffer.is_ended:
            self._buffer.end(self._verdict(owner))
            if self._is_dropped:
                self._report_unread()

    def _verdict(self, owner: asyncio.Task[None]) -> BaseException | None:
        error = None if owner.cancelled() else owner.exception()
        if self._failure is not None:
            error = self._failure
        if error is not None:
            return _plain(error)
        if (owner.cancelled() or self._is_cut) and not self._is_ending:
            return self._usage_error(f"{self._name}: one of its tasks was cancelled from outside; use aclose()")
        return None

    def _report_unread(self) -> None:
        if self._buffer.error is not None:
            # The type only: the error may be a foreign one, whose text we cannot vouch for.
            _log.warning("stream_error_unread", extra={"stream": self._name, "error": type(self._buffer.error).__qualname__})


def _plain(error: BaseException) -> BaseException:
    """Return what a group of errors comes down to, and nothing that means something else to the code that awaits."""
    leaves = list(_leaves(error))
    if all(type(leaf) is type(leaves[0]) and leaf.args == leaves[0].args for leaf in leaves):
        error = leaves[0]
    if isinstance(error, StopAsyncIteration | asyncio.CancelledError | GeneratorExit):
        stray = RuntimeError(f"a worker raised {type(error).__name__}")
        stray.__cause__ = error
        return stray
    return error


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for part in group.exceptions for leaf in _leaves(part)]


class Stream(Generic[T]):
    """An async iterator over what *run* puts into its sink, and an async context manager that closes it.

    *run* gets the `Sink`; the stream ends when it and the workers that it started have returned. It starts with `async with` or
    with the first item asked for, on the event loop and with the context of that moment; *name* is the name of its task.
    *buffer* is how many undelivered items are kept one by one. Beyond that, *merge* makes one item of an older and a newer one
    with the same key, or returns None to keep both; without it the newer one replaces the older. So memory is bounded by the
    buffer and the number of keys. *usage_error* makes the exception for a use that cannot work, as on another event loop.

    Iteration gives everything that was put, then raises the error that ended the run, once, and StopAsyncIteration from then on.
    Of a group of errors that comes down to one error, that one is raised. Several consumers share the items.
    """

    def __init__(
        self,
        run: Callable[[Sink[T]], Awaitable[object]],
        *,
        name: str,
        buffer: int = 1000,
        merge: Callable[[T, T], T | None] | None = None,
        usage_error: Callable[[str], Exception] = RuntimeError,
    ) -> None:
        if getattr(run, "__self__", None) is self:
            raise TypeError("the runner of a stream must not refer to the stream: it could never be dropped")
        self._runner: Callable[[Sink[T]], Awaitable[object]] | None = run
        self._buffer: _Buffer[T] = _Buffer(buffer, merge or _newer)
        self._run: _Run[T] = _Run(name, self._buffer, usage_error)

    @property
    def is_ended(self) -> bool:
        """Whether the run is over; items gathered before may still be there to read."""
        return self._buffer.is_ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._ensure_started()
        return await self._buffer.take()

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
        await self._run.aclose()

    def _ensure_started(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._run.is_over(loop) and self._runner is not None:
            runner, self._runner = self._runner, None
            self._run.start(runner, loop)
            weakref.finalize(self, self._run.drop).atexit = False


def _newer(_older: T, newer: T) -> T:
    return newer
