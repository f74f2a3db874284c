"""A batch of submits: many lines, a few at a time, each of them once, and across restarts too where there is a journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from msgspec.structs import replace

from asyncflow import protocol
from asyncflow.client.submitter import OUR_REFS, SubmitCallbacks, new_ref
from asyncflow.errors import AsyncflowError, JournalError, OutcomeUnknownError, ServiceError, TransportError, UsageError
from asyncflow.events import ErrorInfo, SubmitResult
from asyncflow.protocol import SubmitRequest
from asyncflow.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.client.options import RequestOptions
    from asyncflow.client.submit_recovery import SubmitRecovery
    from asyncflow.client.submitter import Submitter
    from asyncflow.stream import Emitter

__all__ = ["Lines", "SubmitBatch", "SubmitJournal"]

Lines = Iterable[SubmitRequest | Mapping[str, Any]] | AsyncIterable[SubmitRequest | Mapping[str, Any]]

_ABOUT_THE_LINE = frozenset({"bad_request", "client_error", "moderated", "not_found", "payload_too_large", "usage"})
"""Refusals that a line gets again however often it is submitted; after all others it may be worth another try."""

_ABOUT_ALL = frozenset({"edge_blocked", "payment_required", "redirect", "unauthorized"})
_WORTH_A_SEARCH = timedelta(hours=1)


class SubmitJournal(Protocol):
    """What a batch asks of a journal: `asyncflow.Journal` is one. All of it is called on the event loop of the batch."""

    async def open(self, fail: Callable[[Exception], None]) -> object:
        """Begin; *fail* is called if the journal fails later. `UsageError` if somebody has it."""
        ...

    async def submitted(self) -> list[str]:
        """Return the ids of the jobs that lines of earlier batches came to."""
        ...

    async def find_submission(self, key: str) -> SubmitResult | None:
        """Return what an earlier batch left of a line."""
        ...

    async def begin_submission(self, line: SubmitResult) -> None:
        """Note that a line is about to go out; return when that is durable."""
        ...

    async def finish_submission(self, line: SubmitResult, at: datetime) -> None:
        """Note what became of a line, and have its job watched; return when that is durable."""
        ...

    async def aclose(self) -> None:
        """Close when all is durable."""
        ...


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """What a batch was asked for."""

    concurrency: int
    journal: SubmitJournal | None
    wait_for_capacity: float | None
    timeout: float | None
    resubmit_unknown: bool


class SubmitBatch(Stream[SubmitResult]):
    """Submit lines, a few at a time, and yield what became of each: an async context manager and iterator of `SubmitResult`.

    Made by `AsyncClient.submit_many`. The results come in the order in which they are known, one for each line. Whoever is slow
    to take them slows the batch down: a line is begun only while fewer results wait than lines may be under way.

    Breaking off cancels what is under way, and the lines concerned are "unknown"; their results can still be read. `stop`
    begins no more lines and lets those under way have their answers.
    """

    def __init__(self, submits: Submitter, options: RequestOptions, lines: Lines, settings: BatchConfig) -> None:
        self._core = core = BatchEngine(submits, options, lines, settings)
        super().__init__(core.run, name="asyncflow submit", usage_error=UsageError)

    @property
    def in_flight(self) -> int:
        """How many lines are under way: begun, and without a result."""
        return self._core.in_flight

    def stop(self) -> None:
        """Begin no more lines. The iteration ends when those under way have their results."""
        self._core.stop()

    async def __anext__(self) -> SubmitResult:
        """Return the next result; cancelling this loses none."""
        self._core.news.set()
        return await super().__anext__()

    def __repr__(self) -> str:
        return f"<SubmitBatch {self.in_flight} in flight>"


class BatchEngine:
    """The workers of a batch, and the feed that they take their lines from."""

    def __init__(self, submits: Submitter, options: RequestOptions, lines: Lines, settings: BatchConfig) -> None:
        self.in_flight: int = 0
        self.news: asyncio.Event = asyncio.Event()
        self._submits = submits
        self._options = options
        self._feed = _feed(lines)
        self._settings = settings
        self._search: SubmitRecovery = submits.search(options)
        self._sink: Emitter[SubmitResult] | None = None
        self._turn = asyncio.Lock()
        self._number = 0
        self._seen: Counter[str] = Counter()
        self._busy = 0
        self._idle = asyncio.Event()
        self._is_stopping = self._is_fed = False
        self._is_answered = False
        self._error: Exception | None = None

    def stop(self, error: Exception | None = None) -> None:
        """Begin no more lines; *error* ends the batch once those under way have their results."""
        self._error = self._error or error
        self._is_stopping = True
        self.news.set()
        self._end_if_stopped()

    def _end_if_stopped(self) -> None:
        # Whoever waits for the feed may wait long.
        if self._is_stopping and not self.in_flight and self._sink is not None:
            if self._error is not None:
                self._sink.fail(self._error)
            else:
                self._sink.finish()

    async def run(self, sink: Emitter[SubmitResult]) -> None:
        """Submit to the end."""
        self._sink, journal = sink, self._settings.journal
        if journal is not None:
            await journal.open(self.stop)
        try:
            if journal is not None:
                self._submits.remember(await journal.submitted())
            for _ in range(self._settings.concurrency):
                sink.start_soon(self._work, sink)
            await self._idle.wait()
        finally:
            with anyio.CancelScope(shield=True):
                if self._busy:
                    await self._idle.wait()
                if journal is not None:
                    await journal.aclose()
        if self._error is not None:
            raise self._error

    async def _work(self, sink: Emitter[SubmitResult]) -> None:
        self._busy += 1
        try:
            while (taken := await self._take(sink)) is not None:
                try:
                    await self._one(*taken, sink)
                finally:
                    self.in_flight -= 1
                self._end_if_stopped()
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def _take(self, sink: Emitter[SubmitResult]) -> tuple[int, object] | None:
        """Return the next line and its number, when there is room for its result; None when there is no more to be begun."""
        async with self._turn:
            while sink.undelivered >= self._settings.concurrency and not self._is_stopping:
                self.news.clear()
                await self.news.wait()
            if self._is_stopping or self._is_fed:
                return None
            try:
                line = await anext(self._feed)
            except StopAsyncIteration:
                self._is_fed = True
                return None
            except Exception as error:  # noqa: BLE001 - the user's own; what is under way is to have its answers first
                self.stop(error)
                return None
            self._number += 1
            self.in_flight += 1
            return self._number, line

    async def _one(self, number: int, value: object, sink: Emitter[SubmitResult]) -> None:
        try:
            line = SubmitRequest.of(value)
            content, key = line.content, line.known_as(self._seen)
        except UsageError as error:
            sink.put(SubmitResult("", number, "refused", error=ErrorInfo.of(error)))
            return
        blank = SubmitResult(key, number, "unknown", line.path, content=content)
        try:
            known = await self._recall(blank)
        except JournalError as error:
            known = self._after(error, blank)
        if known is not None:
            sink.put(known)
        else:
            await self._send(line, blank, sink)

    # -- what earlier batches left ---------------------------------------------------------------------------------------

    async def _recall(self, blank: SubmitResult) -> SubmitResult | None:
        """Return what an earlier batch came to with this line, None if it is to go out."""
        journal = self._settings.journal
        earlier = None if journal is None else await journal.find_submission(blank.key)
        if earlier is None:
            return None
        earlier = replace(earlier, number=blank.number, is_earlier=True)
        if earlier.state == "refused":
            is_final = earlier.error is not None and earlier.error.kind in _ABOUT_THE_LINE
            return earlier if is_final and earlier.content == blank.content else None
        if earlier.content != blank.content:
            problem = ErrorInfo("usage", "the key of this line is that of another one, which was submitted before")
            return replace(blank, state="refused", error=problem)
        return earlier if earlier.state == "submitted" else await self._look_for(earlier)

    async def _look_for(self, lost: SubmitResult) -> SubmitResult | None:
        """Return the line with its job if that is found now, else as it is; None if it is to go out again."""
        found = None
        if lost.requested_at is not None and datetime.now(UTC) - lost.requested_at < _WORTH_A_SEARCH:
            reply_ref, known = lost.reply_ref, self._submits.known
            is_ours = reply_ref is not None and reply_ref.startswith(OUR_REFS)
            found = await self._search.find(_service(lost.path), reply_ref, lost.requested_at, known, is_unique=is_ours)
        if found is not None and found.job is not None:
            self._submits.remember([found.job.job_id])
            lost = replace(lost, state="submitted", job=found.job, job_id=found.job.job_id, error=None, candidates=())
        elif self._settings.resubmit_unknown:
            return None
        elif found is not None and found.candidates:
            lost = replace(lost, candidates=found.candidates)
        await self._settle(lost)
        return lost

    # -- a line that goes out --------------------------------------------------------------------------------------------

    async def _send(self, line: SubmitRequest, blank: SubmitResult, sink: Emitter[SubmitResult]) -> None:
        order = protocol.order_of(line.path, line.body, new_ref())
        settings, began = self._settings, False

        async def begin(requested_at: datetime) -> None:
            nonlocal blank, began
            blank, began = replace(blank, reply_ref=order.reply_ref, requested_at=requested_at), True
            if settings.journal is not None:
                await settings.journal.begin_submission(blank)

        async def refuse(error: AsyncflowError) -> None:
            nonlocal began
            began = False
            await self._settle(replace(blank, state="refused", error=ErrorInfo.of(error)))

        try:
            job = await self._submits.submit(
                order,
                self._options,
                wait_for_capacity=settings.wait_for_capacity,
                timeout=settings.timeout,
                hooks=SubmitCallbacks(begin, refuse),
                search=self._search,
            )
            self._is_answered = True
            done = replace(blank, state="submitted", job=job, job_id=job.job_id or None)
        except AsyncflowError as error:
            done = self._after(error, blank)
        except BaseException:
            if began:
                problem = ErrorInfo("outcome_unknown", "broken off before the answer came")
                sink.put(replace(blank, error=problem))
            raise
        try:
            await self._settle(done)
        finally:
            # Cancelled or not: it is known now.
            sink.put(done)

    def _after(self, error: AsyncflowError, blank: SubmitResult) -> SubmitResult:
        """Return what *error* makes of a line, and stop the batch where it concerns all of them."""
        if isinstance(error, OutcomeUnknownError | ServiceError) and error.job_id is not None:
            self._is_answered = True
            return replace(blank, state="submitted", job=error.job, job_id=error.job_id)
        if isinstance(error, OutcomeUnknownError):
            self._is_answered = True
            return replace(blank, error=ErrorInfo.of(error), candidates=error.candidates)
        is_deaf = isinstance(error, TransportError) and not self._is_answered
        # Songs are paid for with credits of their own.
        is_about_all = error.kind in _ABOUT_ALL and not (error.kind == "payment_required" and _service(blank.path) == "flowmusic")
        if is_deaf or is_about_all or isinstance(error, JournalError):
            self.stop(error)
        self._is_answered = self._is_answered or error.status is not None
        return replace(blank, state="refused", error=ErrorInfo.of(error))

    async def _settle(self, done: SubmitResult) -> None:
        if self._settings.journal is not None:
            try:
                await self._settings.journal.finish_submission(done, datetime.now(UTC))
            except JournalError as error:
                self.stop(error)


def _service(path: str) -> str:
    return "flowmusic" if "flowmusic/" in path else "google-flow"


def _feed(lines: Lines) -> AsyncIterator[object]:
    if isinstance(lines, AsyncIterable):
        return aiter(lines)
    if isinstance(lines, Mapping | str | bytes):
        raise UsageError("submit_many takes an iterable of lines, each with a path and a body")
    return _Fed(iter(lines))


class _Fed(AsyncIterator[object]):
    """An iterator where an async one is asked for; an async generator would have to be closed."""

    def __init__(self, lines: Iterator[object]) -> None:
        self._lines = lines

    async def __anext__(self) -> object:
        for line in self._lines:
            return line
        raise StopAsyncIteration
