"""`Dashboard`: a live page over a watch, for whoever has the link."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import weakref
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from asyncflow import AsyncflowError, Journal, UsageError
from asyncflow.dashboard import asgi
from asyncflow.dashboard.actions import actions_of, carry_out
from asyncflow.dashboard.assets import page_file
from asyncflow.dashboard.auth import HEADERS, AccessGuard
from asyncflow.dashboard.event_stream import follow
from asyncflow.dashboard.formatting import plain
from asyncflow.dashboard.http import WebResponse, told
from asyncflow.dashboard.media import MediaProxy
from asyncflow.dashboard.notifier import Notifier
from asyncflow.dashboard.sources import JournalSource, Source, WatchLike, WatchSource
from asyncflow.dashboard.state import DashboardState
from asyncflow.dashboard.time_series import TimeSeries, Totals

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping

    from aiohttp import web

    from asyncflow import AsyncClient, Event, JobWatcher
    from asyncflow.dashboard.http import Flow, ResponseWriter, WebRequest

__all__ = ["Dashboard"]

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,}")
_FILE = re.compile(r"(?:^|/)(file|picture)/([0-9a-f]{32})/(\d{1,12})/(\d{1,2})$")
_MOST_BROWSERS = 50
_SAMPLE = 1.0
_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}


class _ActionRequest(msgspec.Struct):
    action: str
    number: int
    boot: str


class Dashboard:
    """A page that shows a watch while it goes on: an ASGI application, an aiohttp handler, and a server of its own.

    *source* is a `JobWatcher`, which the dashboard listens to without taking events from whoever iterates it, or a `Journal`,
    which it reads and never writes; the events of a watch that cannot be listened to are shown by `take`. *client* is the
    `AsyncClient` through which the files of the jobs are seen and the request budget is known; without one there are neither.
    *title* stands above the page.

    The page is empty for everybody; what it shows is given to those who have the *token*, a random one unless you give it (16
    letters, digits and `-._~` at least). It stands in the fragment of `link`, which no browser ever sends, and so in no log of a
    server. With *needs_token* false everybody who can reach the page sees all, so let nobody in then who may not. Requests for
    another host than an address, localhost, or one of *hosts* are refused, and so are those of other sites.

    It is read-only, unless *actions* lets the page cancel jobs and save files to *folder*. It lives on the event loop of the
    watch. Prompts and the service's words are shown, ids as digests; links stay here: the files are handed on.
    """

    def __init__(
        self,
        source: JobWatcher | Journal | WatchLike | Source,
        client: AsyncClient | None = None,
        *,
        title: str = "",
        token: str | None = None,
        needs_token: bool = True,
        hosts: Iterable[str] = (),
        actions: bool = False,
        folder: str | os.PathLike[str] = "downloads",
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if token is not None and not _TOKEN.fullmatch(token):
            raise UsageError("a token is made of 16 letters, digits and -._~ or more: it becomes a part of a link")
        if actions and client is None:
            raise UsageError("actions need a client to act through")
        if isinstance(hosts, str):
            raise UsageError("hosts is a single str: pass a list of names")
        self.token: str | None = (token or secrets.token_urlsafe(24)) if needs_token else None
        self.model: DashboardState = DashboardState()
        self.boot: str = secrets.token_hex(4)
        self.is_closing: bool = False
        self._source: Source = _source_of(source)
        self._client = client
        self._title = plain(title)
        self._guard = AccessGuard(self.token, hosts)
        self._wall_clock = wall_clock
        self._media = MediaProxy(self.model, self._source, client, self._now)
        nudge = getattr(source, "nudge", _ignore)
        self._actions = actions_of(client, folder, nudge) if actions and client is not None else {}
        self._key = secrets.token_hex(16)
        self._bell = Notifier()
        self._browsers = 0
        self._history: TimeSeries | None = None
        self._trouble = ""
        self._source.begin(self.take)

    def link(self, url: str) -> str:
        """Return the link to the dashboard that is served or mounted at *url*; whoever has it sees all."""
        return f"{url.rstrip('/')}/" + (f"#{self.token}" if self.token else "")

    def take(self, *events: Event) -> None:
        """Show these; for events that do not come from the source by themselves."""
        for event in events:
            self.model.apply(event, self._now())
        with suppress(RuntimeError):  # no loop runs, and so nobody listens
            self._begin()
        self._bell.ring()

    async def recall(self, journal: Journal) -> None:
        """Show what *journal* holds already, once: a watch tells only what is new. `JournalError` if it cannot be read."""
        if journal.path.exists():
            await JournalSource(journal).refresh(self.model)
            self._bell.ring()

    def __repr__(self) -> str:
        return f"<Dashboard of {len(self.model)} jobs>"

    # -- servers ---------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Mapping[str, Any], receive: Callable[..., Awaitable[Any]], send: Callable[..., Any]) -> None:
        """Answer as an ASGI application: mount it where you like, or give it to a server as it is."""
        await asgi.serve(self.answer, self._bell, scope, receive, send)

    async def aiohttp_handler(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as a handler of `aiohttp.web`: route all methods of "/jobs{path:.*}" to it, wherever you want it."""
        from asyncflow.dashboard import server  # noqa: PLC0415 - an ASGI server does not need it

        return await server.handle(self.answer, self._bell, request, getattr(request, "match_info", {}).get("path"))

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Serve the page while the block lasts, and give its link, token and all; *port* 0 takes a free one.

        It speaks HTTP only: from another machine, reach it through a tunnel or a proxy with TLS. `OSError` if it cannot listen.
        """
        from asyncflow.dashboard import server  # noqa: PLC0415 - see above

        self.is_closing = False
        async with server.listening(self.answer, self._bell, host, port) as url:
            try:
                yield self.link(url)
            finally:
                self.close()

    def close(self) -> None:
        """Let go of the browsers that listen; call it before a server that the dashboard is mounted in waits for them."""
        self.is_closing = True
        self._bell.ring()

    # -- answers ---------------------------------------------------------------------------------------------------------

    async def answer(self, ask: WebRequest) -> WebResponse | Flow:
        """Return the answer to a request."""
        found = await self._found(ask)
        if isinstance(found, WebResponse):
            return WebResponse(found.status, found.body, {**HEADERS, **found.headers})

        async def run(pipe: ResponseWriter) -> None:
            await found(_WithHeaders(pipe))

        return run

    async def _found(self, ask: WebRequest) -> WebResponse | Flow:
        if (objection := self._guard.stranger(ask)) is not None:
            return told(403, objection)
        if ask.path.endswith("/act"):
            return await self._act(ask)
        if ask.method not in {"GET", "HEAD"}:
            return WebResponse(405, b"", {"allow": "GET, HEAD"})
        if ask.path.endswith("/events"):
            return self._listen(ask)
        return page_file(ask) or await self._file(ask) or told(404, "there is no such page")

    async def _file(self, ask: WebRequest) -> WebResponse | Flow | None:
        found = _FILE.search(ask.path)
        if found is None:
            return None
        what, key, number, index = found.groups()
        if not hmac.compare_digest(key, self._key):
            return told(403, "this link is an old one")
        return await self._media.answer(ask, int(number), int(index), is_picture=what == "picture")

    def _listen(self, ask: WebRequest) -> WebResponse | Flow:
        if not self._guard.is_owner(ask):
            return told(401, "the token is missing or wrong")
        if self._browsers >= _MOST_BROWSERS:
            return told(503, "too many browsers are looking on")

        async def run(pipe: ResponseWriter) -> None:
            self._begin()
            self._browsers += 1
            try:
                await pipe.start(200, _SSE)
                await follow(self, pipe, ask.headers.get("last-event-id", ""))
            finally:
                self._browsers -= 1

        return run

    async def _act(self, ask: WebRequest) -> WebResponse:
        if ask.method != "POST":
            return WebResponse(405, b"", {"allow": "POST"})
        if not self._guard.may_act(ask):
            return told(403, "the token is missing or wrong")
        body = await ask.read()
        try:
            wish = msgspec.json.decode(body or b"", type=_ActionRequest)
        except msgspec.MsgspecError:
            return told(400, "that is no wish")
        action, job_id = self._actions.get(wish.action), self.model.job_id(wish.number)
        if action is None:
            return told(403, "this page may only look: start it with actions allowed")
        if job_id is None or wish.boot != self.boot:
            return told(404, "there is no such job")
        return await carry_out(action, job_id)

    # -- what browsers are told ------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the watch has ended; the page stays."""
        return self._source.is_over

    async def refresh(self) -> None:
        """Look for what does not come by itself."""
        for job_id in self.model.silent_ids():
            if not self._source.is_silent(job_id):
                self.model.answered(job_id)
        try:
            await self._source.refresh(self.model)
        except AsyncflowError as error:
            self._trouble = plain(str(error))
        else:
            self._trouble = ""

    def greeting(self) -> dict[str, Any]:
        """Return what a page has to know first."""
        return {
            "boot": self.boot,
            "key": self._key,
            "title": self._title,
            "now": self._now(),
            "actions": sorted(self._actions),
            "has_files": self._client is not None,
        }

    def totals(self) -> dict[str, Any]:
        """Return the numbers of the moment."""
        model, numbers = self.model, self._source.numbers()
        unread = numbers.get("watched", 0) - model.states["running"] - model.states["silent"]
        reasons = [[reason, count, model.categories[reason]] for reason, count in model.reasons.most_common(_MOST_BROWSERS)]
        return {
            "states": dict(model.states),
            "kinds": dict(model.kinds),
            "reasons": reasons,
            "dropped": model.dropped,
            "trouble": self._trouble,
            "unread": max(unread, 0),
            "expected_end": numbers.get("expected_end"),
        }

    def budget(self) -> dict[str, Any] | None:
        """Return the request budget over time and as it is; None without a client."""
        history, client = self._history, self._client
        if history is None or client is None:
            return None
        stats = client.pacer.stats()
        paused = max((stats.paused_until or 0.0) - asyncio.get_running_loop().time(), 0.0)
        return {
            "start": history.start,
            "step": history.step,
            "requests": history.requests,
            "throttled": history.throttled,
            "failed": history.failed,
            "total": sum(stats.starts.values()),
            "refused": stats.throttled,
            "in_flight": stats.in_flight,
            "rate": round(stats.rate, 1),
            "paused": round(paused),
            "circuit": stats.circuit,
        }

    def _now(self) -> float:
        return self._wall_clock().timestamp()

    # -- the budget, sampled ---------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        # The requests of a journal's watch are another client's.
        if self._history is None and self._client is not None and not isinstance(self._source, JournalSource):
            _sample_later(weakref.WeakMethod(self._sample))
            self._history = TimeSeries(self._now(), Totals.of(self._client.pacer.stats()))

    def _sample(self) -> bool:
        if self._history is not None and self._client is not None:
            self._history.note(self._now(), Totals.of(self._client.pacer.stats()))
        return not self._source.is_over


class _WithHeaders:
    """A pipe whose answer begins with what every answer says."""

    def __init__(self, pipe: ResponseWriter) -> None:
        self._pipe = pipe
        self.write = pipe.write
        self.wait = pipe.wait

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        await self._pipe.start(status, {**HEADERS, **headers})


def _source_of(source: JobWatcher | Journal | WatchLike | Source) -> Source:
    if isinstance(source, Journal):
        return JournalSource(source)
    return source if isinstance(source, Source) else WatchSource(source)


def _sample_later(sample: weakref.WeakMethod[Callable[[], bool]]) -> None:
    """Sample once a second, as long as there is a dashboard and its watch goes on; the timer keeps neither alive."""

    def again() -> None:
        method = sample()
        if method is not None and method():
            _sample_later(sample)

    asyncio.get_running_loop().call_later(_SAMPLE, again)


def _ignore(_: str) -> None:
    """There is nobody to hasten."""
