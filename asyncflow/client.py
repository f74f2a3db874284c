"""Outbound HTTP: `AsyncClient`, one aiohttp session to the service and one request budget for everything that uses it.

The only place where a token is read. It is sent to the base URL and to nowhere else: redirects are not followed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import isinf
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, Unpack, overload

import aiohttp
import anyio
import msgspec
from yarl import URL

from asyncflow import protocol
from asyncflow.errors import (
    AsyncflowError,
    DecodeError,
    JobFailedError,
    RateLimitedError,
    ServiceError,
    TransportError,
    UsageError,
)
from asyncflow.events import Abandoned, Ended
from asyncflow.pacing import Pacer, Priority, prepaid
from asyncflow.polling import PollPolicy, failure_delay
from asyncflow.records import Failure, Job, Outcome
from asyncflow.watcher import JobWatcher

if TYPE_CHECKING:
    from types import TracebackType

    from asyncflow.polling import Policy
    from asyncflow.protocol import Request
    from asyncflow.records import FlowStats, MusicStats
    from asyncflow.watcher import JobIds, WatchOptions

T = TypeVar("T")
BASE_URL = "https://api.useapi.net"
Token = str | Callable[[], Awaitable[str]]
FlowDetail = Literal["summary", "executing", "history"]

_KEEP_ALIVE = 90.0
"""Seconds an idle connection is kept: longer than any polling interval, so that a poll does not pay for a new TLS handshake."""

_SUBMIT_TIMEOUT = 660.0
"""Seconds a submit may take: the service holds synchronous ones for up to ten minutes before it answers 408."""

_PATIENCE = 5.0
"""Seconds that a retry may wait while a watch holds the request: beyond that the watch plans the next poll itself."""


def _user_agent() -> str:
    # Without a name of its own a client is refused at the edge: https://useapi.net/docs/api-google-flow-v1 (error code 1010).
    with suppress(PackageNotFoundError):
        return f"asyncflow-useapi/{version('asyncflow-useapi')}"
    return "asyncflow-useapi"


@dataclass(slots=True)
class _Connection:
    """What a client and those made from it by `with_options` share."""

    session: aiohttp.ClientSession | None
    is_borrowed: bool
    pacer: Pacer
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    loop: asyncio.AbstractEventLoop | None = None
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Options:
    token: Token
    base_url: str
    timeout: float
    max_retries: int
    policy: Policy
    headers: Mapping[str, str]


class AsyncClient:
    """The service, as coroutines: read a job, wait for it, watch thousands, cancel, ask for links and statistics.

    *token* is the API token (`user:<number>-...`) or an async callable that returns it; without it the environment variable
    USEAPI_TOKEN is read. *base_url* defaults to USEAPI_BASE_URL, else to the service. *session* is an aiohttp session of your
    own, for proxies and the like: it is used and never closed. *timeout* bounds one request, in seconds; *max_retries* is how
    often a read is repeated after a transient error. *concurrency* and *rate* are hard ceilings for requests in flight and
    requests a second; below them `pacer` learns what the service bears. Give two clients the same *pacer* if they share a
    token. *policy* says when jobs are asked about again.

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
    ) -> None:
        self._options = _Options(
            token=_checked_token(token),
            base_url=_checked_base_url(base_url),
            timeout=_positive("timeout", timeout),
            max_retries=_at_least("max_retries", max_retries, 0),
            policy=policy if policy is not None else PollPolicy(),
            headers={"User-Agent": _user_agent(), "Accept": "application/json"},
        )
        if rate is not None:
            _positive("rate", rate)
        self._connection = _Connection(
            session=session,
            is_borrowed=session is not None,
            pacer=pacer if pacer is not None else Pacer(rate=rate, concurrency=_at_least("concurrency", concurrency, 1)),
        )
        self._random = Random()

    @property
    def pacer(self) -> Pacer:
        """The request budget that everything done through this client shares."""
        return self._connection.pacer

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
            changes["token"] = _checked_token(token)
        if timeout is not None:
            changes["timeout"] = _positive("timeout", timeout)
        if max_retries is not None:
            changes["max_retries"] = _at_least("max_retries", max_retries, 0)
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
        return _under_asked_id(await self._read(protocol.job_request(job_id, service), timeout), job_id)

    async def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = 900.0,
        service: str | None = None,
        raise_on_failure: bool = True,
        max_failures: int | None = 20,
    ) -> Job:
        """Wait until a job has ended and return its last record.

        *timeout* is the longest wait in seconds, requests included, None for no limit; then `WaitTimeoutError` is raised, with
        the last record. The job itself goes on: wait again. A job that failed raises `JobFailedError`, unless
        *raise_on_failure* is false.
        After *max_failures* polls in a row without an answer the last error is raised; None never gives up.
        A completed job may still lack files: see `job.outcome`.
        """
        result = (await self._watch_to_the_end([job_id], timeout, service, max_failures))[job_id]
        if isinstance(result, AsyncflowError):
            raise result
        if raise_on_failure and result.outcome is Outcome.FAILED:
            failure = result.failure or Failure()
            raise JobFailedError(
                failure.message or "the job failed", code=failure.code, reason=failure.reason, job_id=job_id, job=result
            )
        return result

    async def wait_all(
        self,
        job_ids: JobIds,
        *,
        timeout: float | None = 900.0,
        service: str | None = None,
        max_failures: int | None = 20,
    ) -> dict[str, Job | AsyncflowError]:
        """Wait for many jobs at once and return what became of each: its last record, or the error that ended the wait for it.

        Nothing is raised for a single job, and a failed job is a record like any other. A refused token or payment is raised.
        *timeout* bounds the whole: what has not ended by then has a `WaitTimeoutError`.
        """
        return await self._watch_to_the_end(job_ids, timeout, service, max_failures)

    async def _watch_to_the_end(
        self, job_ids: JobIds, timeout: float | None, service: str | None, max_failures: int | None
    ) -> dict[str, Job | AsyncflowError]:
        records: dict[str, Job] = {}
        errors: dict[str, AsyncflowError] = {}

        async def read(job_id: str) -> Job:
            try:
                records[job_id] = await self.get_job(job_id, service=service)
            except AsyncflowError as error:
                errors[job_id] = error
                raise
            return records[job_id]

        results: dict[str, Job | AsyncflowError] = {}
        watcher = JobWatcher(
            read, job_ids, pacer=self.pacer, policy=self._options.policy, timeout=timeout, max_failures=max_failures
        )
        async with watcher:
            async for event in watcher:
                match event:
                    case Ended(job):
                        results[job.job_id] = job
                    case Abandoned(job_id, problem, job):
                        seen = errors.get(job_id)
                        error = seen if seen is not None and seen.kind == problem.kind else problem.exception(job_id)
                        error.job = job or records.get(job_id)
                        results[job_id] = error
                    case _:
                        pass
        return results

    # -- many jobs -------------------------------------------------------------------------------------------------------

    def watch(self, job_ids: JobIds = (), *, service: str | None = None, **options: Unpack[WatchOptions]) -> JobWatcher:
        """Return a watcher of these jobs that reads through this client and shares its budget; see `JobWatcher` for *options*."""
        fetch = self.get_job if service is None else partial(self.get_job, service=service)
        options.setdefault("pacer", self.pacer)
        options.setdefault("policy", self._options.policy)
        return JobWatcher(fetch, job_ids, **options)

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
        return await self._read(protocol.stats_request(service, detail))

    async def get_asset_url(self, asset_id: str) -> str:
        """Return a fresh link to a Google Flow file, good for about six hours; *asset_id* is that of a `Media`."""
        return (await self._read(protocol.asset_request(asset_id))).url

    async def cancel(self, job_id: str, *, service: str | None = None) -> None:
        """Cancel a Flow Music job: it ends as failed, with `failure.is_cancelled`.

        The credits are spent all the same and the song may still be finished. Google Flow offers no such thing: `UsageError`.
        """
        await self._read(protocol.cancel_request(job_id, service))

    async def submit(self, path: str, body: Mapping[str, Any]) -> Job:
        """Create a job and return its first record; *path* is that of the API page, such as "google-flow/videos".

        *body* is sent as it is. A submit is never repeated, since it costs credits: where the answer is lost,
        `OutcomeUnknownError` is raised, and the job may exist. A budget that is spent for longer than the timeout raises
        `RateLimitedError` at once.
        """
        request = protocol.submit_request(path, body)
        await self._pay(self._now() + self._options.timeout)
        return await self._try(request, _SUBMIT_TIMEOUT)

    # -- one request -----------------------------------------------------------------------------------------------------

    async def _read(self, request: Request[T], timeout: float | None = None) -> T:
        """Send a request that may be repeated, until it is answered or the time is up."""
        options = self._options
        deadline = self._now() + (timeout if timeout is not None else options.timeout * (options.max_retries + 1))
        is_watch = self._is_prepaid()
        if not is_watch:
            await self._pay(deadline)
        failures = 0
        while True:
            try:
                return await self._try(request, min(options.timeout, max(deadline - self._now(), 0.001)))
            except AsyncflowError as error:
                failures += 1
                if not error.transient or failures > options.max_retries:
                    raise
                pause = failure_delay(failures, error.retry_after, self._random)
                # A watch plans its own polls: a worker that sat out a long pause here would be missing there.
                until = min(deadline, self._now() + _PATIENCE) if is_watch else deadline
                if (is_watch and isinstance(error, RateLimitedError)) or self._now() + pause >= until:
                    raise
                await anyio.sleep(pause)
                try:
                    await self._pay(until)
                except RateLimitedError:
                    raise error from None

    async def _try(self, request: Request[T], timeout: float) -> T:
        """Send a request that has been paid for once, and tell the pacer how it went."""
        pacer, start = self.pacer, self._now()
        is_told = False
        try:
            status, headers, body = await self._send(request, timeout)
            answer = protocol.decode_answer(request, status, headers, body, now=datetime.now(UTC))
        except RateLimitedError as error:
            is_told = True
            pacer.throttled(self._now(), error.retry_after)
            raise
        except AsyncflowError as error:
            is_told = True
            if error.transient or isinstance(error, TransportError | ServiceError):
                pacer.failed(self._now())
            else:
                pacer.answered(self._now(), self._now() - start)
            raise
        else:
            is_told = True
            pacer.answered(self._now(), self._now() - start)
            return answer
        finally:
            if not is_told:
                pacer.released()

    async def _send(self, request: Request[Any], timeout: float) -> tuple[int, Mapping[str, str], bytes]:
        options, session = self._options, self._session()
        headers = dict(options.headers)
        token = options.token if isinstance(options.token, str) else _checked_token(await options.token())
        headers["Authorization"] = f"Bearer {token}"
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with session.request(
                request.method,
                URL(options.base_url + request.target, encoded=True),
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as response:
                return response.status, response.headers, await response.read()
        except aiohttp.ClientConnectorError as error:
            # The request never left: even a submit can be said not to have happened.
            raise TransportError(f"no connection to {error.host}:{error.port}", transient=True, job_id=request.job_id) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise protocol.transport_error(request, error) from error

    # -- budget and life -------------------------------------------------------------------------------------------------

    def _is_prepaid(self) -> bool:
        if prepaid.get() is not self.pacer:
            return False
        prepaid.set(None)
        return True

    async def _pay(self, deadline: float) -> None:
        """Wait for the turn of one request; a turn that cannot come before *deadline* is refused at once."""
        line, pacer = self._connection.line, self.pacer
        if not line.locked() and pacer.take(self._now(), Priority.INTERACTIVE) == 0:
            return
        pacer.enter(Priority.INTERACTIVE)
        try:
            # One request at a time talks to the pacer, first come, first served.
            async with asyncio.timeout_at(deadline), line:
                while (delay := pacer.take(self._now(), Priority.INTERACTIVE)) > 0:
                    if self._now() + delay > deadline and not isinf(delay):
                        raise RateLimitedError("the request budget is spent for longer", transient=True, retry_after=delay)
                    await self._change(delay)
        except TimeoutError as error:
            raise RateLimitedError("no turn came in time", transient=True) from error
        finally:
            pacer.leave(Priority.INTERACTIVE)

    async def _change(self, seconds: float) -> None:
        """Wait until the pacer has news, *seconds* at the longest."""
        news = asyncio.Event()
        unsubscribe = self.pacer.subscribe(news.set)
        try:
            with anyio.move_on_after(seconds):
                await news.wait()
        finally:
            unsubscribe()

    def _now(self) -> float:
        connection, loop = self._connection, asyncio.get_running_loop()
        if connection.is_closed:
            raise UsageError("this client is closed; make a new one")
        if connection.loop is None:
            connection.loop = loop
        elif connection.loop is not loop:
            raise UsageError("this client belongs to another event loop: make one client for each asyncio.run()")
        return loop.time()

    def _session(self) -> aiohttp.ClientSession:
        connection = self._connection
        if connection.session is None:
            connection.session = aiohttp.ClientSession(
                # The pacer counts requests in flight; a second limit here would only hide its queue.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return connection.session

    async def aclose(self) -> None:
        """Close the connections; a borrowed session stays open. Closing twice is closing once."""
        connection = self._connection
        connection.is_closed = True
        if connection.session is not None and not connection.is_borrowed:
            session, connection.session = connection.session, None
            with anyio.CancelScope(shield=True):
                await session.close()

    async def __aenter__(self) -> Self:
        self._now()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._connection.is_closed else "open"
        return f"<AsyncClient {URL(self._options.base_url).host} {state}>"


def _under_asked_id(job: Job, job_id: str) -> Job:
    """Return the record under the id that it was asked for.

    The service's pages show ids with a masked address where real ones hold it whole, so the same job may come back spelt
    differently. What stands before the first hyphen tells jobs apart; where that differs, it is the wrong record.
    """
    if job.job_id == job_id:
        return job
    if job.job_id.partition("-")[0] != job_id.partition("-")[0]:
        raise DecodeError("the answer is about another job", transient=True, job_id=job_id)
    return msgspec.structs.replace(job, job_id=job_id)


def _checked_token(token: Token | None) -> Token:
    if token is None:
        token = os.environ.get("USEAPI_TOKEN", "")
        if not token:
            raise UsageError("no token: pass AsyncClient(token) or set USEAPI_TOKEN")
    if isinstance(token, str):
        token = token.strip().removeprefix("Bearer ")
        if not token.startswith("user:"):
            raise UsageError("the token must begin with 'user:' (the whole of it, as useapi.net shows it)")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError("the token holds characters that no token has: was it pasted whole?")
    return token


def _checked_base_url(base_url: str | None) -> str:
    text = (base_url if base_url is not None else os.environ.get("USEAPI_BASE_URL") or BASE_URL).strip()
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment or url.user:
        raise UsageError("the base URL must look like https://host or http://host:port, without a query")
    return text.rstrip("/").removesuffix("/v1")


def _positive(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} must be a positive number of seconds" if name == "timeout" else f"{name} must be positive")
    return value


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise UsageError(f"{name} must be at least {least}")
    return value
