"""`Journal`: a watch writes to it without waiting, and waits where a fact must be durable first."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event as Signal
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from asyncflow.errors import JournalError, UsageError
from asyncflow.journal.database import Database
from asyncflow.journal.operations import AckEvents, AddJobs, BeginSubmit, DiscardJobs, FinishSubmit, RecordEvent, SavePolicy
from asyncflow.journal.reader import read_entries, read_submissions

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Sequence
    from datetime import datetime

    from asyncflow.events import Event, SubmitResult
    from asyncflow.journal.entry import JournalEntry
    from asyncflow.journal.operations import JournalOperation

__all__ = ["Journal"]

T = TypeVar("T")
Told = tuple["JournalOperation", "Future[list[str] | None] | None"]
Resumed = tuple[list[str], dict[str, Any] | None]

_log = logging.getLogger("asyncflow.journal")

_LINGER = 0.05
"""Seconds for which facts that nobody waits for are gathered into one commit."""

_SLICE = 500
"""Endings that are read at once: records can be large."""


class Journal:
    """The durable list of a watch, in the SQLite file at *path*: `JobWatcher(fetch, ids, journal=Journal("run.db"))`.

    Each id is on the disk before it is first asked about, and changes and endings follow within a moment; so a watch that is
    killed goes on where it was when another one is given the same file. That one delivers again every ending that was not
    acknowledged, then watches what has not ended; ids that have ended are not watched again before they are pruned.

    *on_error* says what a watch does when its journal cannot be opened or written: "stop" raises the `JournalError` out of the
    iteration, "continue" logs it, keeps it as `failure` and watches on without a journal. *max_bytes* bounds the file.

    The file is made for its owner's eyes only, since job ids and records are personal data; tokens never get into it. It serves
    one watch at a time: a second one is refused, in this process and in any other. Nothing is opened before the watch starts,
    and whoever uses the watch need not close it: the watch does.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, on_error: Literal["stop", "continue"] = "stop", max_bytes: int | None = None
    ) -> None:
        if on_error not in {"stop", "continue"}:
            raise UsageError("on_error is 'stop' or 'go_on'")
        # The file itself, so that whoever comes by another link meets the same lock.
        self.path: Path = Path(path).resolve()
        self.failure: JournalError | None = None
        self._stops = on_error == "stop"
        self._max_bytes = max_bytes
        self._executor: ThreadPoolExecutor | None = None
        self._closing: Future[None] | None = None
        self._database: Database | None = None
        self._fail: Callable[[Exception], None] = _ignore
        self._queue: deque[Told] = deque()
        self._is_draining = False
        self._is_wanted = Signal()
        self._lock = Lock()

    # -- for everybody; these block, and need no watch -------------------------------------------------------------------

    def entries(self) -> Iterator[JournalEntry]:
        """Yield what the journal says of each job, in the order of adding. It may be in use; `JournalError` if it is none."""
        return read_entries(self.path)

    def submissions(self) -> Iterator[SubmitResult]:
        """Yield the lines that were submitted with this journal, in the order in which they first went out.

        One whose answer was never noted is "unknown", whatever a batch that still runs may make of it.
        """
        return read_submissions(self.path)

    def prune(self, before: datetime | None = None) -> int:
        """Forget the jobs whose ending was acknowledged, only those that ended *before* a time if one is given; return how many.

        Nothing of them stays in the file. Afterwards their ids are new. `JournalError` if the journal is in use.
        """
        if not self.path.exists():
            raise JournalError(f"the journal {self.path.name} is missing", reason="missing")
        database = Database(self.path)
        try:
            return database.prune(None if before is None else before.timestamp())
        finally:
            database.close()

    def __repr__(self) -> str:
        state = "failed" if self.failure is not None else "closed" if self._executor is None else "open"
        return f"<Journal {self.path.name} {state}>"

    # -- for a watch: what it waits for ----------------------------------------------------------------------------------

    async def open(self, fail: Callable[[Exception], None]) -> Resumed:
        """Take the file over; return the ids that have not ended, and what the polling policy had learned.

        *fail* is called on this event loop if the journal fails later and that is to stop the watch. `JournalError` if it fails
        now; `UsageError` if it serves a watch already.
        """
        if self._executor is not None:
            if self._closing is None:
                raise UsageError("this journal serves another watch: make one for each")
            await self.aclose()
        loop = asyncio.get_running_loop()

        def fail_there(error: Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed: whom it concerned is gone
                loop.call_soon_threadsafe(fail, error)

        self.failure, self._fail = None, fail_there
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="asyncflow-journal")
        return await _result(self._executor.submit(self._open))

    async def unacknowledged(self, after: int) -> tuple[Sequence[Event], int]:
        """Return some endings that nobody has acknowledged, oldest first, beyond the place *after*, and the last one's place."""
        if self._executor is None or self._closing is not None:
            return [], after
        return await _result(self._executor.submit(self._read, after))

    async def add(self, job_ids: Sequence[str], at: datetime) -> Collection[str]:
        """Note these ids, durably, with all that was reported before; return those of them that are to be watched.

        Cancelled, it may still note them; they are watched when the journal is opened next.
        """
        promise: Future[list[str] | None] = Future()
        if not self._put(AddJobs(job_ids, at), promise):
            return job_ids
        noted = await _result(promise)
        return job_ids if noted is None else noted

    async def aclose(self) -> None:
        """Commit what was reported, let go of the file and end the thread. A commit that fails now is logged."""
        self.close_soon()
        closing, executor = self._closing, self._executor
        if closing is not None and executor is not None:
            await _result(closing)
            # It has nothing left to do: this takes no time.
            executor.shutdown()
            if self._executor is executor:
                self._executor = self._closing = None

    # -- for a batch of submits ------------------------------------------------------------------------------------------

    async def submitted(self) -> list[str]:
        """Return the ids of the jobs that lines of this and earlier batches came to."""
        if self._executor is None or self._closing is not None:
            return []
        nothing: list[str] = []
        return await _result(self._executor.submit(self._ask, lambda database: database.submitted(), nothing))

    async def find_submission(self, key: str) -> SubmitResult | None:
        """Return what an earlier batch left of the line called *key*, None if it is new."""
        if self._executor is None or self._closing is not None:
            return None
        nothing: SubmitResult | None = None
        return await _result(self._executor.submit(self._ask, lambda database: database.recall(key), nothing))

    async def begin_submission(self, line: SubmitResult) -> None:
        """Note, durably, that the request of *line* is about to go out. `JournalError` if that cannot be noted."""
        promise: Future[list[str] | None] = Future()
        if self._put(BeginSubmit(line), promise):
            await _result(promise)
        elif self._stops:
            raise self.failure or UsageError("this journal is closed")

    async def finish_submission(self, line: SubmitResult, at: datetime) -> None:
        """Note, durably, what became of *line*, and its job as one to be watched. Cancelled, it is noted all the same."""
        promise: Future[list[str] | None] = Future()
        if self._put(FinishSubmit(line, at), promise):
            await _result(promise)

    # -- for a watch: what it does not wait for --------------------------------------------------------------------------

    def report(self, event: Event, at: datetime) -> None:
        """Note a change of status or an ending."""
        self._put(RecordEvent(event, at))

    def acknowledge(self, job_ids: Sequence[str]) -> None:
        """Note that the endings of these jobs were handled."""
        self._put(AckEvents(job_ids))

    def discard(self, job_ids: Sequence[str]) -> None:
        """Forget these jobs, unless they have ended."""
        self._put(DiscardJobs(job_ids))

    def save_policy(self, state: dict[str, Any]) -> None:
        """Keep what the polling policy has learned."""
        self._put(SavePolicy(state))

    def close_soon(self) -> None:
        """Do as `aclose`, without waiting for it."""
        with self._lock:
            if self._executor is not None and self._closing is None:
                self._closing = self._executor.submit(self._close)
                self._is_wanted.set()
                self._executor.shutdown(wait=False)

    # -- the queue -------------------------------------------------------------------------------------------------------

    def _put(self, fact: JournalOperation, promise: Future[list[str] | None] | None = None) -> bool:
        """Have *fact* be part of the next commit, at once if its answer is promised; return False if there is none to come."""
        with self._lock:
            if self._closing is not None or self.failure is not None:
                return False
            self._queue.append((fact, promise))
            if promise is not None:
                self._is_wanted.set()
            if self._executor is not None and not self._is_draining:
                self._is_draining = True
                self._executor.submit(self._drain)
            return True

    def _taken(self) -> list[Told]:
        with self._lock:
            batch = list(self._queue)
            self._queue.clear()
        return batch

    # -- in the thread ---------------------------------------------------------------------------------------------------

    def _open(self) -> Resumed:
        try:
            self._database = Database(self.path, self._max_bytes)
        except Exception as error:
            self._give_up(error)
            self._settle(self._taken(), error)
            if self._goes_on(error):
                return [], None
            raise
        # What was noted before the start belongs to what is resumed.
        self._commit(self._taken())
        nothing: Resumed = ([], None)
        return self._ask(lambda database: (database.remaining(), database.learned()), nothing)

    def _read(self, after: int) -> tuple[list[Event], int]:
        nothing: tuple[list[Event], int] = ([], after)
        return self._ask(lambda database: database.unacknowledged(after, _SLICE), nothing)

    def _ask(self, question: Callable[[Database], T], nothing: T) -> T:
        """Return what the file says, *nothing* if it can say no more and the watch is to go on."""
        if self._database is None:
            return nothing
        try:
            return question(self._database)
        except Exception as error:
            self._give_up(error)
            if self._goes_on(error):
                return nothing
            raise

    def _drain(self) -> None:
        """Commit until nothing is left: while one commit runs, the next one gathers."""
        while True:
            with self._lock:
                if not self._queue:
                    self._is_draining = False
                    return
            self._is_wanted.wait(_LINGER)
            self._is_wanted.clear()
            self._commit(self._taken())

    def _commit(self, batch: list[Told]) -> None:
        """Write *batch* as one, then keep the promises made with it."""
        if self._database is None or not batch:
            self._settle(batch, self.failure)
            return
        try:
            answers = self._database.write([fact for fact, _ in batch])
        except Exception as error:  # noqa: BLE001 - nobody reads what this thread raises: the watch must hear of it
            self._give_up(error)
            self._settle(batch, error)
        else:
            for (_, promise), answer in zip(batch, answers, strict=True):
                if promise is not None:
                    promise.set_result(answer)

    def _settle(self, batch: list[Told], error: Exception | None) -> None:
        """Tell those who wait for *batch* that it was not written: by *error*, or by None where the watch goes on."""
        for _, promise in batch:
            if promise is not None and error is not None and not self._goes_on(error):
                promise.set_exception(error)
            elif promise is not None:
                promise.set_result(None)

    def _give_up(self, error: Exception) -> None:
        """Let go of the file: a journal with a gap in it would be trusted for what it does not hold."""
        if isinstance(error, JournalError):
            self.failure = error
            _log.warning("journal_failed", extra={"journal": self.path.name, "reason": error.reason, "goes_on": not self._stops})
        self._release()
        if not self._goes_on(error):
            self._fail(error)

    def _goes_on(self, error: Exception) -> bool:
        return isinstance(error, JournalError) and not self._stops

    def _close(self) -> None:
        self._commit(self._taken())
        self._release()

    def _release(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


async def _result(future: Future[T]) -> T:
    """Return what the thread made of *future*. Whoever is cancelled here stops waiting, and the thread goes on."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def arrive(_: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(arrive)
    await done.wait()
    return future.result()


def _ignore(_: Exception) -> None:
    """Nobody is told."""
