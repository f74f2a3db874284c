"""A few threads for what blocks: everything that is done to files."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ThreadPool"]

T = TypeVar("T")

_THREADS = 8


class ThreadPool:
    """Threads that are started when they are first needed, and go when what they were given is done."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._is_closed = False

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have a thread do *work*; wait for it by `until`, which stops waiting when cancelled, and not the work."""
        if self._is_closed:
            raise UsageError("these downloads are closed")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="asyncflow-download")
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        future.add_done_callback(_retrieve)
        return future

    @staticmethod
    async def until(future: asyncio.Future[T]) -> T:
        """Wait for what was started."""
        return await asyncio.shield(future)

    async def do(self, work: Callable[[], T]) -> T:
        """Have a thread do *work* and wait for it; it is done even if nobody waits any more."""
        return await self.until(self.start(work))

    async def do_at_last(self, work: Callable[[], T]) -> T:
        """Have *work* done whatever has happened: here and now, if there are no threads any more."""
        return work() if self._is_closed else await self.do(work)

    def close(self) -> None:
        """Take no more work; what was given is done. Nobody waits for it here."""
        self._is_closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None


def _retrieve(future: asyncio.Future[T]) -> None:
    """Look at how the work ended, so that nobody complains that no one did where the one who waited has gone."""
    if not future.cancelled():
        future.exception()
