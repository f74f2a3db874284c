"""The way out to media hosts: a session without credentials, redirects followed by hand, every address looked at.

The address is checked where the socket for it is made, so that it is the one that is connected to, whatever a name meant a moment
before and whatever way a URL has of writing it.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import anyio
from yarl import URL

from asyncflow.download.address_policy import check_link, refused_zone, zone_of, zone_of_host
from asyncflow.download.thread_pool import ThreadPool
from asyncflow.errors import AsyncflowError, DownloadError, TransportError, UsageError
from asyncflow.redaction import redact

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Mapping

    from asyncflow.download.address_policy import Zone

__all__ = ["MediaTransport", "no_answer"]

T = TypeVar("T")

_MOST_HOPS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONNECTIONS = 64
_READ_AHEAD = 1 << 20
_CONNECT_TIMEOUT = 30.0
_KEEP_ALIVE = 30.0
_HEADER_ROOM = 16 << 10


class _ForbiddenAddressError(OSError):
    """A connection to an address that no link may lead to; an OSError, since that is what libraries expect of a socket."""

    def __init__(self, zone: Zone) -> None:
        super().__init__(f"refused: {zone}")
        self.zone: Zone = zone


class MediaTransport:
    """Connections to media hosts, and the threads that write what they send; shared by all downloads of a client.

    *base_url* is the service's. Links must be https and lead to public addresses; if the service is spoken to by http, so may be
    media hosts, and if it lies on this machine or a network of one's own, so may they (a simulator, a proxy). *ssl_context*
    replaces the system's certificates. Belongs to the event loop of its first use.
    """

    def __init__(self, base_url: str = "https://api.useapi.net", *, ssl_context: ssl.SSLContext | None = None) -> None:
        self.pool: ThreadPool = ThreadPool()
        self._base = URL(base_url)
        self._ssl = ssl_context
        self._zones: set[Zone] = {"public"}
        self._is_ready = False
        self._session: aiohttp.ClientSession | None = None
        self._answers: set[aiohttp.ClientResponse] = set()
        # Not the connector's limit: to wait for one's turn is no fault of a host's, and does not count as its silence.
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def open(
        self, url: str, headers: Mapping[str, str] | None = None, *, timeout: float = 30.0
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Ask for *url* and yield the answer once it is no redirect, its body unread; leaving the block lets go of it.

        *timeout* is how many seconds a host may take to answer. `DownloadError` for a link that leads where none may,
        `TransportError` (transient) if there is no answer.
        """
        async with self._slots:
            response = await self._arrive(_parsed(url), headers or {}, timeout)
            self._answers.add(response)
            try:
                yield response
            finally:
                self._answers.discard(response)
                # What has not been read to its end is not kept.
                response.close()

    async def _arrive(self, url: URL, headers: Mapping[str, str], timeout: float) -> aiohttp.ClientResponse:
        session = await self._ready()
        seen: set[URL] = set()
        while len(seen) <= _MOST_HOPS:
            if url in seen:
                raise DownloadError("the link redirects in a circle", reason="redirects")
            allows_http = self._base.scheme == "http" and not any(hop.scheme == "https" for hop in seen)
            check_link(url, allows_http=allows_http, zones=self._zones)
            seen.add(url)
            response = await self._ask(session, url, headers, timeout)
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            url = _next(url, location)
        raise DownloadError(f"the link redirects more than {_MOST_HOPS} times", reason="redirects")

    async def _ask(
        self, session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], timeout: float
    ) -> aiohttp.ClientResponse:
        try:
            # Of the head only: how long a body may take is the business of whoever reads it.
            with anyio.fail_after(timeout):
                return await session.get(url, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, TimeoutError, OSError, ValueError) as error:
            raise no_answer(error) from _discreet(error)

    async def _ready(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise UsageError("these downloads belong to another event loop")
        if not self._is_ready:
            self._zones |= await self._own_zones()
            self._is_ready = True
        if self._session is None:
            self._session = self._open()
        return self._session

    async def _own_zones(self) -> set[Zone]:
        """Return where the service itself lies, besides the world."""
        host = self._base.raw_host or ""
        zone = zone_of_host(host)
        zones: set[Zone] = set() if zone is None else {zone}
        if zone is None and not host.endswith(".useapi.net"):
            with suppress(OSError):
                found = await asyncio.get_running_loop().getaddrinfo(host, self._base.port, type=socket.SOCK_STREAM)
                zones = {zone_of(str(address[0])) for *_, address in found}
        zones.discard("metadata")
        return zones

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_KEEP_ALIVE,
            socket_factory=partial(_checked_socket, self._zones),
            ssl=self._ssl if self._ssl is not None else True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _user_agent()},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
            # Bytes are to be those of the file: nothing is unpacked, so nothing can swell.
            auto_decompress=False,
            raise_for_status=False,
            trust_env=False,
            read_bufsize=_READ_AHEAD,
            max_line_size=_HEADER_ROOM,
            max_field_size=_HEADER_ROOM,
        )

    async def aclose(self) -> None:
        """Close the connections and let the threads go, when what they write is written. Closing twice is closing once."""
        session, self._session = self._session, None
        self.pool.close()
        for answer in self._answers:
            # aiohttp would let whoever reads it wait for ever.
            answer.content.set_exception(aiohttp.ClientConnectionError("closed"))
        if session is not None:
            with anyio.CancelScope(shield=True):
                await session.close()


def no_answer(error: Exception) -> AsyncflowError:
    """Return what *error*, one of aiohttp's or the system's, comes to."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _ForbiddenAddressError):
            return refused_zone(cause.zone)
        cause = cause.__cause__
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return TransportError("the media host cannot prove who it is", transient=False)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return DownloadError("the link is no URL that can be asked for", reason="unsafe_link")
    word = "did not answer in time" if isinstance(error, TimeoutError) else f"gave no whole answer ({type(error).__name__})"
    return TransportError(f"the media host {word}", transient=True)


def _checked_socket(zones: set[Zone], address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, place = address
    zone: Zone = zone_of(str(place[0]))
    if zone not in zones:
        raise _ForbiddenAddressError(zone)
    return socket.socket(family, kind, protocol)


def _parsed(url: str) -> URL:
    try:
        # A signature does not survive being quoted anew; what is no URL as it stands is quoted all the same.
        is_plain = url.isascii() and url.isprintable() and " " not in url
        return _bare(URL(url, encoded=is_plain))
    except ValueError as error:
        raise DownloadError("the link is no URL", reason="unsafe_link") from _discreet(error)


def _next(url: URL, location: str) -> URL:
    if not location:
        raise DownloadError("the media host redirects to nowhere", reason="redirects")
    try:
        is_plain = location.isascii() and location.isprintable() and " " not in location
        return _bare(url.join(URL(location, encoded=is_plain)))
    except ValueError as error:
        raise DownloadError("the media host redirects to what is no URL", reason="redirects") from _discreet(error)


def _bare(url: URL) -> URL:
    """Return *url* without a fragment, and without a user: those would be credentials of whoever wrote the link."""
    if url.raw_user or url.raw_password:
        url = url.with_user(None)
    return url.with_fragment(None) if url.raw_fragment else url


def _discreet(error: Exception) -> Exception:
    """Return *error*, or a stand-in for one whose text shows a link."""
    text = f"{error} {error!r}"
    return error if redact(text) == text else aiohttp.ClientError(f"{type(error).__name__}: {redact(str(error))}")


@lru_cache(maxsize=1)
def _user_agent() -> str:
    try:
        number = version("asyncflow-useapi")
    except PackageNotFoundError:
        number = "0"
    return f"asyncflow-useapi/{number}"
