"""Reads on aiohttp's connector, connections and parser, without its session, request and response objects for each of them.

Those cost three quarters of a poll, and the parser and its queues most of the rest. So the plainest of answers, a 200 that says
how long it is and is no longer, is recognized here; from the first byte on aiohttp's own protocol hears of every other one, and
of all that happens to a connection. The parts that are used are aiohttp's own, but undocumented: `is_fit` says whether this
version has been tried, and a connection that looks otherwise than expected is `UnsupportedAiohttp`, upon which
the client changes to the session transport for good. What goes on the wire, and what is made of the
answer, is the same in both transports; the tests hold that.
"""

from __future__ import annotations

import asyncio
import re
from math import inf
from typing import TYPE_CHECKING, cast

import aiohttp
from yarl import URL

from asyncflow.client.wire import RECEIVE_BYTES, StaleConnection, WireReply, headers, plain_reply, whole_body, without_total
from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    from asyncflow.client.options import RequestOptions
    from asyncflow.client.timeouts import TimeoutGroup
    from asyncflow.protocol import Request

__all__ = ["FastConnection", "FastTransport", "UnsupportedAiohttp", "is_fit"]

TESTED = ((3, 14),)
"""The minor versions of aiohttp that all tests of the transports have been run with."""

_SMALL_BYTES = 16384
"""Far below what makes a reader stop its connection for a while."""

_USED = ("connection_lost", "data_received", "pause_writing", "read", "resume_writing", "set_response_params", "should_close")

# All requests of a session go through it: whoever replaces it (to mock the service, to trace requests) wants to see each.
_SESSION = aiohttp.ClientSession
_SESSION_REQUEST = getattr(_SESSION, "_request", None)

# What bears on where an answer ends: its length, a connection that stays, or (in the second group) anything less plain than that.
_FRAMING = re.compile(
    rb"\n(?:content-length:[ \t]*(\d{1,5})[ \t]*\r|connection:[ \t]*keep-alive[ \t]*\r"
    rb"|(content-length|content-encoding|transfer-encoding|connection|[ \t\r\n]))",
    re.IGNORECASE,
)
_ODD = -1


class UnsupportedAiohttp(Exception):  # noqa: N818 - no error of anybody's: a reason to go the other way
    """This aiohttp is not as this transport knows it."""


def is_fit(version: str = aiohttp.__version__) -> bool:
    """Return whether the transport was tried with this aiohttp and nobody stands between a session and its requests."""
    major, minor, *_ = version.split(".")
    return (int(major), int(minor)) in TESTED and is_untouched()


def is_untouched() -> bool:
    """Return whether sessions still send their requests as aiohttp has them do."""
    return getattr(_SESSION, "_request", None) is _SESSION_REQUEST


def plain_body_at(answer: bytes) -> int:
    """Return where the body begins in a whole answer of the plainest kind; 0 while *answer* may become one, else -1."""
    if not answer.startswith(b"HTTP/1.1 200 "):
        return _ODD
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    # Nearly all are an object as long as said, on a connection that stays: a few searches tell these from all others.
    body, at = end + 4, answer.find(b"\r\nContent-Length: ", 0, end)
    if (
        at > 0
        and answer.startswith(b"%d\r" % (len(answer) - body), at + 18)
        and answer.startswith(b"{", body)
        and answer.find(b"ncoding:", 0, end) < 0
        and ((at := answer.find(b"onnection:", 0, end)) < 0 or answer.startswith(b" keep-alive\r", at + 10))
    ):
        return body
    return _plain_body_at(answer, end)


def _plain_body_at(answer: bytes, end: int) -> int:
    length = None
    for digits, odd in _FRAMING.findall(answer, 0, end + 2):
        if odd or (digits and length is not None):
            return _ODD
        if digits:
            length = int(digits)
    missing = _ODD if length is None else end + 4 + length - len(answer)
    return end + 4 if missing == 0 else 0 if missing > 0 else _ODD


