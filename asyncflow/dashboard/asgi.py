"""The dashboard as an ASGI application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asyncflow.dashboard.http import PATIENCE, WebRequest, WebResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asyncflow.dashboard.http import Answer
    from asyncflow.dashboard.notifier import Notifier

    Receive = Callable[[], Awaitable[Mapping[str, Any]]]
    Send = Callable[[Any], Awaitable[None]]

__all__ = ["serve"]

_LARGEST = 10_000


async def serve(answer: Answer, bell: Notifier, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request of an ASGI server."""
    match scope["type"]:
        case "http":
            await _serve_http(answer, bell, scope, receive, send)
        case "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        case other:
            raise ValueError(f"a dashboard cannot serve {other!r}")


async def _serve_http(answer: Answer, bell: Notifier, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    path, root = scope["path"], scope.get("root_path", "")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    pipe = _AsgiWriter(bell, receive, send)
    ask = WebRequest(scope["method"], path.removeprefix(root) if root else path, query, headers, pipe.read, path)
    found = await answer(ask)
    try:
        if isinstance(found, WebResponse):
            await pipe.start(found.status, {**found.headers, "content-length": str(len(found.body))})
            if ask.method != "HEAD":
                await pipe.write(found.body)
        else:
            await found(pipe)
    except (OSError, TimeoutError):
        return  # the browser has gone, or must see that what it has is not whole
    await pipe.end()


class _AsgiWriter:
    def __init__(self, bell: Notifier, receive: Receive, send: Send) -> None:
        self._bell = bell
        self._receive = receive
        self._send = send
        self._is_gone = False
        self._is_read = False

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        head = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": head})

    async def write(self, piece: bytes) -> None:
        if self._is_gone:
            raise ConnectionResetError
        async with asyncio.timeout(PATIENCE):
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def wait(self, seconds: float, *, for_news: bool) -> bool:
        try:
            await self._bell.wait(seconds, self._departure(), for_news=for_news)
        except TimeoutError:
            return True
        return False

    async def _departure(self) -> None:
        while not self._is_gone:
            self._is_gone = (await self._receive())["type"] == "http.disconnect"

    async def read(self) -> bytes | None:
        body = bytearray()
        is_open = True
        async with asyncio.timeout(PATIENCE):
            while is_open:
                message = await self._receive()
                body += message.get("body", b"")
                is_open = message.get("more_body", False)
                if len(body) > _LARGEST:
                    return None
        return bytes(body)
