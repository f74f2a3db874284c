"""Reads on aiohttp's connector, connections and parser, without its session, request and response objects for each of them.

Those cost three quarters of a poll. The parts that are left are aiohttp's own, but undocumented: `is_fit` says whether this
version has been tried, and a connection that looks otherwise than expected is `Unfit`, upon which the client goes over to the
reference lane for good. What goes on the wire and what is made of the answer is the same in both lanes, as the tests hold.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import aiohttp
from yarl import URL

from asyncflow.client.wire import Reply, headers, receive_less, whole_body, without_total
from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    from asyncflow.client.options import Options
    from asyncflow.protocol import Request

__all__ = ["FastLane", "Unfit", "is_fit"]

TESTED = ((3, 13), (3, 14))
"""The minor versions of aiohttp that all tests of the lanes have been run with."""

_SMALL_BYTES = 16384
"""Far below what makes a reader stop its connection for a while."""

_USED = ("is_connected", "read", "set_response_params", "should_close", "transport")

# All requests of a session go through it: whoever replaces it (to mock the service, to trace requests) wants to see each.
_SESSION_REQUEST = getattr(aiohttp.ClientSession, "_request", None)


class Unfit(Exception):  # noqa: N818 - no error of anybody's: a reason to go the other way
    """This aiohttp is not as this lane knows it."""


def is_fit(version: str = aiohttp.__version__) -> bool:
    """Return whether the lane was tried with this aiohttp and nobody stands between a session and its requests."""
    major, minor, *_ = version.split(".")
    return (int(major), int(minor)) in TESTED and is_untouched()


def is_untouched() -> bool:
    """Return whether sessions still send their requests as aiohttp has them do."""
    return getattr(aiohttp.ClientSession, "_request", None) is _SESSION_REQUEST


class _Link:
    """One connection, kept for as long as it is good; *idle_since* is on the loop's clock."""

    __slots__ = ("connection", "idle_since", "protocol")

    def __init__(self, connection: Connection, protocol: ResponseHandler) -> None:
        self.connection = connection
        self.protocol = protocol
        self.idle_since = 0.0


class FastLane:
    """The reads of one client. It keeps its connections to itself, the one used last on top, so that few are kept warm."""

    def __init__(self, connector: aiohttp.BaseConnector, base_url: str, keep_alive: float) -> None:
        self._connector = connector
        self._url = URL(base_url)
        self._prefix = f"GET {self._url.raw_path.rstrip('/')}"
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Link] = []
        self._timer: asyncio.TimerHandle | None = None
        self._heads: dict[str, bytes] = {}
        self._is_closed = False

    async def ask(self, request: Request, options: Options, token: str) -> Reply:
        """Send a GET and return the whole answer, however long that takes; errors are aiohttp's, and `Unfit`."""
        head = self._head(request.target, token)
        link = self._pop()
        if link is not None:
            try:
                return await self._exchange(link, request, head)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # Closed by the server at the moment we chose to use it again. Its neighbours are no younger, hence a new one.
                pass
        return await self._exchange(await self._connect(options), request, head)

    def _head(self, target: str, token: str) -> bytes:
        rest = self._heads.get(token)
        if rest is None:
            if len(self._heads) >= 16:
                self._heads.clear()
            # As a session would have them, the codings that can be decoded here included.
            fields = self._template(token).headers
            lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            self._heads[token] = rest = f" HTTP/1.1\r\n{lines}\r\n".encode()
        if not target.isascii() or not target.isprintable() or " " in target:
            raise UsageError("the target of a request must be encoded")
        return f"{self._prefix}{target}".encode("ascii") + rest

    def _template(self, token: str) -> aiohttp.ClientRequest:
        return aiohttp.ClientRequest("GET", self._url, headers=headers(token, has_body=False), loop=self._loop)

    # -- connections -----------------------------------------------------------------------------------------------------

    async def _connect(self, options: Options) -> _Link:
        if self._is_closed:
            raise aiohttp.ClientConnectionError("the client was closed")
        request = aiohttp.ClientRequest("GET", self._url, loop=self._loop)
        connection = await self._connector.connect(request, [], without_total(options.timeout))
        protocol = connection.protocol
        if protocol is None or any(not hasattr(protocol, name) for name in _USED):
            connection.close()
            raise Unfit("a connection without the attributes that are used here")
        protocol.set_response_params(read_until_eof=True)
        receive_less(protocol.transport)
        return _Link(connection, protocol)

    def _pop(self) -> _Link | None:
        """Return a connection that is open, was not used too long ago, and has received nothing that nobody asked for."""
        idle = self._idle
        while idle:
            link = idle.pop()
            protocol = link.protocol
            if protocol.is_connected() and not protocol.should_close and self._loop.time() - link.idle_since <= self._keep_alive:
                return link
            link.connection.close()
        return None

    def _push(self, link: _Link) -> None:
        link.idle_since = now = self._loop.time()
        self._idle.append(link)
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._keep_alive, self._expire)

    def _expire(self) -> None:
        """Close what has been idle for too long; the longest idle come first."""
        self._timer = None
        horizon = self._loop.time() - self._keep_alive
        fresh = next((at for at, link in enumerate(self._idle) if link.idle_since > horizon), len(self._idle))
        for link in self._idle[:fresh]:
            link.connection.close()
        del self._idle[:fresh]
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0].idle_since + self._keep_alive, self._expire)

    def close(self) -> None:
        """Let go of the connections, once the connector is closed and has closed them."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for link in self._idle:
            link.connection.close()
        self._idle.clear()

    # -- one exchange ----------------------------------------------------------------------------------------------------

    async def _exchange(self, link: _Link, request: Request, head: bytes) -> Reply:
        protocol = link.protocol
        is_good = False
        try:
            transport = protocol.transport
            if transport is None:
                # Made and lost in one step of the loop.
                raise aiohttp.ServerDisconnectedError
            transport.write(head)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
            body = _small_body(content)
            if body is None:
                body = await whole_body(request, message.code, message.headers, content)
            is_good = not protocol.should_close
            return Reply(message.code, message.headers, body)
        finally:
            if is_good and not self._is_closed:
                self._push(link)
            else:
                link.connection.close()


def _small_body(content: aiohttp.StreamReader) -> bytes | None:
    """Return the body if all of it came in one small piece, as records do; else None.

    The reader is not told: it would have the connection go on reading, which for so little was never stopped.
    """
    pieces = cast("Sequence[bytes]", getattr(content, "_buffer", ()))
    if len(pieces) == 1 and content.is_eof() and content.exception() is None and len(pieces[0]) <= _SMALL_BYTES:
        return pieces[0]
    return None