class FastConnection(asyncio.BufferedProtocol):
    """One connection, and the request that is on it, whose time is over *at* an instant of the loop's clock.

    It stands between the transport and aiohttp's *protocol*. `send` gives a future: its result is the body of a plain answer, or
    None for anything else, which `FastTransport.ask` then goes on with.
    """

    __slots__ = (
        "_part",
        "at",
        "connection",
        "error",
        "is_open",
        "is_over",
        "is_parsed",
        "pool",
        "protocol",
        "transport",
        "used_at",
        "waiter",
        "was_used",
    )

    def __init__(
        self, pool: FastTransport, connection: Connection, protocol: ResponseHandler, transport: asyncio.Transport
    ) -> None:
        self.connection: Connection = connection
        self.protocol: ResponseHandler = protocol
        self.transport: asyncio.Transport = transport
        self.waiter: asyncio.Future[bytes | None] | None = None
        self.at: float = inf
        self.is_open: bool = True
        self.is_over: bool = False
        self.is_parsed: bool = False
        self.was_used: bool = False
        self.used_at: float = 0.0
        self.error: Exception | None = None
        self._part: bytes = b""
        self.pool: FastTransport = pool

    def request(self, head: bytes, now: float, at: float) -> asyncio.Future[bytes | None]:
        """Send a request whose answer is to be whole *at* that time."""
        pool = self.pool
        self.used_at = now
        self.at = at
        deadlines = pool.deadlines
        deadlines.running[self] = None
        if at < deadlines.ring_at:
            deadlines.note(at)
        self.waiter = waiter = pool.loop.create_future()
        self.transport.write(head)
        return waiter

    def check(self, now: float) -> bool:
        """Give the request up if its time is over, and return whether it is."""
        if self.at <= now:
            self.is_over = True
            self._fail(TimeoutError())
        return self.is_over

    def abandon(self, waiter: asyncio.Future[bytes | None] | None) -> None:
        """Close the connection if it still owes the answer of this *waiter*, who has gone; it may have another one by now."""
        if waiter is not None and self.waiter is waiter:
            self._take_waiter()
            self.close()

    def close(self) -> None:
        """Give the connection back to be closed."""
        self.is_open = False
        self.connection.close()

    def _take_waiter(self) -> asyncio.Future[bytes | None] | None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            del self.pool.deadlines.running[self]
        return waiter

    def _fail(self, error: Exception) -> None:
        self.error = error
        waiter = self._take_waiter()
        self.close()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fall_back_to_parser(self, answer: bytes) -> None:
        """Have aiohttp's protocol read this answer, of which so much has come."""
        self._part = b""
        self.is_parsed = True
        waiter = self._take_waiter()
        self.protocol.data_received(answer)
        if waiter is not None:
            waiter.set_result(None)

    # -- what the transport calls ----------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the name is asyncio's
        """Return where to put what is received."""
        return self.pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was received."""
        pool, waiter = self.pool, self.waiter
        answer = pool.buffer[:nbytes].tobytes()
        if waiter is None or waiter.done():
            if self.is_parsed:
                self.protocol.data_received(answer)
            else:
                # Nobody asked, or nobody waits any more.
                self.close()
            return
        if self._part:
            answer = self._part + answer
        start = plain_body_at(answer)
        if start > 0:
            self._part = b""
            self.waiter = None
            del pool.deadlines.running[self]
            if pool.is_busy:
                pool.idle.append(self)
            else:
                pool.release(self)
            waiter.set_result(answer[start:])
        elif start == 0 and len(answer) <= RECEIVE_BYTES:
            self._part = answer
        else:
            self._fall_back_to_parser(answer)

    def eof_received(self) -> None:
        """Hear that no more will come."""
        self.is_open = False
        self.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is closed, and why."""
        self.is_open = False
        if self.waiter is not None and self._part:
            self._fall_back_to_parser(self._part)
        self.protocol.connection_lost(exc)
        if self.waiter is not None:
            self._fail(aiohttp.ClientOSError(*exc.args) if isinstance(exc, OSError) else aiohttp.ServerDisconnectedError())

    def pause_writing(self) -> None:
        """Pass it on."""
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self.protocol.resume_writing()


