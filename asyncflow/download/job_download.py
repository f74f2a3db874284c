"""One job after another to its files: what is missing, the link to it, tries and pauses, the result."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import anyio

from asyncflow.download.file_download import FileDownload, FileTarget
from asyncflow.download.file_names import NameFacts, identity
from asyncflow.download.file_types import checked_format
from asyncflow.download.folder_index import Place, job_key
from asyncflow.download.partial_file import PartialFile
from asyncflow.download.policy import check_ended, is_expired, is_offered, offered_again, pause_before
from asyncflow.download.range_responses import NOTHING
from asyncflow.download.results import DownloadProgress, JobFiles, MediaFile
from asyncflow.download.sidecar import write_sidecar
from asyncflow.download.target_folder import FATAL, StoredFile
from asyncflow.errors import AsyncflowError, DownloadError, LinkExpiredError, UsageError
from asyncflow.events import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncflow.download.file_download import DownloadLimits
    from asyncflow.download.file_names import Template
    from asyncflow.download.media_transport import MediaTransport
    from asyncflow.download.target_folder import TargetFolder
    from asyncflow.records import Job

__all__ = ["DownloadHooks", "JobDownload"]

_LOCK_PAUSE = 0.25
_PROGRESS_BYTES = 1024
_WORTHLESS = frozenset({"not_media", "too_large"})
"""Where what was received of a file is not worth keeping."""
_REFUSALS = frozenset({"unauthorized", "payment_required", "insufficient_credits"})
"""What concerns every job alike: it ends a download, as it ends a watch."""


@dataclass(frozen=True, slots=True)
class DownloadHooks:
    """Plain callables: *read* a job by its id, *fresh_url* for an asset's id, and who wants to hear of progress."""

    read: Callable[[str], Awaitable[Job]] | None = None
    fresh_url: Callable[[str], Awaitable[str]] | None = None
    on_progress: Callable[[DownloadProgress], None] | None = None


class JobDownload:
    """Fetches the files of a job; what it needs for that is the same for all jobs."""

    def __init__(
        self,
        folder: TargetFolder,
        template: Template,
        limits: DownloadLimits,
        seams: DownloadHooks,
        carrier: MediaTransport,
        *,
        max_retries: int,
        has_sidecar: bool,
    ) -> None:
        self.carrier = carrier
        self.counts: Counter[str] = Counter()
        self.active: int = 0
        self.folder = folder
        self.template = template
        self.limits = limits
        self.seams = seams
        self.max_retries = max_retries
        self.has_sidecar = has_sidecar
        self.random: Random = Random()

    async def prepare(self) -> None:
        """Make the folder. `DownloadError` if there can be none."""
        await self.carrier.pool.do(self.folder.prepare)

    async def open(self, job: Job | str) -> Job | JobFiles:
        """Return the record of *job*, or why it has no files. Raises only what concerns every job, as do the methods below."""
        job_id = job if isinstance(job, str) else job.job_id
        try:
            if isinstance(job, str):
                job = await self._read(job)
            if not any(media.state == "ok" for media in job.media):
                check_ended(job)
        except AsyncflowError as error:
            _raise_if_it_concerns_all(error)
            return JobFiles(job_id, error=ErrorInfo.of(error))
        return job

    async def media(self, job: Job, index: int) -> MediaFile:
        """Fetch the *index*-th media of *job*, counted from 1."""
        media = job.media[index - 1]
        if not is_offered(job, media):
            self.counts["missing"] += 1
            return MediaFile(index, media.kind, "missing", reasons=media.reasons)
        self.active += 1
        try:
            file = await MediaDownload(self, job, index).get()
        except AsyncflowError as error:
            _raise_if_it_concerns_all(error)
            file = MediaFile(index, media.kind, "failed", error=ErrorInfo.of(error))
        finally:
            self.active -= 1
        self.counts[file.state] += 1
        return file

    async def close(self, job: Job, files: list[MediaFile]) -> JobFiles:
        """Finish *job*, whose *files* are as they are: have their names on the disk, and write the sidecar."""
        sidecar = None
        try:
            if self.has_sidecar:
                sidecar = await self.carrier.pool.do(lambda: write_sidecar(self.folder, job, files))
            if any(file.state == "fetched" for file in files):
                await self.carrier.pool.do(self.folder.sync)
        except DownloadError as error:
            _raise_if_it_concerns_all(error)
            return JobFiles(job.job_id, tuple(files), error=ErrorInfo.of(error))
        return JobFiles(job.job_id, tuple(files), sidecar=sidecar)

    async def _read(self, job_id: str) -> Job:
        if self.seams.read is None:
            raise UsageError("this download cannot read jobs: add their records")
        return await self.seams.read(job_id)


