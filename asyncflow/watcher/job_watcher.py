"""`JobWatcher`, the public face of a watch."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from asyncflow.errors import UsageError
from asyncflow.events import Abandoned, Changed, Ended, Event, Unreachable
from asyncflow.logs import hooks_of
from asyncflow.polling import PollPolicy
from asyncflow.report import CAPTCHA_PRICES
from asyncflow.stream import Stream
from asyncflow.watcher.engine import WatchConfig, WatchEngine
from asyncflow.watcher.persistence import AckTracker
from asyncflow.watcher.watched_job import JobTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from asyncflow.pacing import Pacer
    from asyncflow.polling import Policy
    from asyncflow.report import RunReport
    from asyncflow.telemetry import Hook
    from asyncflow.watcher.engine import Fetch, JobIds
    from asyncflow.watcher.persistence import WatchJournal
    from asyncflow.watcher.stats import WatchStats

__all__ = ["JobWatcher", "WatchOptions", "merge"]


class WatchOptions(TypedDict, total=False):
    """The keyword arguments of `JobWatcher`."""

    concurrency: int
    policy: Policy | None
    pacer: Pacer | None
    start_timeout: float | None
    stall_timeout: float | None
    job_timeout: float | None
    timeout: float | None
    max_failures: int | None
    keep_open: bool
    buffer: int
    expiry_warning: float | None
    journal: WatchJournal | None
    auto_acknowledge: bool
    hooks: Iterable[Hook]


def merge(older: Event, newer: Event) -> Event | None:
    """Return the event that stands for two of a job when the consumer is far behind: its latest status, and any ending.

    None where there is none such: an ending, and what comes after it because the id was added anew.
    """
    match older, newer:
        case Ended() | Abandoned(), _:
            return None
        case Changed(_, previous), Changed(job, _, expected_end_at):
            return Changed(job, previous, expected_end_at)
        case Changed(), Unreachable():
            return older
        case _:
            return newer


class JobWatcher(Stream[Event]):
    """Poll jobs until each has ended, and yield what changes: an async context manager and an async iterator of `Event`.

    *fetch* reads one job: `client.get_job`, or any coroutine function that returns a `Job` and raises `AsyncflowError`.
    *job_ids* are watched from the start; they may come from an async iterable, and more may come by `add`. For every id there is
    exactly one `Ended` or `Abandoned`, unless it is discarded or the watch ends before: errors that concern all jobs (a refused
    token or payment) are raised out of the iteration, after the events already gathered.

    *concurrency* bounds the polls in flight; *pacer* is the request budget they draw on; *policy* says when to ask again. Limits
    of time, in seconds or None: *start_timeout* for leaving created or pending, *stall_timeout* for a record that does not move,
    *job_timeout* for a job in all, each counted from `add`, and *timeout* for the watch. A job that passes one is `Abandoned`,
    with its last record, which a watch with such a limit therefore keeps; the poll made at that moment may still win, and nothing
    is cancelled at the service. After *max_failures* polls in a row without an answer a job is abandoned too; by default it never
    is. With *keep_open* the iteration goes on when all jobs have ended, until `aclose`. *expiry_warning* asks for an `Expiring`
    event that many seconds before the links of an ended job, or the record of a running one, are gone, as far as the watch
    lasts. *wall_clock* tells the time of day, by which ages are known.

    A consumer may be slow: polling goes on. Up to *buffer* events are kept one by one; beyond that, those of the same job are
    merged into its latest status, and no ending is ever dropped.

    A *journal* keeps the watch across restarts: ids are on the disk before their first poll, and the next watch on the same
    journal first delivers the endings that were not acknowledged, then goes on with what has not ended, with these *job_ids* and
    without. Ids that have ended are not watched again. An ending is acknowledged when its consumer, a task, asks for the next
    event, or leaves `async with` without an exception; without *auto_acknowledge* only by `acknowledge`.

    *hooks* hear of the watch itself, of each poll and of each event: see `asyncflow.telemetry`.

    Leave the iteration with `break` as you like; `async with`, or `aclose`, waits until all is closed.
    """

    def __init__(
        self,
        fetch: Fetch,
        job_ids: JobIds = (),
        *,
        concurrency: int = 100,
        policy: Policy | None = None,
        pacer: Pacer | None = None,
        start_timeout: float | None = None,
        stall_timeout: float | None = None,
        job_timeout: float | None = None,
        timeout: float | None = None,
        max_failures: int | None = None,
        keep_open: bool = False,
        buffer: int = 1000,
        journal: WatchJournal | None = None,
        auto_acknowledge: bool = True,
        hooks: Iterable[Hook] = (),
        expiry_warning: float | None = None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if concurrency < 1:
            raise UsageError("concurrency must be at least 1")
        if isinstance(job_ids, str):
            raise UsageError("job_ids is a single str: pass a list of ids")
        self._core = core = WatchEngine(
            WatchConfig(
                fetch=fetch,
                policy=policy if policy is not None else PollPolicy(),
                pacer=pacer,
                concurrency=concurrency,
                limits=JobTimeouts(start_timeout, stall_timeout, job_timeout),
                timeout=timeout,
                max_failures=max_failures,
                keep_open=keep_open,
                wall_clock=wall_clock,
                expiry_warning=expiry_warning,
                journal=journal,
                hooks=hooks_of(hooks),
            )
        )
        self._acks = AckTracker(core.writer) if core.writer is not None and auto_acknowledge else None
        if isinstance(job_ids, AsyncIterable):
            core.intake.attach(job_ids)
        else:
            core.intake.put(job_ids)
        super().__init__(core.run, name="asyncflow watch", buffer=buffer, merge=merge, usage_error=UsageError)
        if core.writer is not None:
            weakref.finalize(self, core.writer.close_from_finalizer).atexit = False

    def add(self, *job_ids: str) -> None:
        """Watch these too; ids that are watched already stay as they are. An id that has ended may be added anew.

        With a journal it may not, before it is pruned; and an id is safe when `flush` has returned.
        """
        if self.is_ended or self._core.is_over:
            raise UsageError("this watch is over: make a new one")
        self._core.intake.put(job_ids)

    async def flush(self) -> None:
        """Return when the journal has every id added so far on the disk, and all that happened before. Without one, at once.

        Raises what keeps the journal from it; `UsageError` when the watch is over.
        """
        core = self._core
        if core.writer is not None:
            if self.is_ended or core.is_over:
                raise UsageError("this watch is over: its journal is closed")
            self._ensure_started()
            await core.writer.add(core.intake.on_the_way)

    def acknowledge(self, *events: Event) -> None:
        """Note in the journal that these events were handled: the next watch does not deliver them again."""
        if self._core.writer is not None:
            self._core.writer.acknowledge(events)

    def discard(self, *job_ids: str) -> None:
        """Stop watching these, without an event. What is not watched is passed over."""
        self._core.discard(job_ids)

    def nudge(self, job_id: str) -> bool:
        """Ask about this job as soon as the budget allows, since something hints at news; return whether it is watched.

        The hint carries no facts: what is reported is what the service answers. A poll under way is followed by another.
        """
        return self._core.nudge(job_id)

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Have *listener* called with every event as it is found, beside whoever iterates; the function returned ends that.

        It is called on the event loop of the watch and must not wait. One that raises is not called again. As long as the watch
        runs it is kept alive, with all that it holds.
        """
        key = object()
        self._core.listeners[key] = listener

        def unsubscribe() -> None:
            self._core.listeners.pop(key, None)

        return unsubscribe

    def is_unreachable(self, job_id: str) -> bool:
        """Return whether the last reads of this job have failed; False for one that is not watched."""
        return self._core.is_unreachable(job_id)

    def stats(self) -> WatchStats:
        """Return how the watch is doing."""
        return self._core.stats()

    def report(self, *, captcha_prices: Mapping[str, float] = CAPTCHA_PRICES) -> RunReport:
        """Return what the watch has come to so far: outcomes, files, reasons, durations, captchas, credits, requests.

        Its memory does not grow with the number of jobs. Prices are US dollars for a solution, by provider.
        """
        return self._core.report(captcha_prices)

    async def __anext__(self) -> Event:
        """Return the next event; cancelling this loses none."""
        core, acks = self._core, self._acks
        if acks is not None:
            acks.acknowledge_previous()
        core.asking += 1
        try:
            core.finish_if_done()
            event = await super().__anext__()
        except Exception:
            # The end, or the error that ended it: whoever acknowledges by asking has asked for the last time.
            if acks is not None and core.writer is not None and self.is_ended:
                await core.writer.aclose()
            raise
        finally:
            core.asking -= 1
        if acks is not None:
            acks.delivered(event)
        return event

    async def aclose(self) -> None:
        """Stop watching and wait until all is closed, the journal too; what was gathered before can still be read."""
        writer = self._core.writer
        try:
            await super().aclose()
        except BaseException:
            # Cancelled natively: nobody waits any more, and the run ends by itself. So must the journal.
            if writer is not None:
                writer.close_from_finalizer()
            raise
        if writer is not None:
            await writer.aclose()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None and self._acks is not None:
            self._acks.acknowledge_previous()
        await super().__aexit__(exc_type, exc, traceback)

    def __len__(self) -> int:
        return len(self._core)

    def __repr__(self) -> str:
        return f"<JobWatcher of {len(self)} jobs>"
