"""What a client and those made from it share on the way to the service: a session, the transport of its reads, one event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
import anyio
from yarl import URL

from asyncflow import protocol
from asyncflow.client.fast_transport import FastTransport, UnsupportedAiohttp, is_fit, is_untouched
from asyncflow.client.session_transport import ask_session, make_session
from asyncflow.client.timeouts import TimeoutGroup
from asyncflow.errors import TransportError, UsageError
from asyncflow.redaction import redact

if TYPE_CHECKING:
    from asyncflow.client.fast_transport import FastConnection
    from asyncflow.client.options import RequestOptions, TransportName
    from asyncflow.client.wire import WireReply
    from asyncflow.protocol import Request

__all__ = ["Transport"]

_log = logging.getLogger("asyncflow.client")

_KEEP_ALIVE = 90.0
"""Seconds an idle connection is kept: longer than any polling interval, so that a poll does not pay for a new TLS handshake."""


class Transport:
    """A session, made when it is first needed, and the event loop it belongs to.

    *transport* is how reads go: "fast" on connections of their own, "session" through the session, "auto" the fast way where that
    is known to be safe.
    """

    def __init__(self, session: aiohttp.ClientSession | None, transport: TransportName) -> None:
        self.is_closed: bool = False
        self._session = session
        self._is_borrowed = session is not None
        self._is_fast = transport == "fast" or (transport == "auto" and is_fit())
        self._fast: FastTransport | None = None
        self._deadlines = TimeoutGroup()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def transport(self) -> str:
        """Which way the next read goes: "fast" or "session"."""
        return "fast" if self._is_fast and is_untouched() else "session"

    def now(self) -> float:
        """Return the loop's time; `UsageError` on another loop than that of the first call, and when closed."""
        if self.is_closed:
            self.ensure_open()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise UsageError("this client belongs to another event loop: make one client for each asyncio.run()")
        return loop.time()

    def ensure_open(self) -> None:
        """Raise `UsageError` if this is closed."""
        if self.is_closed:
            raise UsageError("this client is closed; make a new one")

    def start(self, request: Request, options: RequestOptions, now: float, deadline: float) -> FastConnection | None:
        """Send *request* at once if there is a short way: then the link's *waiter* has the body of a plain answer.

        If that has none, and if there is no link, `exchange` goes on.
        """
        fast, token = self._fast, options.token
        if fast is None or request.method != "GET" or not isinstance(token, str):
            return None
        return fast.try_start(request, token, now, deadline)

    async def exchange(
        self,
        request: Request,
        options: RequestOptions,
        deadline: float,
        link: FastConnection | None = None,
        *,
        is_fresh: bool = True,
    ) -> WireReply:
        """Send *request* once and return the whole answer, all of it before *deadline*, on the loop's clock.

        It has been sent already if there is a *link*. `TransportError` if there is no answer; it is transient for a submit too if
        that has certainly not been sent. `Stale` if it may be repeated, *is_fresh* is false, and it fell on a dead connection.
        """
        token = options.token if isinstance(options.token, str) else await _token(request, options, deadline)
        session = self._session
        if session is None or self.is_closed or session.closed:
            session = self._open(options)
        try:
            with self._deadlines.limit(deadline):
                fast = self._fast if link is None else link.pool
                if fast is not None and request.method == "GET" and (link is not None or is_untouched()):
                    try:
                        return await fast.request(request, options, token, link, is_fresh=is_fresh)
                    except UnsupportedAiohttp as reason:
                        self._leave_fast_transport(reason)
                return await ask_session(session, request, options, token, is_fresh=is_fresh)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            url = URL(options.base_url)
            raise TransportError(f"no connection to {url.host}:{url.port}", transient=True, job_id=request.job_id) from _discreet(
                error
            )
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, aiohttp.EofStream, TimeoutError, OSError) as error:
            raise protocol.transport_error(request, error) from _discreet(error)

    def _open(self, options: RequestOptions) -> aiohttp.ClientSession:
        self.ensure_open()
        if self._session is None:
            # The pacer counts requests in flight; a second limit here would only hide its queue.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE)
            self._session = make_session(connector)
            # Libraries that trace requests give every new session a configuration of theirs.
            if self._is_fast and self._session.trace_configs:
                self._is_fast = False
            if self._is_fast:
                self._fast = FastTransport(connector, options.base_url, _KEEP_ALIVE, self._deadlines)
        if self._session.closed:
            raise UsageError("the session that this client was given is closed")
        return self._session

    def _leave_fast_transport(self, reason: UnsupportedAiohttp) -> None:
        fast, self._fast, self._is_fast = self._fast, None, False
        if fast is not None:
            fast.close()
            _log.warning("fast_transport_unsupported", extra={"reason": str(reason), "aiohttp": aiohttp.__version__})

    async def aclose(self) -> None:
        """Close the session, unless it is borrowed. Closing twice is closing once."""
        self.is_closed = True
        session, self._session = self._session, None
        if session is not None and not self._is_borrowed:
            if self._loop is not asyncio.get_running_loop():
                raise UsageError("this client belongs to another event loop: it can only be closed there")
            try:
                with anyio.CancelScope(shield=True):
                    # The connector closes what it has lent out too, and waits for it; so the transport comes last.
                    await session.close()
            finally:
                if self._fast is not None:
                    self._fast.close()
        self._deadlines.stop()


async def _token(request: Request, options: RequestOptions, deadline: float) -> str:
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            return await options.current_token()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TransportError("the token was not there in time", transient=True, job_id=request.job_id) from error


def _discreet(error: Exception) -> Exception:
    """Return *error*, or a stand-in for one whose text or repr shows an id or a token: some hold the URL and the headers."""
    text = f"{error} {error!r}"
    return error if redact(text) == text else aiohttp.ClientError(f"{type(error).__name__}: {redact(str(error))}")
