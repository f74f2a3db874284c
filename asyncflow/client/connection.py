"""One aiohttp session, and one request on it: what goes out, what comes back, and what can go wrong in between."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import anyio
from yarl import URL

from asyncflow import protocol
from asyncflow.errors import DecodeError, TransportError, UsageError
from asyncflow.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncflow.client.options import Options
    from asyncflow.protocol import Request

__all__ = ["Connection", "Reply"]

_KEEP_ALIVE = 90.0
"""Seconds an idle connection is kept: longer than any polling interval, so that a poll does not pay for a new TLS handshake."""

_LONGEST_ANSWER_BYTES = 128 * 2**20
"""More than any answer has; ten videos joined into one come as some ninety megabytes of base64."""


class Reply(NamedTuple):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """What a client and those made from it share: a session, made when it is first needed, and the event loop it belongs to."""

    def __init__(self, session: aiohttp.ClientSession | None) -> None:
        self.is_closed = False
        self._session = session
        self._is_borrowed = session is not None
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        """Return the loop's time; `UsageError` on another loop than that of the first call, and when closed."""
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

    async def exchange(self, request: Request, options: Options, timeout: float) -> Reply:
        """Send *request* once and return the whole answer, all within *timeout* seconds.

        `TransportError` if there is none; it is transient for a submit too if that has certainly not been sent.
        """
        deadline = self.now() + timeout
        token = await _token(request, options, deadline)
        session = self._open()
        try:
            async with (
                asyncio.timeout_at(deadline),
                session.request(
                    request.method,
                    URL(options.base_url + request.target, encoded=True),
                    data=request.body,
                    headers=_headers(request, token),
                    allow_redirects=False,
                    raise_for_status=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.timeout),
                ) as response,
            ):
                return Reply(response.status, response.headers, await _body(request, response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            url = URL(options.base_url)
            raise TransportError(f"no connection to {url.host}:{url.port}", transient=True, job_id=request.job_id) from _discreet(
                error
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise protocol.transport_error(request, error) from _discreet(error)

    def _open(self) -> aiohttp.ClientSession:
        self.ensure_open()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The pacer counts requests in flight; a second limit here would only hide its queue.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        if self._session.closed:
            raise UsageError("the session that this client was given is closed")
        return self._session

    async def aclose(self) -> None:
        """Close the session, unless it is borrowed. Closing twice is closing once."""
        self.is_closed = True
        session, self._session = self._session, None
        if session is not None and not self._is_borrowed:
            if self._loop is not asyncio.get_running_loop():
                raise UsageError("this client belongs to another event loop: it can only be closed there")
            with anyio.CancelScope(shield=True):
                await session.close()


async def _token(request: Request, options: Options, deadline: float) -> str:
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            return await options.current_token()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TransportError("the token was not there in time", transient=True, job_id=request.job_id) from error


def _headers(request: Request, token: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}", "User-Agent": _user_agent(), "Accept": "application/json"}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    return headers


@cache
def _user_agent() -> str:
    # Without a name of its own a client is refused at the edge: https://useapi.net/docs/api-google-flow-v1 (error code 1010).
    with suppress(PackageNotFoundError):
        return f"asyncflow-useapi/{version('asyncflow-useapi')}"
    return "asyncflow-useapi"


async def _body(request: Request, response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body; a server that never stops is none of the service's."""
    pieces: list[bytes] = []
    size = response.content_length or 0
    if size <= _LONGEST_ANSWER_BYTES:
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > _LONGEST_ANSWER_BYTES:
                break
            pieces.append(piece)
    if size > _LONGEST_ANSWER_BYTES:
        raise DecodeError(
            "the answer is longer than any record",
            transient=request.method != "POST",
            status=response.status,
            job_id=request.job_id,
        )
    return b"".join(pieces)


def _discreet(error: Exception) -> Exception:
    """Return *error*, or a stand-in for one whose text or repr shows an id or a token: some hold the URL and the headers."""
    text = f"{error} {error!r}"
    return error if redact(text) == text else aiohttp.ClientError(f"{type(error).__name__}: {redact(str(error))}")
