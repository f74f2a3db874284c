"""`Downloader`: the files of many jobs into one folder, a few at a time."""

from __future__ import annotations

from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypedDict

import anyio

from asyncflow.download.bandwidth import ByteBucket
from asyncflow.download.file_download import DownloadLimits
from asyncflow.download.file_names import DEFAULT_TEMPLATE, Template, identity
from asyncflow.download.job_download import DownloadHooks, JobDownload
from asyncflow.download.media_transport import MediaTransport
from asyncflow.download.results import DownloadStats, JobFiles
from asyncflow.download.target_folder import TargetFolder
from asyncflow.errors import AsyncflowError, UsageError
from asyncflow.records import Job
from asyncflow.stream import Emitter, Stream

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from asyncflow.download.results import DownloadProgress, MediaFile

__all__ = ["DownloadOptions", "Downloader"]

_MOST_BYTES = 16 << 30


class DownloadOptions(TypedDict, total=False):
    """The options that all downloads have; see `Downloader`."""

    template: str
    sidecar: bool
    rate: float | None
    concurrency: int
    on_progress: Callable[[DownloadProgress], None] | None
    max_bytes: int
    max_retries: int
    stall_timeout: float


class Downloader(Stream[JobFiles]):
    """Fetches all files of jobs into *folder* and yields a `JobFiles` for each job when it is done with it.

    Jobs come by `add`, as records or as ids, which are read by *read*. A link that has ended is replaced by one that *fresh_url*
    gives for the asset's id, or by reading the job again. Iteration ends when all jobs that were added are done; with *keep_open*
    it waits for more, until `finish` was called. With *on_done* each result goes there as soon as it is there, and the iteration
    only waits for the end.

    *template* names the files: fields are service, kind, model, created (UTC, with a format like %Y%m%d), digest (of the job's
    id), index (from 1) and ext. No file that is there is ever overwritten: where a name is taken, a number is added. With
    *sidecar* each job gets a JSON file beside its files, without the signatures of links. What is there already is not fetched
    again, and what was begun goes on where it broke off.

    *rate* bounds the bytes a second of all files together, *concurrency* how many are fetched at a time, *max_bytes* the size of
    one. A media host that sends nothing for *stall_timeout* seconds is tried again, after a pause, up to *max_retries* times
    without progress. *on_progress* is called for each batch of each file, on the event loop.

    What one file or job meets is in its result. A folder that cannot be written to, or is full, ends the iteration with the
    `DownloadError`, after the results that were already there. *carrier* is the way to media hosts, one of its own if None.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        read: Callable[[str], Awaitable[Job]] | None = None,
        fresh_url: Callable[[str], Awaitable[str]] | None = None,
        carrier: MediaTransport | None = None,
        template: str = DEFAULT_TEMPLATE,
        sidecar: bool = False,
        rate: float | None = None,
        concurrency: int = 4,
        on_progress: Callable[[DownloadProgress], None] | None = None,
        on_done: Callable[[JobFiles], None] | None = None,
        max_bytes: int = _MOST_BYTES,
        max_retries: int = 5,
        stall_timeout: float = 30.0,
        keep_open: bool = False,
    ) -> None:
        for name, number in (("rate", inf if rate is None else rate), ("stall_timeout", stall_timeout), ("max_bytes", max_bytes)):
            if not number > 0:
                raise UsageError(f"{name} must be positive")
        if concurrency < 1 or max_retries < 0:
            raise UsageError("concurrency must be at least 1, and max_retries at least 0")
        self._core = DownloadEngine(
            JobDownload(
                TargetFolder(folder),
                Template(template),
                DownloadLimits(max_bytes, stall_timeout, ByteBucket(rate)),
                DownloadHooks(read, fresh_url, on_progress),
                carrier if carrier is not None else MediaTransport(),
                max_retries=max_retries,
                has_sidecar=sidecar,
            ),
            concurrency,
            on_done,
            keeps_open=keep_open,
            owns_carrier=carrier is None,
        )
        super().__init__(self._core.run, name="asyncflow download", usage_error=UsageError)

    def add(self, *jobs: Job | str) -> int:
        """Fetch the files of *jobs*, records or ids; return how many of them were new.

        A job is fetched once, but one that met a problem may be added again when it is done.
        """
        return self._core.add(jobs)

    def finish(self) -> None:
        """Say that no more jobs will come; the iteration ends when all are done."""
        self._core.close()

    @property
    def failure(self) -> AsyncflowError | None:
        """What ended the download before its time: the folder takes no more files, or the token is refused."""
        return self._core.failure

    def stats(self) -> DownloadStats:
        """Return how it is going."""
        return self._core.stats()

    def __len__(self) -> int:
        """How many jobs are not done yet."""
        return self._core.open_jobs

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<Downloader {stats.jobs_done} of {stats.jobs_done + stats.jobs_waiting} jobs done>"


class DownloadEngine:
    """The work of a downloader, without its iterator: a queue, and workers that come when there is something in it."""

    def __init__(
        self,
        work: JobDownload,
        concurrency: int,
        on_done: Callable[[JobFiles], None] | None,
        *,
        keeps_open: bool,
        owns_carrier: bool,
    ) -> None:
        self._work = work
        self._concurrency = concurrency
        self._on_done = on_done
        self._keeps_open = keeps_open
        self._owns_carrier = owns_carrier
        self._open: set[str] = set()
        self._over: set[str] = set()
        self._queue: deque[Callable[[], Awaitable[None]]] = deque()
        self._sink: Emitter[JobFiles] | None = None
        self._workers = 0
        self._done = 0
        self._changed = anyio.Event()
        self.failure: AsyncflowError | None = None

    @property
    def open_jobs(self) -> int:
        return len(self._open)

    def add(self, jobs: tuple[Job | str, ...]) -> int:
        new = 0
        for job in jobs:
            key = identity(job) if isinstance(job, Job) else job
            if not key.strip():
                raise UsageError("the job id is empty")
            if key not in self._open and key not in self._over:
                self._open.add(key)
                self._queue.append(partial(self._begin, key, job))
                new += 1
        self._start_workers()
        return new

    def close(self) -> None:
        self._keeps_open = False
        self._changed.set()

    def stats(self) -> DownloadStats:
        counts = self._work.counts
        return DownloadStats(
            jobs_done=self._done,
            jobs_waiting=self.open_jobs,
            fetched=counts["fetched"],
            present=counts["present"],
            missing=counts["missing"],
            failed=counts["failed"],
            active=self._work.active,
            received_bytes=counts["bytes"],
            retries=counts["retries"],
        )

    async def run(self, sink: Emitter[JobFiles]) -> None:
        try:
            await self._work.prepare()
            self._sink = sink
            self._start_workers()
            while self._keeps_open or self.open_jobs:
                self._changed = anyio.Event()
                await self._changed.wait()
        except AsyncflowError as error:
            self.failure = error
            raise
        finally:
            self._sink = None
            if self._owns_carrier:
                await self._work.carrier.aclose()

    def _start_workers(self) -> None:
        while self._sink is not None and self._workers < min(self._concurrency, self._workers + len(self._queue)):
            self._workers += 1
            self._sink.start_soon(self._run_worker)

    async def _run_worker(self) -> None:
        try:
            while self._queue:
                await self._queue.popleft()()
        except AsyncflowError as error:
            # What is raised concerns every file; what concerns one is in its result.
            self.failure = error
            if self._sink is not None:
                self._sink.fail(error)
        finally:
            self._workers -= 1
            self._changed.set()

    async def _begin(self, key: str, job: Job | str) -> None:
        opened = await self._work.open(job)
        if isinstance(opened, JobFiles):
            self._deliver(key, opened)
        elif not opened.media:
            self._deliver(key, await self._work.close(opened, []))
        else:
            files: dict[int, MediaFile] = {}
            # Before other jobs, so that one is done before the next is begun.
            self._queue.extendleft(partial(self._fetch, key, opened, index, files) for index in range(len(opened.media), 0, -1))
            self._start_workers()

    async def _fetch(self, key: str, job: Job, index: int, files: dict[int, MediaFile]) -> None:
        files[index] = await self._work.media(job, index)
        if len(files) == len(job.media):
            self._deliver(key, await self._work.close(job, [files[number] for number in sorted(files)]))

    def _deliver(self, key: str, files: JobFiles) -> None:
        self._done += 1
        self._open.discard(key)
        if not files.problems:
            self._over.add(key)
        if self._on_done is not None:
            self._on_done(files)
        elif self._sink is not None:
            self._sink.put(files)
