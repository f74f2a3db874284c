"""The end of a store's stream, read once for all who wait there: five hundred waits take one connection, not five hundred."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["SharedTail", "as_place"]

_MOST = 10_000
"""Entries that are remembered for those who are a little behind; whoever is further behind reads alone."""

Place = tuple[int, int]


def as_place(text: str) -> Place:
    """Return a place in an order: time and number."""
    time, _, number = text.partition("-")
    return int(time), int(number or 0)


class SharedTail:
    """Reads for several at once by *fetch*, a function of a place and seconds to wait that returns (place, entry) pairs.

    Whoever comes first reads for all; when he has something, or is cancelled, the others look, and the next of them reads on.
    """

    def __init__(self, fetch: Callable[[str, float], Awaitable[list[tuple[str, Any]]]]) -> None:
        self._fetch = fetch
        self._entries: deque[tuple[Place, str, Any]] = deque()
        self._start: Place = (0, 0)
        self._end = "0-0"
        self._is_read = False
        self._waiting = 0
        self._news = asyncio.Event()

    async def beyond(self, after: str, wait: float) -> list[tuple[str, Any]]:
        """Return entries beyond the place *after*, none if none come within *wait* seconds."""
        loop = asyncio.get_running_loop()
        deadline, place = loop.time() + wait, as_place(after)
        if not self._waiting and not self._is_read and place != as_place(self._end):
            # Nobody was here for a while, and what has passed meanwhile is of no interest.
            self._entries.clear()
            self._start, self._end = place, after
        elif place < self._start and (found := await self._fetch(after, 0.0)):
            return found
        self._waiting += 1
        try:
            while not (found := self._known(place)) and (left := deadline - loop.time()) > 0:
                if self._is_read:
                    try:
                        async with asyncio.timeout(left):
                            await self._news.wait()
                    except TimeoutError:
                        break
                else:
                    await self._read(left)
        finally:
            self._waiting -= 1
        return found

    def _known(self, place: Place) -> list[tuple[str, Any]]:
        first = bisect_right(self._entries, place, key=lambda known: known[0])
        return [(text, entry) for _, text, entry in list(self._entries)[first:]] if first < len(self._entries) else []

    async def _read(self, wait: float) -> None:
        self._is_read = True
        try:
            for text, entry in await self._fetch(self._end, wait):
                self._entries.append((as_place(text), text, entry))
                self._end = text
            while len(self._entries) > _MOST:
                self._start = self._entries.popleft()[0]
        finally:
            self._is_read = False
            self._news.set()
            self._news = asyncio.Event()
