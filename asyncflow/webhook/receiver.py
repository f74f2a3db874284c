"""Callbacks of the service: HTTP in, and out of it one hint, namely to read a job now.

The service signs nothing, so what it sends is a rumour: the id in it is taken, and nothing else is believed. The receiver knows
no watch and no client; all it can do is to call *nudge*. https://useapi.net/docs/api-google-flow-v1/post-google-flow-videos-upscale
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import threading
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from asyncflow.errors import UsageError
from asyncflow.protocol import read_nudge
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from aiohttp import web

    Receive = Callable[[], Awaitable[Mapping[str, Any]]]
    Send = Callable[[Any], Awaitable[None]]
    Read = Callable[[], Awaitable[tuple[bytes, bool]]]

__all__ = ["CallbackResponse", "WebhookReceiver"]

_log = logging.getLogger("asyncflow.webhook")

_SECRET = re.compile(r"[A-Za-z0-9._~-]+")
_MOST_FIELDS = 20
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class CallbackResponse:
    """An answer to a callback: its *status*, and *text* for the human who looks into it."""

    status: int
    text: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the answer needs, but for its length."""
        headers = {"content-type": "text/plain; charset=utf-8"} if self.text else {}
        return headers | {"allow": "POST"} if self.status == 405 else headers


_TAKEN = CallbackResponse(204)
_NO_ID = CallbackResponse(400, "no job id in the body")
_STRANGER = CallbackResponse(403, "the secret is missing or wrong")
_UNKNOWN = CallbackResponse(404, "no such job is watched here")
_WRONG_METHOD = CallbackResponse(405, "callbacks are POSTed")
_TOO_SLOW = CallbackResponse(408, "the body took too long")
_TOO_LARGE = CallbackResponse(413, "the body is too large")
_ENCODED = CallbackResponse(415, "the body is compressed")


