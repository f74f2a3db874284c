"""One file from its link to the disk: asked for, checked, written in batches, gone on with where it broke off."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import anyio

from asyncflow.download.bandwidth import batch_bytes
from asyncflow.download.file_types import HEAD_BYTES
from asyncflow.download.media_transport import no_answer
from asyncflow.download.range_responses import AFRESH, NOTHING, Body, PartialState, judge, request_headers, too_large
from asyncflow.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.download.bandwidth import ByteBucket
    from asyncflow.download.folder_index import Place
    from asyncflow.download.media_transport import MediaTransport
    from asyncflow.download.partial_file import PartialFile
    from asyncflow.download.target_folder import StoredFile, TargetFolder

__all__ = ["DownloadLimits", "FileDownload", "FileTarget"]

T = TypeVar("T")

_LEAST_BYTES = 1024
"""A host that sends no more than this in the time that it may be silent is taken for silent."""


class DownloadLimits:
    """What a host may take: *most_bytes* for a file, *stall_timeout* seconds of silence; and the *budget* of bytes a second."""

    def __init__(self, most_bytes: int, stall_timeout: float, budget: ByteBucket) -> None:
        self.most_bytes: int = most_bytes
        self.stall_timeout: float = stall_timeout
        self.budget: ByteBucket = budget
        self.batch_bytes: int = batch_bytes(budget.rate)


@dataclass(frozen=True, slots=True)
class FileTarget:
    """Where a file goes: the *place* that it has in the manifest, and its *part*.

    *name_as* makes a name of the first bytes and the content type, or refuses them; with *may_adopt* a file of that name and the
    right size is the one. *received* is told of each batch: its bytes, how many there are by then, how many there will be.
    """

    place: Place
    part: PartialFile
    name_as: Callable[[bytes, str], str]
    may_adopt: bool
    received: Callable[[int, int, int | None], None]


class FileDownload:
    """The file of *target*, from a media host or out of the record. `is_adopted` is whether it had been there already."""

    def __init__(self, carrier: MediaTransport, folder: TargetFolder, limits: DownloadLimits, target: FileTarget) -> None:
        self._carrier = carrier
        self._folder = folder
        self._limits = limits
        self._target = target
        self._part = target.part
        self._content_type = ""
        self._is_afresh = False
        self._is_begun = False
        self._last: asyncio.Future[Any] | None = None
        self.is_adopted: bool = False

    async def once(self, url: str) -> StoredFile | None:
        """Ask for what is missing at *url* and write it; return the file if it is whole now, None if there is more to ask for.

        What came before an error is kept, so that the next call goes on from there.
        """
        held = NOTHING if self._is_afresh else self._part.held
        async with self._carrier.open(url, request_headers(held), timeout=self._limits.stall_timeout) as response:
            verdict = judge(response.status, response.headers, held, most_bytes=self._limits.most_bytes)
            self._content_type = response.headers.get("Content-Type", self._content_type)
            if verdict is AFRESH:
                self._is_afresh = True
                return None
            if isinstance(verdict, Body):
                return await self._pour(response, verdict)
            self._is_begun = True
            return await self._finish([])

    async def inline(self, content: bytes) -> StoredFile:
        """Write *content*, which came in the record."""
        if len(content) > self._limits.most_bytes:
            raise too_large(self._limits.most_bytes)
        self._target.received(len(content), len(content), len(content))
        return await self._finish([content])

    async def settle(self) -> None:
        """Wait for the thread that is still at it, whatever has happened to the one who started it."""
        if self._last is not None and not self._last.done():
            await asyncio.wait({self._last})

    # -- the body of one answer ------------------------------------------------------------------------------------------

    async def _pour(self, response: aiohttp.ClientResponse, body: Body) -> StoredFile | None:
        self._is_afresh, self._is_begun = False, body.offset > 0
        stream = _Batches(response.content, self._limits, body)
        writing: asyncio.Future[None] | None = None
        try:
            async for pieces, size in stream:
                if writing is not None:
                    # No more than two batches of a file are ever in memory: the one being written and the one being read.
                    await self._until(writing)
                if not self._is_begun:
                    kept = await self._begin(body, _head(pieces))
                    if kept is not None:
                        return kept
                writing = self._start(partial(self._part.write, pieces))
                self._target.received(size, stream.at, body.total_bytes)
                await stream.rest(size)
        except TransportError:
            await self._save(writing, stream, body)
            raise
        if writing is not None:
            await self._until(writing)
        self._target.received(stream.gathered, stream.at, body.total_bytes)
        await stream.rest(stream.gathered)
        if body.total_bytes is not None and stream.at < body.total_bytes:
            await self._save(None, stream, body)
            return None
        return await self._finish(stream.take())

    async def _begin(self, body: Body, head: bytes) -> StoredFile | None:
        """Note of which version of the file the first bytes are; return the file if its *head* tells that it is there already."""
        held = PartialState(0, body.validator, body.total_bytes)

        def begin() -> StoredFile | None:
            kept = self._adopted(head, body.total_bytes) if head else None
            if kept is None:
                self._folder.begin(self._part, self._target.place, held)
            return kept

        kept = await self._do(begin)
        self._is_begun = True
        return kept

    async def _save(self, writing: asyncio.Future[None] | None, stream: _Batches, body: Body) -> None:
        """Write what came before the answer broke off, so that it need not come again."""
        if writing is not None:
            await self._until(writing)
        pieces = stream.take()
        if pieces:
            if not self._is_begun:
                await self._begin(body, b"")
            await self._do(lambda: self._part.write(pieces))
        if self._is_begun:
            self._part.held = PartialState(stream.at, body.validator, body.total_bytes)

    async def _finish(self, pieces: list[bytes]) -> StoredFile:
        is_begun = self._is_begun

        def finish() -> StoredFile:
            if not is_begun:
                kept = self._adopted(_head(pieces), sum(map(len, pieces)))
                if kept is not None:
                    return kept
                self._part.truncate()
            if pieces:
                self._part.write(pieces)
            return self._folder.finish(
                self._part, self._target.place, lambda head: self._target.name_as(head, self._content_type)
            )

        return await self._do(finish)

    def _adopted(self, head: bytes, total_bytes: int | None) -> StoredFile | None:
        """Return the file that begins with *head* if an earlier run has fetched it, and nobody remembers."""
        name = self._target.name_as(head, self._content_type)
        if total_bytes is None or not self._target.may_adopt:
            return None
        kept = self._folder.recover(self._target.place, name, total_bytes)
        if kept is not None:
            self.is_adopted = True
            self._part.discard()
        return kept

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._until(self._start(work))

    def _start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        future = self._carrier.pool.start(partial(self._part.guarded, work))
        self._last = future
        return future

    async def _until(self, future: asyncio.Future[T]) -> T:
        try:
            return await self._carrier.pool.until(future)
        except OSError as error:
            raise self._folder.error(error) from error


class _Batches:
    """The body of an answer in batches, each with its size. `TransportError` when it breaks off or falls silent."""

    def __init__(self, content: aiohttp.StreamReader, limits: DownloadLimits, body: Body) -> None:
        self._content = content
        self._limits = limits
        self._body = body
        self._pieces: list[bytes] = []
        self._is_over = False
        self.gathered: int = 0
        self.at: int = body.offset

    def take(self) -> list[bytes]:
        """Return what has been gathered since the last batch."""
        pieces, self._pieces, self.gathered = self._pieces, [], 0
        return pieces

    async def rest(self, size_bytes: int) -> None:
        """Wait as long as the rate asks for after *size_bytes*."""
        pause = self._limits.budget.take(size_bytes, anyio.current_time())
        if pause:
            await anyio.sleep(pause)

    def __aiter__(self) -> _Batches:
        return self

    async def __anext__(self) -> tuple[list[bytes], int]:
        """Return the next whole batch; what is left at the end of the body is had by `take`."""
        if self._is_over:
            raise StopAsyncIteration
        try:
            await self._gather()
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, TimeoutError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise TransportError("the media host fell silent in the middle of the file", transient=True) from None
            raise no_answer(error) from None
        if self._is_over:
            if self._body.length_bytes not in {None, self.at - self._body.offset}:
                raise TransportError("the media host sent less than it had announced", transient=True)
            raise StopAsyncIteration
        size = self.gathered
        return self.take(), size

    async def _gather(self) -> None:
        limits, heard = self._limits, 0
        with anyio.fail_after(limits.stall_timeout) as scope:
            while self.gathered < limits.batch_bytes:
                piece = await self._content.readany()
                if not piece:
                    self._is_over = True
                    return
                self._pieces.append(piece)
                self.gathered += len(piece)
                self.at += len(piece)
                if self.at > limits.most_bytes:
                    raise too_large(limits.most_bytes)
                heard += len(piece)
                if heard > _LEAST_BYTES:
                    heard = 0
                    scope.deadline = anyio.current_time() + limits.stall_timeout


def _head(pieces: list[bytes]) -> bytes:
    head = b""
    for piece in pieces:
        head += piece[: HEAD_BYTES - len(head)]
        if len(head) >= HEAD_BYTES:
            break
    return head
