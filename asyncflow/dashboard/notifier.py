"""Who waits for news, and how they are woken: by ending a wait that has a limit of time, so that no task is needed for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["Notifier"]


class Notifier:
    """Wakes all who wait for news."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()

    def ring(self) -> None:
        """End the waiting of everybody."""
        limits, self._limits = self._limits, set()
        for limit in limits:
            with suppress(RuntimeError):  # its time is up already
                limit.reschedule(0.0)

    async def wait(self, seconds: float, signal: Awaitable[Any], *, for_news: bool) -> Any:  # noqa: ANN401 - what *signal* gives
        """Wait for *signal* as long as there is time and, if asked *for_news*, no ringing; `TimeoutError` then."""
        async with asyncio.timeout(seconds) as limit:
            if for_news:
                self._limits.add(limit)
            try:
                return await signal
            finally:
                self._limits.discard(limit)
