"""A client that goes away while a web handler streams to it ends the run, and nothing of it is left in the server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from ticks import Ticks, pause, settle, stream_of

from asyncflow.testing import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping


class Visit:
    """One ASGI request of a client that leaves after *patience* seconds. *spec* decides how the server tells the framework.

    Before version 2.4 a framework listens for the disconnect and cancels the handler, again and again; since then the next
    `send` raises.
    """

    def __init__(self, spec: str, patience: float) -> None:
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": spec},
            "http_version": "1.1",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [],
        }
        self.patience = patience
        self.received = b""

    async def receive(self) -> MutableMapping[str, Any]:
        await pause(self.patience - now())
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if now() > self.patience:
            raise OSError("the client has gone")
        self.received += message.get("body", b"")


@pytest.mark.virtual_time
@pytest.mark.parametrize("spec", ["2.3", "2.4"])
async def test_starlette_closes_the_stream_when_the_client_disconnects(spec: str) -> None:
    core = Ticks()

    async def lines() -> AsyncIterator[bytes]:
        async with stream_of(core) as stream:
            async for item in stream:
                yield b"%d," % item

    async def handler(_: Request) -> StreamingResponse:
        return StreamingResponse(lines())

    visit = Visit(spec, patience=2.5)
    before = asyncio.all_tasks()
    with contextlib.suppress(ClientDisconnect):
        await Starlette(routes=[Route("/", handler)])(visit.scope, visit.receive, visit.send)
    # By the newer way the generator is dropped as it stands, and the event loop closes it, in a task of its own.
    await settle()
    assert visit.received == b"0,1,2,"
    assert core.is_closed
    assert asyncio.all_tasks() == before


@pytest.mark.asyncio
@pytest.mark.parametrize("cancellation", [True, False])
async def test_aiohttp_closes_the_stream_when_the_client_disconnects(*, cancellation: bool) -> None:
    core = Ticks(period=0.01)
    closed = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            async with stream_of(core) as stream:
                async for item in stream:
                    await response.write(b"%d," % item)
        finally:
            closed.set()
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, handler_cancellation=cancellation)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"3,")
        writer.close()
        async with asyncio.timeout(10):
            await closed.wait()
    finally:
        await runner.cleanup()
    assert core.is_closed
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("ticks")] == []
