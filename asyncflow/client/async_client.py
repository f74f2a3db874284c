"""`AsyncClient`, the service as coroutines."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

from asyncflow import protocol
from asyncflow.client.instrumentation import RequestInstrumentation
from asyncflow.client.media import MediaAccess, only_job
from asyncflow.client.options import (
    RequestOptions,
    at_least,
    check_timeout,
    checked_base_url,
    checked_token,
    checked_transport,
    positive,
)
from asyncflow.client.rate_limit import PermitGate
from asyncflow.client.retry import RetryingSender
from asyncflow.client.submit_batch import BatchConfig, SubmitBatch
from asyncflow.client.submitter import Submitter, new_ref
from asyncflow.client.transport import Transport
from asyncflow.client.waiting import W_co, wait_for, wait_in, well_ended, worth_asking
from asyncflow.errors import AsyncflowError, OutcomeUnknownError, ServiceError, UsageError
from asyncflow.logs import hooks_of
from asyncflow.pacing import Pacer
from asyncflow.polling import PollPolicy
from asyncflow.redaction import redact
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Unpack

    import aiohttp
    from aiohttp import ClientResponse

    from asyncflow.client.options import Token, TransportName
    from asyncflow.client.submit_batch import Lines, SubmitJournal
    from asyncflow.client.waiting import Events, SharedStore
    from asyncflow.download import Downloader, DownloadOptions, JobFiles, MediaFile
    from asyncflow.polling import Policy
    from asyncflow.protocol import Request
    from asyncflow.records import AssetLink, FlowStats, Job, MusicStats
    from asyncflow.telemetry import Hook
    from asyncflow.watcher import JobIds, WatchOptions

__all__ = ["AsyncClient"]

FlowDetail = Literal["summary", "executing", "history"]


class AsyncClient:
    """The service, as coroutines: read a job, wait for it, watch thousands, cancel, ask for links and statistics.

    *token* is the API token (`user:<number>-...`) or an async callable that returns it; without it the environment variable
    USEAPI_TOKEN is read. *base_url* defaults to USEAPI_BASE_URL, else to the service; to another machine without TLS is logged as
    `token_in_clear_text`. *session* is an aiohttp session of your own, for proxies and the like: it is used and never closed.
    *timeout* bounds one request, in seconds; *max_retries* is how often a read is repeated after a transient error. *concurrency*
    and *rate* are hard ceilings for requests in flight and requests a second; below them `pacer` learns what the service bears.
    Give two clients the same *pacer* if they share a token. *policy* says when jobs are asked about again. *transport* is how
    reads are sent: "auto" takes the fast transport where that is known to be safe and aiohttp's public session elsewhere,
    "session" always takes that session; see `transport`. *hooks* hear of each attempt at a request, of the budget, and of the
    watches made here: see `asyncflow.telemetry`.

    Nothing is opened before the first request. A client belongs to the event loop of its first request. Errors: `UsageError` for
    what cannot work, before any request is made; every other `AsyncflowError` comes from an answer or from its absence.
    """

    def __init__(
        self,
        token: Token | None = None,
        *,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout: float = 30.0,
        max_retries: int = 2,
        concurrency: int = 100,
        rate: float | None = None,
        pacer: Pacer | None = None,
        policy: Policy | None = None,
        transport: TransportName = "auto",
        hooks: Iterable[Hook] = (),
    ) -> None:
        self._options = RequestOptions(
            token=checked_token(token),
            base_url=checked_base_url(base_url),
            timeout=positive("timeout", timeout),
            max_retries=at_least("max_retries", max_retries, 0),
            policy=policy if policy is not None else PollPolicy(),
        )
        if rate is not None:
            positive("rate", rate)
        at_least("concurrency", concurrency, 1)
        self._connection = Transport(session, checked_transport(transport, is_borrowed=session is not None))
        self._budget = PermitGate(pacer if pacer is not None else Pacer(rate=rate, concurrency=concurrency))
        self._hooks = hooks_of(hooks)
        instrumentation = (
            RequestInstrumentation(self._hooks, self.pacer, self._options.base_url) if self._hooks is not None else None
        )
        self._calls = RetryingSender(self._connection, self._budget, instrumentation)
        self._media = MediaAccess(self._options.base_url)
        self._submits = Submitter(self._calls, self._connection)

    @property
    def pacer(self) -> Pacer:
        """The request budget that everything done through this client shares."""
        return self._budget.pacer

    @property
    def transport(self) -> str:
        """How the next read is sent: "fast", on connections of our own, or "session", through aiohttp's session.

        Both send the same requests and read the same answers. A borrowed session, an aiohttp version that was not tested, and
        code that traces or mocks aiohttp's sessions get the session transport. The environment variable ASYNCFLOW_TRANSPORT
        decides where the client's option is "auto".
        """
        return self._connection.transport

    def with_options(
        self,
        *,
        token: Token | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        policy: Policy | None = None,
    ) -> Self:
        """Return a client with other options on the same connections and the same budget; closing one closes both."""
        changes: dict[str, Any] = {}
        if token is not None:
            changes["token"] = checked_token(token)
        if timeout is not None:
            changes["timeout"] = positive("timeout", timeout)
        if max_retries is not None:
            changes["max_retries"] = at_least("max_retries", max_retries, 0)
        if policy is not None:
            changes["policy"] = policy
        other = copy(self)
        vars(other)["_options"] = replace(self._options, **changes)
        return other

    # -- one job ---------------------------------------------------------------------------------------------------------

    async def get_job(self, job_id: str, *, service: str | None = None, timeout: float | None = None) -> Job:
        """Read a job once.

        *timeout* bounds the call as a whole, retries and pauses included; a pause that would outlast it fails at once. It
        defaults to the time that all tries together may take.
        """
        if timeout is not None:
            check_timeout(timeout)
        request = _about(job_id, protocol.job_request, service)
        job: Any = await self._calls.send_retrying(request, self._options, timeout)
        return job if job.job_id == job_id else protocol.under_asked_id(job, job_id)

    async def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = 900.0,
        service: str | None = None,
        raise_on_failure: bool = True,
        max_failures: int | None = 20,
        store: SharedStore[Events] | None = None,
    ) -> Job:
        """Wait until a job has ended and return its last record.

        *timeout* is the longest wait in seconds, requests included, None for no limit; then `WaitTimeoutError` is raised, with
        the last record. The job itself goes on: wait again. A job that failed raises `JobFailedError`, unless
        *raise_on_failure* is false.
        After *max_failures* polls in a row without an answer the last error is raised; None never gives up.
        A completed job may still lack files: see `job.outcome`. With a *store* nothing is polled here: the wait ends when any
        worker of the store sees the end.
        """
        result = (await self._wait([job_id], timeout, service, max_failures, store))[job_id]
        if isinstance(result, AsyncflowError):
            raise result
        return well_ended(result) if raise_on_failure else result

    async def wait_all(
        self,
        job_ids: JobIds,
        *,
        timeout: float | None = 900.0,
        service: str | None = None,
        max_failures: int | None = 20,
        store: SharedStore[Events] | None = None,
    ) -> dict[str, Job | AsyncflowError]:
        """Wait for many jobs at once and return what became of each: its last record, or the error that ended the wait for it.

        The results are in the order of *job_ids*, each id once. Nothing is raised for a single job, and a failed job is a record
        like any other. A refused token or payment is raised. *timeout* bounds the whole: what has not ended by then has a
        `WaitTimeoutError`. A *store*: see `wait`.
        """
        asked: dict[str, None] = {}
        results = await self._wait(worth_asking(job_ids, asked), timeout, service, max_failures, store)
        return {job_id: results.get(job_id) or UsageError("the job id is empty") for job_id in asked}

    async def _wait(
        self,
        job_ids: JobIds,
        timeout: float | None,
        service: str | None,
        max_failures: int | None,
        store: SharedStore[Events] | None,
    ) -> dict[str, Job | AsyncflowError]:
        self._connection.now()
        check_timeout(timeout)
        if store is not None:
            return await wait_in(store, job_ids, timeout)
        read = partial(self.get_job, service=service)
        return await wait_for(
            read,
            job_ids,
            pacer=self.pacer,
            policy=self._options.policy,
            timeout=timeout,
            max_failures=max_failures,
            hooks=self._hooks or (),
        )

    # -- many jobs -------------------------------------------------------------------------------------------------------

    @overload
    def watch(self, job_ids: JobIds = (), *, service: str | None = None, **options: Unpack[WatchOptions]) -> JobWatcher: ...
    @overload
    def watch(self, job_ids: JobIds = (), *, store: SharedStore[W_co], timeout: float | None = None) -> W_co: ...
    def watch(
        self,
        job_ids: JobIds = (),
        *,
        service: str | None = None,
        store: SharedStore[Events] | None = None,
        **options: Unpack[WatchOptions],
    ) -> Events:
        """Return a watcher of these jobs that reads through this client and shares its budget; see `JobWatcher` for *options*.

        With a *store* nothing is polled here: the store's workers do, and *timeout* is the only option.
        """
        self._connection.ensure_open()
        if store is not None:
            if options.keys() - {"timeout"}:
                raise UsageError("with a store, how jobs are polled is the business of its workers")
            return store.watch(job_ids, timeout=options.get("timeout"))
        fetch = self.get_job if service is None else partial(self.get_job, service=service)
        options.setdefault("pacer", self.pacer)
        options.setdefault("policy", self._options.policy)
        options.setdefault("hooks", self._hooks or ())
        return JobWatcher(fetch, job_ids, **options)

    # -- files -----------------------------------------------------------------------------------------------------------

    async def submit(
        self, path: str, body: Mapping[str, Any], *, wait_for_capacity: float | None = None, timeout: float | None = None
    ) -> Job:
        """Create a job and return its first record; *path* is that of the API page, such as "google-flow/videos".

        *body* is sent as it is, with two additions where the endpoint takes them and the body does not have them: the
        asynchronous mode, and a replyRef that no other job has. An answer that brings the work itself is a job all the same,
        one that has ended; a few of them have no id. *timeout* bounds the answer, in seconds; by default it is that of the
        service, eleven minutes.

        A submit is never repeated, since it costs credits: where the answer is lost, `OutcomeUnknownError` is raised with what
        is known, and the job may exist. Only "too many requests" means for certain that there is none: with *wait_for_capacity*
        it is tried again for that many seconds, as the service asks, otherwise `RateLimitedError` is raised at once.
        """
        order = protocol.order_of(path, body, new_ref())
        return await self._submits.submit(order, self._options, wait_for_capacity=wait_for_capacity, timeout=timeout)

    async def run(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        timeout: float | None = 900.0,
        wait_for_capacity: float | None = None,
        raise_on_failure: bool = True,
    ) -> Job:
        """Create a job as `submit` does, wait until it has ended as `wait` does, and return its last record.

        *timeout* bounds both together, but for the search after a lost answer, which takes ten seconds at most. What there is to
        say of the errors of `submit` and `wait` holds here too. A job whose id came with an error, or was found after one, is
        waited for.
        """
        check_timeout(timeout)
        start = self._connection.now()
        try:
            job = await self.submit(path, body, wait_for_capacity=wait_for_capacity, timeout=timeout)
        except (OutcomeUnknownError, ServiceError) as error:
            if error.job_id is None:
                raise
            job_id = error.job_id
        else:
            if job.is_terminal:
                return well_ended(job) if raise_on_failure else job
            job_id = job.job_id
        left = None if timeout is None else max(timeout - (self._connection.now() - start), 0.0)
        return await self.wait(job_id, timeout=left, raise_on_failure=raise_on_failure)

    def submit_many(
        self,
        lines: Lines,
        *,
        concurrency: int = 8,
        journal: SubmitJournal | None = None,
        wait_for_capacity: float | None = None,
        timeout: float | None = None,
        resubmit_unknown: bool = False,
    ) -> SubmitBatch:
        """Return a batch that submits *lines*, *concurrency* at a time; see `SubmitBatch`.

        A line is a `SubmitRequest` or a mapping like it, and each one gets a `SubmitResult`: nothing is raised for a single
        line. A refused token or payment ends the batch, after the results already there, as does a service that cannot be
        reached to begin with. *wait_for_capacity* and *timeout* are those of `submit`, for each line.

        With a *journal*, each line is noted before it goes out, and again when its answer is there; its job is then in the list
        of a watch on the same journal. A batch on the same journal goes on where an earlier one stopped: what was submitted is
        told again and not sent again, what was refused for a reason that may have passed is sent again, and a line that went
        out without an answer is looked for, and "unknown" if it is not found. Only *resubmit_unknown* sends such lines again.
        """
        self._connection.ensure_open()
        at_least("concurrency", concurrency, 1)
        settings = BatchConfig(concurrency, journal, wait_for_capacity, timeout, resubmit_unknown)
        return SubmitBatch(self._submits, self._options, lines, settings)

    async def download(
        self, job: Job | str, folder: str | os.PathLike[str], **options: Unpack[DownloadOptions]
    ) -> tuple[MediaFile, ...]:
        """Fetch all files of a job, a record or an id, into *folder*; return what became of each, in the order of `job.media`.

        Files that are there are not fetched again. A file that cannot be had is a result like the others; raised are the errors
        of reading the job, and `DownloadError` if the job still runs or the folder takes no files. See `Downloader` for
        *options*: template, sidecar, rate, concurrency and so on.
        """
        return await only_job(self.downloader(folder, **options), job)

    def downloader(
        self,
        folder: str | os.PathLike[str],
        *,
        keep_open: bool = False,
        on_done: Callable[[JobFiles], None] | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Downloader:
        """Return a `Downloader` for the files of many jobs, which reads through this client and shares its connections."""
        return self._media.downloader(
            folder, self.get_job, self.get_asset_url, keep_open=keep_open, on_done=on_done, options=options
        )

    def open_media(self, url: str, headers: Mapping[str, str] | None = None) -> AbstractAsyncContextManager[ClientResponse]:
        """Return the answer to a media link, its body unread, as an async context manager: `async with client.open_media(url)`.

        The token stays here, redirects are followed with each hop looked at, and links into private networks are refused.
        """
        return self._media.open(url, headers)

    # -- the rest of the service -----------------------------------------------------------------------------------------

    @overload
    async def get_stats(self, service: Literal["google-flow"], detail: FlowDetail = "summary") -> FlowStats: ...
    @overload
    async def get_stats(self, service: Literal["flowmusic"]) -> MusicStats: ...
    async def get_stats(self, service: str, detail: str | None = None) -> FlowStats | MusicStats:
        """Return how busy the accounts are.

        For Google Flow *detail* may be "summary", "executing" (with the running jobs) or "history" (the jobs of the last 15
        minutes); Flow Music always lists the running jobs. This is no list of all jobs.
        """
        request = protocol.stats_request(service, detail)
        return cast("FlowStats | MusicStats", await self._calls.send_retrying(request, self._options))

    async def get_asset_url(self, asset_id: str) -> str:
        """Return a fresh link to a Google Flow file, good for about six hours; *asset_id* is that of a `Media`."""
        return cast("AssetLink", await self._calls.send_retrying(protocol.asset_request(asset_id), self._options)).url

    async def cancel(self, job_id: str, *, service: str | None = None) -> None:
        """Cancel a Flow Music job: it ends as failed, with `failure.is_cancelled`.

        The credits are spent all the same and the song may still be finished. Google Flow offers no such thing: `UsageError`.
        """
        await self._calls.send_retrying(_about(job_id, protocol.cancel_request, service), self._options)

    # -- life ------------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connections; a borrowed session stays open. Closing twice is closing once."""
        self._connection.is_closed = True
        self._budget.wake_all()
        try:
            await self._media.aclose()
        finally:
            await self._connection.aclose()

    async def __aenter__(self) -> Self:
        self._connection.now()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._connection.is_closed else "open"
        return f"<AsyncClient {redact(self._options.base_url)} {state}>"


def _about(job_id: str, make: Callable[[str, str | None], Request], service: str | None) -> Request:
    """Return the request that *make* makes; what it refuses is about this one job, and a watch goes on with the others."""
    try:
        return make(job_id, service)
    except UsageError as error:
        error.job_id = job_id or None
        raise
