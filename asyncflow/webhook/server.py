"""A server for callbacks alone, which strangers may reach: no connection lives long, and there are never many."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

__all__ = ["CallbackServer"]

_LINGER = 2.0
_SHUTDOWN = 1.0


class CallbackServer(web.Server):
    """Answers one request a connection by *answer*, and closes what is older than *lifetime* seconds, whatever it is doing.

    Where *limit* connections are open the oldest has to go: a callback takes milliseconds, so the oldest is the idlest.
    """

    def __init__(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.Response]], *, lifetime: float, limit: int = 500
    ) -> None:
        # No access log, since the path of a callback is a secret; and what is compressed is refused, not unpacked.
        super().__init__(self._answer_and_close, access_log=None, lingering_time=_LINGER, auto_decompress=False)
        self._answer = answer
        self._lifetime = lifetime
        self._limit = limit
        self._open: dict[web.RequestHandler, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection."""
        super().connection_made(handler, transport)
        if len(self._open) >= self._limit:
            self._drop(next(iter(self._open)))
        timer = asyncio.get_running_loop().call_later(self._lifetime, transport.abort)
        self._open[handler] = transport, timer

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        self._drop(handler)
        super().connection_lost(handler, exc)

    @asynccontextmanager
    async def listen(self, host: str, port: int) -> AsyncGenerator[str]:
        """Listen while the block lasts, and give the URL."""
        # It starts in a second step, because whoever is cancelled at the end of the first would leave it behind.
        listener = await asyncio.get_running_loop().create_server(self, host, port, start_serving=False)
        try:
            await listener.start_serving()
            address, number = listener.sockets[0].getsockname()[:2]
            yield f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
        finally:
            listener.close()
            # Before anything is awaited, since all of that may be cancelled.
            for handler in list(self._open):
                self._drop(handler)
            await self.shutdown(_SHUTDOWN)

    async def _answer_and_close(self, request: web.BaseRequest) -> web.Response:
        response = await self._answer(request)
        response.force_close()
        return response

    def _drop(self, handler: web.RequestHandler) -> None:
        if handler in self._open:
            transport, timer = self._open.pop(handler)
            timer.cancel()
            transport.abort()
