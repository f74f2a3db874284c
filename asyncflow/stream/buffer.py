"""What was put into a stream and not yet taken, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Buffer"]

T = TypeVar("T")

# So many items in a row are delivered without letting the event loop turn.
_BURST = 100


class _Cell(Generic[T]):
    """An undelivered item, in a place that a later item with the same key may take."""

    __slots__ = ("item", "key")

    def __init__(self, item: T, key: Hashable) -> None:
        self.item = item
        self.key = key


class Buffer(Generic[T]):
    """What was put and not yet taken, and who waits for it.

    An item leaves in the same step that returns it to its consumer: there is no moment at which a cancellation could lose it.
    """

    def __init__(self, limit: int, merge: Callable[[T, T], T | None]) -> None:
        self.is_ended: bool = False
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
        if not self._cells:
            self._newest.clear()  # the table would keep the size of its longest jam
        elif cell.key is not None and self._newest[cell.key] is cell:
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
