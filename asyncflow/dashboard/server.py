"""The dashboard under aiohttp: as a handler of somebody's server, and with a server of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from asyncflow.dashboard.http import PATIENCE, WebRequest, WebResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from asyncflow.dashboard.http import Answer
    from asyncflow.dashboard.notifier import Notifier

__all__ = ["handle", "listening"]

_LARGEST = 10_000
_SHUTDOWN = 1.0


async def handle(answer: Answer, bell: Notifier, request: web.BaseRequest, path: str | None = None) -> web.StreamResponse:
    """Answer one request; *path* is what follows the place where the dashboard is mounted, if that is known."""

    async def read() -> bytes | None:
        async with asyncio.timeout(PATIENCE):
            body = await request.content.read(_LARGEST + 1)
            while piece := await request.content.read(_LARGEST + 1):
                body += piece
                if len(body) > _LARGEST:
                    return None
        return body

    headers = {name.lower(): value for name, value in request.headers.items()}
    own = request.path if path is None else path
    found = await answer(WebRequest(request.method, own, request.rel_url.raw_query_string, headers, read, request.path))
    if isinstance(found, WebResponse):
        response = web.Response(status=found.status, body=found.body, headers=found.headers)
        if request.method not in {"GET", "HEAD"}:
            # What is left of the body may be anything; it is not to be taken for the next request.
            response.force_close()
        return response
    pipe = _SocketWriter(bell, request)
    try:
        await found(pipe)
    except ConnectionError:
        # The browser has gone, or must see that what it has is not whole; aiohttp would write a traceback into its log.
        pipe.abort()
    return pipe.response


class _SocketWriter:
    def __init__(self, bell: Notifier, request: web.BaseRequest) -> None:
        self._bell = bell
        self._request = request
        self.response = web.StreamResponse()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.response = web.StreamResponse(status=status, headers=headers)
        await self.response.prepare(self._request)

    async def write(self, piece: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.response.write(piece)
        except TimeoutError:
            raise ConnectionResetError from None

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def wait(self, seconds: float, *, for_news: bool) -> bool:
        # Whoever has left is noticed by the next write, which is never far.
        try:
            await self._bell.wait(seconds, asyncio.Event().wait(), for_news=for_news)
        except TimeoutError:
            return self._request.transport is not None and not self._request.transport.is_closing()
        return True


@asynccontextmanager
async def listening(answer: Answer, bell: Notifier, host: str, port: int) -> AsyncGenerator[str]:
    """Serve nothing but the dashboard while the block lasts, and give the URL. `OSError` if it cannot listen."""

    async def respond(request: web.BaseRequest) -> web.StreamResponse:
        return await handle(answer, bell, request)

    # No access log: what is asked for is nobody's business.
    runner = web.ServerRunner(web.Server(respond, access_log=None), shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address, number = runner.addresses[0][:2]
        yield f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"
    finally:
        await runner.cleanup()