class FastTransport:
    """The reads of one client. It keeps its connections to itself, the one used last on top, so that few are kept warm."""

    def __init__(self, connector: aiohttp.BaseConnector, base_url: str, keep_alive: float, deadlines: TimeoutGroup) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.deadlines: TimeoutGroup = deadlines
        # One for all: what is received is taken out of it before anything else can be.
        self.buffer: memoryview = memoryview(bytearray(RECEIVE_BYTES))
        self._connector = connector
        self._url = URL(base_url)
        self._prefix = f"GET {self._url.raw_path.rstrip('/')}"
        self._keep_alive = keep_alive
        self.idle: list[FastConnection] = []
        # Whether it is open, and a timer closes what has been idle for too long.
        self.is_busy: bool = False
        self._timer: asyncio.TimerHandle | None = None
        self._heads: dict[str, bytes] = {}
        self._is_closed = False

    def try_start(self, request: Request, token: str, now: float, deadline: float) -> FastConnection | None:
        """Send a GET on a connection that is open; None if there is none. If its *waiter* comes to nothing, `ask` goes on."""
        if getattr(_SESSION, "_request", None) is not _SESSION_REQUEST:
            return None
        head = self._head(request.target, token)
        link = self._acquire(now)
        if link is not None:
            link.request(head, now, deadline)
        return link

    async def request(
        self, request: Request, options: RequestOptions, token: str, link: FastConnection | None, *, is_fresh: bool
    ) -> WireReply:
        """Return the whole answer to a GET, which has been sent already if there is a *link*.

        Raises aiohttp's errors, `StaleConnection` and `UnsupportedAiohttp`.

        With *is_fresh* it goes out on a new connection.
        """
        if link is None:
            head = self._head(request.target, token)
            link = None if is_fresh else self._acquire(self.loop.time())
            if link is None:
                link = await self._connect(options)
            waiter = link.request(head, self.loop.time(), inf)
            try:
                body = await waiter
            finally:
                link.abandon(waiter)
            if body is not None:
                return plain_reply(body)
        if link.error is not None:
            if link.was_used and isinstance(link.error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
                # Closed by the server at the moment we chose to use it again.
                raise StaleConnection from link.error
            raise link.error
        return await self._parsed(link, request)

    def _head(self, target: str, token: str) -> bytes:
        if " " in target or "\n" in target or "\r" in target or not target.isascii():
            raise UsageError("the target of a request must be encoded")
        return f"{self._prefix}{target}".encode() + (self._heads.get(token) or self._rest(token))

    def _rest(self, token: str) -> bytes:
        """Return what follows the target in every request with this token."""
        if len(self._heads) >= 16:
            self._heads.clear()
        # As a session would have them.
        fields = self._template(token).headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._heads[token] = rest = f" HTTP/1.1\r\n{lines}\r\n".encode()
        return rest

    def _template(self, token: str) -> aiohttp.ClientRequest:
        return aiohttp.ClientRequest("GET", self._url, headers=headers(token, has_body=False), loop=self.loop)

    # -- connections -----------------------------------------------------------------------------------------------------

    async def _connect(self, options: RequestOptions) -> FastConnection:
        if self._is_closed:
            raise aiohttp.ClientConnectionError("the client was closed")
        request = aiohttp.ClientRequest("GET", self._url, loop=self.loop)
        connection = await self._connector.connect(request, [], without_total(options.timeout))
        protocol = connection.protocol
        if protocol is None or any(not hasattr(protocol, name) for name in _USED):
            connection.close()
            raise UnsupportedAiohttp("a connection without the attributes that are used here")
        transport = protocol.transport
        if transport is None:
            # Made and lost in one step of the loop.
            connection.close()
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True)
        link = FastConnection(self, connection, protocol, transport)
        transport.set_protocol(link)
        return link

    def _acquire(self, now: float) -> FastConnection | None:
        """Return a connection that is open and was not used too long ago."""
        idle = self.idle
        while idle:
            link = idle.pop()
            # Should it be closing all the same, then it will say so, and `StaleConnection` is what comes of it.
            if link.is_open and now - link.used_at <= self._keep_alive:
                link.was_used = True
                return link
            link.close()
        return None

    def release(self, link: FastConnection) -> None:
        """Keep a connection that has delivered its answer."""
        if self._is_closed:
            link.close()
            return
        self.idle.append(link)
        if not self.is_busy:
            self.is_busy = True
            self._timer = self.loop.call_later(self._keep_alive, self._expire)

    def _expire(self) -> None:
        """Close what has been idle for too long; the longest idle come first."""
        self.is_busy = False
        horizon = self.loop.time() - self._keep_alive
        fresh = next((at for at, link in enumerate(self.idle) if link.used_at > horizon), len(self.idle))
        for link in self.idle[:fresh]:
            link.close()
        del self.idle[:fresh]
        if self.idle:
            self.is_busy = True
            # Those after the first may have been used longer ago than it, and wait for the next time.
            self._timer = self.loop.call_at(self.idle[0].used_at + self._keep_alive, self._expire)

    def close(self) -> None:
        """Let go of the connections, once the connector is closed and has closed them."""
        self._is_closed, self.is_busy = True, False
        if self._timer is not None:
            self._timer.cancel()
        for link in self.idle:
            link.close()
        self.idle.clear()

    # -- answers that aiohttp reads --------------------------------------------------------------------------------------

    async def _parsed(self, link: FastConnection, request: Request) -> WireReply:
        protocol = link.protocol
        is_good = False
        try:
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
            body = _small_body(content)
            if body is None:
                body = await whole_body(request, message.code, message.headers, content)
            is_good = not protocol.should_close
            return WireReply(message.code, message.headers, body)
        finally:
            link.is_parsed = False
            if is_good:
                self.release(link)
            else:
                link.close()


def _small_body(content: aiohttp.StreamReader) -> bytes | None:
    """Return the body if all of it came in one small piece, as records do; else None.

    The reader is not told: it would have the connection go on reading, which for so little was never stopped.
    """
    pieces = cast("Sequence[bytes]", getattr(content, "_buffer", ()))
    if len(pieces) == 1 and content.is_eof() and content.exception() is None and len(pieces[0]) <= _SMALL_BYTES:
        return pieces[0]
    return None
