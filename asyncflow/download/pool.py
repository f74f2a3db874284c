"""A few threads for what blocks: everything that is done to files."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pool"]

T = TypeVar("T")

_THREADS = 8


class Pool:
    """Threads that are started when they are first needed, and go when what they were given is done."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._is_closed = False

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have a thread do *work*; the future is of this event loop, and to cancel it stops nothing that has begun."""
        if self._is_closed:
            raise UsageError("these downloads are closed")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="asyncflow-download")
        return asyncio.wrap_future(self._executor.submit(work))

    def close(self) -> None:
        """Take no more work; what was given is done. Nobody waits for it here."""
        self._is_closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None