class MediaDownload:
    """One media of *job* on its way."""

    def __init__(self, work: JobDownload, job: Job, index: int) -> None:
        self._work = work
        self._job = job
        self._index = index
        self._media = job.media[index - 1]
        self._facts = NameFacts.of(job)
        self._place: Place = (job_key(identity(job)), index)
        self._refreshed = 0

    async def get(self) -> MediaFile:
        """Return the file, fetched if it was not there."""
        part = await self._claim()
        if isinstance(part, StoredFile):
            return self._file(part, is_new=False)
        target = FileTarget(self._place, part, self._name_as, self._work.template.is_telling, self._received)
        fetch = FileDownload(self._work.carrier, self._work.folder, self._work.limits, target)
        try:
            kept = await self._inline(fetch) if self._media.encoded is not None else await self._fetch(fetch, part)
        except DownloadError as error:
            if error.reason in _WORTHLESS:
                await fetch.settle()
                part.held = NOTHING
                await self._work.carrier.pool.do(part.truncate)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await fetch.settle()
                await self._work.carrier.pool.do_at_last(part.release)
        return self._file(kept, is_new=not fetch.is_adopted)

    async def _claim(self) -> StoredFile | PartialFile:
        """Return the file or its part; waits while another process is at work on it."""
        work, digest = self._work, self._facts.digest
        seen, since = -1, anyio.current_time()
        while True:
            claiming = work.carrier.pool.start(lambda: work.folder.open(self._place, digest))
            try:
                claimed = await work.carrier.pool.until(claiming)
            except asyncio.CancelledError:
                claiming.add_done_callback(_let_go)
                raise
            if claimed is not None:
                return claimed
            size = await work.carrier.pool.do(lambda: work.folder.unfinished(self._place, digest))
            if size != seen:
                seen, since = size, anyio.current_time()
            elif anyio.current_time() - since > work.limits.stall_timeout:
                raise DownloadError("another process holds the file and does not go on with it", reason="locked", transient=True)
            await anyio.sleep(_LOCK_PAUSE)

    async def _inline(self, fetch: FileDownload) -> StoredFile:
        content = await self._work.carrier.pool.do(lambda: self._media.content)
        return await fetch.inline(content or b"")

    async def _fetch(self, fetch: FileDownload, part: PartialFile) -> StoredFile:
        work, failures, best = self._work, 0, part.held.size_bytes
        url = await self._first_url()
        while True:
            error: AsyncflowError | None = None
            try:
                kept = await fetch.once(url)
                if kept is not None:
                    return kept
            except AsyncflowError as refusal:
                if isinstance(refusal, LinkExpiredError) or refusal.reason == "gone":
                    url = await self._fresh_url(url, refusal)
                    continue
                if not refusal.transient:
                    raise
                error = refusal
            if part.held.size_bytes >= best + _PROGRESS_BYTES:
                failures, best, self._refreshed = 0, part.held.size_bytes, 0
            else:
                failures += 1
            if failures > work.max_retries:
                raise error or DownloadError("the media host gives no usable answer", reason="wrong_answer", transient=True)
            if error is not None:
                work.counts["retries"] += 1
                await anyio.sleep(pause_before(max(failures, 1), error.retry_after, work.random))

    async def _first_url(self) -> str:
        url, expires_at = self._media.url, self._media.expires_at
        if url is not None and not is_expired(expires_at, datetime.now(UTC)):
            return url
        return await self._fresh_url(url, LinkExpiredError("the link has ended"))

    async def _fresh_url(self, old: str | None, refusal: AsyncflowError) -> str:
        """Return another link than *old*: from the asset's endpoint, else from the record, read again; else raise *refusal*."""
        seams, media = self._work.seams, self._media
        while self._refreshed < 2:
            self._refreshed += 1
            try:
                if self._refreshed == 1:
                    if seams.fresh_url is None or media.asset_id is None or self._job.service != "google-flow":
                        continue
                    url: str | None = await seams.fresh_url(media.asset_id)
                elif seams.read is not None:
                    again = offered_again(media, self._index, await seams.read(self._job.job_id))
                    url = None if again is None else again.url
                else:
                    break
            except AsyncflowError as error:
                _raise_if_it_concerns_all(error)
                continue
            if url is not None and url != old:
                return url
        raise refusal

    def _name_as(self, head: bytes, content_type: str) -> str:
        form = checked_format(self._media.kind, head, content_type)
        return self._work.template.name(self._facts, self._index, form.ext)

    def _received(self, size_bytes: int, at: int, total_bytes: int | None) -> None:
        self._work.counts["bytes"] += size_bytes
        on_progress = self._work.seams.on_progress
        if on_progress is not None:
            on_progress(DownloadProgress(self._job.job_id, self._index, at, total_bytes))

    def _file(self, kept: StoredFile, *, is_new: bool) -> MediaFile:
        return MediaFile(self._index, self._media.kind, "fetched" if is_new else "present", kept.path, kept.size_bytes)


def _raise_if_it_concerns_all(error: AsyncflowError) -> None:
    if error.reason in FATAL if isinstance(error, DownloadError) else error.kind in _REFUSALS:
        raise error


def _let_go(claiming: asyncio.Future[StoredFile | PartialFile | None]) -> None:
    """Close a part that came when nobody waited for it any more."""
    if not claiming.cancelled() and claiming.exception() is None and isinstance(part := claiming.result(), PartialFile):
        part.release()