class WebhookReceiver:
    """Receive callbacks and nudge: an ASGI application, an aiohttp handler, a server of its own, and the plain `answer` to all.

    *nudge* is called with the id in the callback: `JobWatcher.nudge`, or any function; where it returns False, the job is not
    watched. Callbacks that come twice, late or in any order ask for the same read, and change nothing else.

    With a *secret* (letters, digits and `-._~`), callbacks must carry it, as the last part of the path or as `secret=` in the
    query; all others are refused before their body is read. Who knows it is told by 404 that a job is not watched. Without a
    secret everybody may call, and every job id gets the same 204: a stranger does not learn which jobs there are.

    Bodies of more than *max_bytes*, or that take more than *read_timeout* seconds, are refused. *loop* is the event loop of the
    watch where the receiver is called in other loops or threads: then the nudge is handed over, and the answer does not wait
    for what comes of it.
    """

    def __init__(
        self,
        nudge: Callable[[str], object],
        secret: str | None = None,
        *,
        max_bytes: int = 524_288,
        read_timeout: float = 10.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if secret is not None and not _SECRET.fullmatch(secret):
            raise UsageError("a secret is made of letters, digits and -._~ only, and is not empty: it becomes a part of a URL")
        if max_bytes < 1 or not read_timeout > 0:
            raise UsageError("max_bytes and read_timeout must be positive")
        self._nudge = nudge
        # The secret itself is not kept: what is not there cannot be shown.
        self._secret = None if secret is None else sha256(secret.encode()).digest()
        self._max_bytes = max_bytes
        self._read_timeout = read_timeout
        self._loop = loop
        self._heard: dict[str, None] = {}
        self._counts: Counter[int] = Counter()
        self._lock = threading.Lock()

    def stats(self) -> dict[int, int]:
        """Return how often each status was answered: 204 for callbacks taken."""
        return dict(self._counts)

    def __repr__(self) -> str:
        return f"<WebhookReceiver {'open' if self._secret is None else 'with a secret'}>"

    # -- the decision: no I/O --------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> CallbackResponse:
        """Return the answer to a whole request, and nudge if it is a callback; for frameworks that have no ASGI.

        *path* is decoded and *query* is not; the names of *headers* are in lower case. Nothing is raised but what *nudge* raises.
        """
        return self._counted(self._refusal(method, path, query, headers) or self._judged(body))

    def _refusal(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> CallbackResponse | None:
        """Return why a request is refused, as far as that can be said without its body; strangers learn nothing else."""
        if not self._is_trusted(path, query):
            return _STRANGER
        if method != "POST":
            return _WRONG_METHOD
        if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            return _ENCODED
        length = headers.get("content-length", "").strip()
        if length.isdecimal() and (len(length) > 18 or int(length) > self._max_bytes):
            return _TOO_LARGE
        return None

    def _is_trusted(self, path: str, query: str) -> bool:
        if self._secret is None:
            return True
        offers = [path.rstrip("/").rpartition("/")[2]]
        with suppress(ValueError):  # too many fields
            offers += [value for name, value in parse_qsl(query, max_num_fields=_MOST_FIELDS) if name == "secret"]
        hashes = [sha256(offer.encode("utf-8", "surrogatepass")).digest() for offer in offers]
        # All of them are compared, each in constant time.
        return sum(hmac.compare_digest(each, self._secret) for each in hashes) > 0

    def _judged(self, body: bytes) -> CallbackResponse:
        if len(body) > self._max_bytes:
            return _TOO_LARGE
        job_id = read_nudge(body)
        if job_id is None:
            return _NO_ID
        is_watched = self._pass_on(job_id)
        _log.debug("callback", extra={"job": digest(job_id), "is_watched": is_watched})
        return _TAKEN if self._secret is None or is_watched else _UNKNOWN

    def _pass_on(self, job_id: str) -> bool:
        """Nudge, and return whether the job is watched, or was when an earlier callback came: the last ones may come late."""
        if self._loop is not None and self._loop is not _running_loop():
            try:
                self._loop.call_soon_threadsafe(self._nudge, job_id)
            except RuntimeError:  # closed, and the watch with it
                return False
            return True
        is_watched = self._nudge(job_id) is not False
        with self._lock:
            if is_watched:
                self._heard.pop(job_id, None)
                self._heard[job_id] = None
                if len(self._heard) > _REMEMBERED:
                    del self._heard[next(iter(self._heard))]
            return job_id in self._heard

    def _counted(self, reply: CallbackResponse) -> CallbackResponse:
        with self._lock:
            self._counts[reply.status] += 1
        return reply

    async def _receive(self, method: str, path: str, query: str, headers: Mapping[str, str], read: Read) -> CallbackResponse:
        """Return the answer to a request whose body comes in pieces; *read* returns one, and whether more come."""
        reply = self._refusal(method, path, query, headers)
        if reply is not None:
            return self._counted(reply)
        body = bytearray()
        is_open = True
        try:
            async with asyncio.timeout(self._read_timeout):
                while is_open and len(body) <= self._max_bytes:
                    piece, is_open = await read()
                    body += piece
        except TimeoutError:
            return self._counted(_TOO_SLOW)
        except EOFError:
            return self._counted(_NO_ID)
        return self._counted(self._judged(bytes(body)))

    # -- ASGI ------------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer as an ASGI application: mount it where you like, or give it to a server as it is."""
        match scope["type"]:
            case "http":
                await self._serve_asgi(scope, receive, send)
            case "lifespan":
                for event in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{event}.complete"})
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            case other:
                raise ValueError(f"a webhook cannot serve {other!r}")

    async def _serve_asgi(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        async def read() -> tuple[bytes, bool]:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise EOFError
            return message.get("body", b""), message.get("more_body", False)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope.get("query_string", b"").decode("latin-1")
        reply = await self._receive(scope["method"], scope["path"], query, headers, read)
        body = reply.text.encode()
        named = reply.headers if reply.status == 204 else reply.headers | {"content-length": str(len(body))}
        head = [(name.encode(), value.encode()) for name, value in named.items()]
        with suppress(OSError):  # the caller has gone
            await send({"type": "http.response.start", "status": reply.status, "headers": head})
            await send({"type": "http.response.body", "body": body})

    # -- aiohttp ---------------------------------------------------------------------------------------------------------

    async def aiohttp_handler(self, request: web.BaseRequest) -> web.Response:
        """Answer as a handler of `aiohttp.web`; route all methods to it."""
        from aiohttp import web  # noqa: PLC0415 - an ASGI server does not need it

        async def read() -> tuple[bytes, bool]:
            try:
                piece = await request.content.readany()
            except (web.RequestPayloadError, ConnectionError) as error:
                raise EOFError from error
            return piece, bool(piece)

        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = await self._receive(request.method, request.path, request.rel_url.raw_query_string, headers, read)
        response = web.Response(status=reply.status, body=reply.text.encode() or None, headers=reply.headers)
        if reply.status != 204:
            # What is left of the body may be anything; it is not to be taken for the next request.
            response.force_close()
        return response

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Listen while the block lasts, for programs without a web server, and give the URL; *port* 0 takes a free one.

        It speaks HTTP only, on any path: put a proxy or a tunnel with TLS before it, and give it the path with the secret to
        pass on. `OSError` if it cannot listen.
        """
        from asyncflow.webhook.server import CallbackServer  # noqa: PLC0415 - see above

        async with CallbackServer(self.aiohttp_handler, lifetime=2 * self._read_timeout).listen(host, port) as url:
            yield url


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
