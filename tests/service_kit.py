"""What the tests of the client share: a client of a simulator that must leave nothing behind, and a server that says anything."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypedDict, Unpack

import aiohttp
import anyio
import trustme

from asyncflow import AsyncClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from asyncflow import Pacer
    from asyncflow.polling import Policy
    from asyncflow.simulator import Simulator

TOKEN = "user:1234-abcdef"
EMAIL = "jo-ann+flow@example.com"
FLOW_ID = f"j1104093012448120573v-u1234-email:{EMAIL}-bot:google-flow"
MUSIC_ID = f"job:0f1e2d3c-4b5a-4678-9abc-def012345678-user:1234-{EMAIL}-bot:flowmusic"


class ClientOptions(TypedDict, total=False):
    timeout: float
    max_retries: int
    concurrency: int
    rate: float | None
    pacer: Pacer | None
    policy: Policy | None


@asynccontextmanager
async def client_at(url: str, **options: Unpack[ClientOptions]) -> AsyncIterator[AsyncClient]:
    """A client of the server at *url*; whatever was done through it, its budget must be whole in the end."""
    async with AsyncClient(TOKEN, base_url=url, **options) as client:
        yield client
        assert_settled(client)
    assert_settled(client)


@asynccontextmanager
async def client_of(simulator: Simulator, **options: Unpack[ClientOptions]) -> AsyncIterator[AsyncClient]:
    async with client_at(simulator.url, **options) as client:
        yield client


def assert_settled(client: AsyncClient) -> None:
    stats = client.pacer.stats()
    assert (stats.in_flight, stats.waiting) == (0, 0)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("asyncflow")] == []


def clock() -> float:
    return asyncio.get_running_loop().time()


def told(error: BaseException) -> str:
    """Everything that a log, a crash report or a debugger would show of *error* and of the errors behind it."""
    texts = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        texts += [str(seen), repr(seen), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(texts)


def assert_discreet(text: str) -> None:
    for secret in ("abcdef", "jo-ann", "ada.lind", "r_khan", "studio", EMAIL.encode().hex()):
        assert secret not in text


# -- a server that says anything -----------------------------------------------------------------------------------------------


class Security:
    """With a *context*, servers speak TLS; clients that verify with the usual context of aiohttp trust them."""

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self._ready: ssl.SSLContext | None = None

    def switch_on(self) -> None:
        if self._ready is None:
            authority = trustme.CA()
            self._ready = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(self._ready)
            authority.configure_trust(getattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED"))  # noqa: B009 - private
        self.context = self._ready

    def switch_off(self) -> None:
        self.context = None


SECURITY = Security()


class Listener:
    """A port that notes each request as it came, and answers with bytes or as a function does."""

    def __init__(self, answer: bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.requests: list[bytes] = []
        self.closing = asyncio.Event()
        self.url = ""
        self._answer = answer
        self._writers: set[asyncio.StreamWriter] = set()
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def request_lines(self) -> list[str]:
        return [request.partition(b"\r\n")[0].decode() for request in self.requests]

    def header(self, name: str) -> list[str | None]:
        """The value of a header in each request."""
        return [_headers(request).get(name.lower()) for request in self.requests]

    async def hang(self, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await self.closing.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._busy += 1
        self._idle.clear()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(_headers(head).get("content-length") or 0)
            self.requests.append(head + await reader.readexactly(length))
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, which is its right
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()
            self._writers.discard(writer)
            writer.close()

    async def end(self) -> None:
        self.closing.set()
        for writer in tuple(self._writers):
            writer.transport.abort()
        with anyio.fail_after(5):
            await self._idle.wait()


@asynccontextmanager
async def listening(
    answer: bytes | Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None,
) -> AsyncIterator[Listener]:
    """A `Listener` on a free port; without *answer* it never answers."""
    listener = Listener(answer if answer is not None else b"")
    if answer is None:
        listener._answer = listener.hang
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, backlog=512, ssl=SECURITY.context)
    listener.url = f"{'http' if SECURITY.context is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield listener
    finally:
        server.close()
        await listener.end()
        await server.wait_closed()


def http(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """An answer as bytes, whole unless *headers* say otherwise."""
    fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Some Words\r\n{head}\r\n".encode() + body


def _headers(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
