"""Requests through aiohttp's public session: the transport for everything, and the measure of the other one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from asyncflow.client.wire import StaleConnection, WireReply, headers, receive_less, whole_body, without_total

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.connector import Connection

    from asyncflow.client.options import RequestOptions
    from asyncflow.protocol import Request

__all__ = ["ask_session", "make_session"]


class _Response(aiohttp.ClientResponse):
    """What a session of ours makes of an answer: nothing else than usual, from a connection that is read in smaller pieces."""

    def start(self, connection: Connection) -> Awaitable[aiohttp.ClientResponse]:  # type: ignore[override] # awaited only
        receive_less(connection.transport)
        return super().start(connection)


def make_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """Return a session of our own: no cookies, no waiting for connections, no default but ours."""
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), response_class=_Response)
    if hasattr(session, "_retry_connection"):
        # It would ask a second time by itself where a kept connection turns out dead, and the budget would not know.
        setattr(session, "_retry_connection", False)  # noqa: B010 - private: there is no public name for it
    return session


@lru_cache(maxsize=2048)  # A URL remembers what aiohttp asks of it, in some 600 bytes.
def _url(base_url: str, target: str) -> URL:
    # Said to be encoded, since aiohttp would undo the escapes that a Flow Music id needs.
    if "?" in target:
        return URL(base_url + target, encoded=True)
    # The host need not be taken apart for each job anew.
    base, path = _base(base_url)
    return base.with_path(path + target, encoded=True)


@lru_cache(maxsize=16)
def _base(base_url: str) -> tuple[URL, str]:
    url = URL(base_url)
    return url, url.raw_path.rstrip("/")


async def ask_session(
    session: aiohttp.ClientSession, request: Request, options: RequestOptions, token: str, *, is_fresh: bool = True
) -> WireReply:
    """Send *request* and return the whole answer, however long that takes; errors are aiohttp's.

    `StaleConnection`, unless *is_fresh*, where it fell on a connection that broke before there was an answer and may be repeated.
    """
    try:
        response = await session.request(
            request.method,
            _url(options.base_url, request.target),
            data=request.body,
            headers=headers(token, has_body=request.body is not None),
            allow_redirects=False,
            raise_for_status=False,
            timeout=without_total(options.timeout),
        )
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        # A session that was given does it by itself.
        if is_fresh or getattr(session, "_retry_connection", True) or isinstance(error, aiohttp.ClientConnectorError):
            raise
        raise StaleConnection from error
    try:
        status, fields, content = response.status, response.headers, response.content
        # Records come whole with their headers: then nothing is left to wait for.
        is_whole = content.is_eof()
        return WireReply(
            status, fields, content.read_nowait() if is_whole else await whole_body(request, status, fields, content)
        )
    finally:
        # A connection whose answer was not read to its end is closed by this, not kept.
        response.release()
