"""Files and pictures of jobs, handed on to the browser: it speaks to nobody but the dashboard.

What a media host says is passed on as far as a player needs it, and only as picture, sound or film: never as a page.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from asyncflow import AsyncflowError
from asyncflow.dashboard.http import WebResponse, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    import aiohttp

    from asyncflow import Job, Media
    from asyncflow.dashboard.http import Flow, ResponseWriter, WebRequest
    from asyncflow.dashboard.sources import Source
    from asyncflow.dashboard.state import DashboardState, JobCard

__all__ = ["MediaClient", "MediaProxy"]

_AT_ONCE = 24
_GONE = frozenset({401, 403, 404, 410})
_PASSED = ("accept-ranges", "content-range", "etag", "last-modified")
_TYPE = re.compile(r"(?:image|video|audio)/[a-z0-9.+-]+")
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{0,15})")
_TYPES = {"image": "image/png", "gif": "image/gif", "video": "video/mp4", "music": "audio/mp4"}
_ENDINGS = {"image": "png", "gif": "gif", "video": "mp4", "music": "m4a"}
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
"""Formats by their first bytes: inline files say nothing else."""

_KEPT = {"cache-control": "private, max-age=3600"}


class MediaClient(Protocol):
    """What is asked of an `AsyncClient` so that files can be seen."""

    def open_media(
        self, url: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Open what a link leads to, without credentials and with every hop checked."""
        ...

    async def get_asset_url(self, asset_id: str) -> str:
        """Return a link to a file that works again."""
        ...

    async def get_job(self, job_id: str) -> Job:
        """Read a job."""
        ...


class MediaProxy:
    """Answers for the files of the jobs in *model*; without a *client* only for those that came inline."""

    def __init__(
        self, model: DashboardState, source: Source, client: MediaClient | None, wall_clock: Callable[[], float]
    ) -> None:
        self._model = model
        self._source = source
        self._client = client
        self._wall_clock = wall_clock
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._reading = asyncio.Lock()

    async def answer(self, ask: WebRequest, number: int, index: int, *, is_picture: bool) -> WebResponse | Flow:
        """Return a file, or the picture of it."""
        card = self._model.card(number)
        if card is None or index >= len(card.files):
            return told(404, "there is no such file")
        try:
            media = await self._media(number, index)
        except AsyncflowError as error:
            return told(502, f"the job cannot be read: {error.kind}")
        extra = _saved(card, index) if ask.query == "save" else {}
        url = (media.thumbnail_url if is_picture else None) or media.url if media is not None else None
        if media is not None and url is None and (content := media.content) is not None:
            return _inline(ask, content, extra)
        if media is None or url is None or self._client is None:
            return told(404, "there is no such file")
        headers = {name: value for name in ("range", "if-range") if (value := ask.headers.get(name)) is not None}
        errand = ProxyRequest(self._client, headers, _TYPES.get(media.kind, ""), extra)
        is_stale = media.expires_at is not None and media.expires_at.timestamp() <= self._wall_clock()
        is_renewable = url == media.url

        async def run(pipe: ResponseWriter) -> None:
            async with self._room:
                if not (is_stale and is_renewable) and await errand.done(pipe, url):
                    return
                await errand.done(pipe, await self._fresh(media) if is_renewable else None, is_last=True)

        return run

    async def _media(self, number: int, index: int) -> Media | None:
        """Return what is known of a file; the job is read again if that is no longer kept."""
        media = self._model.media(number)
        if not media or not (media[index].url or media[index].encoded or media[index].state != "ok"):
            async with self._reading:
                job = await self._job(number)
                media = () if job is None else job.media
                self._model.shelve(number, media)
        return media[index] if index < len(media) else None

    async def _job(self, number: int) -> Job | None:
        job_id = self._model.job_id(number)
        if job_id is None:
            return None
        job = await self._source.find(job_id)
        return await self._client.get_job(job_id) if job is None and self._client is not None else job

    async def _fresh(self, media: Media) -> str | None:
        """Return a link that works again, None where there is none to be had."""
        if self._client is None or media.asset_id is None:
            return None
        with suppress(AsyncflowError):
            return await self._client.get_asset_url(media.asset_id)
        return None


class ProxyRequest:
    """Fetches one file and hands it on; *usual* is its type if the host does not say a better one."""

    def __init__(self, client: MediaClient, headers: Mapping[str, str], usual: str, extra: Mapping[str, str]) -> None:
        self._client = client
        self._headers = headers
        self._usual = usual
        self._extra = extra

    async def done(self, pipe: ResponseWriter, url: str | None, *, is_last: bool = False) -> bool:
        """Answer with what *url* leads to; return False, with nothing said, if it leads nowhere and is not the *last* one."""
        if url is None:
            await _refuse(pipe, "the link has run out")
            return True
        is_started = False
        try:
            async with self._client.open_media(url, self._headers) as response:
                if response.status in _GONE and not is_last:
                    return False
                if response.status not in {200, 206, 304, 416}:
                    await _refuse(pipe, f"the media host answered {response.status}")
                    return True
                is_started = True
                await pipe.start(response.status, self._named(response))
                while piece := await response.content.readany():
                    await pipe.write(piece)
        except AsyncflowError as error:
            if is_started:
                # Too late for another answer: the browser must see that this one is not whole.
                raise ConnectionResetError from error
            await _refuse(pipe, f"the file cannot be had: {error.kind}")
        return True

    def _named(self, response: aiohttp.ClientResponse) -> dict[str, str]:
        headers = {name: value for name in _PASSED if (value := response.headers.get(name)) is not None}
        if response.content_length is not None and "content-encoding" not in response.headers:
            headers["content-length"] = str(response.content_length)
        return {**headers, "content-type": _safe_type(response.content_type, self._usual), **_KEPT, **self._extra}


async def _refuse(pipe: ResponseWriter, text: str) -> None:
    reply = told(502, text)
    await pipe.start(reply.status, {**reply.headers, "content-length": str(len(reply.body))})
    await pipe.write(reply.body)


def _safe_type(stated: str, usual: str) -> str:
    """Return the type under which a file goes to the browser; a picture that can hold scripts goes as bytes."""
    is_safe = _TYPE.fullmatch(stated) is not None and "svg" not in stated
    return stated if is_safe else usual if stated in {"application/octet-stream", ""} and usual else "application/octet-stream"


def _saved(card: JobCard, index: int) -> dict[str, str]:
    name = f"{card.id}-{index + 1}.{_ENDINGS.get(card.files[index].kind, 'bin')}"
    return {"content-disposition": f'attachment; filename="{name}"'}


def _inline(ask: WebRequest, content: bytes, extra: Mapping[str, str]) -> WebResponse:
    kind = next((kind for magic, kind in _MAGIC if content.startswith(magic)), "application/octet-stream")
    headers = {"content-type": kind, "accept-ranges": "bytes", **_KEPT, **extra}
    found = _RANGE.fullmatch(ask.headers.get("range", ""))
    if found is None:
        return WebResponse(200, content, headers)
    first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
    if first > last:
        return WebResponse(416, b"", {**headers, "content-range": f"bytes */{len(content)}"})
    return WebResponse(206, content[first : last + 1], {**headers, "content-range": f"bytes {first}-{last}/{len(content)}"})
