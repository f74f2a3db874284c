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


class Buffer(Generic[T]):
    """What was put and not yet taken, and who waits for it.

    An item leaves in the same step that returns it to its consumer: there is no moment at which a cancellation could lose it.
    """

    def __init__(self, limit: int, merge: Callable[[T, T], T | None]) -> None:
        self.is_ended: bool = False
        self.error: BaseException | None = None
        self._limit = limit
        self._merge = merge
        # Tuples of what cannot form cycles are nothing to the garbage collector, however many of them wait here.
        self._items: deque[tuple[T, Hashable]] = deque()
        self._taken = 0
        # By the key, the number of the newest item that has it; they are numbered as they are put.
        self._newest: dict[Hashable, int] = {}
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, key: Hashable = None) -> None:
        """Add *item*, or merge it into the newest one with its *key* when the buffer is full."""
        if self.is_ended:
            return
        items = self._items
        if key is not None:
            if len(items) >= self._limit and (number := self._newest.get(key)) is not None:
                place = number - self._taken
                merged = self._merge(items[place][0], item)
                if merged is not None:
                    items[place] = merged, key
                    return
            self._newest[key] = self._taken + len(items)
        items.append((item, key))
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
        while not self._items:
            self._in_a_row = 0
            if self.is_ended:
                self._stop()
            await self._arrival()
        self._in_a_row += 1
        item, key = self._items.popleft()
        if not self._items:
            self._newest.clear()  # the table would keep the size of its longest jam
        elif key is not None and self._newest[key] == self._taken:
            del self._newest[key]
        self._taken += 1
        return item

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
            if self._waiters.pop(waiter, waiter) is waiter and self._items:
                self._wake_one()
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return
