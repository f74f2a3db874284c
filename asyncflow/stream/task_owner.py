"""The owner's side of a stream: one task, the group that it opens, and the sink that its runner sees."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, TypeVarTuple, Unpack, cast

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from anyio.abc import TaskGroup

    from asyncflow.stream.buffer import Buffer

__all__ = ["Emitter", "StreamTask"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
Args = TypeVarTuple("Args")

_log = logging.getLogger("asyncflow.stream")

# The runs whose task trees the current task belongs to: waiting for one of them from in there would wait for ever.
_inside: ContextVar[frozenset[object]] = ContextVar("asyncflow_stream_inside", default=frozenset())

# The event loop refers to its tasks weakly only.
_owners: set[asyncio.Task[None]] = set()


class Emitter(Protocol[T_contra]):
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

        It runs in a copy of the context of the run, whoever calls this. An error in any worker cancels the others and ends the
        stream. Raises the stream's *usage_error* once the run is over.
        """
        ...

    def finish(self) -> None:
        """End the run without an error: cancel the runner and its workers. Callable from anywhere on the loop."""
        ...

    def fail(self, error: BaseException) -> None:
        """End the run with *error*. The first call wins: workers who hit the same wall together give one error, not a group."""
        ...


class StreamTask(Generic[T]):
    """The owner's side of a stream, and the sink of its runner. It does not know the iterator."""

    def __init__(self, name: str, buffer: Buffer[T], usage_error: Callable[[str], Exception]) -> None:
        self._name = name
        self._buffer = buffer
        self._usage_error = usage_error
        self._owner: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: TaskGroup | None = None
        self._context = Context()
        self._mark = object()
        self._failure: BaseException | None = None
        self._members = 0
        self._is_ending = False
        self._is_cut = False
        self._is_dropped = False

    @property
    def undelivered(self) -> int:
        """The buffer's length."""
        return len(self._buffer)

    def put(self, item: T, key: Hashable = None) -> None:
        """Pass *item* on to the buffer."""
        self._buffer.put(item, key)

    def start_soon(self, function: Callable[[Unpack[Args]], Awaitable[object]], *args: *Args, name: str | None = None) -> None:
        """Start one more member of the group."""
        if self._group is None:
            raise self._usage_error(f"{self._name}: the run is over, no worker can be started")
        # The caller may be anybody, a web request or a timer; the worker belongs to the run.
        name = name or f"{self._name} worker"
        self._members += 1
        worker = partial(self._join, function, *args)
        self._context.copy().run(partial(self._group.start_soon, worker, name=name))

    def finish(self) -> None:
        """Cancel the group by its scope, so that what a worker shields may end; the owner itself before there is a group."""
        self._is_ending = True
        if self._group is not None:
            self._group.cancel_scope.cancel()
        elif self._owner is not None:
            self._owner.cancel()

    def fail(self, error: BaseException) -> None:
        """Remember the first *error* and finish."""
        if self._failure is None:
            self._failure = error
        self.finish()

    def start(self, runner: Callable[[Emitter[T]], Awaitable[object]], loop: asyncio.AbstractEventLoop) -> None:
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
        if self.is_over(asyncio.get_running_loop()):
            return
        owner = self._owner
        if owner is None:
            self._buffer.end(None)
            return
        self.finish()
        if self._mark not in _inside.get():
            with anyio.CancelScope(shield=True):
                await asyncio.wait({owner})
            self._conclude(owner)

    def drop(self) -> None:
        """Cancel the owner of an iterator that nobody holds any more; comes from a garbage collection, in any thread."""
        self._is_dropped = True
        if self._buffer.is_ended:
            self._report_unread()
        elif not self._is_ending:  # else somebody asked for its end, and did not wait for it
            self._abandon()
            warnings.warn(f"{self._name} was dropped without aclose()", ResourceWarning, stacklevel=2)

    def _abandon(self) -> None:
        if self._loop is not None and self._owner is not None:
            try:
                self._loop.call_soon_threadsafe(self.finish)
            except RuntimeError:  # the loop is closed: let go of a task that will never end
                _owners.discard(self._owner)
                self._owner = None

    async def _own(self, runner: Callable[[Emitter[T]], Awaitable[object]]) -> None:
        # An eager task factory starts us inside create_task(), before anybody knows our task.
        await checkpoint()
        _inside.set(_inside.get() | {self._mark})
        self._context = copy_context()
        # Where sniffio is installed, anyio asks it where it is, and sniffio knows asyncio by the task that runs. In a timer,
        # which may start a worker too, there is none.
        if (sniffio := sys.modules.get("sniffio")) is not None:
            self._context.run(sniffio.current_async_library_cvar.set, "asyncio")
        self._members = 1
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                await self._join(runner, self)
        finally:
            self._group = None
        # A task group takes a stray cancellation in a worker for its own and ends in silence, as if all were done.
        self._is_cut = group.cancel_scope.cancel_called

    async def _join(self, function: Callable[[Unpack[Args]], Awaitable[object]], *args: *Args) -> None:
        try:
            await function(*args)
        finally:
            self._members -= 1
            if not self._members:
                # The group waits for nobody any more: who came now would be left behind.
                self._group = None

    def _conclude(self, owner: asyncio.Task[None]) -> None:
        _owners.discard(owner)
        if self._buffer.is_ended:
            return
        error: BaseException | None = None
        try:
            error = self._verdict(owner)
        except Exception as bug:  # noqa: BLE001 - whatever it is: no consumer may be left waiting
            error = bug
        self._buffer.end(error)
        # The error holds the frames it went through, and they may hold the stream.
        self._owner = self._failure = None
        self._context = Context()
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
